"""Documents of the ENTSO-E platform, written by hand in the documented shape."""

from __future__ import annotations

GENERATION = "urn:iec62325.351:tc57wg16:451-6:generationloaddocument:3:0"
PUBLICATION = "urn:iec62325.351:tc57wg16:451-3:publicationdocument:7:3"
ACKNOWLEDGEMENT = "urn:iec62325.351:tc57wg16:451-1:acknowledgementdocument:7:0"


def period(start, end, resolution, values, tag):
    """``values``: position -> number."""
    points = "".join(
        f"<Point><position>{at}</position><{tag}>{value}</{tag}></Point>"
        for at, value in values.items()
    )
    return (
        f"<Period><timeInterval><start>{start}</start><end>{end}</end></timeInterval>"
        f"<resolution>{resolution}</resolution>{points}</Period>"
    )


def made(psr, periods, *, curve="A01", consumption=False):
    """One series of actual generation."""
    domain = "outBiddingZone_Domain.mRID" if consumption else "inBiddingZone_Domain.mRID"
    return (
        f'<TimeSeries><mRID>1</mRID><businessType>A01</businessType><{domain} codingScheme="A01">'
        f"10Y1001A1001A82H</{domain}><quantity_Measure_Unit.name>MAW</quantity_Measure_Unit.name>"
        f"<curveType>{curve}</curveType><MktPSRType><psrType>{psr}</psrType></MktPSRType>"
        f"{periods}</TimeSeries>"
    )


def priced(periods, *, curve="A03", sequence=None, currency="EUR"):
    """One series of day-ahead prices."""
    name = "classificationSequence_AttributeInstanceComponent.position"
    which = f"<{name}>{sequence}</{name}>" if sequence else ""
    return (
        f"<TimeSeries><mRID>1</mRID><auction.type>A01</auction.type>{which}"
        f"<currency_Unit.name>{currency}</currency_Unit.name>"
        "<price_Measure_Unit.name>MWH</price_Measure_Unit.name>"
        f"<curveType>{curve}</curveType>{periods}</TimeSeries>"
    )


def generation_document(*series):
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><GL_MarketDocument xmlns="{GENERATION}">'
        "<mRID>a</mRID><type>A75</type><createdDateTime>2026-03-10T12:10:00Z</createdDateTime>"
        f"{''.join(series)}</GL_MarketDocument>"
    )


def price_document(*series):
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><Publication_MarketDocument xmlns="{PUBLICATION}">'
        "<mRID>b</mRID><type>A44</type><createdDateTime>2026-03-10T11:59:00Z</createdDateTime>"
        f"{''.join(series)}</Publication_MarketDocument>"
    )


def acknowledgement(code, text):
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>'
        f'<Acknowledgement_MarketDocument xmlns="{ACKNOWLEDGEMENT}"><mRID>c</mRID>'
        f"<Reason><code>{code}</code><text>{text}</text></Reason></Acknowledgement_MarketDocument>"
    )
