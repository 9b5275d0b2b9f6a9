"""``baseload simulate`` from end to end in this process, on traces of a few requests."""

from __future__ import annotations

import json
import math

import polars as pl
import pytest

from baseload.cli import simulate as command
from baseload.routing.policies import POLICIES
from baseload.simulator.results import SCHEMA

HEAD = "t_us,input_tokens,output_tokens\n"
SMALL_FLEET = "fleet:\n  - {device: L4-24GB, model: Qwen/Qwen3-8B, replicas: 1, max_batch: 4}\n"
PYTHON = "class My:\n    calls = 0\n    def choose(self, request, fleet):\n        {}\n"

QUANTILES = {"p50", "p95", "p99"}
TOP = {
    "schema": str,
    "version": str,
    "scenario": str,
    "seeds": list,
    "trace": dict,
    "fleet": list,
    "bound_energy_j": (float, int, type(None)),
    "policies": list,
}
TRACE = {"name": str, "sha256": str, "requests": int, "span_s": float}
FLEET = {"type": str, "device": str, "model": str, "gpus": int, "replicas": int}
NUMBERS = (
    "energy_j",
    "energy_mj_per_hour",
    "idle_energy_j",
    "active_energy_j",
    "energy_j_per_request",
    "energy_j_per_output_token",
    "miss_frac",
    "completed",
    "refused",
    "carbon_kg",
    "ledger_residual_j",
    "requests_per_cpu_s",
    "cpu_s",
)
BY_NAME = (
    "miss_frac_by_tier",
    "utilization_by_device",
    "bulk_share_by_device",
    "mean_batch_by_device",
    "interval",
    "parameters",
)


def has(row, kinds):
    for name, kind in kinds.items():
        assert isinstance(row[name], kind), (name, row[name])


def test_the_json_contract(simulate):
    """What the README promises to scripts; a change here needs a new schema number."""
    outcome = simulate("--seeds", "2", "--json", "-", rest="carbon_g_per_kwh: 100\n")
    assert (outcome.code, outcome.err) == (0, "")
    result = json.loads(outcome.out)
    has(result, TOP)
    assert result["schema"] == SCHEMA
    assert result["seeds"] == [0, 1]
    has(result["trace"], TRACE)
    assert len(result["trace"]["sha256"]) == 64
    assert result["trace"]["requests"] == 3
    (row,) = result["fleet"]
    has(row, FLEET)
    assert (row["replicas"], row["gpus"], row["device"]) == (2, 2, "H100-SXM-80GB")
    (policy,) = result["policies"]
    assert policy["policy"] == "least_loaded"
    for name in NUMBERS:
        assert isinstance(policy[name], int | float), name
        assert math.isfinite(policy[name]), name
    for name in ("ttft_s", "tpot_s", "e2e_s"):
        assert set(policy[name]) == QUANTILES
    for name in BY_NAME:
        assert isinstance(policy[name], dict), name
    assert set(policy["miss_frac_by_tier"]) == {"interactive", "bulk"}
    assert set(policy["utilization_by_device"]) == {"H100-SXM-80GB"}
    for low, high in policy["interval"].values():
        assert low <= high
    assert policy["energy_j"] > policy["idle_energy_j"] >= 0
    assert abs(policy["ledger_residual_j"]) <= 1e-6 * policy["energy_j"]


def test_nothing_but_the_object_is_on_standard_output(simulate, folder):
    """Once, what a user's policy printed stood before the JSON."""
    (folder / "mine.py").write_text(
        "print('hello')\n" + PYTHON.format("print('choosing'); return 0")
    )
    outcome = simulate("--json", "-", policy="mine.py:My")
    assert outcome.code == 0
    assert json.loads(outcome.out)["policies"][0]["policy"] == "My"
    assert "hello" in outcome.err
    assert "choosing" in outcome.err


def test_the_table_the_file_and_the_report_tell_the_same(simulate, folder):
    outcome = simulate("--json", "r.json", "--out", "report", "--requests", "r.parquet")
    assert outcome.code == 0
    assert "least_loaded" in outcome.out
    assert "index.html" in outcome.out
    result = json.loads((folder / "r.json").read_text())
    assert json.loads((folder / "report" / "result.json").read_text()) == result
    assert (folder / "report" / "index.html").read_text().startswith("<!")
    assert list((folder / "report").glob("*.png"))
    assert not list(folder.rglob(".*"))


def test_the_request_log_has_a_row_for_each_answer(simulate, folder):
    outcome = simulate("-p", "round_robin", "--seeds", "2", "--requests", "r.parquet")
    assert outcome.code == 0
    table = pl.read_parquet(folder / "r.parquet")
    assert table.height == 3 * 2 * 2
    keys = ["policy", "seed", "number"]
    assert table.select(keys).unique().height == table.height
    assert set(table["policy"].cast(pl.String)) == {"least_loaded", "round_robin"}
    assert set(table["tier"].cast(pl.String)) == {"interactive"}
    assert (table["first_s"] >= table["arrival_s"]).all()
    assert (table["finish_s"] >= table["first_s"]).all()
    assert (table["energy_j"] > 0).all()
    assert table["missed"].dtype == pl.Boolean


