"""What the requests of a trace need at least, for the clairvoyant dispatch: counted by slot and
class, and weighed one by one at the prices of a joule that a linear program found.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from baseload.base.inputs import Floats
from baseload.simulator import bound_terms as terms
from baseload.simulator.bound import floor_problem
from baseload.simulator.bound_terms import Problem
from baseload.simulator.choices import Choice, models_of
from baseload.simulator.scenario import Group, Scenario
from baseload.simulator.truth import arrivals
from baseload.workload.trace import Trace, TraceSource


class Requests(NamedTuple):
    """The requests of a trace.

    ``arrivals`` ``[slots + 1, classes]`` those that some option can answer, the last row of those
    after the last slot; ``unservable`` ``[classes]`` those that none can; ``mean_j``
    ``[classes, options]`` what an answer adds at least above ``floor_w``, mean over the requests
    that the option can take (infinite: none); ``longest`` ``[classes]`` output tokens; ``last_s``
    the last arrival; ``floor_w``, ``most_w`` [W] what the fleet draws at least and at most. Without
    a ``problem`` nothing is proven: all can be answered, ``mean_j`` is 0.
    """

    arrivals: Floats
    unservable: Floats
    mean_j: Floats
    longest: Floats
    last_s: float
    floor_w: float
    most_w: float
    problem: Problem | None
    models: tuple[str, ...]


def requests_of(
    scenario: Scenario,
    source: TraceSource,
    choices: tuple[Choice, ...],
    *,
    slot_s: float,
    slots: int,
    proven: bool,
) -> Requests:
    """Read the trace and count it. ``proven``: find what each request needs at least."""
    models = models_of(choices, source.models)
    problem = None
    if proven:
        problem = floor_problem(scenario, source, sleep=scenario.parking, models=models)
    classes = len(source.classes)
    come = np.zeros((slots + 1, classes))
    unservable, longest = np.zeros(classes), np.zeros(classes)
    sums, takes = np.zeros((classes, len(choices))), np.zeros((classes, len(choices)))
    last_s, slots_s = 0.0, np.arange(slots + 1) * slot_s
    for piece, code in _pieces(source):
        last_s = piece.span_s
        slot = np.searchsorted(slots_s, piece.t_us / 1e6, side="right") - 1
        served: Any = np.ones(len(piece), dtype=np.bool_)
        if problem is not None:
            joules = _joules(problem, piece, source.classes, choices, models)
            able = np.isfinite(joules)
            served = able.any(axis=1)
            for at in range(len(choices)):
                column = np.where(able[:, at], joules[:, at], 0.0)
                sums[:, at] += np.bincount(code, weights=column, minlength=classes)
                takes[:, at] += np.bincount(code, weights=able[:, at], minlength=classes)
        unservable += np.bincount(code, weights=~served, minlength=classes)
        np.add.at(come, (slot[served], code[served]), 1.0)
        np.maximum.at(longest, code, piece.output_tokens)
    means = np.full_like(sums, math.inf if proven else 0.0)
    np.divide(sums, takes, out=means, where=takes > 0)
    factor = [max(choice.tokens(label) for choice in choices) for label in source.classes]
    return Requests(
        arrivals=come,
        unservable=unservable,
        mean_j=means,
        longest=np.ceil(longest * np.array(factor)),
        last_s=last_s,
        floor_w=0.0 if problem is None else _floor_w(problem, scenario.groups),
        most_w=math.fsum(group.replicas * most_power_w(group) for group in scenario.groups),
        problem=problem,
        models=models,
    )


def most_power_w(group: Group) -> float:
    """The most that a replica of ``group`` draws in any state [W]."""
    power = group.kind.power
    waking = [
        joules / seconds
        for joules, seconds in (
            (power.wake_j_from_parked, power.wake_s_from_parked),
            (power.wake_j_from_off, power.wake_s_from_off),
        )
        if seconds > 0.0
    ]
    return max(power.power_w_cap, *waking)


def cheapest_usd(
    source: TraceSource,
    choices: tuple[Choice, ...],
    found: Requests,
    *,
    edges_s: Floats,
    joule_usd: Floats,
    answer_usd: Floats,
) -> float:
    """The cost [$] of all requests that can be answered, each by its own cheapest option, a joule
    costing ``joule_usd`` [$/J] ``[classes, blocks]`` in the block of ``edges_s`` that it comes in,
    and an answer ``answer_usd`` [$] ``[classes, options]``.
    """
    assert found.problem is not None
    sums = []
    for piece, code in _pieces(source):
        block = np.searchsorted(edges_s, piece.t_us / 1e6, side="right") - 1
        block = np.clip(block, 0, len(edges_s) - 2)
        joules = _joules(found.problem, piece, source.classes, choices, found.models)
        able = np.isfinite(joules)
        price = joule_usd[code, block][:, None] * np.where(able, joules, 0.0) + answer_usd[code]
        least = np.where(able, price, math.inf).min(axis=1)
        sums.append(math.fsum(least[able.any(axis=1)].tolist()))
    return math.fsum(sums)


def _pieces(source: TraceSource) -> Iterator[tuple[Trace, Any]]:
    """The pieces of a trace that are not empty, with their classes."""
    for piece in source.chunks():
        if len(piece):
            yield piece, piece.class_code.astype(np.int64)


def _floor_w(problem: Problem, groups: tuple[Group, ...]) -> float:
    """What the fleet is taken to draw at rest [W]: the credits of all replicas."""
    credits_w = problem.choice[: len(groups), terms.CREDIT].tolist()
    return math.fsum(
        group.replicas * credit_w for group, credit_w in zip(groups, credits_w, strict=True)
    )


def _joules(
    problem: Problem,
    piece: Trace,
    classes: tuple[str, ...],
    choices: tuple[Choice, ...],
    models: tuple[str, ...],
) -> Floats:
    """The least joules of each request by each option ``[requests, options]``, infinite where no
    replica can take it.
    """
    rows = arrivals(piece)
    found = np.empty((len(choices), len(piece)))
    for out, choice in zip(found, choices, strict=True):
        factor = np.array([choice.tokens(label) for label in classes])[piece.class_code]
        rows.output_tokens = np.maximum(1, np.floor(piece.output_tokens * factor + 0.5))
        model = -1 if choice.model is None else models.index(choice.model)
        terms.least_j(problem, rows, model, out)
    return found.T
