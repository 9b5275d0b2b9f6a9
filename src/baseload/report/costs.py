"""Which policy cost a site least, and by how much: figures and words that table and page share.

Costs are those at the scale of the baseline nearest to 1. Differences between policies are taken
seed by seed: all policies meet the same requests and the same weather.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from baseload.report import wording
from baseload.report.figures import Comparison, Row
from baseload.report.plan_wording import money
from baseload.simulator.results import PolicyResult
from baseload.simulator.statistics import interval

SERVICE_PARTS = ("wrong_usd", "miss_usd")
"""Parts of a cost that tiers give a price."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """How much more one policy cost than another, which cost ``base_usd``: ``usd`` [$], and its
    95 % interval over seeds where there are several.
    """

    usd: float
    base_usd: float
    interval_usd: tuple[float, float] | None

    @property
    def frac(self) -> float | None:
        """The difference as a share of the other's cost; ``None`` where that is not above 0."""
        return self.usd / self.base_usd if self.base_usd > 0 else None

    @property
    def interval_frac(self) -> tuple[float, float] | None:
        """The interval as a share of the other's cost."""
        if self.interval_usd is None or self.base_usd <= 0:
            return None
        low, high = self.interval_usd
        return low / self.base_usd, high / self.base_usd

    @property
    def is_tie(self) -> bool:
        """Whether the seeds leave open who cost less."""
        return self.interval_usd is not None and self.interval_usd[0] <= 0 <= self.interval_usd[1]


def has_values(comparison: Comparison) -> bool:
    """Whether the costs count what wrong answers or missed promises are worth."""
    return any(
        part in row.result.cost_usd for row in with_cost(comparison) for part in SERVICE_PARTS
    )


def with_cost(comparison: Comparison) -> list[Row]:
    """The policies with a total cost, in their order."""
    return [row for row in comparison.rows if row.result.total_cost_usd is not None]


def difference(one: PolicyResult, other: PolicyResult) -> Difference | None:
    """How much more ``one`` cost than ``other``; ``None`` where a total is missing."""
    mine, base = one.total_cost_usd, other.total_cost_usd
    if mine is None or base is None:
        return None
    pairs = list(zip(one.total_cost_usd_by_seed, other.total_cost_usd_by_seed, strict=False))
    found = None
    if len(pairs) > 1:
        low, high = interval([first - second for first, second in pairs])
        found = (low, high)
    return Difference(usd=mine - base, base_usd=base, interval_usd=found)


def cost_sentence(comparison: Comparison) -> str:
    """Which policy cost least, and by how much: empty where nothing can be compared."""
    rows = sorted(with_cost(comparison), key=lambda row: row.result.total_cost_usd or 0.0)
    if len(rows) < 2:
        return ""
    best, others = rows[0], rows[1:]
    gaps = [(row, difference(row.result, best.result)) for row in others]
    tied = [row.label for row, gap in gaps if gap is not None and gap.is_tie]
    total = best.result.total_cost_usd
    assert total is not None
    clear = [(row, gap) for row, gap in gaps if gap is not None and not gap.is_tie]
    if tied:
        said = f"No one cost least: {best.label} ({money(total)}) ties with {_listing(tied)}"
        said += ", the interval of the paired differences spans 0."
    else:
        said = f"{best.label} cost least, {money(total)}."
    if clear:
        row, gap = clear[0]
        joined = "The next" if not tied else "The first beyond the tie"
        said += f" {joined}, {row.label}, cost {_more(gap)}."
    base = comparison.baseline
    if base is not best and base.label not in tied and clear and clear[0][0] is not base:
        found = difference(base.result, best.result)
        if found is not None:
            said += f" {base.label} cost {_more(found)}."
    if not tied and gaps[0][1] is not None and gaps[0][1].interval_usd is None:
        said += " One seed: what is chance in that is not known."
    return said


def _listing(labels: Sequence[str]) -> str:
    return wording.listing(list(labels))


def _more(gap: Difference) -> str:
    """A difference in words."""
    said = f"{money(gap.usd)} more"
    if gap.frac is not None:
        said += f" ({wording.percent(gap.frac)}"
        if gap.interval_frac is not None:
            low, high = gap.interval_frac
            said += f", 95 % interval {wording.percent(low, unit='')} to {wording.percent(high)}"
        said += ")"
    return said
