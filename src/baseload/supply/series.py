"""Slots of a run, and functions of time that are constant in pieces, averaged over them.

A run of n slots is written as its n + 1 edges [s of the run]. A trace of power, a price and a
carbon intensity are constant in pieces; their mean over a slot is exact, however slot and piece
lie to each other.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from baseload.base.errors import ArgumentError
from baseload.base.inputs import Floats, number, numbers, positive, whole

_SNAP = 1e-9
"""An edge this near to the border of a piece, in pieces, lies on it."""


def slot_lengths(slot_s: ArrayLike, count: int | None = None) -> Floats:
    """The length of every slot [s]: float64 ``[n]``. A single length stands for all ``count``.

    Raises ``ArgumentError`` for lengths <= 0 and for a count that differs from theirs.
    """
    found = numbers("slot_s", slot_s)
    if found.ndim == 0:
        given = np.full(whole("count", 0 if count is None else count), float(found))
        positive("slot_s", float(found))
        return given
    if found.ndim != 1 or (count is not None and len(found) != count):
        raise ArgumentError(
            "slot_s",
            found=f"shape {found.shape}",
            allowed=f"one length, or one for each of {'the' if count is None else count} slots",
        )
    if len(found) and found.min() <= 0.0:
        at = int(np.argmin(found))
        raise ArgumentError(f"slot_s[{at}]", found=repr(float(found[at])), allowed="seconds > 0")
    return found


def slot_edges(slot_s: ArrayLike, count: int | None = None, *, start_s: float = 0.0) -> Floats:
    """The edges of ``count`` slots [s of the run]: float64 ``[n + 1]``, rising.

    ``slot_s``: one length for all, or one for each. Raises ``ArgumentError`` as ``slot_lengths``.
    """
    begin = number("start_s", start_s)
    if np.ndim(slot_s) == 0:
        length = positive("slot_s", float(np.asarray(slot_s, dtype=np.float64)))
        slots = whole("count", 0 if count is None else count)
        return begin + np.arange(slots + 1, dtype=np.float64) * length
    lengths = slot_lengths(slot_s, count)
    edges: Floats = begin + np.concatenate(([0.0], np.cumsum(lengths)))
    return edges


def checked_edges(edges_s: ArrayLike) -> Floats:
    """Edges as a float array; raises ``ArgumentError`` unless there is one and they rise."""
    found = numbers("edges_s", edges_s, shape=(-1,))
    if not len(found) or (np.diff(found) <= 0.0).any():
        raise ArgumentError(
            "edges_s", found=f"{len(found)} instants that do not rise", allowed="rising instants"
        )
    return found


def step_means(breaks_s: Floats, values: Floats, edges_s: Floats) -> Floats:
    """The mean over each slot of the function that is ``values[i]`` from ``breaks_s[i]`` to
    ``breaks_s[i + 1]``: float64 ``[n]``, in the unit of the values.

    ``breaks_s`` ``[m + 1]`` must rise and span the slots. A slot inside one piece gets its value to
    the bit; others differ from the integral by round-off.
    """
    if not len(values) or len(edges_s) < 2:
        return np.zeros(max(0, len(edges_s) - 1))
    last = len(values) - 1
    first_piece = np.clip(np.searchsorted(breaks_s, edges_s, side="right") - 1, 0, last)
    end_piece = np.clip(np.searchsorted(breaks_s, edges_s[1:], side="left") - 1, 0, last)
    whole_pieces = np.concatenate(([0.0], np.cumsum(values * np.diff(breaks_s))))[:-1]
    integral = whole_pieces[first_piece] + values[first_piece] * (edges_s - breaks_s[first_piece])
    means = np.diff(integral) / np.diff(edges_s)
    inside = first_piece[:-1] == end_piece
    return np.where(inside, values[first_piece[:-1]], means)


def sampled_means(
    what: str,
    values: Floats,
    *,
    step_s: float,
    start_s: float,
    edges_s: Floats,
    wrap: bool = False,
) -> Floats:
    """The mean over each slot of a series of ``values``, one for each ``step_s`` from ``start_s``.

    With ``wrap`` the series starts over after its end, and has done so before its start. Without,
    raises ``ArgumentError`` naming the series (``what``) and both lengths when the slots leave it.
    """
    if len(edges_s) < 2:
        return np.zeros(0)
    places = (edges_s - start_s) / step_s
    nearest = np.round(places)
    furthest_s = max(abs(float(edges_s[0])), abs(float(edges_s[-1])), abs(start_s))
    snap = _SNAP + 4.0 * np.finfo(np.float64).eps * furthest_s / step_s  # what instants can resolve
    places = np.where(np.abs(places - nearest) <= snap, nearest, places)
    first, end = math.floor(places[0]), math.ceil(places[-1])
    if not wrap and (first < 0 or end > len(values)):
        raise ArgumentError(
            f"{what}: the run leaves it",
            found=f"a series of {len(values) * step_s:,.6g} s ({len(values)} values of "
            f"{step_s:,.6g} s) from second {start_s:,.6g}, and a run of "
            f"{edges_s[-1] - edges_s[0]:,.6g} s from second {edges_s[0]:,.6g}",
            allowed="a series that covers the run",
            todo="give a longer series, a shorter run, or let a typical year start over",
        )
    pieces = np.arange(first, end)
    return step_means(np.arange(first, end + 1).astype(float), values[pieces % len(values)], places)
