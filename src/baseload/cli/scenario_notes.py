"""What a scenario promises but cannot keep: remarks that the reader of its results must see.

They come from the eight numbers of each replica type and from the lengths of the trace's requests,
before anything runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from baseload.fleet.replica_type import ReplicaType
from baseload.fleet.step import cost_table, step
from baseload.simulator.scenario import Group
from baseload.workload.requests import tier_of
from baseload.workload.tiers import Tier
from baseload.workload.trace import Trace

_WORDS = {
    "ttft_s": ("the first token", "of a mean prompt"),
    "tpot_s": ("a further token", "of a mean request"),
    "e2e_s": ("the whole answer", "of a mean request"),
}


class Alone(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds that a request takes on an idle replica: the fields of a tier's promises."""

    ttft_s: float
    tpot_s: float
    e2e_s: float


def alone(kind: ReplicaType, input_tokens: float, output_tokens: float) -> Alone:
    """What a request of these lengths takes on an idle replica of ``kind``, awake and open: its
    prompt in chunks of at most ``max_step_tokens``, then one step a token.
    """
    cost = cost_table([kind])[0]
    ttft_s, done = 0.0, 0.0
    while done < input_tokens:
        chunk = min(float(kind.max_step_tokens), input_tokens - done)
        ttft_s += step(cost, 1.0, done, chunk)[0]
        done += chunk
    tpot_s = float(step(cost, 1.0, input_tokens + 0.5 * output_tokens, 0.0)[0])
    e2e_s = ttft_s + max(0.0, output_tokens - 1.0) * tpot_s
    return Alone(ttft_s=float(ttft_s), tpot_s=tpot_s, e2e_s=float(e2e_s))


def scenario_notes(
    groups: Sequence[Group], tiers: Sequence[Tier], sample: Trace, *, parking: bool
) -> list[str]:
    """Remarks on tiers that promise nothing, on deadlines that no replica type, or not all, can
    keep even alone (for requests as in ``sample``), and on wakes that take longer than a first
    token may.
    """
    notes = []
    for tier in tiers:
        if tier.ttft_s is None and tier.tpot_s is None and tier.e2e_s is None:
            notes.append(
                f"Tier {tier.name} promises nothing: its requests miss only when they are "
                "refused, and no policy weighs their lateness."
            )
            continue
        mine = _requests_of(sample, tier, tiers)
        if mine.any():
            lengths = sample.input_tokens[mine], sample.output_tokens[mine]
            notes += _promise_notes(groups, tier, *lengths)
    return [*notes, *_wake_notes(groups, tiers, parking=parking)]


def _requests_of(sample: Trace, tier: Tier, tiers: Sequence[Tier]) -> NDArray[np.bool_]:
    """Which requests of the sample belong to the tier."""
    present = np.unique(sample.class_code).tolist()
    codes = [code for code in present if tier_of(sample.classes[code], tiers) is tier]
    return np.isin(sample.class_code, codes)


def _promise_notes(
    groups: Sequence[Group],
    tier: Tier,
    input_tokens: NDArray[Any],
    output_tokens: NDArray[Any],
) -> list[str]:
    """Remarks on the deadlines of one tier, whose requests have these lengths."""
    kinds = [group.kind for group in groups]
    means = float(input_tokens.mean()), float(output_tokens.mean())
    each = [alone(kind, *means) for kind in kinds]
    notes = []
    for field, (what, whose) in _WORDS.items():
        limit_s = getattr(tier, field)
        if limit_s is None:
            continue
        taken_s = [getattr(one, field) for one in each]
        keeping = [kind.name for kind, s in zip(kinds, taken_s, strict=True) if s <= limit_s]
        if len(keeping) == len(kinds):
            continue
        head = f"Tier {tier.name} promises {what} within {_seconds(limit_s)}: "
        if keeping:
            slow = [
                f"{kind.name} takes {_seconds(s)}"
                for kind, s in zip(kinds, taken_s, strict=True)
                if s > limit_s
            ]
            notes.append(
                f"{head}{', '.join(slow)} {whose} even alone; {', '.join(keeping)} can keep it."
            )
        else:
            least = min(range(len(kinds)), key=taken_s.__getitem__)
            notes.append(
                f"{head}no replica can keep that, even alone. The fastest, {kinds[least].name}, "
                f"takes {_seconds(taken_s[least])} {whose}."
            )
    return [*notes, *_long_prompt_notes(kinds, tier, input_tokens)]


def _long_prompt_notes(
    kinds: Sequence[ReplicaType], tier: Tier, input_tokens: NDArray[Any]
) -> list[str]:
    """The remark on prompts that are too long for the deadline of the first token wherever they
    run, where they are more than may miss.
    """
    if tier.ttft_s is None:
        return []
    longest = [_longest_prompt(kind, tier.ttft_s) for kind in kinds]
    best = max(range(len(kinds)), key=longest.__getitem__)
    late_frac = float((input_tokens > longest[best]).mean())
    mean_kept = float(input_tokens.mean()) <= longest[best]
    if not mean_kept or late_frac <= tier.target_miss_frac:
        return []
    return [
        f"Tier {tier.name}: {late_frac:.1%} of the prompts have more than {longest[best]:,} "
        f"tokens, whose first token comes later than {_seconds(tier.ttft_s)} even on "
        f"{kinds[best].name} alone; {tier.target_miss_frac:.1%} may miss.".replace("%", " %")
    ]


def _longest_prompt(kind: ReplicaType, ttft_s: float) -> int:
    """The longest prompt whose first token an idle replica gives within ``ttft_s``: by halving."""
    low, high = 0, kind.max_context_tokens
    while low < high:
        middle = (low + high + 1) // 2
        if alone(kind, middle, 1.0).ttft_s <= ttft_s:
            low = middle
        else:
            high = middle - 1
    return low


def _wake_notes(groups: Sequence[Group], tiers: Sequence[Tier], *, parking: bool) -> list[str]:
    """The remark on replicas that wake more slowly than a tier's tightest deadline allows."""
    limits = {
        tier.name: min(s for s in (tier.ttft_s, tier.e2e_s) if s is not None)
        for tier in tiers
        if tier.ttft_s is not None or tier.e2e_s is not None
    }
    if not limits:
        return []
    name = min(limits, key=limits.__getitem__)
    slow: dict[str, list[str]] = {}
    for group in groups:
        power = group.kind.power
        parked = parking or group.park_after_s is not None
        off = parking or group.off_after_s is not None
        said = [
            f"{_seconds(wake_s)} from {state}"
            for sleeps, state, wake_s in (
                (parked, "sleep", power.wake_s_from_parked),
                (off, "off", power.wake_s_from_off),
            )
            if sleeps and wake_s > limits[name]
        ]
        if said:
            slow.setdefault(" and ".join(said), []).append(group.kind.name)
    if not slow:
        return []
    listed = "; ".join(f"{', '.join(kinds)}: {said}" for said, kinds in slow.items())
    return [
        f"Waking takes longer than tier {name} may wait ({_seconds(limits[name])}): {listed}. A "
        "request that finds only sleeping replicas misses."
    ]


def _seconds(value_s: float) -> str:
    """A duration as people write it."""
    if value_s < 1:
        return f"{value_s * 1000:.3g} ms"
    return f"{value_s:.3g} s" if value_s < 7200 else f"{value_s / 3600:.3g} h"
