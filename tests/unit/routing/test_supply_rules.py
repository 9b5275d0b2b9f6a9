"""Rules of joule prices: ends and slope of a price, who may answer, what none may do."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from outlooks import answers, outlook

from baseload.routing.position import NODES
from baseload.routing.slow import SUPPLY_KNOBS, SupplyRule
from baseload.routing.supply_rules import rule_of

RULES = tuple(name for name in get_args(SupplyRule) if name != "none")
PRICED = ("full_jump", "taylor", "mean_only", "lyapunov")
CU, CW = 1e-6, 1e-7


def orders(name, look, **knobs):
    return rule_of(name, SUPPLY_KNOBS.get(name, {}) | knobs).orders(look)


def each_j(found, look):
    """The price of a joule of each answer at each level."""
    return found.scores / look.answers.mean_j[..., None]


LOOKS = {
    "average": {},
    "day": {"sun": 1.0},
    "night": {"sun": 1.0, "hour": 18},
    "poor": {"net_w": np.full(24, 20.0), "usual_net_w": np.full(24, 20.0)},
    "in the red": {"net_w": np.full(24, -50.0), "usual_net_w": np.full(24, -50.0)},
    "rich": {"net_w": np.full(24, 300.0), "usual_net_w": np.full(24, 300.0)},
    "first day": {"seen_day": False},
    "nobody comes": {"rate_per_s": np.zeros((24, 2))},
    "three answers": {"capacity_j": 1500.0, "level_j": 0.0},
    "part of an answer": {"capacity_j": 100.0, "level_j": 50.0},
    "part of an answer by day": {"capacity_j": 100.0, "level_j": 50.0, "sun": 1.0},
    "no store": {"capacity_j": 0.0, "level_j": 0.0},
    "no chance": {"variance_j2_per_s": 0.0},
}


def look_of(name, **changes):
    return outlook(**(LOOKS[name] | changes))


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_orders_can_always_be_carried_out(name, look):
    """Finite scores at every level, options that exist, the same twice, nothing shown changed."""
    shown = look_of(look)
    before = repr(shown)
    found = orders(name, shown)
    assert found.scores.shape == (2, 3, NODES)
    assert np.isfinite(found.scores).all()
    assert ((found.only >= -1) & (found.only < 3)).all()
    again = orders(name, look_of(look))
    assert found.scores.tobytes() == again.scores.tobytes()
    assert found.only.tolist() == again.only.tolist()
    assert repr(shown) == before
    price = each_j(found, shown)
    if name != "taylor":  # the expansion goes beyond what a joule can cost
        assert price.max() <= CU * (1.0 + 1e-9)
        assert price.min() >= -CW * (1.0 + 1e-9)


@pytest.mark.parametrize("name", PRICED)
@pytest.mark.parametrize("look", ["average", "no chance", "first day"])
def test_an_empty_store_asks_for_auxiliary_energy_a_full_one_for_none(name, look):
    shown = look_of(look)
    price = each_j(orders(name, shown), shown)[0, 2]
    if name == "taylor":  # the expansion goes beyond what a joule can cost
        assert price[0] >= CU
    else:
        assert price[0] == pytest.approx(CU, rel=1e-3)
    assert price[-1] < 0.0
    noise = 1e-3 * CU
    assert (np.diff(price) <= noise).all()


def test_with_a_surplus_ahead_a_full_store_pays_for_demand():
    shown = look_of("rich")
    price = each_j(orders("full_jump", shown), shown)[0, 2]
    assert price[-1] == pytest.approx(-CW, rel=0.05)
    poor = look_of("poor")
    assert each_j(orders("full_jump", poor), poor)[0, 2, 0] == pytest.approx(CU, rel=1e-2)


def test_without_a_store_the_hour_decides():
    short = outlook(capacity_j=0.0, net_w=np.full(24, 10.0), usual_net_w=np.full(24, 10.0))
    rich = outlook(capacity_j=0.0, net_w=np.full(24, 900.0), usual_net_w=np.full(24, 900.0))
    even = outlook(capacity_j=0.0)
    for name in ("full_jump", "taylor", "mean_only"):
        assert each_j(orders(name, short), short) == pytest.approx(CU)
        assert each_j(orders(name, rich), rich) == pytest.approx(-CW)
        assert each_j(orders(name, even), even) == pytest.approx(0.5 * (CU - CW))
    sunny = outlook(capacity_j=0.0, sun=1.0)
    here = sunny.prices_without_store()
    assert here.min() == pytest.approx(-CW)
    assert here.max() == pytest.approx(CU)
    static = each_j(orders("static", sunny), sunny)
    assert static == pytest.approx(here.mean())


def test_the_full_jump_score_is_the_expansion_where_answers_are_small():
    shown = outlook(capacity_j=1e8, level_j=5e7, variance_j2_per_s=1e6)
    full, taylor = (orders(name, shown).scores for name in ("full_jump", "taylor"))
    inside = slice(32, -32)  # an answer from the ends the price bends within it
    assert np.allclose(full[..., inside], taylor[..., inside], rtol=0.0, atol=2e-4 * full.max())


def test_only_the_expansion_with_variance_asks_more_for_an_uncertain_answer():
    shown = outlook(capacity_j=5e5)
    wild = shown._replace(answers=answers()._replace(square_j2=5.0 * answers().mean_j ** 2))
    middle = NODES // 2
    for name, dearer in (("taylor", True), ("mean_only", False)):
        calm, spread = (each_j(orders(name, one), one)[0, 0, middle] for one in (shown, wild))
        per_joule = each_j(orders(name, wild), wild)[0, :, middle]
        assert (per_joule[0] > per_joule[2] + 1e-12) == dearer, (calm, spread)


def test_no_score_goes_beyond_the_prices_however_large_the_store():
    """Above 300 answers the expansion stood in for full jumps: at the empty end of a store that a
    surplus would soon fill it asked 18 times the price of auxiliary energy.
    """
    shown = look_of("rich", capacity_j=1e7)
    price = each_j(orders("full_jump", shown), shown)
    assert price.max() == pytest.approx(CU)
    assert price[..., 0] == pytest.approx(CU)
    huge = look_of("rich", capacity_j=1e12)
    assert abs(each_j(orders("full_jump", huge), huge)).max() <= CU * (1.0 + 1e-9)


def test_static_takes_options_in_turn_by_its_shares():
    shown = outlook()
    rule = rule_of("static", SUPPLY_KNOBS["static"])
    taken = np.zeros((2, 3))
    for _ in range(400):
        found = rule.orders(shown)
        taken[np.arange(2), found.only] += 1
    from baseload.theory.static_routing import static_optimum

    shares = static_optimum(shown.average(), shown.capacity_j).shares
    assert np.allclose(taken / 400, shares, atol=1 / 100)


def test_static_may_be_a_constant_price():
    shown = outlook()
    found = orders("static", shown, price_frac=0.4)
    assert (found.only == -1).all()
    assert each_j(found, shown) == pytest.approx(0.4 * CU)


@pytest.mark.parametrize(
    ("fill", "threshold", "green"),
    [(0.0, 2, 2), (0.1, 2, 2), (0.29, 2, 2), (0.5, 1, 0), (0.95, 0, 0), (1.0, 0, 0)],
)
def test_thresholds_take_the_frugal_below_and_the_able_above(fill, threshold, green):
    shown = outlook(level_j=fill * 2e6)
    assert orders("battery_threshold", shown).only.tolist() == [threshold] * 2
    assert orders("greedy_green", shown).only.tolist() == [green] * 2


def test_options_that_are_not_to_be_had_are_never_ordered():
    """The ablest and the most frugal option are barred for the first class."""
    shown = outlook()
    cost = shown.answers.cost_usd.copy()
    cost[0, [0, 2]] = np.inf
    mean_j = shown.answers.mean_j.copy()
    mean_j[0, [0, 2]] = 0.0
    there = shown.answers._replace(cost_usd=cost, mean_j=mean_j)
    for level in (0.0, 1e6, 2e6):
        barred = shown._replace(answers=there, level_j=level)
        for name in RULES:
            found = orders(name, barred)
            assert found.only[0] in (-1, 1), name
            assert np.isfinite(found.scores).all(), name
    assert barred.reference_w() == pytest.approx(0.05 * (300.0 + 1000.0))
    assert barred.mean_job_j() == pytest.approx(0.5 * (300.0 + 460.0))


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("look", ["average", "day", "three answers", "no store", "first day"])
def test_doubled_joules_at_half_their_price_change_nothing(name, look):
    """Law 7: scores in dollars stay as they are, level by level."""
    shown = look_of(look)
    doubled = look_of(look, scale=2.0, price=0.5)
    one, two = orders(name, shown), orders(name, doubled)
    assert one.only.tolist() == two.only.tolist()
    scale = np.abs(one.scores).max()
    assert np.allclose(one.scores, two.scores, rtol=1e-6, atol=1e-6 * scale)
