"""WattTime, against answers written by hand in the documented shape."""

from __future__ import annotations

import base64
from urllib.parse import parse_qs, urlsplit

import pytest

from baseload.base.errors import BadInputError, ServiceError, StaleSignalError
from baseload.sources.signals import combine, ns_of, show
from baseload.sources.watttime import WattTimeSignal

from .fake_web import FakeWeb

STEP_NS = 300 * 10**9
G_PER_LB_PER_MWH = 0.45359237


def meta(**more):
    return {
        "region": "CAISO_NORTH",
        "signal_type": "co2_moer",
        "units": "lbs_co2_per_mwh",
        "data_point_period_seconds": 300,
        "model": {"date": "2023-03-01"},
        **more,
    }


def span(url):
    """Values every five minutes of the time asked; 800 at 00:00, one more each step."""
    query = parse_qs(urlsplit(url).query)
    start, end = ns_of(query["start"][0]), ns_of(query["end"][0])
    assert end - start <= 32 * 24 * 3600 * 10**9
    end = min(end, ns_of("2026-03-10T12:15Z"))
    data = [
        {"point_time": show(t_ns), "value": 800.0 + t_ns // STEP_NS % 288, "version": "3.2"}
        for t_ns in range(start, end, STEP_NS)
    ]
    return {"data": data, "meta": meta()}


def ahead(url):
    hours = int(parse_qs(urlsplit(url).query)["horizon_hours"][0])
    start = ns_of("2026-03-10T12:15Z")
    data = [
        {"point_time": show(start + i * STEP_NS), "value": 1000.0} for i in range(hours * 12 + 1)
    ]
    return {"data": data, "meta": meta(generated_at="2026-03-10T12:16:00+00:00")}


@pytest.fixture
def web(monkeypatch):
    monkeypatch.setenv("WT_USER", "alice")
    monkeypatch.setenv("WT_PASSWORD", "pass word")
    web = FakeWeb()
    web.answers["login"] = {"token": "bearer-1"}
    web.answers["v3/historical"] = span
    web.answers["v3/forecast"] = ahead
    return web


def signal(web, **more):
    return WattTimeSignal(
        "CAISO_NORTH",
        user="env:WT_USER",
        password="env:WT_PASSWORD",
        connection=web.connection(),
        **more,
    )


def test_pounds_become_grams_and_the_value_is_marginal(web):
    found = signal(web).at(ns_of("2026-03-10T12:12Z"))
    assert found.value == pytest.approx((800 + 12 * 12 + 2) * G_PER_LB_PER_MWH)
    assert (found.unit, found.kind, found.estimated) == ("g_per_kwh", "marginal", False)
    login, data = web.asked
    assert login[0] == "https://api.watttime.org/login"
    assert base64.b64decode(login[1]["Authorization"].split()[1]) == b"alice:pass word"
    assert data[1]["Authorization"] == "Bearer bearer-1"
    assert "region=CAISO_NORTH&signal_type=co2_moer&start=" in data[0]


def test_the_newest_value_carries_its_age(web):
    found = signal(web).at(web.now_ns)
    assert found.at_ns == ns_of("2026-03-10T12:10Z")
    assert found.age_s == 300.0
    assert not found.estimated


def test_the_token_is_used_again_and_renewed_in_time(web):
    wt = signal(web)
    wt.at(web.now_ns)
    web.pass_time(600)
    wt.at(web.now_ns)
    assert sum("login" in url for url, _ in web.asked) == 1
    web.pass_time(26 * 60)
    wt.at(web.now_ns)
    assert sum("login" in url for url, _ in web.asked) == 2


def test_a_token_that_has_run_out_is_renewed_once(web):
    wt = signal(web)
    wt.at(web.now_ns)
    web.pass_time(600)
    refuse = [(401, {}, b"expired")]
    web.answers["v3/historical"] = lambda url: refuse.pop() if refuse else span(url)
    wt.at(web.now_ns)
    assert wt.failure is None
    web.answers["v3/historical"] = (401, {}, b"bearer-1 is wrong")
    web.pass_time(600)
    wt.at(web.now_ns)
    assert wt.failure is not None
    assert wt.failure.status == 401
    assert "bearer-1" not in str(wt.failure)


def test_wrong_passwords_are_not_shown(web):
    web.answers["login"] = (401, {}, b"no user alice with pass word")
    with pytest.raises(ServiceError, match=r"HTTP 401[\s\S]*\*\*\*") as caught:
        signal(web).at(web.now_ns)
    assert "pass word" not in str(caught.value)


def test_a_forecast_asks_for_the_hours_it_needs(web):
    wt = signal(web)
    found = wt.forecast(web.now_ns, 5.5 * 3600)
    assert "horizon_hours=6" in web.asked[-1][0]
    assert found.issued_ns == ns_of("2026-03-10T12:16Z")
    assert found.points[-1].value == pytest.approx(1000 * G_PER_LB_PER_MWH)
    assert all(point.estimated for point in found.points)
    assert found.high[-1] > found.high[0] > found.points[0].value
    with pytest.raises(StaleSignalError, match="at most 72 h"):
        wt.forecast(web.now_ns, 80 * 3600.0)


def test_the_index_is_a_rank_and_no_intensity(web):
    web.answers["v3/signal-index"] = {
        "data": [{"point_time": "2026-03-10T12:15:00+00:00", "value": 37.0}],
        "meta": meta(units="percentile"),
    }
    found = signal(web).signal_index(web.now_ns)
    assert (found.value, found.unit) == (0.37, "frac")
    with pytest.raises(BadInputError, match="different units"):
        combine([found, signal(web).at(web.now_ns)])
    for data in ([], [{"point_time": "2026-03-10T12:15:00Z", "value": 101.0}]):
        web.answers["v3/signal-index"]["data"] = data
        with pytest.raises(ServiceError, match="from 0 to 100"):
            signal(web).signal_index(web.now_ns)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"units": "percentile"}, "the unit 'percentile'"),
        ({"region": "PJM"}, "values of 'PJM'"),
        ({"signal_type": "health_damage"}, "health_damage"),
    ],
)
def test_values_of_something_else_are_refused(web, wrong, said):
    data = [{"point_time": "2026-03-10T12:15:00Z", "value": 1.0}]
    web.answers["v3/historical"] = {"data": data, "meta": meta(**wrong)}
    with pytest.raises(ServiceError, match=said):
        signal(web).at(web.now_ns)


