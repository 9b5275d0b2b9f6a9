"""ENTSO-E documents: positions, curves, reasons, and no DTD."""

from __future__ import annotations

import pytest

from baseload.base.errors import ServiceError
from baseload.sources.entso_e_xml import read_document, reason_of
from baseload.sources.signals import ns_of

from .entso_e_answers import (
    acknowledgement,
    generation_document,
    made,
    period,
    price_document,
    priced,
)

START, END = "2026-03-10T00:00Z", "2026-03-10T02:00Z"
QUARTER_NS = 900 * 10**9


def read(text, value="quantity"):
    return read_document(text.encode(), value=value)


def test_positions_become_times():
    text = generation_document(
        made("B16", period(START, END, "PT60M", {1: 10, 2: 20.5}, "quantity")),
        made("B10", period(START, END, "PT60M", {1: 7, 2: 8}, "quantity"), consumption=True),
    )
    document = read(text)
    assert document.created_ns == ns_of("2026-03-10T12:10Z")
    sun, pump = document.series
    assert (sun.psr_type, sun.consumption, sun.sequence, sun.measure) == ("B16", False, None, "MAW")
    assert [(p.start_ns, p.value) for p in sun.points] == [
        (ns_of(START), 10.0),
        (ns_of("2026-03-10T01:00Z"), 20.5),
    ]
    assert sun.points[-1].end_ns == ns_of(END)
    assert pump.consumption


def test_a_curve_that_leaves_out_repetitions_is_filled():
    periods = period(START, END, "PT15M", {1: 50, 3: -4, 8: 9}, "price.amount")
    (series,) = read(price_document(priced(periods, sequence=2)), "price.amount").series
    assert [p.value for p in series.points] == [50, 50, -4, -4, -4, -4, -4, 9]
    assert series.points[1].start_ns - series.points[0].start_ns == QUARTER_NS
    assert (series.sequence, series.currency, series.measure) == (2, "EUR", "MWH")
    (series,) = read(price_document(priced(periods, curve="A01")), "price.amount").series
    assert [p.value for p in series.points] == [50, -4, 9]


def test_several_periods_make_one_series():
    later = period(END, "2026-03-10T03:00Z", "PT60M", {1: 3}, "quantity")
    first = period(START, END, "PT60M", {1: 1, 2: 2}, "quantity")
    (series,) = read(generation_document(made("B04", later + first))).series
    assert [p.value for p in series.points] == [1.0, 2.0, 3.0]


def test_an_acknowledgement_says_why():
    text = acknowledgement(999, "No matching data found for\n Data item X")
    with pytest.raises(ServiceError, match=r"No matching data found for Data item X \(code 999\)"):
        read(text)
    assert reason_of(text.encode()).startswith("No matching data")
    assert reason_of(b"<html>Down for maintenance") == "<html>Down for maintenance"
    assert "without a reason" in reason_of(b"<Acknowledgement_MarketDocument/>")


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;">]>'
    "<GL_MarketDocument>&c;</GL_MarketDocument>"
)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (BOMB.encode(), "a DTD"),
        (BOMB.encode("utf-16"), "not UTF-8"),
        (BOMB.replace("<!DOCTYPE", " <!DOCTYPE").encode("utf-8-sig"), "a DTD"),
        (BOMB.encode("utf-16-le"), "not UTF-8"),
        (b"", "not XML"),
        (b"<GL_MarketDocument>", "not XML"),
        (b"<Other/>", "a document Other"),
        (b"\xff\xfe<", "not UTF-8"),
    ],
)
def test_what_is_no_document_is_refused(body, said):
    with pytest.raises(ServiceError, match=said):
        read_document(body, value="quantity")
    assert reason_of(body) is not None


@pytest.mark.parametrize(
    ("periods", "said"),
    [
        (period(START, END, "P1Y", {1: 1}, "quantity"), "the resolution 'P1Y'"),
        (period(START, END, "PT60M", {3: 1}, "quantity"), "position 3 of 2"),
        (period(START, END, "PT60M", {0: 1}, "quantity"), "position 0"),
        (period(START, END, "PT60M", {"x": 1}, "quantity"), "whole number"),
        (period(START, END, "PT60M", {1: "NaN"}, "quantity"), "in place of a number"),
        (period(START, END, "PT60M", {1: "many"}, "quantity"), "in place of a number"),
        (period(START, END, "PT60M", {1: 1}, "price.amount"), "in place of a number"),
        (period(END, START, "PT60M", {1: 1}, "quantity"), "-2 positions"),
        (period("1700-01-01T00:00Z", END, "PT1M", {1: 1}, "quantity"), "positions"),
        (period("2026-03-10", END, "PT60M", {1: 1}, "quantity"), "the date '2026-03-10'"),
        ("<Period><resolution>PT60M</resolution></Period>", "without a time interval"),
    ],
)
def test_what_does_not_fit_is_named(periods, said):
    with pytest.raises(ServiceError, match=said):
        read(generation_document(made("B04", periods)))
