"""Values in order of time: what holds, how it ages in a gap, what a run gets, no look ahead."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.base.errors import BadInputError, StaleSignalError
from baseload.sources.series import SeriesSignal, points_of
from baseload.sources.signals import Point, Signal, StaleRule

HOUR = 3_600_000_000_000


def series(values, *, rule=None, kind="average", unit="g_per_kwh"):
    """Hourly from 0; ``None`` is a gap."""
    points = points_of([i * HOUR for i in range(len(values))], values)
    return SeriesSignal.from_points(points, unit=unit, kind=kind, source="test", rule=rule)


def test_a_value_holds_for_its_interval_and_is_not_old_in_it():
    signal = series([1.0, 2.0, 3.0])
    assert isinstance(signal, Signal)
    assert signal.at(HOUR).value == 2.0
    assert signal.at(2 * HOUR - 1).value == 2.0
    assert signal.at(2 * HOUR - 1).age_s == 0.0
    assert not signal.at(0).estimated


def test_before_the_first_value_there_is_none():
    with pytest.raises(StaleSignalError, match="no value for 1969-12-31T23:59:59Z"):
        series([1.0, 2.0]).at(-1)


def test_a_gap_shows_the_value_before_it_growing_old():
    signal = series([100.0, None, None, 200.0], rule=StaleRule(refuse_s=7200.0, spread=20.0))
    early, late = signal.at(HOUR + HOUR // 2), signal.at(3 * HOUR - 1)
    assert early.value == late.value == 100.0
    assert early.estimated
    assert early.age_s == 1800.0
    assert early.high == 110.0
    assert late.high == pytest.approx(120.0, abs=1e-6)
    assert signal.at(3 * HOUR).value == 200.0
    assert [(gap.start_ns, gap.end_ns, gap.length_s) for gap in signal.gaps] == [
        (HOUR, 3 * HOUR, 7200.0)
    ]
    assert signal.remarks() == [
        "1 gaps, 7200 s together; the longest from 1970-01-01T01:00:00Z to "
        "1970-01-01T03:00:00Z (7200 s)"
    ]


def test_a_gap_beyond_the_limit_is_refused():
    signal = series([100.0, None, None, 200.0], rule=StaleRule(refuse_s=3600.0))
    assert signal.at(2 * HOUR).value == 100.0
    with pytest.raises(StaleSignalError, match="at most 3600 s"):
        signal.at(2 * HOUR + 10**9)
    with pytest.raises(StaleSignalError, match=r"gap too long[\s\S]*\(7200 s\)"):
        signal.sample(0, step_s=3600.0, count=4)
    assert signal.sample(3 * HOUR, step_s=3600.0, count=1).values.tolist() == [200.0]


def test_past_the_end_the_last_value_grows_old_and_is_refused():
    signal = series([1.0, 5.0], rule=StaleRule(fresh_s=60.0, refuse_s=3600.0))
    assert signal.at(2 * HOUR + 30 * 10**9).estimated is False
    with pytest.raises(StaleSignalError, match="from 1970-01-01T00:00:00Z to 1970-01-01T02"):
        signal.at(4 * HOUR)


def test_the_spread_is_half_of_the_central_95_percent():
    assert series(list(np.linspace(0.0, 1000.0, 1001))).spread == pytest.approx(475.0)
    assert series([1.0, 9.0], rule=StaleRule(spread=3.0)).spread == 3.0


# no look ahead


@given(st.lists(st.floats(-1e3, 1e3), min_size=30, max_size=60), st.integers(24, 29))
def test_neither_readings_nor_forecasts_know_what_comes_later(values, now):
    changed = values[: now + 1] + [value + 1e6 for value in values[now + 1 :]]
    rule = StaleRule(spread=1.0)
    one, two = series(values, rule=rule, kind="price"), series(changed, rule=rule, kind="price")
    t_ns = now * HOUR + 7
    assert one.at(t_ns) == two.at(t_ns)
    assert one.forecast(t_ns, 48 * 3600.0) == two.forecast(t_ns, 48 * 3600.0)


def test_a_forecast_is_the_same_time_of_the_last_known_day():
    signal = series([float(i) for i in range(48)])
    found = signal.forecast(30 * HOUR, 30 * 3600.0)
    assert [point.value for point in found.points] == [
        30.0,
        *[float(i) for i in range(7, 31)],
        *[float(i) for i in range(7, 12)],
    ]
    assert found.start_ns == 30 * HOUR
    assert all(point.estimated for point in found.points)


def test_without_a_day_of_history_a_forecast_holds_what_is():
    found = series([5.0, 7.0]).forecast(HOUR + 1, 3 * 3600.0)
    assert {point.value for point in found.points} == {7.0}
    assert found.start_ns == HOUR
    assert found.end_ns == 5 * HOUR


def test_a_forecast_from_a_stale_series_is_refused():
    with pytest.raises(StaleSignalError):
        series([5.0, 7.0]).forecast(50 * HOUR, 3600.0)
    with pytest.raises(BadInputError, match="steps"):
        series([5.0, 7.0]).forecast(0, 1e15 / 1e5)


# samples


def test_samples_are_means_over_slots():
    signal = series([1.0, 2.0, 4.0, 8.0])
    assert signal.sample(0, step_s=3600.0, count=4).values.tolist() == [1.0, 2.0, 4.0, 8.0]
    assert signal.sample(0, step_s=900.0, count=5).values.tolist() == [1.0, 1.0, 1.0, 1.0, 2.0]
    assert signal.sample(HOUR // 2, step_s=7200.0, count=1).values[0] == pytest.approx(
        (0.5 * 1.0 + 2.0 + 0.5 * 4.0) / 2
    )
    whole = signal.sample(0, step_s=4 * 3600.0, count=1)
    assert whole.values[0] == pytest.approx(15.0 / 4)
    assert not whole.estimated.any()


def test_filled_slots_are_marked():
    signal = series([1.0, None, 3.0, 4.0])
    found = signal.sample(0, step_s=1800.0, count=8)
    assert found.values.tolist() == [1.0, 1.0, 1.0, 1.0, 3.0, 3.0, 4.0, 4.0]
    assert found.estimated.tolist() == [False, False, True, True, False, False, False, False]
    assert signal.sample(0, step_s=7200.0, count=2).estimated.tolist() == [True, False]
    assert signal.sample(HOUR // 2, step_s=7200.0, count=1).values[0] == pytest.approx(1.5)


def test_estimated_values_mark_their_slots():
    points = [
        Point(start_ns=i * HOUR, end_ns=(i + 1) * HOUR, value=1.0, estimated=i == 1)
        for i in range(4)
    ]
    signal = SeriesSignal.from_points(points, unit="frac", kind="capacity_factor", source="test")
    assert signal.sample(0, step_s=3600.0, count=4).estimated.tolist() == [
        False,
        True,
        False,
        False,
    ]
    assert signal.at(HOUR).estimated


@given(
    st.lists(st.floats(0, 1e3) | st.none(), min_size=3, max_size=20),
    st.integers(1, 50),
    st.integers(0, HOUR),
)
def test_samples_keep_the_integral(values, count, offset_ns):
    values[0], values[-1] = 5.0, 6.0
    signal = series(values, rule=StaleRule(refuse_s=1e6))
    length_ns = (len(values) * HOUR - offset_ns) // count
    step_s = length_ns / 1e9
    found = signal.sample(offset_ns, step_s=step_s, count=count)
    whole = signal.sample(offset_ns, step_s=length_ns * count / 1e9, count=1)
    assert found.values.mean() == pytest.approx(whole.values[0], abs=1e-6, rel=1e-9)
    at = [signal.at(offset_ns + i * length_ns).value for i in range(count)]
    short = np.array(
        [
            signal.sample(offset_ns + i * length_ns, step_s=1e-9, count=1).values[0]
            for i in range(count)
        ]
    )
    assert short.tolist() == at


def test_a_series_shorter_than_the_run_names_both():
    signal = series([1.0, 2.0, 3.0])
    with pytest.raises(BadInputError) as caught:
        signal.sample(HOUR, step_s=3600.0, count=3)
    assert "1970-01-01T00:00:00Z to 1970-01-01T03:00:00Z (10800 s)" in caught.value.found
    assert "1970-01-01T01:00:00Z to 1970-01-01T04:00:00Z (10800 s)" in caught.value.allowed
    with pytest.raises(BadInputError, match="does not cover the plan"):
        signal.check_covers(-1, HOUR, what="plan")
    for step_s, count in ((1e-12, 1), (1.0, 0)):
        with pytest.raises(BadInputError, match="sample"):
            signal.sample(0, step_s=step_s, count=count)


# what is refused


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (([], [], []), "values"),
        (([0], [1, 2], [1.0]), "unequal"),
        (([0, 1], [1, 2], [1.0, float("nan")]), "value 2"),
        (([0, 1], [1, 1], [1.0, 1.0]), "end at or before"),
        (([0, 1], [2, 3], [1.0, 1.0]), "before the last end"),
    ],
)
def test_columns_that_do_not_fit_are_refused(columns, said):
    start, end, values = columns
    with pytest.raises(BadInputError, match=said):
        SeriesSignal(
            start_ns=start, end_ns=end, values=values, unit="frac", kind="price", source="test"
        )


def test_points_come_back_as_they_were():
    points = points_of([HOUR, 0, 3 * HOUR], [2.0, 1.0, 4.0], estimated=[True, False, False])
    assert [(p.start_ns, p.end_ns, p.value, p.estimated) for p in points] == [
        (0, HOUR, 1.0, False),
        (HOUR, int(2.5 * HOUR), 2.0, True),
        (3 * HOUR, int(4.5 * HOUR), 4.0, False),
    ]
    signal = SeriesSignal.from_points(points, unit="frac", kind="price", source="test")
    assert signal.points() == points
    assert points_of([5], [1.0])[0].end_ns == 5 + HOUR
