"""Reading the XML of the ENTSO-E Transparency Platform: time series of generation and prices.

Documents with a DTD are refused before they are parsed, so no entity is ever expanded.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree

import msgspec

from baseload.base.errors import BadInputError, ServiceError
from baseload.base.units import S_PER_DAY, S_PER_HOUR, ns_from_s
from baseload.sources.signals import Point, ns_of

RESOLUTION_S = {
    "PT1M": 60.0,
    "PT15M": 900.0,
    "PT30M": 1800.0,
    "PT60M": S_PER_HOUR,
    "PT1H": S_PER_HOUR,
    "P1D": S_PER_DAY,
}
"""Length of one position [s]."""

_MOST_POSITIONS = 1_000_000


class XmlSeries(msgspec.Struct, frozen=True, kw_only=True):
    """One TimeSeries of a document.

    ``consumption``: what is used and not produced (pumping). ``sequence``: which of several
    auctions, ``None`` when it does not say. ``points``: a value for each position that has one.
    """

    psr_type: str
    consumption: bool
    sequence: int | None
    currency: str
    measure: str
    points: tuple[Point, ...]


class XmlDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A document: when it was made (``None``: it does not say) and its series."""

    created_ns: int | None
    series: tuple[XmlSeries, ...]


def read_document(body: bytes, *, value: str) -> XmlDocument:
    """The document in ``body``; ``value`` is the element with the numbers (``quantity``,
    ``price.amount``).

    Curve type A03 leaves out positions that repeat the one before, so they are filled; in other
    curves a missing position is a missing value. Raises ``ServiceError`` for an acknowledgement
    (it says why there is no data), a DTD, or anything that is not such a document.
    """
    root = _root(body)
    if _name(root) == "Acknowledgement_MarketDocument":
        raise ServiceError("ENTSO-E: no data", found=_reason(root), todo="check zone and time")
    if _name(root) not in ("GL_MarketDocument", "Publication_MarketDocument"):
        raise _unexpected(f"a document {_name(root)}")
    created = _text(root, "createdDateTime")
    return XmlDocument(
        created_ns=_date_ns(created) if created else None,
        series=tuple(_series(each, value) for each in _children(root, "TimeSeries")),
    )


def reason_of(body: bytes) -> str:
    """Why a request was refused, in the service's words; the beginning of the text if unclear."""
    try:
        root = _root(body)
    except ServiceError:
        return " ".join(body[:500].decode("utf-8", "replace").split())[:200]
    return _reason(root)


def _root(body: bytes) -> ElementTree.Element:
    """The parsed document. Raises ``ServiceError``."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _unexpected("bytes that are not UTF-8") from None
    if "\0" in text:  # UTF-16, in which the parser would find what the next line cannot
        raise _unexpected("bytes that are not UTF-8")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise _unexpected("a DTD, which is refused because entities can do harm")
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise _unexpected(f"not XML ({error})") from None


def _series(node: ElementTree.Element, value: str) -> XmlSeries:
    """One TimeSeries."""
    curve = _text(node, "curveType") or "A01"
    psr = next((_text(each, "psrType") for each in _children(node, "MktPSRType")), "")
    sequence = _text(node, "classificationSequence_AttributeInstanceComponent.position")
    points: list[Point] = []
    for period in _children(node, "Period"):
        points += _period(period, value, fill=curve == "A03")
    return XmlSeries(
        psr_type=psr or "",
        consumption=bool(_text(node, "outBiddingZone_Domain.mRID")),
        sequence=_whole(sequence) if sequence else None,
        currency=_text(node, "currency_Unit.name"),
        measure=_text(node, "price_Measure_Unit.name") or _text(node, "quantity_Measure_Unit.name"),
        points=tuple(sorted(points, key=lambda point: point.start_ns)),
    )


def _period(node: ElementTree.Element, value: str, *, fill: bool) -> Iterator[Point]:
    """The points of one Period."""
    resolution = _text(node, "resolution")
    if resolution not in RESOLUTION_S:
        raise _unexpected(f"the resolution {resolution!r}")
    step_ns = ns_from_s(RESOLUTION_S[resolution])
    extent = next(_children(node, "timeInterval"), None)
    if extent is None:
        raise _unexpected("a period without a time interval")
    start_ns, end_ns = _date_ns(_text(extent, "start")), _date_ns(_text(extent, "end"))
    count = (end_ns - start_ns) // step_ns
    if not 0 < count <= _MOST_POSITIONS:
        raise _unexpected(f"a period of {count} positions")
    given: dict[int, float] = {}
    for point in _children(node, "Point"):
        position = _whole(_text(point, "position"))
        if not 1 <= position <= count:
            raise _unexpected(f"position {position} of {count}")
        given[position] = _number(_text(point, value))
    held: float | None = None
    for position in range(1, count + 1):
        held = given.get(position, held if fill else None)
        if held is not None:
            begin_ns = start_ns + (position - 1) * step_ns
            yield Point(start_ns=begin_ns, end_ns=begin_ns + step_ns, value=held)


def _reason(root: ElementTree.Element) -> str:
    """Code and text of an acknowledgement."""
    said = [
        f"{_text(each, 'text')} (code {_text(each, 'code')})" for each in _children(root, "Reason")
    ]
    return " ".join("; ".join(said).split())[:400] or f"a document {_name(root)} without a reason"


def _name(node: ElementTree.Element) -> str:
    """The element's name without its namespace."""
    return node.tag.rpartition("}")[2]


def _children(node: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    """The children of that name, whatever their namespace."""
    return (child for child in node if _name(child) == name)


def _text(node: ElementTree.Element, name: str) -> str:
    """The text of the first child of that name; empty when there is none."""
    return next(((child.text or "").strip() for child in _children(node, name)), "")


def _whole(text: str) -> int:
    """A whole number. Raises ``ServiceError``."""
    try:
        return int(text)
    except ValueError:
        raise _unexpected(f"{text!r} in place of a whole number") from None


def _number(text: str) -> float:
    """A finite number. Raises ``ServiceError``."""
    try:
        found = float(text)
    except ValueError:
        found = float("nan")
    if not abs(found) < float("inf"):
        raise _unexpected(f"{text!r} in place of a number")
    return found


def _date_ns(text: str) -> int:
    """A date with its offset. Raises ``ServiceError``."""
    try:
        return ns_of(text)
    except BadInputError:
        raise _unexpected(f"the date {text!r}") from None


def _unexpected(found: str) -> ServiceError:
    """The error for what is not the documented XML."""
    return ServiceError(
        "ENTSO-E: an answer that cannot be used",
        found=found,
        allowed="GL_MarketDocument or Publication_MarketDocument",
        todo="check that the service has not changed",
    )