def test_a_log_of_nobody_has_its_columns(simulate, folder):
    """Once, a run in which every request was refused gave a Parquet file without columns."""
    (folder / "mine.py").write_text(PYTHON.format("return None"))
    outcome = simulate("--requests", "r.parquet", "--json", "-", policy="mine.py:My")
    assert outcome.code == 0
    table = pl.read_parquet(folder / "r.parquet")
    assert table.height == 0
    assert {"policy", "seed", "number", "arrival_s", "energy_j", "tier"} <= set(table.columns)
    (policy,) = json.loads(outcome.out)["policies"]
    assert (policy["completed"], policy["refused"]) == (0, 3)
    assert policy["energy_j_per_request"] is None
    assert policy["ttft_s"]["p50"] is None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise KeyError('z')", ["KeyError: 'z'", "mine.py, line 4"]),
        ("return 'first'", ["chose a replica that does not exist", "'first'", "0 to 1"]),
        ("return 0.5", ["0.5"]),
        ("return 99", ["99"]),
        ("return -1", ["-1"]),
        ("fleet.in_flight[0] = 5; return 0", ["read-only", "mine.py, line 4", "changes nothing"]),
        ("fleet.tokens = 5; return 0", ["FleetView"]),
        ("request.input_tokens = 5; return 0", ["Request"]),
        ("return self.choose(request, fleet)", ["RecursionError"]),
        ("raise SystemExit(0)", ["SystemExit"]),
        ("My.calls += 1; return 0 if My.calls < 3 else 1 / 0", ["ZeroDivisionError"]),
    ],
)
def test_a_policy_that_fails_on_the_way_leaves_nothing(simulate, folder, body, words):
    (folder / "mine.py").write_text(PYTHON.format(body))
    (folder / "s.yaml").touch()
    simulate(
        "--out", "report", "--json", "r.json", "--requests", "r.parquet", policy="mine.py:My"
    ).refused(*words)


def test_a_policy_may_choose_a_full_replica_and_the_request_is_refused(simulate, folder):
    (folder / "t.csv").write_text(HEAD + "0,10,500\n" * 20)
    (folder / "mine.py").write_text(PYTHON.format("return 0"))
    outcome = simulate(
        "--json",
        "-",
        trace="trace: {file: t.csv}\n",
        fleet=SMALL_FLEET,
        rest="max_queue: 3\n",
        policy="mine.py:My",
    )
    assert outcome.code == 0
    (policy,) = json.loads(outcome.out)["policies"]
    assert (policy["completed"], policy["refused"]) == (7, 13)
    assert policy["refused_by_reason"]["queue_full"] == 13


def test_policies_come_once_each(simulate):
    simulate("-p", "least_loaded").refused("least_loaded twice")
    outcome = simulate("-p", "power_of_two", "-p", "power_of_two:choices=3", "--json", "-")
    names = [row["policy"] for row in json.loads(outcome.out)["policies"]]
    assert names == ["least_loaded", "power_of_two", "power_of_two:choices=3"]


def test_without_a_policy_all_are_run_and_the_scenario_may_name_some(simulate):
    outcome = simulate("--json", "-", policy=None)
    assert [row["policy"] for row in json.loads(outcome.out)["policies"]] == list(POLICIES)
    outcome = simulate("--json", "-", rest="policies: [round_robin]\n", policy=None)
    assert [row["policy"] for row in json.loads(outcome.out)["policies"]] == ["round_robin"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seeds", "0"], ["--seeds", "1 to 1000"]),
        (["--seeds", "-1"], ["--seeds"]),
        (["--seeds", "1000000000"], ["--seeds"]),
        (["--load", "0"], ["--load", "above 0"]),
        (["--load", "nan"], ["--load"]),
        (["--load", "1e9"], ["--load", "below 100"]),
        (["--load=-1"], ["--load"]),
        (["--json", "nowhere/r.json"], ["nowhere/r.json", "mkdir -p nowhere"]),
        (["--json", "."], ["a folder of that name"]),
        (["--requests", "nowhere/r.parquet"], ["mkdir -p nowhere"]),
        (["--requests", "-"], ["standard output", "a file"]),
        (["--out", "tiny.csv"], ["tiny.csv is a file"]),
        (["--out", "tiny.csv/inside"], ["tiny.csv is a file"]),
        (["--json", "same", "--requests", "same"], ["json and requests are the same file"]),
        (["--json", "s.yaml"], ["SCENARIO and json are the same file"]),
        (["--jobs", "0"], ["--jobs", "1 to 1024"]),
        (["--jobs", "2", "--requests", "r.parquet"], ["--jobs with --requests", "leave out"]),
    ],
)
def test_flags_that_cannot_be_followed_are_refused_before_the_work(
    simulate, folder, arguments, words
):
    (folder / "s.yaml").touch()
    simulate(*arguments).refused(*words)


