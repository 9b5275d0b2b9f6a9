"""A store whose supply, demand and prices follow a known cycle: the problem, checked.

A cycle is a row of slots of equal length, a day of hours for one, that repeats or is looked at
once. Derived in docs/explanation/variance-aware-routing.md, 5.10.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from baseload.base.errors import ArgumentError
from baseload.theory.cycle_step import Model
from baseload.theory.inputs import (
    Floats,
    efficiency,
    not_negative,
    numbers,
    positive,
    whole,
)
from baseload.theory.routing_instance import Ints, RoutingInstance

NOISE_POINTS = 9
"""Even points that stand for the noise of a slot."""

_NOISE_REACH = 3.2


class CycleProblem(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Routing with a store over a cycle of slots, checked and put into arrays when it is made.

    * ``slot_s``: length of a slot [s].
    * ``b`` [slots]: supply net of all that routing does not decide [W]; may be negative.
    * ``v0`` [slots] or one number: variance rate of that net supply [J^2/s].
    * ``lam`` [slots, classes], or [classes] for all slots: Poisson arrivals [1/s].
    * ``mean``, ``second``, ``other_cost``, ``available`` [classes, options]: as in
      ``RoutingInstance`` (J, J^2, $); infinite other cost: not to be had.
    * ``Cu``, ``Cw`` [slots] or one number: prices of auxiliary energy and of waste [$/J], in every
      slot ``Cu + Cw > 0``. A negative ``Cw`` is paid for what is fed in.
    * ``B``: usable capacity [J] > 0. ``eta_c``, ``eta_d``: efficiencies in (0, 1]. ``P_c``,
      ``P_d``: most power of charging and discharging at the bus [W], infinite allowed.

    Raises ``ArgumentError`` naming the field.
    """

    slot_s: float
    b: Any
    lam: Any
    mean: Any
    second: Any
    B: float
    other_cost: Any = None
    available: Any = None
    v0: Any = 0.0
    Cu: Any = 1.0
    Cw: Any = 0.0
    eta_c: float = 1.0
    eta_d: float = 1.0
    P_c: float = np.inf
    P_d: float = np.inf

    def __post_init__(self) -> None:
        positive("slot_s", self.slot_s)
        b = numbers("b", self.b, shape=(-1,))
        if not len(b):
            raise ArgumentError("b", found="no slot", allowed="one or more")
        lam = _by_slot("lam", self.lam, len(b), axes=2, least=0.0)
        table = RoutingInstance(
            lam=lam.max(axis=0),
            mean=self.mean,
            second=self.second,
            other_cost=self.other_cost,
            available=self.available,
        )
        Cu, Cw = _by_slot("Cu", self.Cu, len(b)), _by_slot("Cw", self.Cw, len(b))
        _check_prices(Cu, Cw)
        positive("B", self.B)
        for field in ("eta_c", "eta_d"):
            efficiency(field, getattr(self, field))
        for field in ("P_c", "P_d"):
            not_negative(field, getattr(self, field), infinite=True)
        fields = {"b": b, "lam": lam, "Cu": Cu, "Cw": Cw}
        fields["v0"] = _by_slot("v0", self.v0, len(b), least=0.0)
        for name in ("mean", "second", "other_cost", "available"):
            fields[name] = getattr(table, name)
        for name, value in fields.items():
            kept = np.array(value)
            kept.setflags(write=False)
            msgspec.structs.force_setattr(self, name, kept)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(slots, classes, options)."""
        classes, options = self.mean.shape
        return len(self.b), int(classes), int(options)

    @property
    def cycle_s(self) -> float:
        """Length of the whole cycle [s]."""
        return float(self.slot_s * len(self.b))

    def levels(self, nodes: int) -> Floats:
        """The grid of store levels [nodes] J, even from 0 to ``B``."""
        return np.linspace(0.0, self.B, whole("nodes", nodes, least=3))

    def order(self) -> Ints:
        """Options of each class [classes, options] in the order in which ties are decided: by
        mean, then second moment, then place in the list; unavailable ones last.
        """
        order: Ints = np.lexsort((self.second, self.mean, ~self.available), axis=-1)
        return order


def _by_slot(
    field: str, values: ArrayLike, slots: int, *, axes: int = 1, least: float = -np.inf
) -> Floats:
    """``values`` with slots as first axis; what has one axis less holds in every slot."""
    found = numbers(field, values, least=least)
    if found.ndim == axes - 1:
        found = np.broadcast_to(found, (slots, *found.shape))
    if found.ndim != axes or found.shape[0] != slots:
        raise ArgumentError(
            field,
            found=f"shape {found.shape}",
            allowed=f"{axes} axes, the first of {slots} slots as in b",
        )
    return found


def _check_prices(Cu: Floats, Cw: Floats) -> None:
    """Refuse slots in which buying energy to waste it would pay."""
    wrong = np.flatnonzero(Cu + Cw <= 0)
    if wrong.size:
        h = int(wrong[0])
        raise ArgumentError(
            f"Cu + Cw of slot {h}",
            found=f"{Cu[h]:g} + {Cw[h]:g}",
            allowed="above 0",
            todo="a reward for waste must stay below the price of auxiliary energy",
        )


def normal_points(points: int) -> tuple[Floats, Floats]:
    """Even points over 3.2 standard deviations to both sides and weights that stand for a standard
    normal: mean 0, variance 1.

    The cost of a slot has kinks: where the store is empty or full, and, with losses, where charging
    turns into discharging. At a kink a rule of even steps ``h`` is off by ``h^2 / 12`` x density at
    most (Euler and Maclaurin), with 9 points 0.022 standard deviations x step of the price; a Gauss
    rule by a third / points, 0.066 for 5 and still 0.019 for 17.
    """
    z = np.linspace(-_NOISE_REACH, _NOISE_REACH, points)
    w = np.exp(-0.5 * z**2)
    w /= w.sum()
    return z / np.sqrt(w @ z**2), w


def model_of(problem: CycleProblem, nodes: int, points: int = NOISE_POINTS) -> Model:
    """Store and supply of ``problem`` as kernels take them, on ``nodes`` levels, with ``points`` of
    noise.
    """
    z, w = normal_points(points)
    dt = problem.slot_s
    return Model(
        supply=problem.b * dt,
        noise=problem.v0 * dt,
        Cu=problem.Cu.copy(),
        Cw=problem.Cw.copy(),
        B=float(problem.B),
        eta_c=float(problem.eta_c),
        eta_d=float(problem.eta_d),
        charge=float(problem.P_c * dt),
        discharge=float(problem.P_d * dt),
        spacing=float(problem.B) / (nodes - 1),
        points=z,
        weights=w,
    )
