"""The clairvoyant dispatch of a trace in a scenario with a supply (docs/explanation/dispatch.md).

The trace is read twice, in pieces: once to count it, and, with proven joules, once more to hold
every request against the prices that the program found. The result is valid whatever the prices.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from baseload.base.errors import ArgumentError, BadInputError
from baseload.base.inputs import Floats, number
from baseload.simulator import dispatch_joules as joules_of
from baseload.simulator.choices import Choice
from baseload.simulator.dispatch import (
    GIVEN,
    MOST_BLOCKS,
    PROVEN,
    Dispatch,
    Task,
    record_of,
    solved,
    task_of,
)
from baseload.simulator.dispatch_blocks import Blocks
from baseload.simulator.dispatch_joules import Requests
from baseload.simulator.dispatch_program import Solution
from baseload.simulator.scenario import Scenario
from baseload.simulator.supplied import baseline_between_w, slots_of
from baseload.workload.requests import tier_of
from baseload.workload.tiers import Tier
from baseload.workload.trace import TraceSource


def dispatch_of(
    scenario: Scenario,
    source: TraceSource,
    *,
    seed: int = 0,
    right_usd: Mapping[str, float],
    joules: ArrayLike | None = None,
    floor_w: float = 0.0,
    scale: float = 1.0,
    delay_s: Mapping[str, float] | None = None,
    end_s: float | None = None,
    most_blocks: int = MOST_BLOCKS,
) -> Dispatch:
    """The clairvoyant dispatch of ``source`` in a scenario with a supply, whose baseline is that
    of ``seed`` times ``scale``.

    ``right_usd`` [$]: value of a right answer by class (``""``: of classes not named, else 0).
    ``joules`` ``None``: *proven*, what no schedule can undercut, request by request, above what
    the replicas draw at rest (asleep at will where the scenario parks). Else *as run*:
    ``[classes, options]`` [J], say the mean of a policy's run, and ``floor_w`` [W] beside it.
    ``delay_s`` [s] by class: within which a request ends; by default the deadline of its tier for
    the longest answer, or the whole run where nothing is promised. ``end_s`` [s]: when the run
    ends; by default with the last arrival.

    Standing: with proven joules a lower bound on the cost of every run of the scenario at full
    clocks that ends at ``end_s``, ends each request within ``delay_s`` and refuses none that can be
    served; a run that ends later is to be bounded with its own end. Raises ``BadInputError``, also
    for a scenario without supply.
    """
    began_s = time.process_time()
    if scenario.supplied is None:
        raise BadInputError(
            "dispatch of a scenario without a supply", found="none", allowed="a site that feeds it"
        )
    site = scenario.supplied.site
    choices = scenario.choices or (Choice(name="plain"),)
    fixed = None if joules is None else np.asarray(joules, dtype=np.float64)
    slots = slots_of(source.span_s, site.slot_s)
    found = joules_of.requests_of(
        scenario, source, choices, slot_s=site.slot_s, slots=slots, proven=fixed is None
    )
    edges = _edges(site.slot_s, slots, found.last_s if end_s is None else end_s, found.last_s)
    base_w = baseline_between_w(site, edges, slots=slots, seed=seed)
    task = task_of(
        edges_s=edges,
        arrivals=_cut(found.arrivals, len(edges) - 1),
        joules=found.mean_j if fixed is None else fixed,
        right_frac=[[choice.right(label) for choice in choices] for label in source.classes],
        right_usd=_values(right_usd, source.classes),
        floor_w=floor_w if fixed is not None else _resting_w(found, edges),
        baseline_w=scale * base_w,
        fee_usd=np.array([[choice.fee_usd for choice in choices]] * len(source.classes)),
        delay_s=_delays(scenario, source.classes, found, delay_s, float(edges[-1])),
        most_w=found.most_w if fixed is None else None,
        most_blocks=most_blocks,
    )
    blocks, solution = solved(site, task)
    by_request_usd = 0.0
    if fixed is None:
        by_request_usd = _by_request_usd(source, choices, found, task, blocks, solution)
    return record_of(
        site,
        task,
        blocks,
        solution,
        how=GIVEN if fixed is not None else PROVEN,
        began_s=began_s,
        by_request_usd=by_request_usd,
        refused_usd=float(found.unservable @ task.right_usd),
        refused=float(found.unservable.sum()),
    )


def _edges(slot_s: float, slots: int, end_s: float, last_s: float) -> Floats:
    """Edges of the slots of a run that ends at ``end_s``, as its books have them."""
    end = number("end_s", end_s)
    if end < last_s - 1e-9 * abs(last_s):  # what sums of lengths round off
        raise ArgumentError(
            "end_s", found=f"{end:g} s", allowed=f"the last arrival, {last_s:g} s, or later"
        )
    end = max(end, last_s, 1e-6)
    inside = np.arange(slots + 1) * slot_s
    edges: Floats = np.append(inside[inside < end], end)
    return edges


def _cut(arrivals: Floats, slots: int) -> Floats:
    """Counts by slot ``[slots, classes]``; what came on the last edge, or later, is in the last."""
    found = np.zeros((slots, arrivals.shape[1]))
    shared = min(slots, len(arrivals))
    found[:shared] = arrivals[:shared]
    found[-1] += arrivals[shared:].sum(axis=0)
    return found


def _values(right_usd: Mapping[str, float], classes: tuple[str, ...]) -> list[float]:
    """The value of a right answer by class; refuses classes that the trace does not have."""
    unknown = [name for name in right_usd if name and name not in classes]
    if unknown:
        raise BadInputError(
            f"right_usd of class {unknown[0]!r}",
            found="no such class in the trace",
            allowed=", ".join(classes),
        )
    return [right_usd.get(name, right_usd.get("", 0.0)) for name in classes]


def _resting_w(found: Requests, edges_s: Floats) -> Floats:
    """What the fleet draws at rest in each slot [W]: until the last arrival."""
    inside_s = np.clip(found.last_s - edges_s[:-1], 0.0, np.diff(edges_s))
    return found.floor_w * inside_s / np.diff(edges_s)


def _delays(
    scenario: Scenario,
    classes: tuple[str, ...],
    found: Requests,
    given: Mapping[str, float] | None,
    end_s: float,
) -> list[float]:
    """Seconds within which the requests of each class end."""
    if given is not None:
        return [given.get(name, given.get("", end_s)) for name in classes]
    return [
        min(end_s, _deadline_s(tier_of(name, scenario.tiers), tokens))
        for name, tokens in zip(classes, found.longest.tolist(), strict=True)
    ]


def _deadline_s(tier: Tier, tokens: int) -> float:
    """The last instant at which an answer of ``tokens`` may end [s]."""
    promised = [] if tier.e2e_s is None else [tier.e2e_s]
    if tier.ttft_s is not None and tier.tpot_s is not None:
        promised.append(tier.ttft_s + tier.tpot_s * max(0, tokens - 1))
    return min(promised, default=math.inf)


def _by_request_usd(
    source: TraceSource,
    choices: tuple[Choice, ...],
    found: Requests,
    task: Task,
    blocks: Blocks,
    solution: Solution,
) -> float:
    """What it changes at the program's prices [$] that each request takes its own cheapest option
    and has its own joules, instead of the mean of its class: mostly below 0.
    """
    group: NDArray[np.int64] = np.unique(task.delay_s, return_inverse=True)[1]
    joule_usd = solution.joule_usd[group]  # [classes, blocks]
    by_class = np.where(np.isfinite(task.joules), task.joules, 0.0)
    price = joule_usd.T[:, :, None] * by_class + task.answer_usd
    price = np.where(np.isfinite(task.joules), price, math.inf).min(axis=2)
    starts = np.searchsorted(task.edges_s, blocks.edges_s[:-1])
    counts = np.add.reduceat(task.arrivals, starts)
    charged = math.fsum((counts * np.where(counts > 0, price, 0.0)).ravel().tolist())
    return (
        joules_of.cheapest_usd(
            source,
            choices,
            found,
            edges_s=blocks.edges_s,
            joule_usd=joule_usd,
            answer_usd=task.answer_usd,
        )
        - charged
    )
