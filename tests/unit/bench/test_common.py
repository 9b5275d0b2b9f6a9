"""What the benches share: statistics, processes of their own, files, the page made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import summary
from _inputs import MIX, loaded_scenario, mixed_fleet, poisson_trace
from baseload.simulator.scenario import offered_load_frac
from baseload.workload.load import tokens_per_second
from common import child, machine, measure, ratios, rounds, skipped, versions, write_json


def test_a_measure_keeps_median_and_range_and_judges_the_median() -> None:
    row = measure("speed", "requests/CPU-s", [3.0, 1.0, 2.0], at_least=2.0)
    assert (row["median"], row["min"], row["max"], row["repeats"]) == (2.0, 1.0, 3.0, 3)
    assert row["met"]
    assert not measure("time", "s", [3.0], at_most=2.9)["met"]
    assert "met" not in measure("time", "s", [3.0])


def test_ratios_are_taken_inside_a_round() -> None:
    assert ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]
    assert ratios([4.0], [1.0, 2.0, 3.0]) == [2.0]


def test_subjects_take_turns() -> None:
    order: list[str] = []

    def subject(name: str) -> float:
        order.append(name)
        return float(len(order))

    found = rounds({"a": lambda: subject("a"), "b": lambda: subject("b")}, 2)
    assert order == ["a", "b", "a", "b"]
    assert found == {"a": [1.0, 3.0], "b": [2.0, 4.0]}


def test_a_task_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    folder = Path(summary.__file__).parent
    script.write_text(
        f"import sys; sys.path.insert(0, {str(folder)!r})\n"
        "from common import answer_task\n"
        "answer_task({'add': lambda a, b: {'sum': a + b}})\n"
    )
    assert child(script, "add", {"a": 1, "b": 2}) == {"sum": 3}
    with pytest.raises(RuntimeError, match="--task divide failed"):
        child(script, "divide", {})


def test_the_machine_has_no_name_and_no_date() -> None:
    assert set(machine()) == {"cpu", "cores", "memory_gib", "system"}


def test_the_page_shows_every_measure(tmp_path: Path) -> None:
    result = {
        "schema": summary.SCHEMA,
        "bench": "toy",
        "machine": machine(),
        "versions": versions(),
        "measures": [
            measure("fast", "requests/CPU-s", [1_234_567.0, 1_234_568.0], at_least=1.0),
            measure("slow", "s", [9.0], at_most=1.0),
            skipped("absent", "not installed"),
        ],
        "notes": ["a note"],
    }
    write_json(result, tmp_path / "toy.json")
    write_json({"rows": []}, tmp_path / "other.json")
    results, others = summary.load(tmp_path)
    assert others == ["other.json"]
    page = "\n".join(summary.section(results[0]))
    assert "| fast | 1,235,000 | 1,235,000 to 1,235,000 (2) | requests/CPU-s | >= 1 | yes |" in page
    assert "**no**" in page
    assert "skipped: not installed" in page
    assert "- a note" in page


@pytest.mark.parametrize("replicas", [32, 320, 3_200, 10_000])
def test_the_fleet_has_its_proportions(replicas: int) -> None:
    groups = mixed_fleet(replicas)
    assert sum(group.replicas for group in groups) == replicas
    for group in groups:
        assert group.replicas / replicas == pytest.approx(MIX[group.kind.device], abs=0.5 / 16)


def test_the_load_is_as_asked_at_any_length() -> None:
    groups = mixed_fleet(32)
    for least in (1, 30_000):
        scenario = loaded_scenario(groups, span_s=120.0, min_requests=least)
        source = scenario.requests(0)
        load = tokens_per_second(source, 60.0).busiest(0.95)
        assert source.requests >= least
        assert offered_load_frac(groups, load) == pytest.approx(0.5, rel=0.05)


def test_poisson_arrivals_fall_on_milliseconds() -> None:
    trace = poisson_trace(2_000, 50.0)
    gaps_s = np.diff(trace.t_us) / 1e6
    assert (trace.t_us % 1_000 == 0).all()
    assert gaps_s.mean() == pytest.approx(1 / 50.0, rel=0.1)
    assert gaps_s.std() == pytest.approx(gaps_s.mean(), rel=0.1)
