"""The rule for old values, the mean that refuses to mix, forecasts that end, dates with offsets."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.base.errors import BadInputError, StaleSignalError
from baseload.sources.constant import ConstantSignal
from baseload.sources.signals import (
    Forecast,
    Point,
    Reading,
    Signal,
    StaleRule,
    aged,
    combine,
    forecast_half_width,
    forecast_of,
    horizon,
    instant,
    interval,
    ns_of,
    show,
)

HOUR = 3_600_000_000_000
READING = Reading(
    value=200.0,
    unit="g_per_kwh",
    kind="average",
    estimated=False,
    source="test",
    at_ns=0,
    age_s=0.0,
    low=190.0,
    high=230.0,
)
RULE = StaleRule(fresh_s=600.0, refuse_s=4200.0)


def reading(**changes):
    return msgspec.structs.replace(READING, **changes)


# the stale rule


def test_a_fresh_value_counts_as_it_is_but_carries_its_age():
    found = aged(READING, age_s=600.0, rule=RULE, spread=100.0)
    assert found == reading(age_s=600.0)


def test_an_old_value_widens_as_the_root_of_its_age():
    found = aged(READING, age_s=600.0 + 900.0, rule=RULE, spread=100.0)
    assert (found.low, found.high) == (150.0, 250.0)
    assert found.estimated
    assert found.value == 200.0


def test_at_the_end_it_is_as_wide_as_the_signal_and_then_it_is_refused():
    found = aged(READING, age_s=4200.0, rule=RULE, spread=100.0)
    assert (found.low, found.high) == (100.0, 300.0)
    with pytest.raises(StaleSignalError, match=r"4201 s[\s\S]*at most 4200 s"):
        aged(READING, age_s=4201.0, rule=RULE, spread=100.0)


def test_a_spread_in_the_rule_wins():
    rule = StaleRule(fresh_s=0.0, refuse_s=100.0, spread=40.0)
    assert aged(READING, age_s=100.0, rule=rule, spread=1e9).high == 240.0


def test_without_room_between_fresh_and_refused_there_is_no_widening():
    rule = StaleRule(fresh_s=60.0, refuse_s=60.0)
    assert aged(READING, age_s=60.0, rule=rule, spread=10.0).high == 230.0
    with pytest.raises(StaleSignalError):
        aged(READING, age_s=60.1, rule=rule, spread=10.0)


@given(
    st.floats(0, 4200), st.floats(0, 4200), st.floats(0, 1e4), st.sampled_from(["average", "price"])
)
def test_older_is_never_narrower(one_s, two_s, spread, kind):
    base = reading(kind=kind)
    young = aged(base, age_s=min(one_s, two_s), rule=RULE, spread=spread)
    old = aged(base, age_s=max(one_s, two_s), rule=RULE, spread=spread)
    assert old.low <= young.low <= base.low
    assert base.high <= young.high <= old.high
    assert young.value == old.value == base.value


@given(st.floats(1e-9, 1e-6))
def test_the_widening_begins_and_ends_without_a_jump(step_s):
    at_fresh = aged(reading(low=200.0, high=200.0), age_s=600.0 + step_s, rule=RULE, spread=1.0)
    assert at_fresh.high - 200.0 <= 2e-5
    near_end = aged(READING, age_s=4200.0 - step_s, rule=RULE, spread=100.0)
    assert near_end.high == pytest.approx(300.0, abs=1e-6)


@pytest.mark.parametrize("age_s", [-1.0, float("nan")])
def test_an_age_that_is_none_is_refused(age_s):
    with pytest.raises(BadInputError, match="age_s"):
        aged(READING, age_s=age_s, rule=RULE, spread=1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"fresh_s": -1.0},
        {"fresh_s": 10.0, "refuse_s": 5.0},
        {"refuse_s": float("inf")},
        {"fresh_s": float("nan")},
        {"spread": -1.0},
        {"spread": float("nan")},
    ],
)
def test_a_rule_out_of_order_is_refused(wrong):
    with pytest.raises(BadInputError, match="stale rule"):
        StaleRule(**wrong)


def test_intervals_stay_where_the_quantity_can_be():
    assert interval(0.2, 0.5, unit="frac", kind="capacity_factor") == (0.0, 0.7)
    assert interval(0.8, 0.5, unit="frac", kind="capacity_factor")[1] == 1.0
    assert interval(30.0, 50.0, unit="g_per_kwh", kind="average") == (0.0, 80.0)
    assert interval(30.0, 50.0, unit="g_per_kwh", kind="marginal") == (-20.0, 80.0)
    assert interval(-5.0, 10.0, unit="eur_per_mwh", kind="price") == (-15.0, 5.0)
    assert interval(1.01, 0.1, unit="frac", kind="capacity_factor") == (0.91, 1.01)


@pytest.mark.parametrize(
    "wrong",
    [{"value": float("nan")}, {"age_s": -1.0}, {"low": 201.0}, {"high": 199.0}],
)
def test_a_reading_that_contradicts_itself_is_refused(wrong):
    with pytest.raises(BadInputError, match="reading of test"):
        reading(**wrong)


# combine


def test_combine_gives_the_weighted_mean_as_old_as_the_oldest():
    other = reading(value=100.0, low=80.0, high=110.0, age_s=30.0, at_ns=-5, source="other")
    found = combine([READING, other], [3.0, 1.0])
    assert found.value == 175.0
    assert (found.low, found.high) == (162.5, 200.0)
    assert (found.age_s, found.at_ns, found.source) == (30.0, -5, "test + other")
    assert combine([READING]) == READING


def test_average_and_marginal_have_no_mean():
    with pytest.raises(BadInputError, match="never mixed"):
        combine([READING, reading(kind="marginal")])
    with pytest.raises(BadInputError, match="different units"):
        combine([READING, reading(unit="frac")])


@pytest.mark.parametrize("weights", [[1.0], [0.0, 0.0], [-1.0, 2.0], [float("nan"), 1.0]])
def test_combine_refuses_weights_that_are_none(weights):
    with pytest.raises(BadInputError, match="weights"):
        combine([READING, READING], weights)
    with pytest.raises(BadInputError, match="readings"):
        combine([])


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8))
def test_a_mean_lies_between_its_parts(values):
    parts = [reading(value=v, low=v - 1.0, high=v + 2.0, kind="price") for v in values]
    found = combine(parts)
    assert min(values) - 1e-6 <= found.value <= max(values) + 1e-6
    assert found.low <= found.value <= found.high


# forecasts


def points(count, start_ns=0):
    return [
        Point(start_ns=start_ns + i * HOUR, end_ns=start_ns + (i + 1) * HOUR, value=100.0 + i)
        for i in range(count)
    ]


def made(parts, t0_ns=0, hours=2.0, spread=24.0, issued_ns=0) -> Forecast:
    signal = ConstantSignal(value=1.0, source="the service")
    return forecast_of(
        parts,
        t0_ns=t0_ns,
        horizon_s=hours * 3600,
        issued_ns=issued_ns,
        signal=signal,
        spread=spread,
    )


def test_a_forecast_keeps_what_is_asked_and_widens_with_the_lead():
    found = made(points(30), t0_ns=HOUR // 2, hours=24)
    assert (found.start_ns, found.end_ns) == (0, 25 * HOUR)
    assert found.high[0] - 100.0 == pytest.approx(24.0 * (1 / 24) ** 0.5)
    assert found.high[-1] - 124.0 == pytest.approx(24.0)
    widths = np.array(found.high) - np.array([point.value for point in found.points])
    assert (np.diff(widths) >= 0).all()
    there = found.at(3 * HOUR + 5)
    assert (there.value, there.at_ns) == (103.0, 3 * HOUR)
    assert there.age_s == pytest.approx(3 * 3600.0)


def test_a_settled_forecast_has_no_width():
    found = made(points(3), spread=0.0)
    assert found.low == found.high == (100.0, 101.0)


def test_a_forecast_that_does_not_reach_names_what_was_asked_and_found():
    with pytest.raises(StaleSignalError) as caught:
        made(points(3), hours=4)
    assert "1970-01-01T00:00:00Z to 1970-01-01T04:00:00Z (4 h)" in caught.value.asked
    assert "to 1970-01-01T03:00:00Z" in caught.value.found
    with pytest.raises(StaleSignalError, match="no values"):
        made([])
    with pytest.raises(StaleSignalError, match="values from"):
        made(points(3), t0_ns=-1)
    with pytest.raises(StaleSignalError, match="a hole from 1970-01-01T01:00:00Z"):
        made([points(3)[0], points(3)[2]], hours=3)


def test_a_forecast_past_its_end_is_refused():
    found = made(points(2))
    assert found.at(2 * HOUR - 1).value == 101.0
    for t_ns in (-1, 2 * HOUR):
        with pytest.raises(StaleSignalError, match=r"issued 1970[\s\S]*covers"):
            found.at(t_ns)


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_forecast_width_grows_to_the_spread(one_s, two_s):
    near, far = sorted((one_s, two_s))
    assert forecast_half_width(near, 5.0) <= forecast_half_width(far, 5.0) <= 5.0
    assert forecast_half_width(-1.0, 5.0) == 0.0


# instants


def test_dates_need_an_offset():
    assert ns_of("1970-01-01T00:00:01.5Z") == 1_500_000_000
    assert ns_of("1970-01-01T02:00+02:00") == 0
    assert ns_of(datetime(1970, 1, 2, tzinfo=UTC)) == 24 * HOUR
    for wrong in ("2022-01-01T00:00", "yesterday", ""):
        with pytest.raises(BadInputError, match="UTC offset"):
            ns_of(wrong)


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_shown_instant_reads_back(moment):
    assert ns_of(show(ns_of(moment))) == ns_of(moment.replace(microsecond=0))


def test_instants_are_whole_numbers_and_horizons_positive():
    assert instant("t_ns", np.int64(5)) == 5
    for wrong in (1.0, "1", True, None, 10**19):
        with pytest.raises(BadInputError, match="t_ns"):
            instant("t_ns", wrong)
    assert horizon(np.float32(2.0)) == 2.0
    for wrong in (0.0, -1.0, float("nan"), float("inf"), None):
        with pytest.raises(BadInputError, match="horizon_s"):
            horizon(wrong)
    assert "ns" in show(10**30)


def test_a_constant_is_a_signal():
    assert isinstance(ConstantSignal(value=1.0), Signal)
