"""Electricity Maps, against answers written by hand in the documented shape."""

from __future__ import annotations

import pytest

from baseload.base.errors import BadInputError, ServiceError, StaleSignalError
from baseload.sources.electricity_maps import ElectricityMapsSignal
from baseload.sources.signals import ns_of, show

from .fake_web import HOUR_NS, FakeWeb

NOON = ns_of("2026-03-10T12:00Z")


def value(hour, grams, *, estimated=False):
    return {
        "zone": "XA",
        "carbonIntensity": grams,
        "datetime": f"2026-03-{10 if hour >= 0 else 9:02d}T{hour % 24:02d}:00:00.000Z",
        "updatedAt": "2026-03-10T12:05:00.000Z",
        "createdAt": "2026-03-07T12:00:00.000Z",
        "emissionFactorType": "lifecycle",
        "isEstimated": estimated,
        "estimationMethod": "MODE" if estimated else None,
        "temporalGranularity": "hourly",
    }


def answers(web):
    web.answers["v3/carbon-intensity/latest"] = value(12, 312, estimated=True)
    web.answers["v3/carbon-intensity/history"] = {
        "zone": "XA",
        "history": [value(hour, 200 + hour) for hour in range(-12, 12) if hour != 3]
        + [value(3, None)],
        "temporalGranularity": "hourly",
    }
    web.answers["v3/carbon-intensity/forecast"] = {
        "zone": "XA",
        "forecast": [
            {"carbonIntensity": 400 + i, "datetime": show(NOON + i * HOUR_NS)} for i in range(25)
        ],
        "updatedAt": "2026-03-10T12:04:00.000Z",
    }


@pytest.fixture
def web(monkeypatch):
    monkeypatch.setenv("EM_TOKEN", "very-secret")
    web = FakeWeb()
    answers(web)
    return web


def signal(web, **more):
    return ElectricityMapsSignal("XA", token="env:EM_TOKEN", connection=web.connection(), **more)


def test_the_latest_hour(web):
    found = signal(web).at(web.now_ns)
    assert (found.value, found.unit, found.kind) == (312.0, "g_per_kwh", "average")
    assert found.estimated
    assert (found.at_ns, found.age_s) == (NOON, 0.0)
    assert found.source == "Electricity Maps, XA, lifecycle average"
    urls = [url for url, _ in web.asked]
    assert urls == [
        "https://api.electricitymaps.com/v3/carbon-intensity/history"
        "?zone=XA&emissionFactorType=lifecycle",
        "https://api.electricitymaps.com/v3/carbon-intensity/latest"
        "?zone=XA&emissionFactorType=lifecycle",
    ]
    assert all(headers["auth-token"] == "very-secret" for _, headers in web.asked)


def test_the_day_before_and_its_hole(web):
    em = signal(web)
    assert em.at(NOON - 5 * HOUR_NS).value == 207.0
    assert not em.at(NOON - 5 * HOUR_NS).estimated
    hole = em.at(NOON - 9 * HOUR_NS + 60 * 10**9)
    assert (hole.value, hole.age_s) == (202.0, 60.0)
    assert em.at(NOON - 9 * HOUR_NS + 10**9 * 3599).age_s == 3599.0
    with pytest.raises(StaleSignalError):
        em.at(NOON - 30 * HOUR_NS)


def test_later_only_the_latest_is_asked_for(web):
    em = signal(web)
    em.at(web.now_ns)
    web.pass_time(3600)
    em.at(web.now_ns)
    assert [url.split("/")[-1].split("?")[0] for url, _ in web.asked] == [
        "history",
        "latest",
        "latest",
    ]
    late = em.at(NOON + 2 * HOUR_NS + HOUR_NS // 2)
    assert late.age_s == 1.5 * 3600
    assert late.high > late.value


def test_direct_emissions_are_asked_for_as_such(web):
    found = signal(web, factors="direct")
    found.at(web.now_ns)
    assert "emissionFactorType=direct" in web.asked[0][0]
    assert "direct" in found.source


def test_a_forecast_takes_the_shortest_horizon_that_reaches(web):
    em = signal(web)
    found = em.forecast(web.now_ns, 20 * 3600.0)
    assert "horizonHours=24" in web.asked[-1][0]
    assert found.issued_ns == ns_of("2026-03-10T12:04Z")
    assert found.at(NOON + 14 * HOUR_NS).value == 414.0
    assert found.at(NOON + 14 * HOUR_NS).estimated
    with pytest.raises(StaleSignalError, match=r"\(30 h\)[\s\S]*to 2026-03-11T13:00:00Z"):
        em.forecast(web.now_ns, 30 * 3600.0)
    assert "horizonHours=48" in web.asked[-1][0]
    asked, other = len(web.asked), signal(web)
    for _ in range(2):
        with pytest.raises(StaleSignalError, match="at most 72 h"):
            other.forecast(web.now_ns, 73 * 3600.0)
    assert len(web.asked) == asked


def test_the_newer_name_of_the_list_is_read_too(web):
    for what in ("history", "forecast"):
        answer = web.answers[f"v3/carbon-intensity/{what}"]
        answer["data"] = answer.pop(what)
    em = signal(web)
    assert em.at(NOON - 5 * HOUR_NS).value == 207.0
    assert em.forecast(web.now_ns, 3600.0).points[0].value == 400.0


def test_values_of_another_zone_are_refused(web):
    web.answers["v3/carbon-intensity/latest"] = {**value(12, 1), "zone": "XB"}
    with pytest.raises(ServiceError, match="values of zone 'XB'"):
        signal(web).at(web.now_ns)


@pytest.mark.parametrize(
    "answer",
    [
        "no json",
        "[]",
        {"zone": "XA"},
        {"zone": "XA", "carbonIntensity": "many", "datetime": "2026-03-10T12:00Z"},
        {"zone": "XA", "carbonIntensity": 1, "datetime": "2026-03-10T12:00"},
    ],
)
def test_an_answer_of_another_shape_is_one_error(web, answer):
    web.answers["v3/carbon-intensity/latest"] = answer
    with pytest.raises(ServiceError, match="cannot be used"):
        signal(web).at(web.now_ns)


def test_a_refused_token_is_told_without_the_token(web):
    web.answers = {"v3": (401, {}, b'{"error": "invalid token very-secret"}')}
    with pytest.raises(ServiceError, match="HTTP 401, the token was refused") as caught:
        signal(web).at(web.now_ns)
    assert "very-secret" not in str(caught.value)
    with pytest.raises(ServiceError):
        signal(web).forecast(web.now_ns, 3600.0)


def test_an_empty_forecast_is_an_error(web):
    web.answers["v3/carbon-intensity/forecast"] = {"zone": "XA", "forecast": []}
    with pytest.raises(ServiceError, match="without values"):
        signal(web).forecast(web.now_ns, 3600.0)


def test_arguments_are_checked(web):
    with pytest.raises(BadInputError, match="zone"):
        ElectricityMapsSignal("", token="env:EM_TOKEN")
    with pytest.raises(BadInputError, match="factors"):
        ElectricityMapsSignal("XA", token="env:EM_TOKEN", factors="all")
    with pytest.raises(BadInputError, match="env:NAME"):
        ElectricityMapsSignal("XA", token="very-secret")
