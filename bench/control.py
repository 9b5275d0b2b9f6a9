"""How misses come back under their target after a step of load and through bursts: JouleSched's PI
rule, the same with anti-windup, our rule for lambda, and Baseload's whole controller.

Run: python bench/control.py [--quick]. Writes bench/results/control.json and the table between the
markers of docs/explanation/parking.md. Poisson arrivals with the lengths of the Azure conversation
trace on 40 A100, 32 H100 and 8 L4: a step of +50 % at minute 10 that stays, and four bursts of one
minute of +50 %. With --quick: a shorter step, and nothing outside out/bench.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import numpy as np

from baseload.cli.scenario_file import load_scenario
from baseload.routing.policies import policy
from baseload.routing.policy import Policy
from baseload.simulator.run import run_once
from baseload.simulator.scenario import Scenario
from baseload.workload.chunks import source_of
from baseload.workload.trace import Trace
from common import QUICK_RESULTS, RESULTS, ROOT, machine, versions, write_json, write_text

BEGIN, END = "<!-- control: begin -->", "<!-- control: end -->"
TARGET = 0.01
RATE_PER_S = 270.0
WINDOW_S = 30.0
WINDOWS = 10  # five minutes
STEP_S = 600.0
AIMED = {"deadline_factor": 0.3}


def main() -> None:
    """Run and write."""
    quick = "--quick" in sys.argv
    span_s = 900.0 if quick else 1800.0
    cases = {"step": step_rate} if quick else {"step": step_rate, "bursts": burst_rate}
    rows = {
        case: {name: measured(rule, made, rate, span_s) for name, rule in rules().items()}
        for case, rate in cases.items()
        for made in [scenario()]
    }
    content = {
        "schema": "baseload-bench-control/1",
        "machine": machine(),
        "versions": versions(),
        "target_miss_frac": TARGET,
        "window_s": WINDOW_S,
        "cases": rows,
    }
    write_json(content, (QUICK_RESULTS if quick else RESULTS) / "control.json")
    if not quick:
        page = ROOT / "docs" / "explanation" / "parking.md"
        text = page.read_text(encoding="utf-8")
        head, tail = text.split(BEGIN)[0], text.split(END)[1]
        write_text(f"{head}{BEGIN}\n{table(rows)}{END}{tail}", page)


def rules() -> dict[str, Policy]:
    """JouleSched under three rules for lambda, and Baseload."""
    plain = policy("joulesched")
    base = msgspec.structs.replace(plain, knobs=AIMED)

    def with_rule(**changes: Any) -> Policy:
        return msgspec.structs.replace(base, slow=msgspec.structs.replace(base.slow, **changes))

    return {
        "joulesched, PI rule": base,
        "joulesched, PI rule with anti-windup": with_rule(anti_windup=True),
        "joulesched, our rule": with_rule(rule="log"),
        "baseload": policy("baseload"),
    }


def scenario() -> Scenario:
    """A quarter of the fleet of azure-320, with its promises."""
    whole = load_scenario("azure-320")
    groups = tuple(
        msgspec.structs.replace(group, replicas=group.replicas // 4) for group in whole.groups
    )
    return msgspec.structs.replace(whole, groups=groups)


def step_rate(at_s: float) -> float:
    """Arrivals per second: half as many again from minute 10 on."""
    return RATE_PER_S * (1.5 if at_s >= STEP_S else 1.0)


def burst_rate(at_s: float) -> float:
    """Arrivals per second: half as many again in one minute of five, from minute 10 on."""
    return RATE_PER_S * (1.5 if at_s >= STEP_S and at_s % 300.0 < 60.0 else 1.0)


def trace(rate: Any, span_s: float) -> Trace:
    """Poisson arrivals at ``rate(t)`` by thinning, lengths drawn in pairs from the Azure trace."""
    pieces = list(load_scenario("azure-chat").requests(0).chunks())
    inputs = np.concatenate([piece.input_tokens for piece in pieces])
    outputs = np.concatenate([piece.output_tokens for piece in pieces])
    random = np.random.default_rng(7)
    top = 1.5 * RATE_PER_S
    times = np.sort(random.uniform(0.0, span_s, random.poisson(top * span_s)))
    kept = times[random.uniform(0.0, top, len(times)) < np.array([rate(t) for t in times])]
    drawn = random.integers(0, len(inputs), len(kept))
    return Trace(
        name="poisson",
        t_us=(kept * 1e6).astype(np.int64),
        input_tokens=inputs[drawn],
        output_tokens=outputs[drawn],
        class_code=np.zeros(len(kept), dtype=np.int16),
        classes=("chat",),
    )


def measured(rule: Policy, made: Scenario, rate: Any, span_s: float) -> dict[str, Any]:
    """Misses by window of 30 s after minute 10: when those of the last five minutes are under
    target for good, the highest, all of them; energy; the range of lambda.
    """
    ended: list[Any] = []
    run = run_once(
        made, rule, source_of(trace(rate, span_s)), log=lambda *rows: ended.append(rows[2])
    )
    rows = np.concatenate(ended)
    rows = rows[rows["finish_s"] < span_s]
    edges = np.arange(STEP_S, span_s + 1.0, WINDOW_S)
    place = np.digitize(rows["finish_s"], edges) - 1
    after = place >= 0
    count = np.bincount(place[after], minlength=len(edges))[: len(edges) - 1]
    late = np.bincount(place[after], rows["missed"][after], minlength=len(edges))[: len(edges) - 1]
    share = late / np.maximum(1, count)
    five_min = np.convolve(late, np.ones(WINDOWS), "valid") / np.convolve(
        np.maximum(1, count), np.ones(WINDOWS), "valid"
    )
    over = np.flatnonzero(five_min > TARGET)
    settled = 0.0 if len(over) == 0 else float((over[-1] + WINDOWS) * WINDOW_S)
    weights = [] if run.control is None else run.control.lambda_by_tier["interactive"]
    return {
        "settled_after_s": settled if settled < span_s - STEP_S else None,
        "highest_miss_frac": float(share.max()),
        "highest_five_min_miss_frac": float(five_min.max()),
        "miss_frac_after": float(late.sum() / count.sum()),
        "miss_frac_before": float(rows["missed"][~after].mean()),
        "energy_j_per_request": float(run.account_j.sum() / len(rows)),
        "lambda_range": [min(weights), max(weights)] if weights else None,
        "miss_frac_by_window": share.tolist(),
    }


def table(rows: dict[str, dict[str, Any]]) -> str:
    """The table of the page."""
    lines = [
        "| load | rule | five-minute misses under target for good after | highest in 5 min "
        "| highest in 30 s | missed after minute 10 | J per request |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for case, found in rows.items():
        for name, row in found.items():
            after = row["settled_after_s"]
            settled = "not in 20 min" if after is None else f"{after:.0f} s"
            lines.append(
                f"| {case} | {name} | {settled} | {row['highest_five_min_miss_frac']:.2%} | "
                f"{row['highest_miss_frac']:.1%} | "
                f"{row['miss_frac_after']:.2%} | {row['energy_j_per_request']:.1f} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
