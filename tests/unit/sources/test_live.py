"""What all live services do: keep values, ask seldom, grow old when the service fails, say why."""

from __future__ import annotations

import pytest

from baseload.base.errors import BadInputError, OutputError, ServiceError, StaleSignalError
from baseload.sources.live import LiveSignal, Prediction
from baseload.sources.series import points_of
from baseload.sources.signals import Signal, StaleRule, ns_of, show

from .fake_web import HOUR_NS, FakeWeb

NOON = ns_of("2026-03-10T12:00Z")


class Example(LiveSignal):
    """Hourly values up to the hour of t; a forecast of ``reach`` hours from the clock."""

    def __init__(self, web, *, cache_dir=None, reach=48, **more):
        self.web, self.reach, self.observed, self.predicted = web, reach, 0, 0
        self.failing: Exception | None = None
        self.base = 100.0
        super().__init__(
            service="Example",
            source="Example, XX",
            unit="g_per_kwh",
            kind="average",
            rule=more.pop("rule", StaleRule(fresh_s=3600.0, refuse_s=4 * 3600.0)),
            refresh_s=300.0,
            connection=web.connection(cache_dir),
            **more,
        )

    def _observe(self, t_ns):
        self.observed += 1
        if self.failing:
            raise self.failing
        last = min(t_ns, self.web.now_ns) // HOUR_NS
        return points_of(
            [hour * HOUR_NS for hour in range(last - 30, last + 1)],
            [self.base + hour % 24 for hour in range(last - 30, last + 1)],
        )

    def _predict(self, t0_ns, horizon_s):
        self.predicted += 1
        if self.failing:
            raise self.failing
        if not self.reach:
            return None
        first = self.web.now_ns // HOUR_NS
        hours = range(first, first + self.reach)
        points = points_of([hour * HOUR_NS for hour in hours], [500.0] * self.reach)
        return Prediction(issued_ns=self.web.now_ns, points=tuple(points))


@pytest.fixture
def web():
    return FakeWeb()


def down(status=503):
    return ServiceError("Example: asked", found=f"HTTP {status}", todo="wait", status=status)


def test_a_known_hour_is_not_asked_for_again(web):
    signal = Example(web)
    assert isinstance(signal, Signal)
    assert signal.at(web.now_ns).value == 112.0
    assert signal.at(web.now_ns + 10**9).age_s == 0.0
    assert signal.at(NOON - 5 * HOUR_NS).value == 107.0
    assert signal.observed == 1


def test_a_new_hour_is_asked_for_but_not_at_every_call(web):
    signal = Example(web)
    signal.at(web.now_ns)
    signal.at(NOON + HOUR_NS)  # not there yet by the clock
    signal.at(NOON + HOUR_NS)
    assert signal.observed == 1
    web.pass_time(3600)
    assert signal.at(web.now_ns).value == 113.0
    assert signal.observed == 2


def test_a_failing_service_leaves_values_that_grow_old_and_then_are_refused(web):
    signal = Example(web)
    signal.at(web.now_ns)
    signal.failing = down()
    web.pass_time(2 * 3600)
    found = signal.at(web.now_ns)
    assert (found.value, found.estimated) == (112.0, True)
    assert found.age_s == pytest.approx(80 * 60.0)
    assert found.high > 112.0
    assert signal.failure is signal.failing
    web.pass_time(4 * 3600)
    with pytest.raises(StaleSignalError, match="no news because HTTP 503") as caught:
        signal.at(web.now_ns)
    assert caught.value.todo == "wait"
    signal.failing = None
    web.pass_time(300)
    assert signal.at(web.now_ns).age_s == 0.0
    assert signal.failure is None


def test_a_service_that_never_answered_gives_its_own_error(web):
    signal = Example(web)
    signal.failing = down(401)
    with pytest.raises(ServiceError, match="HTTP 401"):
        signal.at(web.now_ns)
    with pytest.raises(ServiceError, match="HTTP 401"):
        signal.forecast(web.now_ns, 3600.0)


def test_what_failed_or_is_not_there_is_not_asked_for_at_every_call(web):
    signal = Example(web)
    signal.failing = down()
    for _ in range(3):
        with pytest.raises(ServiceError):
            signal.at(web.now_ns)
        with pytest.raises(ServiceError):
            signal.forecast(web.now_ns, 3600.0)
    assert (signal.observed, signal.predicted) == (1, 1)
    web.pass_time(300)
    signal.failing = None
    signal.at(web.now_ns)
    for hours in (40, 99, 98, 99):
        early = web.now_ns - hours * HOUR_NS
        signal.at(early) if hours < 60 else None
        with pytest.raises(StaleSignalError):
            signal.forecast(web.now_ns, hours * 3600.0 + 30 * 3600.0)
    assert (signal.observed, signal.predicted) == (3, 3)


def test_a_forecast_is_kept_and_renewed(web):
    signal = Example(web)
    signal.at(web.now_ns)
    one = signal.forecast(web.now_ns, 24 * 3600.0)
    assert one.at(web.now_ns + 5 * HOUR_NS).value == 500.0
    assert one.high[0] < one.high[-1]
    signal.forecast(web.now_ns, 12 * 3600.0)
    assert signal.predicted == 1
    web.pass_time(301)
    assert signal.forecast(web.now_ns, 3600.0).issued_ns == web.now_ns
    assert signal.predicted == 2