@pytest.mark.parametrize(
    ("rows", "completed", "refused"),
    [
        ("0,10,10\n", 1, {}),
        ("7,10,10\n" * 50, 50, {}),
        ("0,2000000,10\n5,10,10\n", 1, {"prompt_too_long": 1}),
        ("0,10,2000000\n", 1, {}),
    ],
    ids=["one request", "all at once", "prompt beyond any cache", "answer beyond any cache"],
)
def test_odd_traces_run_and_every_request_has_an_end(simulate, folder, rows, completed, refused):
    (folder / "t.csv").write_text(HEAD + rows)
    outcome = simulate("--check", "--json", "-", trace="trace: {file: t.csv}\n")
    assert outcome.code == 0
    (policy,) = json.loads(outcome.out)["policies"]
    assert policy["completed"] == completed
    assert {name: n for name, n in policy["refused_by_reason"].items() if n} == refused


def test_a_model_that_nobody_serves_is_refused_and_counted(simulate, folder):
    rows = "0,10,10,Qwen/Qwen3-14B,batch\n1,10,10,gpt,batch\n2,10,10,,batch\n"
    (folder / "t.csv").write_text("t_us,input_tokens,output_tokens,model,class\n" + rows)
    outcome = simulate("--json", "-", trace="trace: {file: t.csv}\n")
    result = json.loads(outcome.out)
    (policy,) = result["policies"]
    assert policy["completed"] == 2
    assert policy["refused_by_reason"]["model_not_served"] == 1
    assert policy["miss_frac_by_tier"]["interactive"] is None
    assert any("least_loaded 1" in note for note in result["notes"])


def test_a_fleet_that_cannot_carry_the_load_runs_on_and_says_so(simulate, folder):
    rows = "".join(f"{at * 50_000},100,400\n" for at in range(600))
    (folder / "t.csv").write_text(HEAD + rows)
    outcome = simulate(trace="trace: {file: t.csv}\n", fleet=SMALL_FLEET, rest="max_queue: 5\n")
    assert outcome.code == 0
    words = " ".join(outcome.out.split())
    assert "cannot carry the load" in words
    assert "Refused requests (counted as missed): least_loaded" in words


def test_ten_thousand_replicas(simulate):
    fleet = "fleet: [{device: H100-SXM-80GB, model: Qwen/Qwen3-14B, replicas: 1e4}]\n"
    outcome = simulate("--json", "-", fleet=fleet)
    assert json.loads(outcome.out)["fleet"][0]["replicas"] == 10_000


def test_the_same_seed_gives_the_same_result_and_more_seeds_vary_it(simulate):
    first, again = (json.loads(simulate("--json", "-").out) for _ in range(2))
    for result in (first, again):
        for name in ("cpu_s", "requests_per_cpu_s"):
            result["policies"][0].pop(name)
    assert first == again


def test_processes_change_nothing_but_the_speed(simulate, folder):
    """Also what a user's policy prints stays off standard output."""
    (folder / "mine.py").write_text(
        "print('hello')\n" + PYTHON.format("print('choosing'); return 0")
    )
    policies = ("-p", "mine.py:My", "--seeds", "2", "--check")
    one, two = (json.loads(simulate(*policies, "--jobs", n, "--json", "-").out) for n in "12")
    for result in (one, two):
        for policy in result["policies"]:
            for name in ("cpu_s", "requests_per_cpu_s"):
                policy.pop(name)
    assert one == two


def test_progress_is_on_standard_error_and_quiet_is_quiet(cli, simulate):
    assert simulate("--json", "-").err == ""
    outcome = cli("simulate", "s.yaml", "-p", "least_loaded", "--json", "-")
    assert "least_loaded: 3 requests done" in outcome.err
    json.loads(outcome.out)


def test_an_interrupt_leaves_no_half_files(simulate, folder, monkeypatch):
    (folder / "s.yaml").touch()

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_run", interrupted)
    outcome = simulate("--json", "r.json", "--out", "report", "--requests", "r.parquet")
    assert outcome.code == 130
    assert "interrupted" in outcome.err
    assert not outcome.new


@pytest.mark.parametrize("columns", ["40", "80", "100", "200"])
def test_every_number_is_readable_at_every_width(simulate, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("NO_COLOR", "1")
    outcome = simulate()
    assert outcome.code == 0
    assert "…" not in outcome.out
    assert "\x1b" not in outcome.out


def test_policies_lists_and_explains(cli):
    listed = cli("policies")
    assert listed.code == 0
    for name in POLICIES:
        assert f"\n{name} " in "\n" + listed.out
    explained = cli("policies", "power_of_two")
    assert "choices = 2" in explained.out
    assert "power_of_two:NAME=VALUE" in explained.out
    result = json.loads(cli("policies", "power_of_two", "--json", "-").out)
    assert result["schema"] == "baseload-policies/1"
    assert [row["name"] for row in result["policies"]] == ["power_of_two"]
    assert result["policies"][0]["explanation"]
    cli("policies", "--json", "nowhere/p.json").refused("mkdir -p nowhere")
