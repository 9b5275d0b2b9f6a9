"""What a report says beyond the raw records: comparisons with the baseline, shares, the front, the
headline.

Nothing here draws or prints; table, plots and page all read these figures, so that they cannot
disagree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from baseload.base.errors import BadInputError, unknown_name
from baseload.report import wording
from baseload.simulator.results import POWER_STATES, PolicyResult, Simulation
from baseload.simulator.sweeps import keeps_targets

DISTINGUISHABLE_FRAC = 0.05
"""A difference of GPU energy below this is within the error of the energy model
(docs/explanation/energy-accounting.md).
"""

ANSWERED_ENOUGH_FRAC = 0.99
"""A policy that answers fewer requests than this share of the best one is no saving: it did less
work.
"""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One policy beside the baseline.

    ``label`` names it uniquely in this report. ``change_frac``: its energy relative to the
    baseline's, minus one (``None`` for the baseline itself and where the baseline drew nothing).
    ``change_interval``: 95 % interval of that over seeds, ``(low, high)``; ``None`` with one seed.
    """

    label: str
    result: PolicyResult
    is_baseline: bool
    change_frac: float | None
    change_interval: tuple[float, float] | None
    idle_frac: float | None
    utilization_frac: float | None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """All policies of a simulation, in its order, and which of them is the baseline."""

    simulation: Simulation
    rows: list[Row]
    baseline: Row


def compare(simulation: Simulation, *, baseline: str | None = None) -> Comparison:
    """Each policy beside the ``baseline`` (a policy's name; the first policy if ``None``).

    Raises ``UnknownNameError`` for a baseline that was not simulated, ``BadInputError`` for a
    simulation of no policy.
    """
    policies = simulation.policies
    if not policies:
        raise BadInputError(
            f"report of {simulation.scenario!r}: the simulation holds no policy",
            found="policies: []",
            allowed="one policy or more",
            todo="simulate with --policy NAME",
        )
    labels = _labels(policies)
    names = [policy.policy for policy in policies]
    if baseline is None:
        index = 0
    elif baseline in labels:
        index = labels.index(baseline)
    elif baseline in names:
        index = names.index(baseline)
    else:
        raise unknown_name("baseline policy", baseline, names, todo="choose one that was simulated")
    gpus = _gpus_by_device(simulation)
    rows = [
        _row(label, policy, None if place == index else policies[index], gpus, is_first=index == 0)
        for place, (label, policy) in enumerate(zip(labels, policies, strict=True))
    ]
    return Comparison(simulation=simulation, rows=rows, baseline=rows[index])


def _labels(policies: Sequence[PolicyResult]) -> list[str]:
    names = [policy.policy for policy in policies]
    labels: list[str] = []
    for policy in policies:
        label = policy.policy
        if names.count(label) > 1 and policy.parameters:
            label += f" ({', '.join(f'{key}={value}' for key, value in policy.parameters.items())})"
        while label in labels:
            label += "'"
        labels.append(label)
    return labels


def _gpus_by_device(simulation: Simulation) -> dict[str, int]:
    gpus: dict[str, int] = {}
    for row in simulation.fleet:
        gpus[row.device] = gpus.get(row.device, 0) + row.gpus
    return gpus


def _row(
    label: str,
    result: PolicyResult,
    base: PolicyResult | None,
    gpus: dict[str, int],
    *,
    is_first: bool,
) -> Row:
    change_frac, change_interval = None, None
    if base is not None and base.energy_j > 0:
        change_frac = result.energy_j / base.energy_j - 1.0
        change_interval = _change_interval(result, base, is_first=is_first)
    return Row(
        label=label,
        result=result,
        is_baseline=base is None,
        change_frac=change_frac,
        change_interval=change_interval,
        idle_frac=result.idle_energy_j / result.energy_j if result.energy_j > 0 else None,
        utilization_frac=_weighted(result.utilization_by_device, gpus),
    )


def _weighted(by_device: dict[str, float], gpus: dict[str, int]) -> float | None:
    """Mean over devices, weighted by their GPUs; plain where the fleet does not name them."""
    if not by_device:
        return None
    weights = {device: gpus.get(device, 0) for device in by_device}
    total = sum(weights.values())
    if total == 0:
        return sum(by_device.values()) / len(by_device)
    return sum(value * weights[device] for device, value in by_device.items()) / total


