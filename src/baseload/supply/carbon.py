"""Grams: signals of carbon intensity, with average and marginal kept apart.

An *average* intensity says who emitted what: it makes an inventory. A *marginal* intensity says
what one more joule would cause: it weighs a decision. They answer different questions, so adding,
averaging or subtracting one with the other is an error here (GHG Protocol Scope 2; ISO/IEC
21031:2024).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import msgspec
import numpy as np
from msgspec.structs import force_setattr
from numpy.typing import ArrayLike, NDArray

from baseload.base.errors import ArgumentError
from baseload.base.inputs import Floats, not_negative, number, numbers, positive
from baseload.base.units import J_PER_KWH, S_PER_HOUR, g_per_j_from_g_per_kwh
from baseload.supply.series import checked_edges, sampled_means

Kind = Literal["average", "marginal"]


class CarbonReading(msgspec.Struct, frozen=True, kw_only=True):
    """A carbon intensity at one instant: ``intensity_g_per_j`` [gCO2e/J], its ``kind``, whether it
    is ``estimated`` (forecast, or held beyond its series), its ``age_s`` [s], its ``source``.
    """

    kind: Kind
    intensity_g_per_j: float
    estimated: bool
    age_s: float
    source: str


class Emissions(msgspec.Struct, frozen=True, kw_only=True):
    """A mass of CO2e [g] of one ``kind``: ``average`` for an inventory, ``marginal`` for the effect
    of a decision. Sums and differences within a kind only; others raise ``ArgumentError``.
    """

    kind: Kind
    mass_g: float

    def __post_init__(self) -> None:
        """Refuse kinds that are not known."""
        _check_kind(self.kind)

    def __add__(self, other: Emissions) -> Emissions:
        """Together."""
        same_kind("adding emissions", (self.kind, other.kind))
        return Emissions(kind=self.kind, mass_g=self.mass_g + other.mass_g)

    def __sub__(self, other: Emissions) -> Emissions:
        """The difference, say between two runs."""
        same_kind("subtracting emissions", (self.kind, other.kind))
        return Emissions(kind=self.kind, mass_g=self.mass_g - other.mass_g)


class SlotIntensity(NamedTuple):
    """Mean carbon intensity in each slot [g/J] ``[n]``; whether any of it is estimated ``[n]``; the
    age of what it was taken from at the end of the slot [s] ``[n]``.
    """

    intensity_g_per_j: Floats
    estimated: NDArray[np.bool_]
    age_s: Floats


class CarbonSignal(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A series of carbon intensities.

    ``kind`` is ``average`` or ``marginal``. ``intensity_g_per_j`` [g/J] ``[m]``: one for each
    ``step_s`` [s] from ``start_unix_s`` [s since 1970, UTC]; ``carbon_signal`` takes g/kWh.
    ``estimated``: one flag for all, or ``[m]``. ``issued_unix_s``: when a forecast was made; its
    age counts from there, that of a measured value from the beginning of its step. The last value
    stands for at most ``hold_s`` [s] after the end, as an estimate; a run that goes further is a
    ``ArgumentError``. ``always``: one value at all times, age 0.
    """

    kind: Kind
    intensity_g_per_j: Floats
    step_s: float = S_PER_HOUR
    start_unix_s: float = 0.0
    estimated: bool | NDArray[np.bool_] = False
    issued_unix_s: float | None = None
    hold_s: float = 0.0
    always: bool = False
    source: str = ""

    def __post_init__(self) -> None:
        """Refuse kinds and numbers that cannot be."""
        _check_kind(self.kind)
        found = numbers("carbon signal: intensity_g_per_j", self.intensity_g_per_j, shape=(-1,))
        found = found.copy()
        found.flags.writeable = False
        force_setattr(self, "intensity_g_per_j", found)
        flags = np.asarray(self.estimated, dtype=np.bool_)
        if flags.shape not in ((), found.shape):
            raise ArgumentError(
                "carbon signal: estimated",
                found=f"shape {flags.shape}",
                allowed=f"one flag, or one for each of the {len(found)} values",
            )
        flags = np.broadcast_to(flags, found.shape)
        force_setattr(self, "estimated", flags)
        if not len(found) or (found.min() < 0.0 and self.kind == "average"):
            raise ArgumentError(
                "carbon signal: intensity_g_per_j",
                found="no values" if not len(found) else f"{found.min():g} g/J",
                allowed="one value or more; below 0 for marginal signals only",
            )
        positive("carbon signal: step_s", self.step_s)
        number("carbon signal: start_unix_s", self.start_unix_s)
        not_negative("carbon signal: hold_s", self.hold_s)
        if self.always and len(found) != 1:
            raise ArgumentError("carbon signal: always", found=f"{len(found)} values", allowed="1")

    def at(self, unix_s: float) -> CarbonReading:
        """The reading that holds at an instant [s since 1970, UTC]; raises ``ArgumentError`` before
        the signal begins and more than ``hold_s`` after it ends.
        """
        now_s = number("unix_s", unix_s)
        place, age_s = 0, 0.0
        if not self.always:
            place = math.floor((now_s - self.start_unix_s) / self.step_s + 1e-9)
            end_s = self.start_unix_s + len(self.intensity_g_per_j) * self.step_s
            if place < 0 or now_s > end_s + self.hold_s or (now_s >= end_s and not self.hold_s):
                raise ArgumentError(
                    f"{self._name} at second {now_s:,.0f}",
                    found=f"a signal from {self.start_unix_s:,.0f} to {end_s:,.0f}",
                    allowed=f"an instant inside it, or up to {self.hold_s:g} s later",
                )
        last = len(self.intensity_g_per_j) - 1
        if not self.always:
            began_s = self.start_unix_s + min(place, last) * self.step_s
            since_s = began_s if self.issued_unix_s is None else self.issued_unix_s
            age_s = max(0.0, now_s - since_s)
        return CarbonReading(
            kind=self.kind,
            intensity_g_per_j=float(self.intensity_g_per_j[min(place, last)]),
            estimated=bool(np.asarray(self.estimated)[min(place, last)]) or place > last,
            age_s=age_s,
            source=self.source,
        )

    @property
    def _name(self) -> str:
        """For messages."""
        return f"carbon signal ({self.kind}{', ' + self.source if self.source else ''})"

    def slots(self, edges_s: ArrayLike, *, start_unix_s: float = 0.0) -> SlotIntensity:
        """Mean intensity in each slot between ``edges_s`` [s of a run that began at
        ``start_unix_s``], with flags and ages; raises ``ArgumentError`` naming both lengths where
        the run leaves the signal by more than ``hold_s``.
        """
        edges = checked_edges(edges_s)
        count = len(edges) - 1
        flags = np.asarray(self.estimated)
        if self.always:
            value = np.full(count, float(self.intensity_g_per_j[0]))
            return SlotIntensity(value, np.full(count, bool(flags[0])), np.zeros(count))
        start_s = self.start_unix_s - start_unix_s
        end_s = start_s + len(flags) * self.step_s
        values, doubtful = self.intensity_g_per_j, flags.astype(np.float64)
        held = math.ceil(self.hold_s / self.step_s)
        if edges[-1] <= end_s + self.hold_s:  # else the run leaves the signal: refused below
            values = np.concatenate((values, np.repeat(values[-1:], held)))
            doubtful = np.concatenate((doubtful, np.ones(held)))
        means, share = (
            sampled_means(self._name, row, step_s=self.step_s, start_s=start_s, edges_s=edges)
            for row in (values, doubtful)
        )
        ages_s = self._ages(edges[1:], start_s, end_s, start_unix_s)
        return SlotIntensity(means, share > 0.0, ages_s)

    def _ages(self, ends_s: Floats, start_s: float, end_s: float, start_unix_s: float) -> Floats:
        """Age at the end of each slot [s] of the value that held there."""
        if self.issued_unix_s is not None:
            given: Floats = np.maximum(0.0, ends_s + start_unix_s - self.issued_unix_s)
            return given
        inside = np.ceil((np.minimum(ends_s, end_s) - start_s) / self.step_s - 1e-9) - 1.0
        ages: Floats = ends_s - (start_s + inside * self.step_s)
        return ages


