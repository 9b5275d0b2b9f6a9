"""The supply of a site in the report of a simulation: table, plots, page."""

from __future__ import annotations

import math
import re

import msgspec
import pytest
from test_page import read

from baseload.report import supply_figures, supply_plots
from baseload.report.figures import compare
from baseload.report.page import page_html
from baseload.report.plots import drawing, panel_grid
from baseload.report.supply_plots import draw_supply
from baseload.report.supply_section import supply_section
from baseload.report.supply_table import HEADS, cells, supply_parts
from baseload.report.table import table_text
from baseload.simulator.results import SupplyDay, SupplyResult, SupplySeries
from conftest import make_policy, make_simulation

KWH = 3.6e6


def make_supply(scale: float = 1.0, **changes: object) -> SupplyResult:
    """A kilowatt of demand under ``scale`` kilowatts of baseline, for a day."""
    day_j = 24 * KWH
    bought, wasted = max(0.0, 1 - scale) * day_j, max(0.0, scale - 1) * day_j
    sun = [max(0.0, math.sin((hour - 6) / 12 * math.pi)) * 3141.6 * scale for hour in range(24)]
    flat = [1000.0] * 24
    main = scale == 1.0
    fields: dict[str, object] = {
        "scale": scale,
        "baseline_w": 1000.0 * scale,
        "demand_w": 1000.0,
        "baseline_over_demand": scale,
        "demand_j": day_j,
        "baseline_j": scale * day_j,
        "baseline_used_j": scale * day_j - wasted,
        "auxiliary_j": bought + KWH,
        "waste_j": wasted + 0.5 * KWH,
        "unserved_j": 0.0,
        "store_change_j": 0.0,
        "leak_j": 0.1 * KWH,
        "loss_j": 0.4 * KWH,
        "peak_w": 800.0,
        "equivalent_cycles": 0.8,
        "carbon_kg": 1.5,
        "carbon_missing": ["baseline"],
        "marginal_carbon_kg": None,
        "total_cost_usd": 2.5,
        "cost_usd": {"baseline_usd": 1.9, "energy_usd": 0.8, "waste_usd": -0.2},
        "cost_missing": ["wear_usd"],
        "balance_residual_frac": 1e-16,
        "regime": "critical",
        "criticality": 0.2,
        "interval": {},
        "series": SupplySeries(
            t_s=[3600.0 * hour for hour in range(24)], baseline_w=sun, demand_w=flat,
            auxiliary_w=flat, waste_w=flat, unserved_w=[0.0] * 24, level_j=[KWH] * 24,
        ) if main else None,
        "day": SupplyDay(
            baseline_w=sun, demand_w=flat, auxiliary_w=flat, waste_w=flat, level_j=[KWH] * 24
        ) if main else None,
    }  # fmt: skip
    return SupplyResult(**{**fields, **changes})  # type: ignore[arg-type]


def make_site(*supplies: SupplyResult, policies: int = 2):
    """A simulation whose policies are fed by a site."""
    made = [
        msgspec.structs.replace(make_policy(f"policy-{at}", seed=at), supply=list(supplies))
        for at in range(policies)
    ]
    return make_simulation(made)


SCALES = tuple(make_supply(scale) for scale in (0.8, 1.0, 1.2))
BARE = make_supply(
    1.0, total_cost_usd=None, cost_usd={}, carbon_kg=None, regime=None, criticality=None,
    series=None, day=None, baseline_over_demand=None,
)  # fmt: skip
SITES = {
    "scales": make_site(*SCALES),
    "one-scale": make_site(SCALES[1]),
    "one-policy": make_site(*SCALES, policies=1),
    "bare": make_site(BARE),
    "bare-scales": make_site(BARE, msgspec.structs.replace(BARE, scale=2.0)),
    "many": make_site(*SCALES, policies=9),
}


@pytest.fixture(params=sorted(SITES))
def site(request):
    return SITES[request.param]


def test_without_a_site_nothing_is_said():
    simulation = make_simulation()
    assert supply_parts(compare(simulation)) == []
    assert supply_section(compare(simulation)) == ""
    assert draw_supply(compare(simulation), None) == []


def test_the_table_has_a_row_for_each_policy_and_scale():
    text = table_text(SITES["scales"])
    rows = re.findall(r"^(?:policy-\d)?\s+(0\.8|1|1\.2) ", text, re.MULTILINE)
    assert rows == ["0.8", "1", "1.2"] * 2
    assert "The total cost leaves out what has no price: wear of the store." in text
    assert "The carbon leaves out what has no intensity: baseline." in text
    assert "critical" in text
    assert len(cells(SCALES[0])) == len(HEADS) - 1
    assert cells(SCALES[1])[2:4] == ("1.00", "0.500")
    assert cells(SCALES[1])[8] == "2.50*"


def test_every_plot_is_written(tmp_path):
    names = {path.name for path in draw_supply(compare(SITES["scales"]), tmp_path)}
    drawn = {"supply-v.png", "supply-day.png", "supply-run.png", "supply-cost.png"}
    assert names == {path.name for path in tmp_path.iterdir()} == drawn


@pytest.mark.slow
def test_every_report_copes(site):
    assert "None" not in table_text(site)
    page = supply_section(compare(site))
    reader = read(page)
    assert len(reader.ids) == len(set(reader.ids))
    words = " ".join(reader.text)
    assert "What the site's supply did" in words
    assert not re.search(r"\b(None|nan)\b", words)


def test_the_page_of_a_simulation_has_it():
    assert "What the site's supply did" in " ".join(read(page_html(SITES["one-policy"])).text)


def test_what_is_drawn_where():
    def names(simulation):
        comparison = compare(simulation)
        return (
            supply_plots.has_scales(comparison),
            supply_plots.has_day(comparison),
            supply_plots.has_bill(comparison),
        )

    assert names(SITES["scales"]) == (True, True, True)
    assert names(SITES["one-scale"]) == (False, True, True)
    assert names(SITES["bare"]) == (False, False, False)


def test_the_v_marks_the_critical_point():
    comparison = compare(SITES["scales"])
    with drawing():
        _, grid = panel_grid(2)
        supply_plots.v_panels(comparison)[0](grid[0])
    assert [text.get_text() for text in grid[0].texts] == ["critical"]
    sums = grid[0].lines[2].get_ydata()
    assert list(sums) == pytest.approx([6.3, 1.5, 6.3])


def test_two_policies_are_shown_the_baseline_and_the_cheapest():
    made = [
        msgspec.structs.replace(
            make_policy(f"policy-{at}", seed=at), supply=[make_supply(1.0, total_cost_usd=cost)]
        )
        for at, cost in enumerate((3.0, 2.0, 1.0))
    ]
    comparison = compare(make_simulation(made))
    assert [row.label for row in supply_figures.shown(comparison)] == ["policy-0", "policy-2"]
    assert "$1" in supply_figures.supply_sentence(comparison)
