"""What a report on a sweep says beyond the raw records: who is thriftiest at which load, and the
headline.

Nothing here draws or prints; table, plots and page all read these figures, so that they cannot
disagree.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import msgspec

from baseload.report import wording
from baseload.report.figures import ANSWERED_ENOUGH_FRAC
from baseload.simulator.sweeps import Sweep, SweepPoint


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """Neighbouring loads at which the same policy is the thriftiest that keeps its targets
    (``policy`` is ``None`` where none does), and its points there.
    """

    policy: str | None
    loads: list[float]
    points: list[SweepPoint]


def points_of(sweep: Sweep, policy: str) -> list[SweepPoint]:
    """The points of one policy, by load."""
    return [point for point in sweep.points if point.policy == policy]


def points_at(sweep: Sweep, load_frac: float) -> list[SweepPoint]:
    """The points of one load, in the order of the policies."""
    return [point for point in sweep.points if point.load_frac == load_frac]


def thriftiest(points: Sequence[SweepPoint]) -> SweepPoint | None:
    """Of the points of one load, that of the fewest joules among those that keep their targets
    (or promise nothing) and answered as many requests as the best, nearly; ``None``: none does.
    """
    most = max((point.completed for point in points), default=0)
    able = [
        point
        for point in points
        if point.keeps_targets is not False
        and point.completed > 0
        and point.completed >= ANSWERED_ENOUGH_FRAC * most
    ]
    return min(able, key=lambda point: point.energy_mj_per_hour, default=None)


def stretches(sweep: Sweep) -> list[Stretch]:
    """Which policy is the thriftiest, from the lowest load to the highest."""
    best = [(load_frac, thriftiest(points_at(sweep, load_frac))) for load_frac in sweep.loads]
    found = []
    for policy, group in itertools.groupby(best, key=lambda pair: pair[1] and pair[1].policy):
        pairs = list(group)
        points = [point for _, point in pairs if point is not None]
        found.append(Stretch(policy=policy, loads=[load for load, _ in pairs], points=points))
    return found


def targets(sweep: Sweep) -> list[float]:
    """The different shares of misses that the tiers allow, rising."""
    known = {promise.get("target_miss_frac") for promise in sweep.tiers.values()}
    return sorted(target for target in known if target is not None)


def has_bound(sweep: Sweep) -> bool:
    """Whether a bound is known at any load."""
    return any(point.bound_energy_j_per_request is not None for point in sweep.points)


def headline(sweep: Sweep) -> str:
    """Which policy uses the fewest joules at which load, and where none keeps its promises."""
    if all(point.completed == 0 for point in sweep.points):
        return "No request was answered at any load: there is nothing to compare."
    parts = stretches(sweep)
    kept = [part for part in parts if part.policy is not None]
    lost = [part for part in parts if part.policy is None]
    promise = "the promised share of missed deadlines"
    if not kept:
        return f"No policy keeps {promise} at any of these loads."
    sentences = [_kept_sentence(sweep, kept)]
    if lost:
        where = wording.listing([_at(part.loads) for part in lost])
        who = "no policy keeps" if len(sweep.policies) > 1 else "it does not keep"
        sentences.append(f"{where[0].upper()}{where[1:]} {who} {promise}.")
    return " ".join(sentences)


def _kept_sentence(sweep: Sweep, kept: Sequence[Stretch]) -> str:
    """Who is the thriftiest of those that keep their targets."""
    promised = bool(targets(sweep))
    if len(sweep.policies) == 1:
        where = wording.listing([_at(part.loads) for part in kept])
        does = "keeps the promised share of missed deadlines" if promised else "answers"
        return f"{sweep.policies[0]} {does} {where}."
    said = wording.listing([f"{part.policy} {_at(part.loads)}{_savings(part)}" for part in kept])
    among = " among the policies that keep the promised share of missed deadlines"
    return f"The fewest joules{among if promised else ''} are used by {said}."


def _at(loads: Sequence[float]) -> str:
    """Loads in words."""
    if len(loads) == 1:
        return f"at load {loads[0]:g}"
    return f"at load {loads[0]:g} to {loads[-1]:g}"


def _savings(part: Stretch) -> str:
    """How much less a stretch's policy uses than the first one."""
    changes = [p.energy_change_frac for p in part.points if p.energy_change_frac is not None]
    if not changes:
        return ""
    low, high = wording.change(min(changes)), wording.change(max(changes))
    return f" ({low})" if low == high else f" ({low} to {high})"
