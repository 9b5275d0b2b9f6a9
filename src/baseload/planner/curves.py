"""The curves that the plots of a plan draw: plain arrays, worked out here, drawn elsewhere.

Every record says what its axes are; ``marks`` are values of x to be marked, by name. Dots of a
simulation (``Dots``) lie on the same axes.
"""

from __future__ import annotations

import msgspec


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One curve: ``y`` over ``x`` (``None`` where not defined), its label and standing."""

    label: str
    x: tuple[float, ...]
    y: tuple[float | None, ...]
    standing: str


class Dots(msgspec.Struct, frozen=True, kw_only=True):
    """Simulated points: ``y`` over ``x`` with one standard error each; 0 for points that are known
    without error.
    """

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    error: tuple[float, ...]


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """One plot: ``name`` (its file), ``title`` (what to see), axes with units, curves, marks.

    ``name`` is one of ``v_shape``, ``growth``, ``storage``, ``provisioning``, ``variance_budget``
    (bars: one line, whose ``x`` are 0, 1, 2 .. and ``ticks`` the names), ``ride_through``,
    ``tails``, ``switch_points``, ``year``, and of a routing plan ``frontier``, ``shadow_price``,
    ``dynamic_gain``. ``right``: a second axis with curves of its own, or
    ``None``.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    x_log: bool = False
    y_log: bool = False
    marks: dict[str, float] = {}
    ticks: tuple[str, ...] = ()
    dots: tuple[Dots, ...] = ()
    right_label: str | None = None
    right: tuple[Line, ...] = ()
    note: str = ""
