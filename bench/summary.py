"""All result files of bench/results as one short table; writes bench/results/README.md.

Run: python bench/summary.py (after the other benches). Files of other benches, which have a form
of their own, are listed by name.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common import RESULTS, SCHEMA, line_of, write_text

HEAD = """\
# Results of the benches

Made by `python bench/summary.py` from the JSON files in this folder; do not edit. Every number is
a median over repeats of CPU time (user + system) unless it says wall, measured on the machine
named; ratios are taken inside one session.
"""


def number(value: float) -> str:
    """A number for people: four significant digits, thousands apart."""
    rounded = float(f"{value:.4g}")
    if rounded == 0 or 1e-3 <= abs(rounded) < 1e15:
        return f"{rounded:,.10g}"
    return f"{rounded:.2g}"


def rows_of(result: Mapping[str, Any]) -> list[str]:
    """The measures as rows of a Markdown table."""
    rows = ["| measure | median | range | unit | goal | met |", "|---|---:|---|---|---|---|"]
    for row in result["measures"]:
        if "skipped" in row:
            rows.append(f"| {row['name']} | | | | | skipped: {row['skipped']} |")
            continue
        span = ""
        if row["repeats"] > 1:
            span = f"{number(row['min'])} to {number(row['max'])} ({row['repeats']})"
        met = {True: "yes", False: "**no**", None: ""}[row.get("met")]
        cells = (row["name"], number(row["median"]), span, row["unit"], row.get("goal", ""), met)
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def section(result: Mapping[str, Any]) -> list[str]:
    """One bench: machine, table, notes."""
    machine, versions = result["machine"], result["versions"]
    where = (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{machine['system']}"
    )
    what = ", ".join(f"{name} {version}" for name, version in versions.items())
    lines = [f"\n## {result['bench']}\n", f"{where}; {what}.\n", *rows_of(result)]
    if result["notes"]:
        lines += ["", *(f"- {note}" for note in result["notes"])]
    return lines


def load(folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The results in our form, by name, and the names of the other files."""
    results, others = [], []
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and content.get("schema") == SCHEMA:
            results.append(content | {"bench": path.stem})  # one bench may have several files
        else:
            others.append(path.name)
    return results, others


def main() -> None:
    """Print the table and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="as always: there is nothing to save")
    parser.parse_args()
    results, others = load(RESULTS)
    lines = [HEAD]
    missed = 0
    for result in results:
        print(f"== {result['bench']}")
        for row in result["measures"]:
            print(line_of(row))
            missed += row.get("met") is False
        lines += section(result)
    if others:
        lines += ["\n## Others\n", *(f"- `{name}`" for name in others)]
    write_text("\n".join(lines) + "\n", RESULTS / "README.md")
    print(f"{sum(len(r['measures']) for r in results)} measures, {missed} goals missed")


if __name__ == "__main__":
    main()
