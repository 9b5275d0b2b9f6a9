"""Why a request went where it went: the candidates, their prices, the runner-up, and how old the
signals were that the decision stood on.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from baseload.gateway import decision
from baseload.gateway.decision import SAID

if TYPE_CHECKING:
    from baseload.gateway.replicas import Replicas

SCHEMA = "baseload-decision/1"
PARTS = ("energy_usd", "carbon_usd", "lateness_usd", "quality_usd", "fee_usd")
_NS = 1_000_000_000


class Note(NamedTuple):
    """What is remembered of a decision beside its numbers: whose, when, and the ages then."""

    request: int
    attempt: int
    lane: int
    tier: int
    option: int
    replica: int
    at_ns: int
    heard_ns: int
    sampled_ns: int
    lateness_weight: float
    excluded: tuple[int, ...]
    session: bool


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """The cheapest replica of a type for an option: its price [$]."""

    option: str
    replica: str
    type: str
    price_usd: float


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One decision. Prices in dollars, ages in seconds (``None``: never heard).

    ``parts``: what the chosen candidate's price is made of; ``other_usd``: of parts that published
    policies use. ``expected``: the quantities behind them, modelled. ``candidates``: the cheapest
    of each type and option, cheapest first; ``runner_up``: the cheapest that was not chosen and is
    another option or another type; ``margin_usd``: how much dearer it was. ``signals``: ages of
    what was known of the chosen replica.
    """

    schema: str = SCHEMA
    request: int
    attempt: int
    policy: str
    tier: str
    option: str
    replica: str
    type: str
    price_usd: float
    parts: dict[str, float]
    other_usd: float
    expected: dict[str, float]
    candidates: list[Candidate]
    runner_up: Candidate | None
    margin_usd: float | None
    lateness_weight: float
    joule_factor: float
    excluded: list[str]
    followed_session: bool
    signals: dict[str, float | None]
    age_s: float
    method: str = "modelled"


def decisions_of(replicas: Replicas, request: int, now_ns: int) -> list[Decision]:
    """The decisions about a request that are still remembered, the first attempt first."""
    slots = np.flatnonzero(replicas.owners == request).tolist()
    found = [_decision(replicas, slot, now_ns) for slot in slots]
    return sorted(found, key=lambda one: one.attempt)


def _decision(replicas: Replicas, slot: int, now_ns: int) -> Decision:
    """The decision in a slot of the book."""
    live, note = replicas.live, replicas.notes[slot]
    assert note is not None
    said = dict(zip(SAID, replicas.book.said[slot].tolist(), strict=True))
    parts = {part: said[part] for part in PARTS}
    chosen = live.replicas[note.replica]
    candidates = _candidates(replicas, slot)
    option = live.options[note.option].name
    rest = [
        one
        for one in candidates
        if one.option != option or one.type != live.kinds[chosen.kind].name
    ]
    runner_up = rest[0] if rest else None
    return Decision(
        request=note.request,
        attempt=note.attempt,
        policy=live.config.policy,
        tier=live.tiers[note.tier].name,
        option=option,
        replica=chosen.name,
        type=live.kinds[chosen.kind].name,
        price_usd=said["price_usd"],
        parts=parts,
        other_usd=said["price_usd"] - math.fsum(parts.values()),
        expected={
            "energy_j": said["energy_j"],
            "late_s": said["late_s"],
            "wait_s": said["wait_s"],
            "output_tokens": said["output_tokens"],
            "in_flight_before": said["level"],
        },
        candidates=candidates,
        runner_up=runner_up,
        margin_usd=None if runner_up is None else runner_up.price_usd - said["price_usd"],
        lateness_weight=note.lateness_weight,
        joule_factor=said["joule_factor"],
        excluded=[live.replicas[one].name for one in note.excluded],
        followed_session=note.session,
        signals={
            "own_counts_s": 0.0,
            "heard_s": _age_s(note.heard_ns, note.at_ns),
            "engine_metrics_s": _age_s(note.sampled_ns, note.at_ns),
        },
        age_s=(now_ns - note.at_ns) / _NS,
    )


def _age_s(then_ns: int, now_ns: int) -> float | None:
    """Seconds since an instant; ``None`` if it never was."""
    return None if then_ns < 0 else (now_ns - then_ns) / _NS


def _candidates(replicas: Replicas, slot: int) -> list[Candidate]:
    """The cheapest of each type and option, cheapest first."""
    live = replicas.live
    tried = replicas.book.tried[slot]
    found = []
    for place in np.flatnonzero(tried[:, 1] >= 0).tolist():
        kind, number = divmod(place, len(live.options))
        price, replica = tried[place].tolist()
        found.append(
            Candidate(
                option=live.options[number].name,
                replica=live.replicas[int(replica)].name,
                type=live.kinds[kind].name,
                price_usd=price,
            )
        )
    return sorted(found, key=lambda one: one.price_usd)


def price_parts(replicas: Replicas, slot: int) -> dict[str, float]:
    """The price [$] of the decision in ``slot``, and its parts, for response headers."""
    said = replicas.book.said[slot].tolist()
    return {
        "price_usd": said[decision.PRICE],
        "energy_usd": said[decision.ENERGY_USD],
        "carbon_usd": said[decision.CARBON_USD],
        "lateness_usd": said[decision.LATENESS_USD],
        "quality_usd": said[decision.QUALITY_USD],
        "fee_usd": said[decision.FEE_USD],
        "energy_j": said[decision.ENERGY_J],
    }
