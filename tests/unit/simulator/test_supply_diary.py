"""The diary of joule prices: sums of slots by hour, level and day."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_scenarios import made_scenario, made_trace

from baseload.routing.policies import policy
from baseload.routing.position import NODES
from baseload.routing.supply_rules import METHODS
from baseload.simulator.choices import Choice
from baseload.simulator.run import simulate
from baseload.simulator.supplied import Supplied
from baseload.simulator.supply_diary import (
    CURVE_LEVELS,
    STRETCH_HOURS,
    DiaryKeeper,
    SlotNote,
)
from baseload.supply.baseline import Constant
from baseload.supply.site import Site
from baseload.supply.store import Store
from baseload.supply.tariff import FlatPrice, Tariff
from baseload.workload.tiers import Tier

HOUR, DAY = 3600.0, 86400.0
CAPACITY_J = 100.0


def note(start_s, *, slot_s=HOUR, picked=((1.0, 3.0),), method="by_hour", **changes):
    """One slot: a joule costs 2 in the morning of UTC, 4 later, whatever the level."""
    price = 2.0 if start_s % DAY < DAY / 2 else 4.0
    fields = {
        "start_s": start_s,
        "slot_s": slot_s,
        "level_j": 50.0,
        "price_usd_per_j": price,
        "curve_usd_per_j": np.linspace(2 * price, 0.0, NODES),
        "method": method,
        "baseline_j": slot_s * max(0.0, np.sin(2 * np.pi * (start_s / DAY - 0.25))),
        "demand_j": 7.0 * slot_s,
        "promised_j": 8.0,
        "picked": np.array(picked),
    }
    return SlotNote(**(fields | changes))


def diary_of(notes, *, capacity_j=CAPACITY_J, start_unix_s=0.0, classes=("chat",)):
    keeper = DiaryKeeper(start_unix_s=start_unix_s, capacity_j=capacity_j)
    for one in notes:
        keeper.add(one)
    return keeper.diary(
        "full_jump", classes=classes, options=("small", "large"), solved=3, guarded_away=1
    )


def days_of(count, **changes):
    return [note(HOUR * hour, **changes) for hour in range(24 * count)]


def test_hours_of_the_day_are_means_over_days():
    diary = diary_of(days_of(3))
    assert diary.price_usd_per_j == [2.0] * 12 + [4.0] * 12
    assert diary.choice_frac["chat"]["large"] == [0.75] * 24
    assert diary.joules_per_answer == [2.0] * 24
    assert diary.methods == {"by_hour": 72.0}
    assert (diary.solved, diary.guarded_away) == (3, 1)


def test_thirds_of_the_store():
    diary = diary_of([note(0.0, level_j=10.0), note(HOUR, level_j=100.0)])
    low, middle, high = diary.price_usd_per_j_by_level
    assert (low[0], high[1]) == (2.0, 2.0)
    assert low[1] is None
    assert middle == [None] * 24


def test_the_clock_is_that_of_the_site():
    diary = diary_of([note(0.0)], start_unix_s=5 * HOUR)
    assert [hour for hour, price in enumerate(diary.price_usd_per_j) if price is not None] == [5]


def test_the_curve_leaves_out_the_start_where_more_is_known():
    first = note(0.0, method="rollout", curve_usd_per_j=np.full(NODES, 9.0))
    assert diary_of([first]).curve_usd_per_j[0] == [9.0] * CURVE_LEVELS
    later = diary_of([first, note(DAY)])
    assert later.curve_usd_per_j[0][0] == 4.0
    assert later.curve_usd_per_j[0][-1] == 0.0
    assert later.curve_usd_per_j[1] == [None] * CURVE_LEVELS


@given(slot_s=st.sampled_from([60.0, 900.0, 1800.0, HOUR]), days=st.integers(1, 3))
def test_the_length_of_slots_changes_no_mean(slot_s, days):
    slots = round(days * DAY / slot_s)
    fine = diary_of([note(slot_s * at, slot_s=slot_s) for at in range(slots)])
    coarse = diary_of(days_of(days))
    assert fine.price_usd_per_j == pytest.approx(coarse.price_usd_per_j)
    assert fine.choice_frac["chat"]["small"] == pytest.approx(coarse.choice_frac["chat"]["small"])
    assert sum(fine.methods.values()) == pytest.approx(24.0 * days)


def test_slots_longer_than_an_hour_have_an_hour():
    diary = diary_of([note(6 * HOUR * at, slot_s=6 * HOUR) for at in range(8)])
    assert [hour for hour, price in enumerate(diary.price_usd_per_j) if price] == [3, 9, 15, 21]


def dim(notes, days):
    """The notes with a tenth of the supply on some days, and another price."""
    return [
        one._replace(baseline_j=0.1 * one.baseline_j, price_usd_per_j=10.0)
        if int((one.start_s - 0.5) // DAY) in days
        else one
        for one in notes
    ]


def test_dark_days_are_found_with_the_day_before():
    diary = diary_of(dim(days_of(20), {9, 10, 11}))
    assert diary.dark.days == 3
    assert diary.dark.baseline_j == pytest.approx(0.1 * diary.before.baseline_j)
    assert diary.dark.price_usd_per_j == pytest.approx(10.0, rel=0.03)
    assert diary.before.price_usd_per_j == pytest.approx(3.0, rel=0.03)
    assert diary.lowest.baseline_j < diary.highest.baseline_j
    assert abs(diary.stretch.dark_from_s - 9 * DAY) <= HOUR
    assert diary.stretch.dark_to_s - diary.stretch.dark_from_s == pytest.approx(3 * DAY)
    assert len(diary.stretch.t_s) == STRETCH_HOURS
    assert diary.stretch.t_s[0] <= diary.stretch.dark_from_s


def test_a_day_is_not_cut_where_the_sun_shines():
    """Noon at midnight of UTC: days of supply are whole, not two halves of neighbours."""
    diary = diary_of(dim(days_of(20), {9, 10, 11}), start_unix_s=DAY / 2)
    assert diary.dark.baseline_j == pytest.approx(0.1 * diary.highest.baseline_j)


def test_days_of_the_start_are_no_days_to_judge():
    start = [one._replace(method="rollout", baseline_j=0.0) for one in days_of(2)]
    diary = diary_of([*start, *(note(HOUR * hour) for hour in range(48, 24 * 12))])
    assert diary.lowest.baseline_j == pytest.approx(diary.highest.baseline_j)


def test_few_days_have_no_dark_ones():
    diary = diary_of(days_of(5))
    assert diary.dark is None
    assert diary.stretch is None


def test_nothing_gives_nothing():
    assert diary_of([]) is None


def test_without_a_store_and_without_picks():
    diary = diary_of(days_of(8, picked=((0.0, 0.0),), promised_j=0.0), capacity_j=0.0)
    assert diary.choice_frac == {}
    assert diary.joules_per_answer == [None] * 24
    assert diary.lowest.level_frac is None
    assert diary.lowest.joules_per_answer is None


def test_a_year_stays_small():
    picked = np.ones((3, 5))
    keeper = DiaryKeeper(start_unix_s=0.0, capacity_j=CAPACITY_J)
    for one in days_of(366, picked=picked):
        keeper.add(one)
    diary = keeper.diary(
        "full_jump",
        classes=("chat", "rag", "batch"),
        options=tuple("abcde"),
        solved=1,
        guarded_away=0,
    )
    assert len(msgspec.json.encode(diary)) < 64_000


CHOICES = (
    Choice(name="small", tokens_factor={"": 0.3}, right_frac={"": 0.6}),
    Choice(name="large", tokens_factor={"": 1.0}, right_frac={"": 0.9}),
)
VALUED = (Tier(name="all", classes=("chat", "batch"), e2e_s=60.0, right_usd=0.01, miss_usd=0.01),)


def at_site(*names, seeds=1, scales=(1.0,)):
    """A site whose battery an answer empties, for two minutes."""
    site = Site(
        baseline=Constant(value_w=300.0),
        store=Store(capacity_j=20_000.0),
        slot_s=7.0,
        tariff=Tariff(energy=FlatPrice(usd_per_j=1e-6)),
    )
    scenario = made_scenario(
        made_trace(seed=1, gap_s=0.4, count=300) if seeds == 1 else None,
        supplied=Supplied(site=site, scales=scales),
        choices=CHOICES,
        tiers=VALUED,
    )
    return simulate(scenario, [policy(name) for name in names], seeds=seeds, check=False)


def test_a_run_keeps_a_diary_of_those_who_look_and_of_no_one_else():
    result = at_site("variance_aware", "lyapunov", "least_loaded")
    ours, thumb, blind = (one.joule_prices for one in result.policies)
    assert blind is None
    assert at_site("variance_aware:supply=0").policies[0].joule_prices is None
    assert (ours.rule, ours.methods.keys()) == ("full_jump", {"rollout"})
    assert thumb.methods.keys() == {"level"}
    assert set(ours.choice_frac) == {"chat", "batch"}
    seen = [hour for hour, price in enumerate(ours.price_usd_per_j) if price is not None]
    for shares in ours.choice_frac.values():
        total = sum(values[seen[0]] for values in shares.values())
        assert total == pytest.approx(1.0)
    curve = ours.curve_usd_per_j[seen[0]]
    assert curve[0] == pytest.approx(1e-6, rel=0.02)  # the price of auxiliary energy
    assert curve == sorted(curve, reverse=True)
    assert curve[-1] == pytest.approx(0.0, abs=2e-8)


def test_every_method_has_words():
    result = at_site("variance_aware", "best_static", "mean_only", "taylor", "greedy_green")
    used = {name for one in result.policies for name in one.joule_prices.methods}
    assert used <= set(METHODS)


def test_totals_by_seed_add_up():
    result = at_site("best_static", "variance_aware", seeds=3, scales=(0.5, 1.0))
    for one in result.policies:
        each = one.total_cost_usd_by_seed
        assert len(each) == 3
        assert np.mean(each) == pytest.approx(one.total_cost_usd)
        assert one.total_cost_usd == pytest.approx(sum(one.cost_usd.values()))
