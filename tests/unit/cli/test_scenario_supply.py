"""The supply section of scenario files: each field checked where it stands, units converted."""

from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest

from baseload.base.errors import BadInputError, UnknownNameError
from baseload.cli.main import main
from baseload.cli.scenario_file import Overrides, load_scenario
from baseload.routing.policies import POLICIES
from baseload.simulator.hands import looks, names_that_can
from baseload.supply.tariff import TimeOfUsePrice

HEAD = """\
trace: {generate: {requests: 50, span_s: 7200}}
fleet:
  - {device: H100-SXM-80GB, model: Qwen/Qwen3-14B, replicas: 1}
supply:
"""


@pytest.fixture
def site(folder):
    """The site of a file whose supply section is given."""

    def read(section, **overrides):
        (folder / "site.yaml").write_text(HEAD + section, encoding="utf-8")
        asked = Overrides(**overrides)
        supplied = load_scenario("site.yaml", overrides=asked).supplied
        assert supplied is not None
        return supplied.site

    return read


def test_units_are_converted_at_the_door(site):
    found = site(
        """\
  start: 2024-03-01T06:00Z
  slot_s: 300
  pue: 1.3
  overhead_kw: 0.25
  baseline: [{constant_kw: 1.5}, {constant_kw: 0.5}]
  store: {capacity_kwh: 10, c_rate: 0.25, soc_min_frac: 0.2, soc_max_frac: 0.8,
    leak_frac_per_month: 0, replacement_usd_per_kwh: 360, full_cycles: 5000}
  auxiliary: {limit_kw: 3, price_usd_per_kwh: 0.36, carbon_g_per_kwh: 360,
    demand_usd_per_kw_month: 10, fixed_usd_per_month: 5}
  prices: {baseline_usd_per_kwh: 0.072, waste_usd_per_kwh: -0.036, unserved_usd_per_kwh: 3.6,
    carbon_usd_per_t: 100}
"""
    )
    assert found.baseline.mean_w() == 2000.0
    assert (found.slot_s, found.pue, found.overhead_w) == (300.0, 1.3, 250.0)
    assert found.start_unix_s == 1709272800.0
    assert found.store.usable_j == pytest.approx(0.6 * 3.6e7)
    assert found.store.charge_limit_w == pytest.approx(2500.0)
    assert found.store.leak_per_s == 0.0
    life_j = 2 * 5000 * 0.6 * 3.6e7
    assert found.store.wear_usd_per_j == pytest.approx(3600.0 / life_j)
    assert set(found.store.assumed) == {"charge_efficiency", "discharge_efficiency"}
    assert found.auxiliary_limit_w == 3000.0
    assert found.tariff.demand.usd_per_w == pytest.approx(0.01)
    assert found.baseline_usd_per_j == pytest.approx(2e-8)
    assert found.waste_usd_per_j == pytest.approx(-1e-8)
    assert found.unserved_usd_per_j == pytest.approx(1e-6)
    assert found.carbon_usd_per_g == pytest.approx(1e-4)
    assert found.auxiliary_carbon.intensity_g_per_j[0] == pytest.approx(1e-4)


def test_what_is_left_out_is_not_known(site):
    found = site("  baseline: [{constant_kw: 1}]\n")
    assert found.store.usable_j == 0.0
    assert math.isinf(found.auxiliary_limit_w)
    assert found.tariff is None
    assert found.baseline_usd_per_j is None
    assert found.auxiliary_carbon is None


def test_sun_follows_the_clock_of_the_place(folder):
    """Second 0 is 8 in the morning of a June day in California: noon is four hours later."""
    text = HEAD.replace("7200", "86400") + (
        "  start: 2022-06-21T16:00Z\n  baseline: [{pv: shipped:pv/US-CAISO, installed_kw: 10}]\n"
    )
    (folder / "june.yaml").write_text(text, encoding="utf-8")
    source = load_scenario("june.yaml").supplied.site.baseline
    power = source.power_w(np.arange(0, 86401, 3600.0), None)
    assert 3 <= int(np.argmax(power)) <= 6
    assert power[13:19].max() == 0.0
    assert 4000 < power.max() < 8400


