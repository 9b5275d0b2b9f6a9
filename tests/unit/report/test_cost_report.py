"""What a site with values pays: who cost least, the table of the parts, the page."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_page import read
from test_supply_report import make_supply

from baseload.report import supply_plots
from baseload.report.cost_section import cost_section
from baseload.report.cost_table import PART_HEADS
from baseload.report.costs import cost_sentence, difference, has_values
from baseload.report.figures import compare
from baseload.report.plots import drawing, panel_grid
from baseload.report.supply_figures import COST_WORDS
from baseload.report.table import table_text
from conftest import make_policy, make_simulation

PARTS = {"baseline_usd": 19.5, "energy_usd": 5.8, "carbon_usd": 1.6, "wear_usd": 6.8}


def priced(name, by_seed, *, wrong_usd=10.0, **changes):
    """A policy at a site whose cost differs by seed."""
    total = sum(by_seed) / len(by_seed)
    parts = {**PARTS, "wrong_usd": wrong_usd, "miss_usd": total - sum(PARTS.values()) - wrong_usd}
    span = {"total_cost_usd": [min(by_seed), max(by_seed)]} if len(by_seed) > 1 else {}
    fields = {
        "supply": [make_supply(1.0, total_cost_usd=total, cost_usd=parts, interval=span)],
        "total_cost_usd": total,
        "cost_usd": parts,
        "auxiliary_j": 19.4 * 3.6e6,
        "waste_j": 44.7 * 3.6e6,
        "quality_frac": 0.756,
        "total_cost_usd_by_seed": list(by_seed),
    }
    return msgspec.structs.replace(make_policy(name), **(fields | changes))


def site_of(*policies):
    seeds = len(policies[0].total_cost_usd_by_seed)
    return make_simulation(list(policies), seeds=list(range(seeds)))


CLEAR = site_of(
    priced("best_static", [88.0, 90.0, 92.0]),
    priced("variance_aware", [84.1, 86.0, 87.9]),
    priced("battery_threshold", [90.1, 92.0, 93.9]),
)
TIED = site_of(priced("one", [88.0, 90.0, 92.0]), priced("two", [90.0, 88.0, 91.0]))


def test_differences_are_paired():
    """Seeds differ by far more than the policies: taken seed by seed, the difference is clear."""
    ours, static = CLEAR.policies[1], CLEAR.policies[0]
    found = difference(ours, static)
    assert found.usd == pytest.approx(-4.0)
    assert found.frac == pytest.approx(-4.0 / 90.0)
    low, high = found.interval_usd
    assert low < -4.0 < high < 0
    assert high - low < 1.0
    assert not found.is_tie


@given(st.lists(st.floats(1.0, 1e3), min_size=2, max_size=6), st.floats(-50.0, 50.0))
def test_a_difference_turns_its_sign_with_its_order(costs, shift):
    one, other = priced("a", costs), priced("b", [cost + shift + 60.0 for cost in costs])
    there, back = difference(one, other), difference(other, one)
    assert there.usd == pytest.approx(-back.usd)
    low, high = there.interval_usd
    assert (-high, -low) == pytest.approx(back.interval_usd, abs=1e-9)
    assert low - 1e-9 <= there.usd <= high + 1e-9


def test_who_cost_least():
    said = cost_sentence(compare(CLEAR))
    assert said.startswith("variance_aware cost least, $86.")
    assert "The next, best_static, cost $4 more (4.7 %, 95 % interval" in said
    assert "One seed" not in said


def test_the_baseline_is_told_where_it_is_not_the_next():
    said = cost_sentence(compare(CLEAR, baseline="battery_threshold"))
    assert "best_static, cost $4 more" in said
    assert "battery_threshold cost $6 more" in said


def test_a_tie_is_a_tie():
    said = cost_sentence(compare(TIED))
    assert said.startswith("No one cost least: two")
    assert "ties with one" in said


def test_one_seed_knows_nothing_of_chance():
    single = site_of(priced("one", [90.0]), priced("two", [80.0]))
    assert "One seed: what is chance in that is not known." in cost_sentence(compare(single))
    assert difference(*single.policies).interval_usd is None


def test_one_policy_is_compared_with_nobody():
    alone = site_of(priced("one", [90.0]))
    assert cost_sentence(compare(alone)) == ""
    assert "wrong" in table_text(alone)


def test_a_cost_that_earns_has_no_share():
    found = difference(priced("one", [4.0]), priced("two", [-3.0]))
    assert (found.usd, found.frac) == (7.0, None)
    said = cost_sentence(compare(site_of(priced("one", [4.0]), priced("two", [-3.0]))))
    assert "cost $7 more." in said


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_the_table_keeps_to_its_width_and_loses_no_number(width):
    long = priced("a-policy-with-a-long-name", [123_456.7, 123_999.0, 124_000.0])
    every = msgspec.structs.replace(
        long, cost_usd=dict.fromkeys(PART_HEADS, 12_345.6), auxiliary_j=3.6e12
    )
    text = table_text(site_of(*CLEAR.policies, every), width=width)
    assert max(map(len, text.splitlines())) <= max(width, 0)
    assert text.count("12,346") == len(PART_HEADS)
    for figure in ("-4.4 ±", "1,000,000", "44.7", "75.6"):
        assert figure in text


def test_the_table_stands_where_answers_have_values_only():
    assert "cost " in table_text(CLEAR)
    bare = [
        msgspec.structs.replace(policy, cost_usd=PARTS, total_cost_usd=33.7)
        for policy in CLEAR.policies
    ]
    assert not has_values(compare(make_simulation(bare)))
    assert "cost least" not in table_text(make_simulation(bare))
    assert cost_section(compare(make_simulation())) == ""


def test_parts_have_words_everywhere():
    assert set(PART_HEADS) == set(COST_WORDS)


def test_the_page_has_the_table():
    text = " ".join(read(cost_section(compare(CLEAR))).text)
    assert "What each policy cost the site" in text
    assert "variance_aware cost least" in text
    assert "-4.4 ±" in text


def test_a_part_of_the_table_that_one_policy_lacks_is_missing_there():
    other = priced("two", [90.0], cost_usd={**PARTS, "wrong_usd": 3.0})
    text = table_text(site_of(priced("one", [90.0]), other))
    row = next(line for line in text.splitlines() if line.startswith("two") and "19.5" in line)
    assert " - " in row


def test_the_bill_shows_the_interval_of_the_total():
    with drawing():
        _, grid = panel_grid(1)
        supply_plots.bill_panel(compare(CLEAR))(grid[0])
    spans = [list(line.get_xdata()) for line in grid[0].lines]
    assert spans[0] == [88.0, 92.0]
    assert len(spans) == 3