def carbon_signal(
    kind: Kind,
    intensity_g_per_kwh: ArrayLike,
    *,
    step_s: float = S_PER_HOUR,
    start_unix_s: float = 0.0,
    estimated: bool | ArrayLike = False,
    issued_unix_s: float | None = None,
    hold_s: float = 0.0,
    source: str = "",
) -> CarbonSignal:
    """A signal from values in g/kWh, as every service gives them: one value for all times, or a
    series ``[m]`` with a step and a start.
    """
    values = numbers("intensity_g_per_kwh", intensity_g_per_kwh)
    flags = np.asarray(estimated, dtype=np.bool_)
    return CarbonSignal(
        kind=kind,
        intensity_g_per_j=np.atleast_1d(values) * g_per_j_from_g_per_kwh(1.0),
        step_s=step_s,
        start_unix_s=start_unix_s,
        estimated=flags,
        issued_unix_s=issued_unix_s,
        hold_s=hold_s,
        always=values.ndim == 0,
        source=source,
    )


def same_kind(what: str, kinds: Sequence[str]) -> None:
    """Refuse to do ``what`` with average and marginal intensities mixed."""
    if len(set(kinds)) > 1:
        raise ArgumentError(
            what,
            found=" with ".join(kinds),
            allowed="one kind: average for an inventory, marginal for the effect of a decision",
            todo="keep two figures, and never subtract one from the other",
        )


