"""What auxiliary energy costs: a price for each joule, a charge for the peak, a fixed fee.

A demand charge is not additive over hours: it is set by the worst quarter of an hour of a month.
It is computed over the whole run and told apart from energy, and never as a price for a joule.

Instants are seconds of the run; ``start_unix_s`` [s since 1970, UTC] says when it began. Local time
is UTC plus a fixed offset: no daylight saving.
"""

from __future__ import annotations

import math
from typing import Literal, Protocol, get_args

import msgspec
import numpy as np
from msgspec.structs import force_setattr
from numpy.typing import ArrayLike, NDArray

from baseload.base.errors import ArgumentError
from baseload.base.inputs import Floats, not_negative, number, numbers, positive
from baseload.base.units import J_PER_KWH, S_PER_DAY, S_PER_HOUR
from baseload.supply.series import checked_edges, sampled_means, step_means

Days = Literal["all", "weekdays", "weekends"]

DEMAND_WINDOW_S = 900.0
_RATCHET_MONTHS = 11  # before the month itself: a year with it


class EnergyPrice(Protocol):
    """A price of energy over time."""

    def slot_usd_per_j(self, edges_s: ArrayLike, *, start_unix_s: float = 0.0) -> Floats:
        """Mean price in each slot between ``edges_s`` ``[n + 1]``: float64 ``[n]`` [$/J]."""
        ...


class FlatPrice(msgspec.Struct, frozen=True, kw_only=True):
    """One price at all times, ``usd_per_j`` [$/J]; may be negative."""

    usd_per_j: float

    def __post_init__(self) -> None:
        """Refuse what is no price."""
        number("flat price: usd_per_j", self.usd_per_j)

    def slot_usd_per_j(
        self,
        edges_s: ArrayLike,
        *,
        start_unix_s: float = 0.0,  # noqa: ARG002
    ) -> Floats:
        """The price in every slot [$/J] ``[n]``."""
        return np.full(len(checked_edges(edges_s)) - 1, float(self.usd_per_j))


