"""ENTSO-E Transparency Platform: carbon intensity from generation per type, day-ahead prices.

Needs a token. Generation (document A75) may be re-used under CC BY 4.0; prices (A44) belong to the
exchanges and are not on that list.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from baseload.base.errors import BadInputError, unknown_name
from baseload.base.units import NS_PER_S, S_PER_DAY, S_PER_HOUR, ns_from_s
from baseload.sources.entso_e_xml import XmlDocument, XmlSeries, read_document, reason_of
from baseload.sources.http_client import Connection, Secret
from baseload.sources.live import LiveSignal, Prediction
from baseload.sources.signals import Kind, Point, StaleRule, Unit

ADDRESS = "https://web-api.tp.entsoe.eu/api"

AREAS = {
    "AT": "10YAT-APG------L",
    "BE": "10YBE----------2",
    "BG": "10YCA-BULGARIA-R",
    "CH": "10YCH-SWISSGRIDZ",
    "CZ": "10YCZ-CEPS-----N",
    "DE-LU": "10Y1001A1001A82H",
    "DK1": "10YDK-1--------W",
    "DK2": "10YDK-2--------M",
    "EE": "10Y1001A1001A39I",
    "ES": "10YES-REE------0",
    "FI": "10YFI-1--------U",
    "FR": "10YFR-RTE------C",
    "GR": "10YGR-HTSO-----Y",
    "HR": "10YHR-HEP------M",
    "HU": "10YHU-MAVIR----U",
    "IE-SEM": "10Y1001A1001A59C",
    "IT-NORTH": "10Y1001A1001A73I",
    "LT": "10YLT-1001A0008Q",
    "LV": "10YLV-1001A00074",
    "NL": "10YNL----------L",
    "NO1": "10YNO-1--------2",
    "NO2": "10YNO-2--------T",
    "NO3": "10YNO-3--------J",
    "NO4": "10YNO-4--------9",
    "NO5": "10Y1001A1001A48H",
    "PL": "10YPL-AREA-----S",
    "PT": "10YPT-REN------W",
    "RO": "10YRO-TEL------P",
    "RS": "10YCS-SERBIATSOV",
    "SE1": "10Y1001A1001A44P",
    "SE2": "10Y1001A1001A45N",
    "SE3": "10Y1001A1001A46L",
    "SE4": "10Y1001A1001A47J",
    "SI": "10YSI-ELES-----O",
    "SK": "10YSK-SEPS-----K",
}
"""EIC codes of bidding zones; any other zone may be given by its code."""

FACTORS_G_PER_KWH = {
    "B01": 230.0,  # biomass
    "B02": 820.0,  # lignite
    "B03": 820.0,  # coal gas
    "B04": 490.0,  # gas
    "B05": 820.0,  # hard coal
    "B06": 650.0,  # oil
    "B07": 820.0,  # oil shale
    "B08": 820.0,  # peat
    "B09": 38.0,  # geothermal
    "B11": 24.0,  # run of river
    "B12": 24.0,  # reservoir
    "B13": 17.0,  # marine
    "B14": 12.0,  # nuclear
    "B15": 38.0,  # other renewable
    "B16": 45.0,  # solar
    "B17": 300.0,  # waste
    "B18": 11.5,  # wind offshore
    "B19": 11.5,  # wind onshore
    "B20": 700.0,  # other
}
"""Life-cycle emissions by production type: medians of IPCC AR5 WG3 Annex III; assumed are oil,
waste, other, other renewable (as geothermal), and lignite, coal gas, oil shale and peat (as coal).
"""

STORAGE = ("B10", "B25")
"""Types that give back energy and make none: left out of the mix."""

MINOR_FRAC = 0.01
"""A type that is missing counts as zero up to this share of the mean generation."""


class _EntsoE(LiveSignal):
    """What both signals share: zone, token, request."""

    def __init__(
        self,
        zone: str,
        *,
        what: str,
        token: str,
        unit: Unit,
        kind: Kind,
        rule: StaleRule | None,
        refresh_s: float,
        connection: Connection | None,
        address: str,
    ) -> None:
        self.zone = zone
        self.area = _area(zone)
        self._token = Secret(token, field="entso-e: token")
        self._address = address
        super().__init__(
            service="ENTSO-E",
            source=f"ENTSO-E, {zone}, {what}",
            unit=unit,
            kind=kind,
            rule=rule,
            refresh_s=refresh_s,
            connection=connection,
        )

    def _ask(self, begin_ns: int, end_ns: int, *, value: str, **params: str) -> XmlDocument:
        """One document."""
        body = self.client.get(
            self._address,
            params={**params, "periodStart": _period(begin_ns), "periodEnd": _period(end_ns)},
            secret_params={"securityToken": self._token.reveal()},
            explain=reason_of,
        )
        return read_document(body, value=value)


class EntsoECarbonSignal(_EntsoE):
    """Average life-cycle carbon intensity of the generation in ``zone`` [g_per_kwh].

    ``token``: ``env:NAME``. Generation times ``FACTORS_G_PER_KWH``, over generation; imports and
    storage are left out. There is no forecast: ``forecast`` gives the same time of the last known
    day. Published one to two hours late.
    """

    default_rule = StaleRule(fresh_s=2 * S_PER_HOUR, refuse_s=12 * S_PER_HOUR)

    def __init__(
        self,
        zone: str,
        *,
        token: str,
        rule: StaleRule | None = None,
        refresh_s: float = 900.0,
        connection: Connection | None = None,
        address: str = ADDRESS,
    ) -> None:
        super().__init__(
            zone,
            what="life-cycle average of generation",
            token=token,
            unit="g_per_kwh",
            kind="average",
            rule=rule,
            refresh_s=refresh_s,
            connection=connection,
            address=address,
        )

    def _observe(self, t_ns: int) -> list[Point]:
        """Two days up to ``t_ns``."""
        hour_ns = ns_from_s(S_PER_HOUR)
        end_ns = (t_ns // hour_ns + 1) * hour_ns
        document = self._ask(
            end_ns - ns_from_s(2 * S_PER_DAY),
            end_ns,
            value="quantity",
            documentType="A75",
            processType="A16",
            in_Domain=self.area,
        )
        return intensity_points(document.series)

    def _predict(self, t0_ns: int, horizon_s: float) -> Prediction | None:  # noqa: ARG002
        """The platform has no forecast of it."""
        return None


class EntsoEPriceSignal(_EntsoE):
    """Day-ahead price of ``zone`` [eur_per_mwh].

    ``token``: ``env:NAME``. ``sequence``: which auction, where a document has several; 1 is the
    coupled one. Known until the end of the last auctioned day, and then settled: no interval.
    """

    def __init__(
        self,
        zone: str,
        *,
        token: str,
        sequence: int = 1,
        rule: StaleRule | None = None,
        refresh_s: float = 900.0,
        connection: Connection | None = None,
        address: str = ADDRESS,
    ) -> None:
        self._sequence = sequence
        super().__init__(
            zone,
            what="day-ahead price",
            token=token,
            unit="eur_per_mwh",
            kind="price",
            rule=rule,
            refresh_s=refresh_s,
            connection=connection,
            address=address,
        )

    def _observe(self, t_ns: int) -> list[Point]:
        """The published prices of the days around ``t_ns``."""
        return self._published(t_ns)[1]

    def _predict(self, t0_ns: int, horizon_s: float) -> Prediction | None:  # noqa: ARG002
        """The published prices; they are known, not guessed."""
        issued_ns, points = self._published(t0_ns)
        return Prediction(issued_ns=issued_ns, points=tuple(points), settled=True)

    def _published(self, t_ns: int) -> tuple[int, list[Point]]:
        """When the document was made and its prices, from a day before to two days after."""
        day_ns = ns_from_s(S_PER_DAY)
        midnight_ns = t_ns // day_ns * day_ns
        document = self._ask(
            midnight_ns - day_ns,
            midnight_ns + 2 * day_ns,
            value="price.amount",
            documentType="A44",
            in_Domain=self.area,
            out_Domain=self.area,
        )
        issued_ns = document.created_ns or self.connection.clock_ns()
        return issued_ns, self._prices(document.series)

    def _prices(self, series: Sequence[XmlSeries]) -> list[Point]:
        """The prices of the auction asked for. Raises ``ServiceError`` for another unit, and for
        two different prices of one instant.
        """
        found: dict[int, Point] = {}
        for each in series:
            if each.sequence not in (None, self._sequence):
                continue
            if (each.currency or "EUR", each.measure or "MWH") != ("EUR", "MWH"):
                raise self._unexpected(f"prices in {each.currency} per {each.measure}")
            for point in each.points:
                other = found.setdefault(point.start_ns, point)
                if (other.end_ns, other.value) != (point.end_ns, point.value):
                    raise self._unexpected("two prices for one time, of auctions not told apart")
        return [found[start] for start in sorted(found)]


def intensity_points(series: Sequence[XmlSeries]) -> list[Point]:
    """Average intensity [g_per_kwh] in the longest step of the series.

    A step in which a type is missing that otherwise makes more than ``MINOR_FRAC`` of the mean
    generation is left out, because the rest would pass for the whole; with a smaller one missing
    it is marked estimated. Negative generation counts as zero, unknown types as other. Raises
    nothing: without a usable step the list is empty.
    """
    made = [each for each in series if not each.consumption and each.psr_type not in STORAGE]
    points = [point for each in made for point in each.points]
    if not points:
        return []
    step_ns = max(point.end_ns - point.start_ns for point in points)
    types: dict[str, dict[int, float]] = {}
    for each in made:
        types.setdefault(each.psr_type, {}).update(_in_steps(each.points, step_ns))
    means = {name: math.fsum(steps.values()) / len(steps) for name, steps in types.items() if steps}
    whole = math.fsum(means.values())
    found = []
    for start in sorted({start for steps in types.values() for start in steps}):
        missing = math.fsum(mean for name, mean in means.items() if start not in types[name])
        power = {name: types[name][start] for name in means if start in types[name]}
        total = math.fsum(power.values())
        if total <= 0.0 or missing > MINOR_FRAC * whole:
            continue
        grams = math.fsum(
            FACTORS_G_PER_KWH.get(name, FACTORS_G_PER_KWH["B20"]) * each
            for name, each in power.items()
        )
        point = Point(
            start_ns=start,
            end_ns=start + step_ns,
            value=grams / total,
            estimated=len(power) < len(means),
        )
        found.append(point)
    return found


def _in_steps(points: Sequence[Point], step_ns: int) -> dict[int, float]:
    """Mean power in whole steps of ``step_ns``; steps that are not full are left out."""
    energy: dict[int, float] = {}
    length: dict[int, int] = {}
    for point in points:
        start = point.start_ns // step_ns * step_ns
        spans = point.end_ns - point.start_ns
        energy[start] = energy.get(start, 0.0) + max(0.0, point.value) * (spans / NS_PER_S)
        length[start] = length.get(start, 0) + spans
    step_s = step_ns / NS_PER_S
    return {start: each / step_s for start, each in energy.items() if length[start] == step_ns}


def _area(zone: str) -> str:
    """The EIC code of a zone."""
    code = AREAS.get(zone.upper().replace("_", "-"), "")
    if code:
        return code
    if len(zone) == 16 and zone[:2].isdigit():
        return zone
    if not zone:
        raise BadInputError("entso-e: zone", found="''", allowed="such as DE-LU")
    raise unknown_name("ENTSO-E zone", zone, AREAS, todo="or give its EIC code of 16 characters")


def _period(t_ns: int) -> str:
    """The instant as the service wants it: yyyymmddHHMM in UTC."""
    return datetime.fromtimestamp(t_ns // NS_PER_S, UTC).strftime("%Y%m%d%H%M")