def test_a_year_of_sun_is_the_year_of_the_series(folder):
    text = HEAD.replace("7200", "31536000") + (
        "  baseline: [{pv: shipped:pv/US-CAISO, installed_kw: 1}]\n"
    )
    (folder / "year.yaml").write_text(text, encoding="utf-8")
    source = load_scenario("year.yaml").supplied.site.baseline
    power = source.power_w(np.arange(0, 31536001, 86400.0), None)
    assert power.mean() == pytest.approx(196.0, rel=0.01)


def test_a_daily_profile_runs_by_local_time(site):
    hours = ", ".join(str(hour) for hour in range(24))
    text = f"  start: 2022-01-01T10:00Z\n  baseline: [{{hourly_kw: [{hours}], utc_offset_h: -7}}]\n"
    power = site(text).baseline.power_w(np.array([0.0, 3600.0, 7200.0]), None)
    assert power.tolist() == [3000.0, 4000.0]


def test_random_sources_have_their_law(site):
    text = """\
  baseline:
    - {wandering: {mean_kw: 2, deviation_kw: 0.5, time_s: 600}}
    - {states: {kw: [0, 6], per_hour: [[-1, 1], [2, -2]]}}
"""
    found = site(text).baseline
    assert found.mean_w() == pytest.approx(2000.0 + 2000.0)
    theirs = 2 * 500.0**2 * 600
    states = 2 * (1 / 3) * (2 / 3) * 6000.0**2 / (3 / 3600)
    assert found.variance_rate_j2_per_s() == pytest.approx(theirs + states)


def test_windows_and_recorded_prices(site, folder):
    found = site(
        """\
  baseline: [{constant_kw: 1}]
  auxiliary:
    price_usd_per_kwh: 0.2
    windows: [{usd_per_kwh: 0.5, from_hour: 17, to_hour: 21, days: weekdays}]
    utc_offset_h: -8
"""
    )
    assert isinstance(found.tariff.energy, TimeOfUsePrice)
    assert found.tariff.energy.utc_offset_s == -28800.0
    spot = site(
        """\
  start: 2024-05-01T00:00Z
  baseline: [{constant_kw: 1}]
  auxiliary: {price: shipped:price/DE-LU-2024, usd_per_eur: 1.1, adder_usd_per_kwh: 0.05}
"""
    )
    mean = spot.tariff.energy.slot_usd_per_j(np.array([0.0, 3600.0]), start_unix_s=1714521600.0)
    assert 0.0 < mean[0] * 3.6e6 < 0.5


def test_a_power_of_your_own_is_read_from_a_file(site, folder):
    times = [f"2022-01-01T{hour:02d}:00:00Z" for hour in range(3)]
    pl.DataFrame({"timestamp_utc": times, "roof_kw": [1.0, 2.0, 3.0]}).write_csv(
        folder / "roof.csv"
    )
    found = site("  baseline: [{power: 'file:roof.csv'}]\n")
    assert found.baseline.power_w(np.array([0.0, 3600.0, 7200.0]), None).tolist() == [1000, 2000]


