"""ENTSO-E signals: the mix that makes the intensity, prices that are settled, tokens unseen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.base.errors import BadInputError, ServiceError, StaleSignalError, UnknownNameError
from baseload.sources.entso_e import (
    AREAS,
    FACTORS_G_PER_KWH,
    EntsoECarbonSignal,
    EntsoEPriceSignal,
    intensity_points,
)
from baseload.sources.entso_e_xml import XmlSeries, read_document
from baseload.sources.series import points_of
from baseload.sources.signals import ns_of

from .entso_e_answers import (
    acknowledgement,
    generation_document,
    made,
    period,
    price_document,
    priced,
)
from .fake_web import HOUR_NS, FakeWeb

START, END = "2026-03-09T00:00Z", "2026-03-10T12:00Z"
DAY = ("2026-03-10T00:00Z", "2026-03-11T00:00Z")


@pytest.fixture
def web(monkeypatch):
    monkeypatch.setenv("ENTSOE", "tok-en")
    return FakeWeb()


def carbon(web):
    return EntsoECarbonSignal("DE-LU", token="env:ENTSOE", connection=web.connection())


def price(web, **more):
    return EntsoEPriceSignal("DE-LU", token="env:ENTSOE", connection=web.connection(), **more)


def hourly(psr, value, *, count=36, **more):
    values = {at: value(at) if callable(value) else value for at in range(1, count + 1)}
    return made(psr, period(START, END, "PT60M", values, "quantity"), **more)


# carbon


def test_intensity_is_generation_times_factor(web):
    web.answers["api"] = generation_document(
        hourly("B16", 300),
        hourly("B04", 100),
        hourly("B10", 9999, consumption=True),
        hourly("B10", 50),
    )
    found = carbon(web).at(ns_of("2026-03-10T11:30Z"))
    assert found.value == pytest.approx((300 * 45 + 100 * 490) / 400)
    assert (found.unit, found.kind, found.estimated) == ("g_per_kwh", "average", False)
    ((url, _),) = web.asked
    assert url == (
        "https://web-api.tp.entsoe.eu/api?documentType=A75&processType=A16"
        "&in_Domain=10Y1001A1001A82H&periodStart=202603081200&periodEnd=202603101200"
        "&securityToken=tok-en"
    )


def test_late_publication_is_age(web):
    web.answers["api"] = generation_document(hourly("B14", 100))
    signal = carbon(web)
    fresh = signal.at(ns_of("2026-03-10T13:30Z"))
    assert (fresh.value, fresh.age_s, fresh.estimated) == (12.0, 5400.0, False)
    assert signal.at(ns_of("2026-03-10T20:00Z")).estimated
    with pytest.raises(StaleSignalError):
        signal.at(ns_of("2026-03-11T00:30Z"))


def test_there_is_no_forecast_so_it_is_the_same_time_of_the_last_day(web):
    web.answers["api"] = generation_document(
        hourly("B16", lambda at: 10 * (at % 24)), hourly("B04", 100)
    )
    signal = carbon(web)
    found = signal.forecast(ns_of("2026-03-10T11:30Z"), 24 * 3600.0)
    now = signal.at(ns_of("2026-03-09T15:00Z")).value
    assert found.at(ns_of("2026-03-10T15:00Z")).value == now
    assert all(point.estimated for point in found.points)
    assert signal.forecast(ns_of("2026-03-10T11:30Z"), 24 * 3600.0) == found
    assert len(web.asked) == 1


def series(psr, values, *, step_ns=HOUR_NS, consumption=False, first=0):
    starts = [(first + i) * step_ns for i in range(len(values))]
    return XmlSeries(
        psr_type=psr,
        consumption=consumption,
        sequence=None,
        currency="",
        measure="MAW",
        points=tuple(points_of(starts, values, step_ns=step_ns)),
    )


def test_quarters_are_averaged_to_the_longest_step():
    quarters = series("B16", [0, 100, 200, 100, 40, 40], step_ns=HOUR_NS // 4)
    found = intensity_points([quarters, series("B04", [100, 100])])
    assert [point.start_ns for point in found] == [0]
    assert found[0].value == pytest.approx((100 * 45 + 100 * 490) / 200)
    assert found[0].end_ns == HOUR_NS


def test_a_step_without_a_large_type_is_left_out():
    found = intensity_points([series("B16", [100, 100, 100]), series("B04", [100, 100])])
    assert [point.start_ns for point in found] == [0, HOUR_NS]


def test_a_step_without_a_small_type_is_marked():
    found = intensity_points([series("B16", [1000, 1000]), series("B06", [5])])
    assert [point.estimated for point in found] == [False, True]
    assert found[1].value == 45.0


def test_negative_generation_counts_as_none_and_unknown_types_as_other():
    found = intensity_points([series("B18", [-50.0]), series("B99", [10.0])])
    assert found[0].value == 700.0
    assert intensity_points([series("B16", [0.0])]) == []
    assert intensity_points([]) == []


@given(
    st.dictionaries(
        st.sampled_from(sorted(FACTORS_G_PER_KWH)), st.floats(0, 1e5), min_size=1, max_size=19
    )
)
def test_the_intensity_lies_between_the_factors_of_the_mix(mix):
    found = intensity_points([series(psr, [value]) for psr, value in mix.items()])
    if sum(mix.values()) == 0.0:
        assert found == []
        return
    used = [FACTORS_G_PER_KWH[psr] for psr, value in mix.items() if value > 0]
    assert min(used) * (1 - 1e-12) <= found[0].value <= max(used) * (1 + 1e-12)


def test_a_document_without_data_is_told(web):
    web.answers["api"] = acknowledgement(999, "No matching data found")
    with pytest.raises(ServiceError, match="No matching data found"):
        carbon(web).at(web.now_ns)
    web.answers["api"] = (400, {}, acknowledgement(999, "Wrong tok-en, period").encode())
    with pytest.raises(
        ServiceError, match=r"HTTP 400[\s\S]*Wrong \*\*\*, period \(code 999\)"
    ) as e:
        carbon(web).at(web.now_ns)
    assert "tok-en" not in str(e.value)
    assert "securityToken" not in str(e.value)


# prices


def prices(web, *more, values=None):
    values = values or {1: 80.0, 3: 20.5, 13: -5.0, 14: 60.0}
    day = period(*DAY, "PT60M", values, "price.amount")
    web.answers["api"] = price_document(priced(day, sequence=1), *more)


def test_prices_are_settled_and_known_ahead(web):
    prices(web)
    signal = price(web)
    found = signal.at(web.now_ns)
    assert (found.value, found.low, found.high, found.unit) == (-5.0, -5.0, -5.0, "eur_per_mwh")
    assert (found.kind, found.estimated, found.age_s) == ("price", False, 0.0)
    assert signal.at(ns_of("2026-03-10T01:00Z")).value == 80.0
    ahead = signal.forecast(web.now_ns, 6 * 3600.0)
    assert ahead.low == ahead.high == tuple(point.value for point in ahead.points)
    assert ahead.issued_ns == ns_of("2026-03-10T11:59Z")
    assert not ahead.points[0].estimated
    assert (
        "documentType=A44&in_Domain=10Y1001A1001A82H&out_Domain=10Y1001A1001A82H" in web.asked[0][0]
    )
    assert "periodStart=202603090000&periodEnd=202603120000" in web.asked[0][0]


def test_a_horizon_beyond_the_last_auction_is_refused(web):
    prices(web)
    with pytest.raises(StaleSignalError) as caught:
        price(web).forecast(web.now_ns, 24 * 3600.0)
    assert "to 2026-03-11T12:20:00Z (24 h)" in caught.value.asked
    assert "to 2026-03-11T00:00:00Z, issued 2026-03-10T11:59:00Z" in caught.value.found


def test_of_several_auctions_the_one_asked_for_counts(web):
    other = priced(period(*DAY, "PT15M", {1: 999.0}, "price.amount"), sequence=2)
    prices(web, other)
    assert price(web).at(web.now_ns).value == -5.0
    assert price(web, sequence=2).at(web.now_ns).value == 999.0


def test_auctions_that_are_not_told_apart_are_refused(web):
    prices(web, priced(period(*DAY, "PT15M", {1: 999.0}, "price.amount")))
    with pytest.raises(ServiceError, match="two prices for one time"):
        price(web).at(web.now_ns)


def test_prices_in_other_money_are_refused(web):
    day = period(*DAY, "PT60M", {1: 80.0}, "price.amount")
    web.answers["api"] = price_document(priced(day, currency="PLN"))
    with pytest.raises(ServiceError, match="PLN per MWH"):
        price(web).at(web.now_ns)


# zones


def test_zones_by_name_or_code():
    assert len(set(AREAS.values())) == len(AREAS)
    assert all(len(code) == 16 for code in AREAS.values())
    assert EntsoEPriceSignal("de_lu", token="env:X").area == AREAS["DE-LU"]
    assert EntsoEPriceSignal("10Y1001A1001A83F", token="env:X").area == "10Y1001A1001A83F"
    with pytest.raises(UnknownNameError, match="DE-LU"):
        EntsoEPriceSignal("DE", token="env:X")
    with pytest.raises(BadInputError, match="such as DE-LU"):
        EntsoEPriceSignal("", token="env:X")


def test_a_document_of_the_platform_is_read_with_its_namespace():
    body = generation_document(hourly("B14", 5, count=2)).encode()
    assert len(read_document(body, value="quantity").series[0].points) == 2
