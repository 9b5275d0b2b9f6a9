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
from baseload.gateway.errors import RequestError
from baseload.gateway.life import Life
from baseload.gateway.live_fleet import Lane, LiveFleet
from baseload.gateway.replicas import Replicas


def hand_over(old: Replicas, new: Replicas, lives: Iterable[Life], now_ns: int) -> list[Life]:
    """Let ``new`` go on from where ``old`` is; gives the requests that nobody can serve any more:
    what they asked for is no longer there, and they are at no replica.
    """
    places = {one.url: one.number for one in new.live.replicas}
    numbers = {one.number: places.get(one.url) for one in old.live.replicas}
    options = {one.name: place for place, one in enumerate(new.live.options)}
    for number, place in numbers.items():
        if place is not None:
            new.health[place] = old.health[number]
            new.book.state[place] = old.book.state[number]
    for session, (replica, tokens) in old.sessions.items():
        if (place := numbers[replica]) is not None:
            new.sessions[session] = (place, tokens)
    new.past_j, new.past_idle_j = old.drawn_j(now_ns), old.idle_j(now_ns)
    lanes = _lanes(old, new)
    _teach(old, new, lanes)
    lost = []
    for life in lives:
        lane = lanes.get(life.lane, -1)
        life.tier, life.lane = _tier(old.live, new.live, life.tier), lane
        life.excluded = ()
        if life.running and life.home is old:
            place = numbers[life.replica]
            if place is None:
                life.counted_j += _shared_j(life, old) + _own_j(life, old) + _prompt_j(life, old)
            else:
                option = options.get(old.live.options[life.option].name, -1)
                _book_anew(life, old, new, place, option, now_ns)
        if not life.running and lane < 0:
            lost.append(life)
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
            try:
                found[code] = new.live.code_of(Lane(tier=tiers.index(tier), allowed=allowed))
            except RequestError:  # one too many: its requests are refused
                continue
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


def _shared_j(life: Life, books: Replicas) -> float:
    """A request's part, so far, of what all at its replica share [J]."""
    return float(books.book.shared_j[life.replica]) - life.shared_j


def _own_j(life: Life, books: Replicas) -> float:
    """What the meters have assumed for its own tokens so far [J]."""
    return float(books.book.own_j[life.replica]) - life.own_j


def _prompt_j(life: Life, books: Replicas) -> float:
    """What was booked for its prompt [J]."""
    cost = books.book.base_cost[int(books.state.type_of[life.replica])]
    return life.input_tokens * float(cost.energy_j_per_prefill_token)


def _book_anew(
    life: Life, old: Replicas, new: Replicas, place: int, option: int, now_ns: int
) -> None:
    """Move a request that is at a replica to the new books. What all share of its joules is its
    own from now on. Its prompt and all its own steps are counted by the new books when it ends;
    what the old ones had for them (``counted_j``) stays in the sum until then.
    """
    life.energy_j += _shared_j(life, old)
    life.counted_j += _own_j(life, old) + _prompt_j(life, old)
    decision.join(new.state, new.book, place, life.tokens, life.pending, new.seconds(now_ns))
    life.replica, life.option, life.home = place, option, new
    prompt_j = _prompt_j(life, new)
    new.book.busy_j[place] += prompt_j
    new.past_j -= prompt_j
    life.counted_j -= prompt_j
    life.shared_j = float(new.book.shared_j[place])
    life.own_j = float(new.book.own_j[place])
    life.first_steps = math.nan  # its pace would be of two books