def test_a_series_that_is_too_short_names_both_lengths(site, folder):
    pl.DataFrame(
        {"timestamp_utc": ["2022-01-01T00:00:00Z", "2022-01-01T00:30:00Z"], "roof_kw": [1.0, 2.0]}
    ).write_csv(folder / "roof.csv")
    with pytest.raises(BadInputError, match=r"supply\.baseline\[0\]\.power") as caught:
        site("  baseline: [{power: 'file:roof.csv'}]\n")
    assert "2022-01-01T01:00" in str(caught.value)
    assert "2022-01-01T02:00" in str(caught.value)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("  baseline: []\n", ["supply.baseline", "one source"]),
        ("  baseline: [{}]\n", ["supply.baseline[0]", "one of constant_kw"]),
        ("  baseline: [{constant_kw: 1, pv: 'x'}]\n", ["constant_kw, pv"]),
        ("  baseline: [{constant_kw: -1}]\n", ["supply.baseline[0].constant_kw"]),
        ("  baseline: [{constant_kw: 1, installed_kw: 1}]\n", ["installed_kw", "only with pv"]),
        ("  baseline: [{pv: 'shipped:pv/US-CAISO'}]\n", ["installed_kw", "capacity factor"]),
        ("  baseline: [{constant_w: 1}]\n", ["supply.baseline[0].constant_w", "constant_kw"]),
        ("  baseline: [{hourly_kw: [1, 2]}]\n", ["24 values"]),
        (
            "  baseline: [{pv: 'shipped:carbon/US-CAISO-2022', installed_kw: 1}]\n",
            ["average in g_per_kwh", "frac"],
        ),
        (
            "  baseline: [{pv: 'electricity-maps:DE?token=env:T', installed_kw: 1}]\n",
            ["a live service", "shipped:NAME"],
        ),
        ("  baseline: [{constant_kw: 1}]\n  slot_s: 0\n", ["supply.slot_s"]),
        ("  baseline: [{constant_kw: 1}]\n  pue: 0.9\n", ["supply.pue"]),
        ("  baseline: [{constant_kw: 1}]\n  start: monday\n", ["supply.start"]),
        ("  baseline: [{constant_kw: 1}]\n  store: {capacity_kwh: -1}\n", ["capacity_kwh"]),
        (
            "  baseline: [{constant_kw: 1}]\n  store: {capacity_kwh: 1, charge_efficiency: 95}\n",
            ["charge_efficiency"],
        ),
        (
            "  baseline: [{constant_kw: 1}]\n  auxiliary: {price_usd_per_kwh: 1, price: x}\n",
            ["one of them"],
        ),
        (
            "  baseline: [{constant_kw: 1}]\n  auxiliary: {fixed_usd_per_month: 1}\n",
            ["fees without a price"],
        ),
        (
            "  baseline: [{constant_kw: 1}]\n  start: 2024-01-01T00:00Z\n"
            "  auxiliary: {price: 'shipped:price/DE-LU-2024'}\n",
            ["usd_per_eur", "dollars per eur"],
        ),
        (
            "  baseline: [{constant_kw: 1}]\n  prices: {carbon_usd_per_t: 100}\n",
            ["carbon_usd_per_g", "auxiliary_carbon"],
        ),
        (
            "  baseline: [{constant_kw: 1}]\n"
            "  auxiliary: {marginal_carbon: 'shipped:carbon/US-CAISO-2022'}\n",
            ["marginal"],
        ),
    ],
)
def test_a_mistake_names_its_field(site, section, words):
    with pytest.raises(BadInputError) as caught:
        site(section)
    for word in words:
        assert word in str(caught.value), word


def test_an_unknown_series_lists_the_nearest(site):
    with pytest.raises(UnknownNameError, match="pv/US-CAISO"):
        site("  baseline: [{pv: 'shipped:pv/US-CASIO', installed_kw: 1}]\n")


def test_scales_need_a_site(cli):
    cli("simulate", "azure-chat", "--supply-scale", "1,2").refused("--supply-scale", "solar-site")
    cli("simulate", "azure-chat", "--supply-scale", "a").refused("separated by commas")
    cli("simulate", "azure-chat", "--slots", "x.parquet").refused("--slots", "solar-site")
    cli("simulate", "solar-site", "--slots", "-").refused("Parquet is not text")


def test_the_dispatch_needs_a_site_and_gets_its_line(cli, folder):
    cli("simulate", "azure-chat", "--dispatch").refused("without a supply")
    (folder / "site.yaml").write_text(
        HEAD + "  slot_s: 600\n  baseline: [{constant_kw: 0.01}]\n  store: {capacity_kwh: 0.1}\n"
        "  auxiliary: {price_usd_per_kwh: 0.3}\n",
        encoding="utf-8",
    )
    arguments = ["-p", "least_loaded", "-p", "energy_greedy", "-q"]
    shown = cli("simulate", "site.yaml", *arguments, "--dispatch")
    assert shown.code == 0, shown.err
    assert "clairvoyant dispatch: no schedule costs less than $" in " ".join(shown.out.split())
    assert "energy_greedy 1" in " ".join(shown.out.split("clairvoyant dispatch")[1].split())
    assert "clairvoyant" not in cli("simulate", "site.yaml", *arguments).out
    apart = cli(
        "simulate", "site.yaml", *arguments, "--dispatch", "--jobs", "2", "--json", "apart.json"
    )
    assert apart.code == 0, apart.err
    here = cli("simulate", "site.yaml", *arguments, "--dispatch", "--json", "here.json")
    assert here.code == 0, here.err
    found, other = (json.loads((folder / f"{name}.json").read_text()) for name in ("apart", "here"))
    assert found["dispatch"] == other["dispatch"]
    assert [one["cost_over_dispatch"] for one in found["policies"]] == [
        one["cost_over_dispatch"] for one in other["policies"]
    ]


