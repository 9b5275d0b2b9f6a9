"""``baseload sweep`` from end to end in this process, on a trace of a few hundred requests."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.base.errors import BadInputError
from baseload.cli.sweep import loads_of
from baseload.routing.policies import POLICIES
from baseload.simulator.sweeps import SCHEMA

TRACE = "t_us,input_tokens,output_tokens\n" + "".join(
    f"{at * 500_000},{100 + at},{20 + at % 50}\n" for at in range(400)
)
FLEET = "fleet:\n  - {device: L4-24GB, model: Qwen/Qwen3-8B, replicas: 2, max_batch: 8}\n"


@pytest.fixture(name="sweep")
def _sweep(folder, cli):
    """Sweeps a small scenario, quietly."""
    (folder / "t.csv").write_text(TRACE)
    (folder / "s.yaml").write_text("trace: {file: t.csv}\n" + FLEET)

    def run(*arguments, policies=("least_loaded", "round_robin")):
        chosen = [word for policy in policies for word in ("-p", policy)]
        return cli("sweep", "s.yaml", "-q", *chosen, *arguments)

    return run


@pytest.mark.parametrize(
    ("text", "loads"),
    [
        ("0.2:0.8:4", [0.2, 0.4, 0.6, 0.8]),
        ("0.1:0.9:2", [0.1, 0.9]),
        ("0.7,0.3, 0.5", [0.3, 0.5, 0.7]),
        ("0.5,1.5", [0.5, 1.5]),
    ],
)
def test_loads_are_a_range_or_a_list(text, loads):
    assert loads_of(text) == loads


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "0.5", "0.2:0.9", "0.2:0.9:8:1", "0.9:0.2:8", "0.5:0.5:2", "0.2:0.9:1",
        "0.2:0.9:0", "0.2:0.9:2.5", "0.2:0.9:-3", "0.2:0.9:1000", "0:0.9:3", "-0.1:0.9:3",
        "0,0.5", "0.5,0.5", "0.3,,0.5", "nan,0.5", "0.2:inf:3", "0.5,100", "0.2:x:3",
    ],
)  # fmt: skip
def test_loads_that_are_none_are_refused(text):
    with pytest.raises(BadInputError, match="--load"):
        loads_of(text)


@given(st.floats(0.01, 1), st.floats(0.01, 1), st.integers(2, 30))
def test_a_range_rises_in_equal_steps_from_low_to_high(low, more, count):
    loads = loads_of(f"{low!r}:{low + more!r}:{count}")
    assert len(loads) == count
    assert loads[0] == pytest.approx(low, abs=1e-6)
    assert loads[-1] == pytest.approx(low + more, abs=1e-6)
    assert all(one < other for one, other in itertools.pairwise(loads))


def test_the_json_has_a_point_for_each_load_and_policy(sweep):
    outcome = sweep("--load", "0.2:0.6:3", "--seeds", "2", "--check", "--json", "-")
    assert (outcome.code, outcome.err) == (0, "")
    result = json.loads(outcome.out)
    assert result["schema"] == SCHEMA
    assert result["loads"] == [0.2, 0.4, 0.6]
    assert result["policies"] == ["least_loaded", "round_robin"]
    assert len(result["points"]) == 6
    for point in result["points"]:
        assert point["offered_load_frac"] == pytest.approx(point["load_frac"], rel=0.5)
        assert point["energy_j_per_request"] > 0
        assert "energy_j_per_request" in point["interval"]
    by_load = [point for point in result["points"] if point["policy"] == "least_loaded"]
    assert by_load[0]["requests"] < by_load[1]["requests"] < by_load[2]["requests"]
    assert by_load[0]["energy_change_frac"] is None


@pytest.mark.slow
def test_processes_change_nothing(sweep):
    one = sweep("--load", "0.3,0.6", "--jobs", "1", "--json", "-")
    two = sweep("--load", "0.3,0.6", "--jobs", "2", "--json", "-")
    assert (one.code, two.code) == (0, 0)
    assert one.out == two.out


def test_a_point_is_what_simulate_gives_at_that_load(sweep, cli):
    result = json.loads(sweep("--load", "0.3,0.6", "--json", "-").out)
    alone = json.loads(
        cli("simulate", "s.yaml", "-q", "-p", "round_robin", "--load", "0.6", "--json", "-").out
    )
    (policy,) = alone["policies"]
    point = result["points"][-1]
    assert (point["load_frac"], point["policy"]) == (0.6, "round_robin")
    assert point["requests"] == alone["trace"]["requests"]
    assert point["offered_load_frac"] == alone["offered_load_frac"]
    assert point["energy_j_per_request"] == policy["energy_j_per_request"]
    assert point["e2e_s_p99"] == policy["e2e_s"]["p99"]


def test_too_much_load_is_a_warning_and_no_failure(sweep, folder):
    outcome = sweep("--load", "0.5,1.5", "--out", "report")
    assert outcome.code == 0
    assert "warning" in outcome.err
    assert "Overload at load 1.5" in " ".join(outcome.out.split())
    assert "Overload at load 1.5" in (folder / "report" / "index.html").read_text()


def test_the_report_has_page_plots_and_json(sweep, folder):
    outcome = sweep("--load", "0.3,0.6", "--out", "report", "--json", "r.json")
    assert outcome.code == 0
    assert "least_loaded" in outcome.out
    assert "index.html" in outcome.out
    names = {path.name for path in (folder / "report").iterdir()}
    assert names == {"index.html", "load.png", "pareto.png", "sweep.json"}
    assert (folder / "report" / "sweep.json").read_bytes() == (folder / "r.json").read_bytes()


def test_without_a_policy_all_are_run(sweep):
    result = json.loads(sweep("--load", "0.3,0.6", "--json", "-", policies=()).out)
    assert result["policies"] == list(POLICIES)


def test_progress_is_on_standard_error(sweep, cli):
    sweep("--load", "0.3,0.6")
    outcome = cli("sweep", "s.yaml", "-p", "least_loaded", "--load", "0.3,0.6", "--json", "-")
    assert "least_loaded, load 0.6: " in outcome.err
    json.loads(outcome.out)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--load", "0.9:0.2:8"], ["--load 0.9:0.2:8", "LOW below HIGH"]),
        (["--load", "0.5"], ["baseload simulate --load 0.5"]),
        (["--load", "high"], ["LOW:HIGH:COUNT"]),
        (["--seeds", "0"], ["--seeds", "1 to 1000"]),
        (["--jobs", "0"], ["--jobs", "1 to 1024"]),
        (["-p", "least_loded"], ["least_loaded"]),
        (["-p", "least_loaded"], ["least_loaded twice"]),
        (["--json", "nowhere/r.json"], ["mkdir -p nowhere"]),
        (["--json", "s.yaml"], ["SCENARIO and json are the same file"]),
        (["--out", "t.csv"], ["t.csv is a file"]),
    ],
)
def test_flags_that_cannot_be_followed_are_refused_before_the_work(sweep, arguments, words):
    sweep(*arguments).refused(*words)
