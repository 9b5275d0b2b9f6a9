from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.base.errors import BadInputError, StaleSignalError
from baseload.sources.signals import Signal, StaleRule, ns_of
from baseload.sources.typical_year import TypicalYear

HOURS = np.arange(8760, dtype=float)


def year(values=HOURS, **more):
    return TypicalYear(values, unit="degc", kind="temperature", source="test", **more)


def test_any_year_gets_the_same_hour():
    signal = year()
    assert isinstance(signal, Signal)
    for date in ("1999-01-02T03:59Z", "2022-01-02T03:00Z", "2024-01-02T03:30Z"):
        found = signal.at(ns_of(date))
        assert found.value == 27.0
        assert found.estimated
        assert found.age_s == 0.0


def test_leap_years_repeat_or_leave_out_a_day():
    assert year().at(ns_of("2024-02-29T05:00Z")).value == 58 * 24 + 5
    assert year().at(ns_of("2024-03-01T00:00Z")).value == 59 * 24
    assert year().at(ns_of("2024-12-31T23:00Z")).value == 8759
    leap = year(np.arange(8784, dtype=float))
    assert leap.at(ns_of("2024-02-29T05:00Z")).value == 59 * 24 + 5
    assert leap.at(ns_of("2023-03-01T00:00Z")).value == 60 * 24
    assert leap.at(ns_of("2023-12-31T23:00Z")).value == 8783


def test_local_standard_time_is_shifted_to_utc():
    signal = year(utc_offset_s=-8 * 3600.0)
    assert signal.at(ns_of("2022-01-01T08:00Z")).value == 0.0
    assert signal.at(ns_of("2022-01-01T07:59Z")).value == 8759.0


def test_a_run_of_a_year_gets_every_hour_once():
    found = year().sample(ns_of("2023-01-01T00:00Z"), step_s=3600.0, count=8760)
    assert found.values.tolist() == HOURS.tolist()
    assert found.estimated.all()


@given(
    st.datetimes(
        min_value=__import__("datetime").datetime(1971, 1, 1),
        max_value=__import__("datetime").datetime(2100, 1, 1),
    )
)
def test_samples_and_readings_agree(moment):
    t_ns = ns_of(moment.isoformat() + "Z")
    signal = year(utc_offset_s=-5 * 3600.0)
    assert signal.sample(t_ns, step_s=1e-9, count=1).values[0] == signal.at(t_ns).value


def test_a_forecast_is_yesterday_and_not_the_day_ahead():
    signal = year()
    found = signal.forecast(ns_of("2023-05-02T12:30Z"), 24 * 3600.0)
    now = signal.at(ns_of("2023-05-02T12:30Z")).value
    assert found.points[0].value == now
    assert found.at(ns_of("2023-05-03T11:00Z")).value == now - 1
    assert found.at(ns_of("2023-05-02T14:00Z")).value == now + 2 - 24


def test_missing_hours_are_filled_up_to_the_limit():
    values = HOURS.copy()
    values[10:16] = np.nan
    signal = year(values, rule=StaleRule(refuse_s=3 * 3600.0))
    assert signal.at(ns_of("2022-01-01T12:30Z")).value == 9.0
    assert signal.at(ns_of("2022-01-01T12:30Z")).age_s == 9000.0
    with pytest.raises(StaleSignalError):
        signal.at(ns_of("2022-01-01T14:30Z"))
    assert "6 hours without a value" in signal.remarks()


@pytest.mark.parametrize(
    ("values", "offset"),
    [(HOURS[:100], 0.0), (np.full(8760, np.nan), 0.0), (HOURS / 0.5 + np.inf, 0.0), (HOURS, 1e6)],
)
def test_what_is_no_year_is_refused(values, offset):
    with pytest.raises(BadInputError, match="typical year"):
        year(values, utc_offset_s=offset)
