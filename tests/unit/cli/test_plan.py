"""``baseload plan`` from end to end in this process, on traces of an hour and less."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from baseload.cli.durations import duration_s
from baseload.planner.records import S_PER_YEAR, SCHEMA
from baseload.report.plan_result import PlanResult

HEAD = "t_us,input_tokens,output_tokens\n"
FLEET = "fleet:\n  - {device: H100-SXM-80GB, model: Qwen/Qwen3-14B, replicas: 2}\n"
TRACE = "trace: {file: minutes.csv}\n"
SITE = """supply:
  start: 2022-06-01T00:00Z
  slot_s: 60
  pue: 1.2
  overhead_kw: 0.1
  baseline: [{constant_kw: 0.4}]
  store: {capacity_kwh: 2, c_rate: 0.5}
  auxiliary: {price_usd_per_kwh: 0.20}
  prices: {baseline_usd_per_kwh: 0.10, waste_usd_per_kwh: 0.01, storage_usd_per_kwh_year: 30}
"""
KWH = 3.6e6


@pytest.fixture(autouse=True)
def _trace(folder):
    """Twenty minutes of requests, some of them long."""
    rng = np.random.default_rng(5)
    times = np.cumsum(rng.exponential(0.6e6, 2000)).astype(int)
    tokens = zip(times, rng.integers(50, 900, 2000), rng.integers(5, 600, 2000), strict=True)
    rows = "".join(f"{at},{prompt},{answer}\n" for at, prompt, answer in tokens)
    (folder / "minutes.csv").write_text(HEAD + rows, encoding="utf-8")


@pytest.fixture
def plan(folder, cli):
    """Plans a scenario of these texts, quietly; gives the outcome."""

    def run(*arguments, trace=TRACE, fleet=FLEET, site=""):
        (folder / "s.yaml").write_text(trace + fleet + site, encoding="utf-8")
        return cli("plan", "s.yaml", "-q", *arguments)

    return run


@pytest.fixture
def planned(plan):
    """The plan as JSON."""

    def run(*arguments, **texts):
        outcome = plan(*arguments, "--json", "-", **texts)
        assert (outcome.code, outcome.err) == (0, ""), outcome.err
        return json.loads(outcome.out)

    return run


def test_the_json_contract(planned):
    found = planned()
    assert found["schema"] == SCHEMA
    assert set(found) == set(PlanResult.__struct_fields__)
    assert found["name"] == "s"
    assert found["horizon_s"] == S_PER_YEAR
    assert found["critical"]["here"]["value"] == pytest.approx(found["demand"]["mean_w"])
    assert found["regime"] is None
    assert found["at_site"] is None
    assert sum(term["share_frac"] for term in found["variance_budget"]) == pytest.approx(1.0)
    assert {chart["name"] for chart in found["charts"]} >= {"v_shape", "growth", "provisioning"}
    assert any("Assumed prices" in note for note in found["notes"])
    assert any("No supply section" in note for note in found["notes"])


def test_nothing_but_tables_on_standard_output(plan):
    outcome = plan()
    assert (outcome.code, outcome.err) == (0, "")
    for words in ("critical supply b*", "Best supply", "square-root law", "Assumed prices"):
        assert words in outcome.out


def test_the_table_the_file_and_the_report_tell_the_same(plan, folder):
    outcome = plan("--json", "r.json", "--out", "report", "--storage-kwh", "0.1")
    assert outcome.code == 0
    assert "index.html" in outcome.out
    result = json.loads((folder / "r.json").read_text())
    assert json.loads((folder / "report" / "result.json").read_text()) == result
    assert {path.stem.replace("-", "_") for path in (folder / "report").glob("*.png")} == {
        chart["name"] for chart in result["charts"]
    }


def test_a_site_gives_supply_and_prices(planned):
    found = planned(site=SITE)
    prices, supply = found["prices"], found["supply"]
    assert prices["auxiliary_usd_per_j"] * KWH == pytest.approx(0.20)
    assert prices["baseline_usd_per_j"] * KWH == pytest.approx(0.10)
    assert prices["waste_usd_per_j"] * KWH == pytest.approx(0.01)
    assert prices["storage_usd_per_j_s"] * KWH * S_PER_YEAR == pytest.approx(30.0)
    assert supply["baseline_w"] == 400.0
    assert supply["store_j"] == pytest.approx(0.8 * 2 * KWH)
    assert supply["charge_efficiency"] == 0.95
    assert supply["charge_limit_w"] == pytest.approx(1000.0)
    assert supply["auxiliary_limit_w"] is None
    assert found["at_site"]["auxiliary"]["rung"] == "lossy_slots"
    assert found["regime"]["scale"] == "store"
    assert not any("Assumed prices" in note for note in found["notes"])
    without = planned()
    fleet_w = without["demand"]["mean_w"]
    assert found["demand"]["mean_w"] == pytest.approx(1.2 * fleet_w + 100.0)


def test_flags_go_before_the_site(planned):
    found = planned(
        "--price-auxiliary", "0.5", "--price-baseline", "0.05", "--price-waste", "0",
        "--price-storage", "10", "--storage-kwh", "4", "--baseline-kw", "0.5",
        site=SITE + "  # end\n",
    )  # fmt: skip
    assert found["prices"]["auxiliary_usd_per_j"] * KWH == pytest.approx(0.5)
    assert found["prices"]["waste_usd_per_j"] == 0
    assert found["supply"]["baseline_w"] == 500.0
    assert found["supply"]["store_j"] == pytest.approx(4 * KWH)
    assert found["supply"]["charge_limit_w"] == pytest.approx(2500.0)


def test_the_price_of_carbon_is_in_the_prices_of_the_site_only(planned):
    site = SITE.replace("price_usd_per_kwh: 0.20", "price_usd_per_kwh: 0.20, carbon_g_per_kwh: 400")
    site = site.replace("waste_usd_per_kwh", "carbon_usd_per_t: 100, waste_usd_per_kwh")
    found = planned(site=site)
    assert found["prices"]["auxiliary_usd_per_j"] * KWH == pytest.approx(0.24)
    assert any("price of carbon" in note for note in found["notes"])
    flag = planned("--price-auxiliary", "0.20", site=site)
    assert flag["prices"]["auxiliary_usd_per_j"] * KWH == pytest.approx(0.20)


def test_a_supply_that_moves_keeps_its_shape(planned):
    site = SITE.replace("{constant_kw: 0.4}", "{pv: shipped:pv/US-CAISO, installed_kw: 2}")
    found = planned("--horizon", "30d", site=site)
    assert len(found["supply"]["series_w"]) == 30 * 24
    assert found["seasons"]["period_s"] == 30 * 86_400
    scaled = planned("--horizon", "30d", "--baseline-kw", "0.9", site=site)
    assert scaled["supply"]["baseline_w"] == 900.0
    assert scaled["supply"]["series_w"] == found["supply"]["series_w"]
    assert "year" in {chart["name"] for chart in found["charts"]}


def recorded(folder, hours):
    """A site whose supply is a file of so many hours."""
    rows = "".join(
        f"2022-06-{1 + hour // 24:02}T{hour % 24:02}:00Z,{1 + hour % 3}\n" for hour in range(hours)
    )
    (folder / "power.csv").write_text("time,power_kw\n" + rows, encoding="utf-8")
    return SITE.replace("{constant_kw: 0.4}", '{power: "file:power.csv?column=power_kw&unit=kw"}')


def test_a_recorded_supply_sets_the_horizon_or_is_too_short_for_it(plan, planned, folder):
    site = recorded(folder, 72)
    found = planned(site=site)
    assert found["horizon_s"] == 72 * 3600
    assert len(found["supply"]["series_w"]) == 72
    assert any("recorded for 3 days" in note for note in found["notes"])
    (folder / "s.yaml").touch()
    plan("--horizon", "4d", site=site).refused("power.csv", "does not cover the run", "259200 s")


def test_a_supply_that_is_shorter_than_the_trace_is_refused(plan, folder):
    (folder / "s.yaml").touch()
    plan(site=recorded(folder, 3)).refused("power.csv", "does not cover the run", "10800 s")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--price-auxiliary", "nan"], ["--price-auxiliary", "a number from 0 up"]),
        (["--price-baseline=-1"], ["--price-baseline", "a number from 0 up"]),
        (["--price-storage", "inf"], ["--price-storage"]),
        (["--storage-kwh=-1"], ["--storage-kwh"]),
        (["--price-waste=-0.1"], ["wasted would pay", "0.08", "-0.1"]),
        (["--price-auxiliary", "0.05", "--price-waste=-0.06"], ["auxiliary energy", "above 0"]),
        (["--horizon", "30"], ["--horizon", "30d"]),
        (["--horizon", "0d"], ["--horizon", "above 0"]),
        (["--sharing", "odd"], ["--sharing", "packed", "even"]),
        (["--parking", "some"], ["--parking", "all"]),
        (["--load", "0"], ["--load", "above 0"]),
        (["--seeds", "2"], ["--seeds", "without --simulate"]),
        (["-p", "least_loaded"], ["--policy", "without --simulate"]),
        (["--simulate", "--seeds", "0"], ["--seeds", "1 to 100"]),
        (["--simulate", "-p", "nobody"], ["nobody", "nearest"]),
        (["--json", "nowhere/r.json"], ["mkdir -p nowhere"]),
        (["--json", "s.yaml"], ["SCENARIO and json are the same file"]),
        (["--out", "tiny.csv"], ["tiny.csv is a file"]),
    ],
)
def test_flags_that_cannot_be_followed_are_refused(plan, folder, arguments, words):
    (folder / "s.yaml").touch()
    plan(*arguments).refused(*words)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ({"site": SITE.replace("c_rate", "colour")}, ["supply.store.colour"]),
        ({"site": SITE.replace("constant_kw", "constant_w")}, ["constant_w", "constant_kw"]),
        ({"site": SITE.replace("slot_s: 60", "slot_s: 0")}, ["supply.slot_s"]),
        ({"site": SITE.replace("0.01", "-0.2")}, ["wasted would pay", "waste_usd_per_kwh"]),
        ({"trace": "trace: {file: minutes.csv, start_s: 90000}\n"}, ["no request arrives"]),
        ({"trace": "trace: {file: none.csv}\n"}, ["trace.file", "none.csv"]),
    ],
)
def test_scenarios_that_cannot_be_planned_are_refused(plan, folder, texts, words):
    (folder / "s.yaml").touch()
    plan(**texts).refused(*words)


def test_an_unknown_scenario_lists_the_nearest(cli):
    cli("plan", "solarsite").refused("solar-site")


def test_the_way_of_sharing_matters(planned):
    packed, even = (planned("--sharing", way)["demand"]["mean_w"] for way in ("packed", "even"))
    assert packed < even


def test_a_run_gives_the_demand_and_the_dots(planned):
    site = SITE.replace("slot_s: 60", "slot_s: 10")
    found = planned("--simulate", "--seeds", "2", site=site)
    run = found["run"]
    assert (run["policy"], run["seeds"], run["requests"]) == ("least_loaded", [0, 1], 4000)
    assert run["covers"] == "the whole trace"
    assert found["demand"]["mean_w"] == pytest.approx(run["mean_w"], rel=1e-9)
    assert found["demand"]["obtained"] == "simulated"
    assert run["mean_w"] == pytest.approx(run["modelled_mean_w"], rel=0.1)
    dots = found["simulated"]
    assert len(dots["baseline_w"]) >= 9
    assert all(error >= 0 for error in dots["auxiliary_error_w"])
    gap = np.array(dots["waste_w"]) - np.array(dots["auxiliary_w"])
    drift = np.array(dots["baseline_w"]) - found["demand"]["mean_w"]
    lossy_w = drift - gap  # what the store loses
    assert (lossy_w > -5).all()
    assert (lossy_w < 0.1 * found["demand"]["mean_w"]).all()
    v = next(chart for chart in found["charts"] if chart["name"] == "v_shape")
    assert len(v["dots"]) == 2
    worth = next(one for one in found["worths"] if one["kind"] == "replica")
    assert 0 < worth["effects"]["mean_demand_w"] < 500


def test_a_policy_that_fails_is_told_as_the_users(plan, folder):
    body = "class My:\n    def choose(self, request, fleet):\n        raise KeyError('z')\n"
    (folder / "mine.py").write_text(body)
    (folder / "s.yaml").touch()
    plan("--simulate", "-p", "mine.py:My").refused("KeyError: 'z'", "mine.py, line 3")


def test_progress_is_on_standard_error(cli, folder):
    (folder / "s.yaml").write_text(TRACE + FLEET)
    outcome = cli("plan", "s.yaml", "--simulate")
    assert outcome.code == 0
    assert "least_loaded, seed 0: 2,000 requests done" in outcome.err


def test_a_generated_trace_is_read_in_part_and_says_so(planned):
    made = "trace: {generate: {mean_rate_per_s: 20, span_s: 2592000}}\n"
    found = planned(trace=made)
    assert found["demand"]["requests_per_s"] == pytest.approx(20, rel=0.02)
    assert found["demand"]["span_s"] == 7 * 86_400
    notes = " ".join(found["notes"])
    assert "7 generated days" in notes
    assert "stands for" in notes


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15min", 900), ("12h", 43_200), ("30d", 2_592_000), ("1y", 31_536_000)],
)
def test_durations(text, seconds):
    assert duration_s(text, flag="--horizon") == seconds
    assert math.isclose(duration_s(f" {text} ", flag="x"), seconds)