def test_an_old_forecast_serves_as_long_as_it_reaches(web):
    signal = Example(web)
    issued = signal.forecast(web.now_ns, 3600.0).issued_ns
    signal.failing = down()
    web.pass_time(24 * 3600)
    old = signal.forecast(web.now_ns, 20 * 3600.0)
    assert old.issued_ns == issued
    assert old.at(web.now_ns).age_s == 24 * 3600.0
    with pytest.raises(StaleSignalError) as caught:
        signal.forecast(web.now_ns, 30 * 3600.0)
    assert f"from {show(web.now_ns)}" in caught.value.asked
    assert "(30 h)" in caught.value.asked
    assert f"issued {show(issued)}" in caught.value.found
    assert "no news because HTTP 503" in caught.value.found


def test_a_horizon_beyond_the_service_is_refused(web):
    with pytest.raises(StaleSignalError, match=r"\(72 h\)"):
        Example(web).forecast(web.now_ns, 72 * 3600.0)


def test_without_forecasts_it_is_the_same_time_of_the_last_day(web):
    signal = Example(web, reach=0)
    found = signal.forecast(web.now_ns, 24 * 3600.0)
    assert found.at(web.now_ns + 3 * HOUR_NS).value == 100.0 + 15
    assert found.at(web.now_ns + 20 * HOUR_NS).value == 100.0 + 8
    assert signal.forecast(web.now_ns, 24 * 3600.0) == found
    assert (signal.observed, signal.predicted) == (1, 1)


def test_a_forecast_that_may_not_be_read_does_not_touch_the_readings(web):
    signal = Example(web)
    signal.failing = down(403)
    with pytest.raises(ServiceError, match="403"):
        signal.forecast(web.now_ns, 3600.0)
    signal.failing = None
    assert signal.at(web.now_ns).value == 112.0
    assert signal.failure is not None
    with pytest.raises(ServiceError, match="403"):
        signal.forecast(web.now_ns, 3600.0)
    web.pass_time(300)
    signal.forecast(web.now_ns, 3600.0)
    assert signal.failure is None


def test_values_survive_a_restart_on_disk(web, tmp_path):
    folder = tmp_path / "cache"
    first = Example(web, cache_dir=folder)
    first.at(web.now_ns)
    first.forecast(web.now_ns, 24 * 3600.0)
    again = Example(web, cache_dir=folder)
    again.failing = down()
    assert again.at(web.now_ns).value == 112.0
    assert again.observed == 0
    assert again.forecast(web.now_ns, 24 * 3600.0).issued_ns == web.now_ns
    web.pass_time(3 * 3600)
    assert again.at(web.now_ns).age_s == pytest.approx(140 * 60.0)


def test_a_cache_of_something_else_counts_as_none(web, tmp_path):
    Example(web, cache_dir=tmp_path).at(web.now_ns)
    (file,) = tmp_path.glob("*.json")
    text = file.read_text(encoding="utf-8")
    for wrong in ("{", text.replace("baseload-signal-cache/1", "other/9"), "[]"):
        file.write_text(wrong, encoding="utf-8")
        again = Example(web, cache_dir=tmp_path)
        again.failing = down()
        with pytest.raises(ServiceError):
            again.at(web.now_ns)


def test_a_cache_folder_that_is_a_file_is_an_error(web, tmp_path):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot write"):
        Example(web, cache_dir=tmp_path / "file").at(web.now_ns)


def test_newer_values_for_the_same_hour_win(web):
    signal = Example(web)
    signal.at(web.now_ns)
    signal.base = 200.0
    web.pass_time(3600)
    signal.at(web.now_ns)
    assert signal.at(NOON).value == 212.0


def test_with_few_values_the_spread_is_a_quarter_of_the_largest(web):
    class Single(Example):
        def _observe(self, t_ns):
            return points_of([NOON], [80.0])

    signal = Single(web, rule=StaleRule(fresh_s=0.0, refuse_s=3600.0))
    assert signal.at(NOON + 2 * HOUR_NS).high == 100.0


def test_an_answer_without_values_is_not_silence(web):
    class Empty(Example):
        def _observe(self, t_ns):
            return []

    with pytest.raises(StaleSignalError, match="no values"):
        Empty(web).at(web.now_ns)


def test_an_interval_that_ends_before_it_starts_is_the_service_s_fault(web):
    class Backward(Example):
        def _observe(self, t_ns):
            return points_of([NOON], [80.0], step_ns=-5)

    with pytest.raises(ServiceError, match="ends before it starts"):
        Backward(web).at(web.now_ns)


def test_instants_are_checked(web):
    with pytest.raises(BadInputError, match="t_ns"):
        Example(web).at(12.0)
    with pytest.raises(BadInputError, match="horizon_s"):
        Example(web).forecast(web.now_ns, -1.0)


def test_a_forecast_without_history_is_as_wide_as_a_quarter_of_it_after_a_day(web):
    found = Example(web).forecast(web.now_ns, 30 * 3600.0)
    assert found.high[-1] == 500.0 + 125.0
    narrow = Example(web, rule=StaleRule(spread=10.0)).forecast(web.now_ns, 30 * 3600.0)
    assert narrow.high[-1] == 510.0
