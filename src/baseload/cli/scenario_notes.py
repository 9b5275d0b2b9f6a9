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
    kinds = [group.kind for group in groups]
    notes: list[str] = []
    long: list[str] = []
    broken: list[_Broken] = []
    for tier in tiers:
        if tier.ttft_s is None and tier.tpot_s is None and tier.e2e_s is None:
            notes.append(
                f"Tier {tier.name} promises nothing: its requests miss only when they are "
                "refused, and no policy weighs their lateness."
            )
            continue
        mine = _requests_of(sample, tier, tiers)
        if mine.any():
            prompts, answers = sample.input_tokens[mine], sample.output_tokens[mine]
            broken += _broken(kinds, tier, float(prompts.mean()), float(answers.mean()))
            long += _long_prompt_notes(kinds, tier, prompts)
    notes += _broken_notes(kinds, broken)
    return [*notes, *long, *_wake_notes(groups, tiers, parking=parking)]


def _requests_of(sample: Trace, tier: Tier, tiers: Sequence[Tier]) -> NDArray[np.bool_]:
    """Which requests of the sample belong to the tier."""
    present = np.unique(sample.class_code).tolist()
    codes = [code for code in present if tier_of(sample.classes[code], tiers) is tier]
    return np.isin(sample.class_code, codes)


class _Broken(msgspec.Struct, frozen=True, kw_only=True):
    """A deadline that some types cannot keep even alone: the seconds that each type takes."""

    tier: str
    field: str
    limit_s: float
    taken_s: list[float]

    def kept(self) -> tuple[bool, ...]:
        """Which types keep it."""
        return tuple(s <= self.limit_s for s in self.taken_s)


def _broken(
    kinds: Sequence[ReplicaType], tier: Tier, input_tokens: float, output_tokens: float
) -> list[_Broken]:
    """The deadlines of a tier that some type cannot keep for a request of these lengths."""
    each = [alone(kind, input_tokens, output_tokens) for kind in kinds]
    found = []
    for field in _WORDS:
        limit_s = getattr(tier, field)
        taken_s = [getattr(one, field) for one in each]
        if limit_s is not None and max(taken_s) > limit_s:
            found.append(_Broken(tier=tier.name, field=field, limit_s=limit_s, taken_s=taken_s))
    return found


def _broken_notes(kinds: Sequence[ReplicaType], broken: Sequence[_Broken]) -> list[str]:
    """One remark for each deadline, with all tiers that promise it and the types that fail."""
    alike: dict[tuple[str, float, tuple[bool, ...]], list[_Broken]] = {}
    for one in broken:
        alike.setdefault((one.field, one.limit_s, one.kept()), []).append(one)
    notes = []
    for (field, limit_s, kept), group in alike.items():
        what, whose = _WORDS[field]
        tiers = ", ".join(one.tier for one in group)
        head = f"{tiers}: {what} is promised within {_seconds(limit_s)}, but "
        if any(kept):
            slow = [
                f"{kind.name} takes {_span([one.taken_s[at] for one in group])}"
                for at, kind in enumerate(kinds)
                if not kept[at]
            ]
            able = [kind.name for at, kind in enumerate(kinds) if kept[at]]
            notes.append(f"{head}{', '.join(slow)} {whose} even alone; {', '.join(able)} can.")
        else:
            sums = [sum(one.taken_s[at] for one in group) for at in range(len(kinds))]
            best = min(range(len(kinds)), key=sums.__getitem__)
            taken = _span([one.taken_s[best] for one in group])
            notes.append(
                f"{head}no replica can keep that, even alone: the fastest, {kinds[best].name}, "
                f"takes {taken} {whose}."
            )
    return notes


def _span(values_s: Sequence[float]) -> str:
    """A duration, or the range of several."""
    low, high = _seconds(min(values_s)), _seconds(max(values_s))
    return low if low == high else f"{low} to {high}"


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
