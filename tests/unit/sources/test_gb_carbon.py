"""The British Carbon Intensity API, against answers written by hand in the documented shape."""

from __future__ import annotations

import re

import pytest

from baseload.base.errors import ServiceError, StaleSignalError
from baseload.sources.gb_carbon import GbCarbonSignal
from baseload.sources.signals import ns_of, show

from .fake_web import FakeWeb

HALF_NS = 1800 * 10**9


def half_hour(start_ns, forecast, actual):
    return {
        "from": show(start_ns)[:16] + "Z",
        "to": show(start_ns + HALF_NS)[:16] + "Z",
        "intensity": {"forecast": forecast, "actual": actual, "index": "moderate"},
    }


def national(web):
    """Answers from the half-hour that ends at ``from``, as the service does."""

    def give(url):
        found = re.search(r"/intensity/([^/]+)/([^/]+)$", url)
        start = ns_of(found[1]) - HALF_NS
        end = start + 97 * HALF_NS if found[2] == "fw48h" else ns_of(found[2])
        data = []
        for at_ns in range(start, end, HALF_NS):
            over = at_ns + HALF_NS <= web.now_ns
            number = at_ns // HALF_NS % 48
            data.append(half_hour(at_ns, 100 + number, 150 + number if over else None))
        return {"data": data}

    return give


@pytest.fixture
def web():
    web = FakeWeb()
    web.answers["intensity"] = national(web)
    return web


def signal(web):
    return GbCarbonSignal(connection=web.connection())


def test_an_open_half_hour_is_the_forecast_and_marked(web):
    gb = signal(web)
    found = gb.at(web.now_ns)
    assert (found.value, found.estimated, found.age_s) == (124.0, True, 0.0)
    assert (found.unit, found.kind) == ("g_per_kwh", "average")
    past = gb.at(web.now_ns - 2 * HALF_NS)
    assert (past.value, past.estimated) == (150.0 + 22, False)
    ((url, headers),) = web.asked
    assert url == (
        "https://api.carbonintensity.org.uk/intensity/2026-03-09T12:30Z/2026-03-10T12:30Z"
    )
    assert "auth-token" not in headers


def test_when_it_is_over_the_actual_value_counts(web):
    gb = signal(web)
    gb.at(web.now_ns)
    then = web.now_ns
    web.pass_time(1800)
    gb.at(web.now_ns)
    assert (gb.at(then).value, gb.at(then).estimated) == (174.0, False)


def test_the_forecast_of_48_hours(web):
    gb = signal(web)
    found = gb.forecast(web.now_ns, 24 * 3600.0)
    assert web.asked[-1][0].endswith("/intensity/2026-03-10T12:00Z/fw48h")
    assert found.start_ns == ns_of("2026-03-10T12:00Z")
    assert found.at(ns_of("2026-03-11T00:10Z")).value == 100.0
    assert found.issued_ns == web.now_ns
    with pytest.raises(StaleSignalError, match="at most 48 h"):
        gb.forecast(web.now_ns, 48 * 3600.0)


def test_half_hours_without_any_value_are_left_out(web):
    now = ns_of("2026-03-10T12:00Z")
    data = [half_hour(now - HALF_NS, 90, 95), half_hour(now, None, None)]
    web.answers["intensity"] = {"data": data}
    found = signal(web).at(web.now_ns)
    assert (found.value, found.age_s) == (95.0, 1200.0)
    with pytest.raises(StaleSignalError, match="to 2026-03-10T12:00:00Z"):
        signal(web).forecast(web.now_ns, 3600.0)
    web.answers["intensity"] = {"data": []}
    with pytest.raises(ServiceError, match="without values"):
        signal(web).forecast(web.now_ns, 3600.0)


@pytest.mark.parametrize(
    "answer",
    [
        {"error": {"code": "400 Bad Request", "message": "Please enter a valid date"}},
        {"data": [{"from": "2026-03-10T12:00Z", "intensity": {}}]},
        {"data": [{"from": "noon", "to": "2026-03-10T12:30Z", "intensity": {"forecast": 1}}]},
    ],
)
def test_an_answer_of_another_shape_is_one_error(web, answer):
    web.answers["intensity"] = answer
    with pytest.raises(ServiceError, match="cannot be used"):
        signal(web).at(web.now_ns)


def test_a_bad_request_says_why(web):
    web.answers["intensity"] = (400, {}, b'{"error": {"message": "valid dates only"}}')
    with pytest.raises(ServiceError, match=r"HTTP 400[\s\S]*valid dates only"):
        signal(web).at(web.now_ns)