def _change_interval(
    result: PolicyResult, base: PolicyResult, *, is_first: bool
) -> tuple[float, float] | None:
    """Interval of the relative change.

    The simulator's paired interval (``energy_change_frac``, against the first policy) where there
    is one. Else the two policies' own intervals combined as if independent, which is too wide when
    both saw the same requests, never too narrow.
    """
    paired = result.interval.get("energy_change_frac")
    if is_first and paired is not None:
        return paired[0], paired[1]
    own, other = result.interval.get("energy_j"), base.interval.get("energy_j")
    if own is None or other is None or result.energy_j <= 0:
        return None
    ratio = result.energy_j / base.energy_j
    own_frac = (own[1] - own[0]) / 2.0 / result.energy_j
    other_frac = (other[1] - other[0]) / 2.0 / base.energy_j
    half = ratio * math.hypot(own_frac, other_frac)
    return ratio - 1.0 - half, ratio - 1.0 + half


def energy_by_state(result: PolicyResult) -> dict[str, float]:
    """Energy by power state [J], in the order of ``POWER_STATES``, without empty states."""
    by_state = result.energy_j_by_state
    if not by_state:
        by_state = {"active": result.active_energy_j, "idle": result.idle_energy_j}
    return {state: by_state[state] for state in POWER_STATES if by_state.get(state, 0.0) > 0}


def keeps_promises(row: Row, simulation: Simulation) -> bool | None:
    """Whether each tier's share of misses stays at or below its target; ``None`` where no target is
    known.
    """
    return keeps_targets(row.result.miss_frac_by_tier, simulation.tiers)


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other point beats in both coordinates (less is better), by the
    first coordinate.
    """
    order = sorted(range(len(points)), key=lambda index: points[index])
    chosen: list[int] = []
    least = math.inf
    for index in order:
        if points[index][1] < least:
            least = points[index][1]
            chosen.append(index)
    return chosen


Latency = Literal["tpot_s", "e2e_s"]
"""Latencies against which energy is weighed: per further token, and of the whole answer."""


def trade_off(comparison: Comparison, latency: Latency = "e2e_s") -> list[tuple[Row, float, float]]:
    """``(row, p99 of the latency [s], energy per answered request [J])`` of each policy that has
    both.
    """
    points = (
        (row, getattr(row.result, latency).p99, row.result.energy_j_per_request)
        for row in comparison.rows
    )
    return [
        (row, p99, energy) for row, p99, energy in points if p99 is not None and energy is not None
    ]


def bound_j_per_request(simulation: Simulation) -> float | None:
    """The clairvoyant bound over the requests [J]; ``None`` where it was not computed."""
    if simulation.bound_energy_j is None or not simulation.trace.requests:
        return None
    return simulation.bound_energy_j / simulation.trace.requests


def bound_mj_per_hour(simulation: Simulation) -> float | None:
    """The clairvoyant bound as a rate [MJ/h], over the same time as the policies' energy."""
    if simulation.bound_energy_j is None:
        return None
    for policy in simulation.policies:
        if policy.energy_j > 0:
            return simulation.bound_energy_j / policy.energy_j * policy.energy_mj_per_hour
    return None


def thriftiest(rows: Sequence[Row]) -> Row:
    """The policy of the fewest joules among those that did the work (``ANSWERED_ENOUGH_FRAC`` of
    the most answers).
    """
    most = max(row.result.completed for row in rows)
    able = [row for row in rows if row.result.completed >= ANSWERED_ENOUGH_FRAC * most]
    return min(able, key=lambda row: row.result.energy_j)


def leading(comparison: Comparison) -> Row:
    """The policy that words lead with: the thriftiest, or the thriftiest that keeps its promises
    where the thriftiest of all breaks one.
    """
    best = thriftiest(comparison.rows)
    return _thriftiest_that_keeps(comparison, best) or best