def test_the_average_rate_is_an_average(web):
    data = [{"point_time": "2026-03-10T12:15:00Z", "value": 500.0}]
    web.answers["v3/historical"] = {"data": data, "meta": meta(signal_type="co2_aoer")}
    found = signal(web, signal_type="co2_aoer").at(web.now_ns)
    assert found.kind == "average"
    with pytest.raises(BadInputError, match="signal_type"):
        signal(web, signal_type="health_damage")
    with pytest.raises(BadInputError, match="region"):
        WattTimeSignal("", user="env:A", password="env:B")


def test_a_plan_without_the_region_is_told(web):
    web.answers["v3"] = (403, {}, b'{"error": "You do not have permission"}')
    del web.answers["v3/historical"], web.answers["v3/forecast"]
    for ask in (lambda wt: wt.at(web.now_ns), lambda wt: wt.forecast(web.now_ns, 3600.0)):
        with pytest.raises(ServiceError, match="not allowed to read this") as caught:
            ask(signal(web))
        assert caught.value.todo == "check the token and what its plan allows"


def test_an_empty_forecast_is_an_error(web):
    web.answers["v3/forecast"] = {"data": [], "meta": meta()}
    with pytest.raises(ServiceError, match="without values"):
        signal(web).forecast(web.now_ns, 3600.0)
