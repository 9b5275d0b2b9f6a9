"""What a joule of baseline, auxiliary energy and waste costs, and the one ratio that decides."""

from __future__ import annotations

import math

import msgspec

from baseload.base.errors import ArgumentError
from baseload.theory.inputs import number

AUXILIARY_IS_CHEAPER = "auxiliary is cheaper than baseline"
WASTE_PAYS = "wasted energy earns back the baseline: take as much as is allowed"
CRITICAL = "exactly critical supply is best"
UNDER = "less supply than mean demand is best"
OVER = "more supply than mean demand is best"


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """Prices [$/J]: ``Cb`` of baseline, paid whether used or not; ``Cu`` of auxiliary energy;
    ``Cw`` of waste, negative where feeding in earns money.

    Raises ArgumentError where Cu + Cw <= 0 or Cb + Cw < 0: then more is always better.
    """

    Cb: float
    Cu: float
    Cw: float = 0.0

    def __post_init__(self) -> None:
        for field in ("Cb", "Cu", "Cw"):
            number(field, getattr(self, field))
        if self.Cu + self.Cw <= 0:
            raise ArgumentError(
                "Cu", found=f"Cu + Cw = {self.Cu + self.Cw:g}", allowed="Cu + Cw above 0"
            )
        if self.Cb + self.Cw < 0:
            raise ArgumentError(
                "Cw",
                found=f"Cb + Cw = {self.Cb + self.Cw:g}",
                allowed="Cb + Cw from 0: a reward for waste above its price has no best supply",
            )

    @property
    def ratio(self) -> float:
        """r = (Cb + Cw) / (Cu + Cw): the drop of auxiliary use that one more watt must bring."""
        return (self.Cb + self.Cw) / (self.Cu + self.Cw)

    def excess(self, *, theta: float, u: float, w: float) -> float:
        """Cost over that of mean demand bought as baseline [$/s]."""
        return self.Cb * theta + self.Cu * u + self.Cw * w

    @property
    def advice(self) -> str:
        """In words, which side of mean demand the best supply lies on."""
        r = self.ratio
        if r >= 1:
            return AUXILIARY_IS_CHEAPER
        if r <= 0:
            return WASTE_PAYS
        if math.isclose(r, 0.5, rel_tol=1e-12):
            return CRITICAL
        return OVER if r < 0.5 else UNDER