def headline(comparison: Comparison) -> str:
    """Some sentences: which policy used the fewest joules, against what, at what cost."""
    simulation, base = comparison.simulation, comparison.baseline
    if simulation.trace.requests == 0:
        rate = wording.number(base.result.energy_mj_per_hour)
        return f"No requests were replayed; under {base.label} the fleet drew {rate} MJ per hour."
    if all(row.result.completed == 0 for row in comparison.rows):
        return "No request was answered under any policy: there is nothing to compare."
    best = thriftiest(comparison.rows)
    if len(comparison.rows) == 1:
        return _alone(best)
    kept = _thriftiest_that_keeps(comparison, best)
    lead = kept or best
    sentences = [_best_sentence(lead, base, keeps=kept is not None)]
    if lead.change_frac is not None and abs(lead.change_frac) < DISTINGUISHABLE_FRAC:
        sentences.append(
            "A difference below about 5 % lies within the error of the model: read it as a tie."
        )
    if kept is not None:
        sentences.append(_cheaper_sentence(best, base))
    elif keeps_promises(best, simulation) is False:
        sentences.append("No policy kept the promised share of misses in every tier.")
    sentences.extend(_shirkers_sentence(comparison, best))
    return " ".join(sentences)


def _alone(row: Row) -> str:
    result = row.result
    return (
        f"{row.label} used {wording.number(result.energy_j_per_request)} J per request "
        f"({wording.number(result.energy_mj_per_hour)} MJ per hour for the fleet); "
        f"{wording.percent(result.miss_frac)} of the requests missed a deadline and 99 of 100 "
        f"answers were "
        f"complete within {wording.duration(result.e2e_s.p99)}."
    )


def _best_sentence(best: Row, base: Row, *, keeps: bool) -> str:
    among = "among the policies that keep the promised share of missed deadlines"
    if best.is_baseline:
        energy = wording.number(base.result.energy_j_per_request)
        rest = f", {among}" if keeps else ""
        return f"No policy used fewer joules than {base.label} ({energy} J per request){rest}."
    saved = wording.percent(None if best.change_frac is None else -best.change_frac)
    interval = ""
    if best.change_interval is not None:
        low, high = best.change_interval
        interval = f" (95 % interval {wording.percent(-high, unit='')} to {wording.percent(-low)})"
    who = f"{among[0].upper()}{among[1:]}, {best.label}" if keeps else best.label
    return (
        f"{who} used the fewest joules: {saved} less than {base.label}{interval}. "
        f"With it, {_latency_words(best, base)}, and {_miss_words(best, base)}."
    )


def _latency_words(best: Row, base: Row) -> str:
    mine, other = best.result.e2e_s.p99, base.result.e2e_s.p99
    if mine is None or other is None:
        return "latency could not be compared"
    mine_words, other_words = wording.duration(mine), wording.duration(other)
    if mine_words == other_words:
        return f"99 of 100 answers complete within {mine_words}, as before"
    return f"99 of 100 answers complete within {mine_words} instead of {other_words}"


def _miss_words(best: Row, base: Row) -> str:
    mine, other = best.result.miss_frac, base.result.miss_frac
    if mine is None or other is None:
        return "no deadline was promised"
    if wording.percent(mine) == wording.percent(other):
        return f"{wording.percent(mine)} missed deadlines under both"
    return f"{wording.percent(mine)} missed deadlines instead of {wording.percent(other)}"


def _thriftiest_that_keeps(comparison: Comparison, best: Row) -> Row | None:
    """The thriftiest policy that keeps every promise, where the thriftiest of all does not."""
    if keeps_promises(best, comparison.simulation) is not False:
        return None
    keeping = [row for row in comparison.rows if keeps_promises(row, comparison.simulation)]
    most = max(row.result.completed for row in comparison.rows)
    able = [row for row in keeping if row.result.completed >= ANSWERED_ENOUGH_FRAC * most]
    return thriftiest(able) if able else None


def _cheaper_sentence(best: Row, base: Row) -> str:
    """What the policy that breaks its promise would have saved."""
    missed = wording.percent(best.result.miss_frac)
    if best.change_frac is None:
        return f"The baseline {base.label} used less still, but with it {missed} missed a deadline."
    used = wording.change(best.change_frac)
    return f"{best.label} used less still ({used}), but with it {missed} missed a deadline."


def _shirkers_sentence(comparison: Comparison, best: Row) -> list[str]:
    lower = [
        row
        for row in comparison.rows
        if row.result.energy_j < best.result.energy_j and row is not best
    ]
    if not lower:
        return []
    names = wording.listing([row.label for row in lower])
    return [f"Left out because fewer requests were answered: {names}."]