def test_slots_are_written_for_every_policy_seed_and_scale(cli, folder):
    (folder / "site.yaml").write_text(
        HEAD + "  slot_s: 600\n  baseline: [{constant_kw: 0.3}]\n  store: {capacity_kwh: 0.1}\n",
        encoding="utf-8",
    )
    arguments = ["-p", "least_loaded", "-p", "round_robin", "--seeds", "2", "-q"]
    made = cli(
        "simulate", "site.yaml", *arguments, "--supply-scale", "0.5,1", "--slots", "s.parquet"
    )
    assert made.code == 0, made.err
    table = pl.read_parquet(folder / "s.parquet")
    runs = table.group_by("policy", "seed", "scale").agg(
        pl.len().alias("slots"), pl.col("length_s").sum()
    )
    assert len(runs) == 8
    assert runs["slots"].min() >= 12
    assert table.columns[-1] == "capacity_j"
    assert table["capacity_j"].unique().to_list() == [pytest.approx(0.8 * 0.1 * 3.6e6)]
    balance = table.select(
        pl.col("baseline_j")
        + pl.col("auxiliary_j")
        - pl.col("demand_j")
        + pl.col("unserved_j")
        - pl.col("waste_j")
        - pl.col("charged_j")
        + pl.col("discharged_j")
    ).to_series()
    assert balance.abs().max() < 1e-6 * table["demand_j"].max()
    cli("simulate", "site.yaml", "--slots", "t.parquet", "--jobs", "2").refused("--jobs", "--slots")


PRICED = "  baseline: [{constant_kw: 1}]\n  store: {capacity_kwh: 1}\n"


@pytest.mark.parametrize(
    ("section", "said"),
    [
        (PRICED, "supply.auxiliary.price_usd_per_kwh"),
        (PRICED + "  auxiliary: {limit_kw: 0}\n", "supply.prices.unserved_usd_per_kwh"),
        (
            PRICED + "  auxiliary: {price_usd_per_kwh: 0.1}\n  prices: {waste_usd_per_kwh: -0.2}\n",
            "supply.prices.waste_usd_per_kwh",
        ),
    ],
)
def test_prices_with_nothing_to_weigh_end_with_a_message(folder, capsys, section, said):
    """Exit code 2, the field and what to do, before any policy has run."""
    (folder / "site.yaml").write_text(HEAD + section, encoding="utf-8")
    arguments = ["simulate", "site.yaml", "-p", "least_loaded", "-p", "variance_aware", "--quiet"]
    assert main(arguments) == 2
    said_all = " ".join(capsys.readouterr().err.split())
    assert said in said_all
    assert "Traceback" not in said_all
    made = load_scenario("site.yaml")
    able = names_that_can(made, POLICIES.values())
    assert set(POLICIES) - set(able) == {n for n, p in POLICIES.items() if looks(p)}


def test_a_floor_is_checked_where_the_file_is_read(folder):
    tiers = "tiers: [{name: all, classes: [chat, rag, batch], right_floor: 0.9}]\n"
    text = HEAD.removesuffix("supply:\n") + tiers
    path = folder / "floor.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInputError, match=r"tiers\[0\].right_floor"):
        load_scenario("floor.yaml")
    path.write_text(text + "options: [{name: one, right_frac: 0.8}]\n", encoding="utf-8")
    with pytest.raises(BadInputError, match=r"the best option, one, is right in 0\.8"):
        load_scenario("floor.yaml")
    path.write_text(text + "options: [{name: one, right_frac: 0.95}]\n", encoding="utf-8")
    assert load_scenario("floor.yaml").tiers[0].right_floor == 0.9
