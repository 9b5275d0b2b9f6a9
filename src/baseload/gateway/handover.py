"""From one configuration to the next without dropping anything: what a new fleet takes over from
the old one.

Replicas are the same where their URLs are; tiers, options and models where their names are. What
was learned goes along, so do the requests: those at a replica that is still there are booked anew,
those at one that is gone end on the old books, which live as long as they do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from baseload.gateway import decision
from baseload.gateway.life import Life
from baseload.gateway.live_fleet import Lane, LiveFleet
from baseload.gateway.replicas import Replicas


def hand_over(old: Replicas, new: Replicas, lives: Iterable[Life], now_ns: int) -> list[Life]:
    """Let ``new`` go on from where ``old`` is; gives the requests that nobody can serve any more:
    what they asked for is no longer there, and they are at no replica.
    """
    places = {one.url: one.number for one in new.live.replicas}
    numbers = {one.number: places.get(one.url) for one in old.live.replicas}
    for number, place in numbers.items():
        if place is not None:
            new.health[place] = old.health[number]
            new.book.state[place] = old.book.state[number]
    lanes = _lanes(old, new)
    _teach(old, new, lanes)
    lost = []
    for life in lives:
        if life.running:
            if life.home is old and numbers[life.replica] is not None:
                _book_anew(life, old, new, numbers[life.replica] or 0, now_ns)
            life.tier = _tier(life.home.live, new.live, life.tier)
            life.lane = lanes.get(life.lane, -1)
        elif (lane := lanes.get(life.lane, -1)) < 0:
            life.tier = _tier(old.live, new.live, life.tier)
            lost.append(life)
        else:
            life.lane, life.tier = lane, new.live.lanes[lane].tier
            life.excluded = ()
    for place in places.values():
        new.bring_in_line(place, now_ns)
    return lost


def _tier(old: LiveFleet, new: LiveFleet, tier: int) -> int:
    """The tier of the same name; the first where there is none any more."""
    names = [one.name for one in new.tiers]
    name = old.tiers[tier].name if tier < len(old.tiers) else ""
    return names.index(name) if name in names else 0


def _lanes(old: Replicas, new: Replicas) -> dict[int, int]:
    """The lanes of the new fleet that stand for those of the old one; without those of which
    nothing is left.
    """
    tiers = [one.name for one in new.live.tiers]
    options = {one.name: place for place, one in enumerate(new.live.options)}
    found = {}
    for code, lane in enumerate(old.live.lanes[: old.known_lanes]):
        tier = old.live.tiers[lane.tier].name
        names = [old.live.options[place].name for place in lane.allowed]
        allowed = tuple(options[name] for name in names if name in options)
        if tier in tiers and allowed:
            found[code] = new.live.code_of(Lane(tier=tiers.index(tier), allowed=allowed))
            while new.known_lanes < len(new.live.lanes):
                new.add_lane(new.known_lanes)
    return found


def _teach(old: Replicas, new: Replicas, lanes: dict[int, int]) -> None:
    """What the old fleet has learned: lengths of answers, traffic, paces, lambda."""
    for code, lane in lanes.items():
        new.state.forecast[lane] = old.state.forecast[code]
    new.state.traffic[0] = old.state.traffic[0]
    for place, kind in enumerate(new.live.kinds):
        if kind in old.live.kinds:
            new.book.pace[place] = old.book.pace[old.live.kinds.index(kind)]
            decision.correct(new.state, new.book, place)
    if new.live.config.policy == old.live.config.policy:
        for tier, one in enumerate(old.live.tiers):
            place = _tier(old.live, new.live, tier)
            if new.live.tiers[place].name == one.name:
                new.policy.lateness_weight[place] = old.policy.lateness_weight[tier]


def _book_anew(life: Life, old: Replicas, new: Replicas, place: int, now_ns: int) -> None:
    """Move a request that is at a replica to the new books."""
    now_s = old.seconds(now_ns)
    decision.meter(old.state, old.book, life.replica, now_s)
    life.energy_j += float(old.book.shared_j[life.replica]) - life.shared_j
    assumed_j = float(old.book.own_j[life.replica]) - life.own_j
    old.moved_j -= assumed_j  # counted when it ends, as it will really be
    decision.join(new.state, new.book, place, life.tokens, life.pending, new.seconds(now_ns))
    life.replica, life.home = place, new
    life.shared_j = float(new.book.shared_j[place])
    life.own_j = float(new.book.own_j[place])
    life.first_steps = math.nan  # its pace would be of two books