class PriceWindow(msgspec.Struct, frozen=True, kw_only=True):
    """When a price holds, by the local clock: from ``from_hour`` up to ``to_hour`` (0 to 24; from
    22 to 6 goes over midnight, both by the calendar day of the instant), on ``days``, in ``months``
    (1 to 12).
    """

    usd_per_j: float
    from_hour: float = 0.0
    to_hour: float = 24.0
    days: Days = "all"
    months: tuple[int, ...] = tuple(range(1, 13))

    def __post_init__(self) -> None:
        """Refuse hours, days and months that no calendar has."""
        number("price window: usd_per_j", self.usd_per_j)
        number("price window: from_hour", self.from_hour, least=0.0, most=24.0)
        number("price window: to_hour", self.to_hour, least=0.0, most=24.0)
        if self.from_hour == self.to_hour:
            raise ArgumentError(
                "price window: to_hour",
                found=f"{self.from_hour:g} to {self.to_hour:g}",
                allowed="two different hours; 0 to 24 is the whole day",
            )
        if self.days not in get_args(Days):
            raise ArgumentError(
                "price window: days", found=repr(self.days), allowed=", ".join(get_args(Days))
            )
        if not self.months or any(month not in range(1, 13) for month in self.months):
            raise ArgumentError(
                "price window: months", found=repr(self.months), allowed="months from 1 to 12"
            )

    def holds(
        self, hour: Floats, weekday: NDArray[np.int64], month: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Whether the window holds at each local ``hour``, ``weekday`` (Monday 0), ``month``."""
        if self.from_hour < self.to_hour:
            inside = (hour >= self.from_hour) & (hour < self.to_hour)
        else:
            inside = (hour >= self.from_hour) | (hour < self.to_hour)
        if self.days != "all":
            inside &= (weekday < 5) == (self.days == "weekdays")
        return np.asarray(inside & np.isin(month, self.months), dtype=np.bool_)


class TimeOfUsePrice(msgspec.Struct, frozen=True, kw_only=True):
    """A price by the local clock: that of the first of ``windows`` that holds, else
    ``usd_per_j`` [$/J]. Local time is UTC + ``utc_offset_s`` [s].
    """

    usd_per_j: float
    windows: tuple[PriceWindow, ...] = ()
    utc_offset_s: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no price and offsets that no clock has."""
        number("time-of-use price: usd_per_j", self.usd_per_j)
        _check_offset(self.utc_offset_s)

    def at(self, unix_s: ArrayLike) -> Floats:
        """The price [$/J] at each instant [s since 1970, UTC]."""
        local_s = np.asarray(unix_s, dtype=np.float64) + self.utc_offset_s
        day = np.floor(local_s / S_PER_DAY)
        hour = (local_s - day * S_PER_DAY) / S_PER_HOUR
        weekday = (day.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
        month = month_number(local_s) % 12 + 1
        price = np.full(local_s.shape, float(self.usd_per_j))
        for window in reversed(self.windows):
            price = np.where(window.holds(hour, weekday, month), window.usd_per_j, price)
        return price

    def slot_usd_per_j(self, edges_s: ArrayLike, *, start_unix_s: float = 0.0) -> Floats:
        """Mean price in each slot [$/J] ``[n]``, exact where a window ends inside it."""
        edges = checked_edges(edges_s)
        if len(edges) < 2:
            return np.zeros(0)
        shift_s = start_unix_s + self.utc_offset_s
        hours = {0.0} | {window.from_hour for window in self.windows}
        hours |= {window.to_hour for window in self.windows} - {24.0}
        first = math.floor((edges[0] + shift_s) / S_PER_DAY)
        days = np.arange(first, math.floor((edges[-1] + shift_s) / S_PER_DAY) + 1)
        within = np.array(sorted(hours)) * S_PER_HOUR
        turns = (days[:, None] * S_PER_DAY - shift_s + within[None, :]).ravel()
        inside = turns[(turns > edges[0]) & (turns < edges[-1])]
        breaks = np.concatenate(([edges[0]], inside, [edges[-1]]))
        return step_means(breaks, self.at(0.5 * (breaks[:-1] + breaks[1:]) + start_unix_s), edges)


class SpotPrice(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A series of prices ``usd_per_j`` [$/J] ``[m]``, one for each ``step_s`` [s] from
    ``start_unix_s`` [s since 1970, UTC], plus ``adder_usd_per_j`` (fees, taxes). May be negative.

    A run that leaves the series is a ``ArgumentError`` that names both lengths.
    """

    usd_per_j: Floats
    step_s: float = S_PER_HOUR
    start_unix_s: float = 0.0
    adder_usd_per_j: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what are no prices."""
        found = numbers("spot price: usd_per_j", self.usd_per_j, shape=(-1,)).copy()
        found.flags.writeable = False
        force_setattr(self, "usd_per_j", found)
        positive("spot price: step_s", self.step_s)
        number("spot price: start_unix_s", self.start_unix_s)
        number("spot price: adder_usd_per_j", self.adder_usd_per_j)

    def slot_usd_per_j(self, edges_s: ArrayLike, *, start_unix_s: float = 0.0) -> Floats:
        """Mean price in each slot [$/J] ``[n]``."""
        found = sampled_means(
            "spot price",
            self.usd_per_j,
            step_s=self.step_s,
            start_s=self.start_unix_s - start_unix_s,
            edges_s=checked_edges(edges_s),
        )
        return found + self.adder_usd_per_j


class DemandCharge(msgspec.Struct, frozen=True, kw_only=True):
    """A charge for the highest demand: ``usd_per_w`` [$/W and month] times the highest mean over a
    window of ``window_s`` [s] in each month.

    Windows lie on the local clock; of one that the run covers in part, the part counts.
    With ``ratchet_frac`` (0.6 to 0.8 where it is used) no month is billed for less than that share
    of the highest peak in the twelve months that end with it; ``earlier_peak_w`` [W] is the highest
    one before the run.
    """

    usd_per_w: float
    window_s: float = DEMAND_WINDOW_S
    ratchet_frac: float = 0.0
    earlier_peak_w: float = 0.0

    def __post_init__(self) -> None:
        """Refuse charges that cannot be."""
        not_negative("demand charge: usd_per_w", self.usd_per_w)
        positive("demand charge: window_s", self.window_s)
        number("demand charge: ratchet_frac", self.ratchet_frac, least=0.0, most=1.0)
        not_negative("demand charge: earlier_peak_w", self.earlier_peak_w)


def demand_charge_per_kw(usd_per_kw: float, *, ratchet_frac: float = 0.0) -> DemandCharge:
    """A demand charge of ``usd_per_kw`` [$/kW and month] on the highest quarter of an hour."""
    return DemandCharge(usd_per_w=usd_per_kw * S_PER_HOUR / J_PER_KWH, ratchet_frac=ratchet_frac)


class Tariff(msgspec.Struct, frozen=True, kw_only=True):
    """How auxiliary energy is paid: ``energy`` by the joule, ``demand`` by the peak,
    ``fixed_usd_per_month`` [$]. Months follow local time, UTC + ``utc_offset_s`` [s].
    """

    energy: EnergyPrice
    demand: DemandCharge | None = None
    fixed_usd_per_month: float = 0.0
    utc_offset_s: float = 0.0

    def __post_init__(self) -> None:
        """Refuse fees below 0 and offsets that no clock has."""
        not_negative("tariff: fixed_usd_per_month", self.fixed_usd_per_month)
        _check_offset(self.utc_offset_s)


class MonthBill(msgspec.Struct, frozen=True, kw_only=True):
    """One calendar month of a bill: ``month`` (``2024-03``), the share of it that the run covers,
    energy [J and $], the highest window [W], the power that the demand charge was taken on [W] and
    that charge [$], the fixed fee [$].
    """

    month: str
    covered_frac: float
    energy_j: float
    energy_usd: float
    peak_w: float
    billed_w: float
    demand_usd: float
    fixed_usd: float


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """What auxiliary energy cost [$], by part. ``demand_usd`` bills every month that the run
    touches in full, as a utility would; ``fixed_usd`` by the share of the month. ``months`` has
    the parts month by month.
    """

    energy_usd: float
    demand_usd: float
    fixed_usd: float
    months: tuple[MonthBill, ...]

    @property
    def total_usd(self) -> float:
        """All parts together [$]."""
        return self.energy_usd + self.demand_usd + self.fixed_usd


def bill(
    tariff: Tariff, edges_s: ArrayLike, auxiliary_w: ArrayLike, *, start_unix_s: float = 0.0
) -> Bill:
    """The bill for ``auxiliary_w`` [W] ``[n]``, the mean power in each slot between ``edges_s``.

    A slot that lies across the end of a month is split there. Raises ``ArgumentError`` naming the
    field.
    """
    edges = checked_edges(edges_s)
    power_w = numbers("auxiliary_w", auxiliary_w, least=0.0, shape=(len(edges) - 1,))
    if not len(power_w):
        return Bill(energy_usd=0.0, demand_usd=0.0, fixed_usd=0.0, months=())
    edges, power_w = _split_at_months(edges, power_w, start_unix_s + tariff.utc_offset_s)
    energy_j = power_w * np.diff(edges)
    usd = energy_j * tariff.energy.slot_usd_per_j(edges, start_unix_s=start_unix_s)
    middles_s = 0.5 * (edges[:-1] + edges[1:]) + start_unix_s + tariff.utc_offset_s
    month_of = month_number(middles_s)
    peaks_w = _month_peaks_w(tariff, edges, power_w, start_unix_s)
    months: list[MonthBill] = []
    for month in np.unique(month_of).tolist():
        rows = month_of == month
        covered = float(np.diff(edges)[rows].sum()) / month_length_s(month)
        peak_w = peaks_w[month]
        billed_w = _billed_w(tariff.demand, peaks_w, month)
        rate = 0.0 if tariff.demand is None else tariff.demand.usd_per_w
        months.append(
            MonthBill(
                month=str(np.datetime64(month, "M")),
                covered_frac=min(1.0, covered),
                energy_j=math.fsum(energy_j[rows].tolist()),
                energy_usd=math.fsum(usd[rows].tolist()),
                peak_w=peak_w,
                billed_w=billed_w,
                demand_usd=billed_w * rate,
                fixed_usd=tariff.fixed_usd_per_month * min(1.0, covered),
            )
        )
    return Bill(
        energy_usd=math.fsum(usd.tolist()),
        demand_usd=math.fsum(row.demand_usd for row in months),
        fixed_usd=math.fsum(row.fixed_usd for row in months),
        months=tuple(months),
    )


def window_means_w(
    edges_s: ArrayLike,
    power_w: ArrayLike,
    *,
    window_s: float = DEMAND_WINDOW_S,
    shift_s: float = 0.0,
) -> tuple[Floats, Floats]:
    """Mean power [W] in every window of ``window_s`` [s] of a clock that is ``shift_s`` ahead of
    the run, and the edges of the windows [s of the run]. The first and the last window are cut at
    the ends of the run.
    """
    edges = checked_edges(edges_s)
    power = numbers("power_w", power_w, shape=(len(edges) - 1,))
    if not len(power):
        return np.zeros(0), edges
    first = math.floor((edges[0] + shift_s) / window_s) + 1
    last = math.ceil((edges[-1] + shift_s) / window_s)
    marks = np.arange(first, last) * window_s - shift_s
    marks = marks[(marks > edges[0]) & (marks < edges[-1])]
    windows = np.concatenate(([edges[0]], marks, [edges[-1]]))
    return step_means(edges, power, windows), windows


def month_number(local_s: ArrayLike) -> NDArray[np.int64]:
    """Calendar month of each local instant [s since 1970], counted from January 1970 (0)."""
    seconds = np.floor(np.asarray(local_s, dtype=np.float64)).astype("datetime64[s]")
    return seconds.astype("datetime64[M]").astype(np.int64)


def month_length_s(month: int) -> float:
    """Seconds of a calendar month, counted from January 1970 (0)."""
    return _month_start_s(month + 1) - _month_start_s(month)


def _month_start_s(month: int) -> float:
    """The local instant [s since 1970] at which a month begins."""
    return float(np.datetime64(month, "M").astype("datetime64[s]").astype(np.int64))


def _split_at_months(edges: Floats, power_w: Floats, shift_s: float) -> tuple[Floats, Floats]:
    """The same power with an edge at the beginning of every month."""
    first, last = month_number(edges[[0, -1]] + shift_s).tolist()
    starts = np.array([_month_start_s(month) - shift_s for month in range(first + 1, last + 1)])
    starts = starts[(starts > edges[0]) & (starts < edges[-1])] if len(starts) else starts
    split = np.union1d(edges, starts)
    return split, power_w[np.searchsorted(edges, split[:-1], side="right") - 1]


def _month_peaks_w(
    tariff: Tariff, edges: Floats, power_w: Floats, start_unix_s: float
) -> dict[int, float]:
    """The highest window of each month [W]."""
    shift_s = start_unix_s + tariff.utc_offset_s
    window_s = DEMAND_WINDOW_S if tariff.demand is None else tariff.demand.window_s
    means, windows = window_means_w(edges, power_w, window_s=window_s, shift_s=shift_s)
    month_of = month_number(0.5 * (windows[:-1] + windows[1:]) + shift_s)
    peaks = {month: float(means[month_of == month].max()) for month in np.unique(month_of).tolist()}
    touched = month_number(0.5 * (edges[:-1] + edges[1:]) + shift_s)
    return {month: peaks.get(month, 0.0) for month in np.unique(touched).tolist()}


def _billed_w(demand: DemandCharge | None, peaks_w: dict[int, float], month: int) -> float:
    """What a month's demand charge is taken on [W]."""
    if demand is None:
        return peaks_w[month]
    first = min(peaks_w)
    year = [peaks_w.get(past, 0.0) for past in range(month - _RATCHET_MONTHS, month + 1)]
    if month - first <= _RATCHET_MONTHS:
        year.append(demand.earlier_peak_w)
    return max(peaks_w[month], demand.ratchet_frac * max(year))


def _check_offset(utc_offset_s: float) -> None:
    """Refuse an offset that no clock has: more than a day."""
    number("utc_offset_s", utc_offset_s, least=-S_PER_DAY, most=S_PER_DAY)