def location_based(
    signal: CarbonSignal, edges_s: ArrayLike, energy_j: ArrayLike, *, start_unix_s: float = 0.0
) -> Emissions:
    """The inventory of ``energy_j`` [J] ``[n]`` drawn in the slots: average intensity times energy.

    Raises ``ArgumentError`` for a marginal signal.
    """
    return _weighed(
        "a location-based inventory", "average", signal, edges_s, energy_j, start_unix_s
    )


def marginal_effect(
    signal: CarbonSignal, edges_s: ArrayLike, change_j: ArrayLike, *, start_unix_s: float = 0.0
) -> Emissions:
    """The effect of drawing ``change_j`` [J] ``[n]`` more (negative: less) in the slots: marginal
    intensity times change. Raises ``ArgumentError`` for an average signal.
    """
    return _weighed("the effect of a decision", "marginal", signal, edges_s, change_j, start_unix_s)


def _weighed(
    what: str,
    kind: Kind,
    signal: CarbonSignal,
    edges_s: ArrayLike,
    energy_j: ArrayLike,
    start_unix_s: float,
) -> Emissions:
    """Energy times intensity, of a signal that must be of ``kind``."""
    need_kind(what, kind, signal)
    found = signal.slots(edges_s, start_unix_s=start_unix_s)
    energy = numbers("energy_j", energy_j, shape=found.intensity_g_per_j.shape)
    return Emissions(kind=kind, mass_g=math.fsum((energy * found.intensity_g_per_j).tolist()))


def need_kind(what: str, kind: Kind, signal: CarbonSignal) -> None:
    """Refuse a signal of the other kind for ``what``."""
    if signal.kind != kind:
        raise ArgumentError(
            what,
            found=f"a {signal.kind} signal{' of ' + signal.source if signal.source else ''}",
            allowed=f"a signal of kind {kind!r}",
        )


def embodied_g(
    *, total_g: float, used_s: float, lifetime_s: float, share_frac: float = 1.0
) -> float:
    """Embodied emissions [g] of hardware for a time of use: ``total_g`` x used / lifetime x share
    of the resource (SCI, ISO/IEC 21031:2024).
    """
    share = number("share_frac", share_frac, least=0.0, most=1.0)
    used = not_negative("used_s", used_s) / positive("lifetime_s", lifetime_s)
    return not_negative("total_g", total_g) * used * share


def software_carbon_intensity(
    *, operational: Emissions, embodied_g: float, functional_units: float
) -> float:
    """SCI = (O + M) / R [g per functional unit, say per 1,000 tokens or per answered request]."""
    mass_g = operational.mass_g + not_negative("embodied_g", embodied_g)
    return mass_g / positive("functional_units", functional_units)


def g_per_kwh_of(intensity_g_per_j: float) -> float:
    """Carbon intensity in g/kWh, as people read it, from g/J."""
    return intensity_g_per_j * J_PER_KWH


def _check_kind(kind: str) -> None:
    """Refuse kinds that are neither."""
    if kind not in get_args(Kind):
        raise ArgumentError("carbon: kind", found=repr(kind), allowed=" or ".join(get_args(Kind)))
