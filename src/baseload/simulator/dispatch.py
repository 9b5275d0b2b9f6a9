"""The clairvoyant dispatch of a trace at a site: the least cost that any choice of options and any
use of the store could have reached, everything known beforehand.

What is relaxed, and what is proved: docs/explanation/dispatch.md. The program itself is in
``dispatch_program``, the joules of a request that no schedule can undercut in ``dispatch_joules``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from baseload.base.errors import ArgumentError, BadInputError
from baseload.base.inputs import Floats, not_negative, number, numbers, whole
from baseload.simulator import dispatch_joules as joules_of
from baseload.simulator import dispatch_program as programs
from baseload.simulator.choices import Choice
from baseload.simulator.dispatch_joules import Requests
from baseload.simulator.dispatch_program import Blocks, Solution
from baseload.simulator.scenario import Scenario
from baseload.simulator.supplied import baseline_between_w, slots_of
from baseload.supply.series import checked_edges
from baseload.supply.site import Site
from baseload.supply.tariff import bill
from baseload.workload.requests import tier_of
from baseload.workload.tiers import Tier
from baseload.workload.trace import TraceSource

MOST_BLOCKS = 9_000

_GIVEN = (
    "Linear program over {blocks} blocks of {block_s:g} s: every answer of a class by an option "
    "needs the joules given for it."
)
_PROVEN = (
    "Linear program over {blocks} blocks of {block_s:g} s, its prices held against every request: "
    "each needs the joules that no schedule can undercut."
)
_NO_DEMAND_CHARGE = "The demand charge is left out."


class Dispatch(msgspec.Struct, frozen=True, kw_only=True):
    """The least that a trace could have cost at a site.

    ``total_cost_usd``: the bound [$], the sum of ``cost_usd`` by part: those of
    ``supply.accounts.Costs`` but the demand charge (0 or more in any run, left out), ``wrong_usd``
    for answers that are not right, ``fee_usd``, and ``by_request_usd``, 0 or less: what choosing
    request by request saves over choosing by class. ``cost_missing``: parts without a price, not in
    the total. ``auxiliary_j``, ``waste_j``, ``unserved_j``, ``demand_j`` [J at the bus],
    ``quality_frac`` (expected share of right answers, ``None`` without requests) and
    ``choice_frac`` ``[classes][options]`` are those of the program's plan. ``blocks``: how many,
    the longest ``block_s`` [s]. ``cpu_s``: CPU time it took [s]. ``how``: the bound in words.
    """

    total_cost_usd: float
    cost_usd: dict[str, float]
    cost_missing: list[str]
    auxiliary_j: float
    waste_j: float
    unserved_j: float
    demand_j: float
    quality_frac: float | None
    choice_frac: list[list[float]]
    blocks: int
    block_s: float
    cpu_s: float
    how: str


class Task(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A dispatch to be solved, its numbers checked; arguments as in ``dispatch``."""

    edges_s: Floats
    arrivals: Floats
    joules: Floats
    right_frac: Floats
    right_usd: Floats
    fee_usd: Floats
    floor_w: Floats
    baseline_w: Floats
    delay_s: Floats
    most_w: float | None
    most_blocks: int

    @property
    def answer_usd(self) -> Floats:
        """What an answer costs beside energy [$] ``[classes, options]``."""
        return self.right_usd[:, None] * (1.0 - self.right_frac) + self.fee_usd


def dispatch(
    site: Site,
    *,
    edges_s: ArrayLike,
    arrivals: ArrayLike,
    joules: ArrayLike,
    right_frac: ArrayLike,
    right_usd: ArrayLike,
    floor_w: ArrayLike,
    baseline_w: ArrayLike,
    scale: float = 1.0,
    fee_usd: ArrayLike = 0.0,
    delay_s: ArrayLike = 0.0,
    most_w: float | None = None,
    most_blocks: int = MOST_BLOCKS,
) -> Dispatch:
    """The least cost of ``arrivals`` ``[slots, classes]`` at ``site``, as a linear program.

    ``edges_s`` [s] ``[slots + 1]``; ``joules`` [J] ``[classes, options]`` that an answer draws from
    the fleet (infinite: not to be had); ``right_frac`` its probability of being right, ``fee_usd``
    [$] its price beside energy (one, or ``[classes, options]``); ``right_usd`` [$] ``[classes]``
    the value of a right answer. ``floor_w`` [W] (one, or ``[slots]``): what the fleet draws
    whatever it does; ``baseline_w`` [W] ``[slots]``, times ``scale``. ``delay_s`` [s] (one, or
    ``[classes]``): a request may draw its energy up to so long after it came, in its own block at
    least. ``most_w`` [W]: the fleet may draw up to so much more than is needed (where that is
    paid); ``None``: it draws what is needed. ``most_blocks``: slots are put together to at most so
    many blocks, inside which energy moves freely.

    Standing: exact for the program; a lower bound on every run whose answers need these joules,
    to the tolerance of the solver (1e-7). An option of 0 joules that is never right stands for
    refusing. Raises ``ArgumentError`` naming the field; ``BadInputError`` where the site cannot
    feed even the thriftiest answers and unserved energy has no price.
    """
    began_s = time.process_time()
    task = _task(
        edges_s=edges_s,
        arrivals=arrivals,
        joules=joules,
        right_frac=right_frac,
        right_usd=right_usd,
        floor_w=floor_w,
        baseline_w=scale * numbers("baseline_w", baseline_w, shape=(-1,)),
        fee_usd=fee_usd,
        delay_s=delay_s,
        most_w=most_w,
        most_blocks=most_blocks,
    )
    blocks, solution = _solved(site, task)
    return _record(site, task, blocks, solution, how=_GIVEN, began_s=began_s)


def _task(*, edges_s: ArrayLike, arrivals: ArrayLike, **given: Any) -> Task:
    """The arguments as arrays that fit each other."""
    edges = checked_edges(edges_s)
    slots = len(edges) - 1
    if slots < 1:
        raise ArgumentError("edges_s", found="no slot", allowed="two instants or more")
    counts = numbers("arrivals", arrivals, least=0.0, shape=(slots, -1))
    classes = counts.shape[1]
    energy_j = np.asarray(given["joules"], dtype=np.float64)
    if energy_j.ndim != 2 or len(energy_j) != classes or not energy_j.shape[1]:
        raise ArgumentError(
            "joules", found=f"shape {energy_j.shape}", allowed=f"({classes}, options)"
        )
    if not (energy_j >= 0.0).all():
        raise ArgumentError("joules", found="below 0 or NaN", allowed="0 to infinity")
    hopeless = np.flatnonzero(~np.isfinite(energy_j).any(axis=1) & (counts.sum(axis=0) > 0))
    if len(hopeless):
        raise ArgumentError(
            f"joules[{hopeless[0]}]",
            found="no option that can answer the class",
            allowed="finite joules for one option or more of each class that comes",
        )
    shape = energy_j.shape
    right = numbers("right_frac", given["right_frac"], least=0.0, shape=shape)
    if right.max(initial=0.0) > 1.0:
        raise ArgumentError("right_frac", found=f"{right.max():g}", allowed="0 to 1")
    most_w = given["most_w"]
    return Task(
        edges_s=edges,
        arrivals=counts,
        joules=energy_j,
        right_frac=right,
        right_usd=numbers("right_usd", given["right_usd"], least=0.0, shape=(classes,)),
        fee_usd=_spread("fee_usd", given["fee_usd"], shape),
        floor_w=_spread("floor_w", given["floor_w"], (slots,)),
        baseline_w=_spread("baseline_w", given["baseline_w"], (slots,), least=-math.inf),
        delay_s=_spread("delay_s", given["delay_s"], (classes,)),
        most_w=None if most_w is None else not_negative("most_w", most_w),
        most_blocks=whole("most_blocks", given["most_blocks"], least=1),
    )


def _spread(field: str, values: ArrayLike, shape: tuple[int, ...], *, least: float = 0.0) -> Floats:
    """One number for all, or an array of ``shape``."""
    found = numbers(field, values, least=least)
    if found.ndim and found.shape != shape:
        raise ArgumentError(field, found=f"shape {found.shape}", allowed=f"one, or shape {shape}")
    return np.broadcast_to(found, shape)


def _solved(site: Site, task: Task) -> tuple[Blocks, Solution]:
    """The program of a task, solved."""
    blocks = programs.blocks_of(
        site, task.edges_s, task.baseline_w, task.floor_w, most_blocks=task.most_blocks
    )
    menus = [programs.menu_of(*pair) for pair in zip(task.joules, task.answer_usd, strict=True)]
    starts = np.searchsorted(task.edges_s, blocks.edges_s[:-1])
    solution = programs.solve(
        site,
        blocks,
        menus,
        np.add.reduceat(task.arrivals, starts),
        task.delay_s,
        options=task.joules.shape[1],
        most_w=task.most_w,
    )
    return blocks, solution


def _record(
    site: Site,
    task: Task,
    blocks: Blocks,
    solution: Solution,
    *,
    how: str,
    began_s: float,
    by_request_usd: float = 0.0,
    refused_usd: float = 0.0,
    refused: float = 0.0,
) -> Dispatch:
    """The solution as a record. ``refused``: requests that no option can answer, and what they
    cost.
    """
    cost_usd, missing = _costs(site, task, blocks, solution)
    if refused_usd:
        cost_usd["wrong_usd"] += refused_usd
    if by_request_usd:
        cost_usd["by_request_usd"] = by_request_usd
    auxiliary, waste, charged, discharged, unserved, *_ = solution.flows_j
    demand_j = blocks.supply_j + auxiliary + unserved + discharged - waste - charged
    come = float(solution.answers.sum()) + refused
    right = float((solution.answers * task.right_frac).sum())
    sums = solution.answers.sum(axis=1, keepdims=True)
    shares = np.divide(
        solution.answers, sums, out=np.zeros_like(solution.answers), where=sums > 0.0
    )
    block_s = float(np.diff(blocks.edges_s).max())
    words = how.format(blocks=len(auxiliary), block_s=block_s)
    if site.tariff is not None and site.tariff.demand is not None:
        words = f"{words} {_NO_DEMAND_CHARGE}"
    return Dispatch(
        total_cost_usd=math.fsum(cost_usd.values()),
        cost_usd=cost_usd,
        cost_missing=missing,
        auxiliary_j=float(auxiliary.sum()),
        waste_j=float(waste.sum()),
        unserved_j=float(unserved.sum()),
        demand_j=float(demand_j.sum()),
        quality_frac=right / come if come > 0.0 else None,
        choice_frac=shares.tolist(),
        blocks=len(auxiliary),
        block_s=block_s,
        cpu_s=time.process_time() - began_s,
        how=words,
    )


def _costs(
    site: Site, task: Task, blocks: Blocks, solution: Solution
) -> tuple[dict[str, float], list[str]]:
    """Dollars by part, as ``supply.accounts`` counts them, and the parts without a price."""
    flows, store = solution.flows_j, site.store
    auxiliary, waste = flows[programs.AUXILIARY], flows[programs.WASTE]
    supply_j = float((task.baseline_w * np.diff(task.edges_s)).sum())
    baseline_usd = site.baseline_usd_per_j
    parts: dict[str, float | None] = {
        "baseline_usd": None if baseline_usd is None else baseline_usd * supply_j,
        "energy_usd": None if site.tariff is None else float(blocks.energy_usd @ auxiliary),
        "fixed_usd": _fixed_usd(site, task.edges_s),
        "waste_usd": float(blocks.waste_usd @ waste),
        "carbon_usd": _carbon_usd(site, task, float(blocks.carbon_usd @ auxiliary)),
        "unserved_usd": (site.unserved_usd_per_j or 0.0) * float(flows[programs.UNSERVED].sum()),
        "wear_usd": store.wear_usd(
            float(flows[programs.CHARGED].sum()), float(flows[programs.DISCHARGED].sum())
        ),
        "wrong_usd": float(
            (task.right_usd[:, None] * (1.0 - task.right_frac) * solution.answers).sum()
        ),
        "fee_usd": float((task.fee_usd * solution.answers).sum()),
    }
    known = {name: value for name, value in parts.items() if value is not None}
    return known, [name for name in parts if name not in known]


def _fixed_usd(site: Site, edges_s: Floats) -> float | None:
    """The fixed fee of the run [$]."""
    if site.tariff is None:
        return None
    ends_s = edges_s[[0, -1]]
    return bill(site.tariff, ends_s, np.zeros(1), start_unix_s=site.start_unix_s).fixed_usd


def _carbon_usd(site: Site, task: Task, auxiliary_usd: float) -> float | None:
    """The price of the inventory [$]: of what was bought, and of all baseline."""
    signal = site.baseline_carbon
    if site.carbon_usd_per_g is None or (signal is None and site.auxiliary_carbon is None):
        return None
    if signal is None:
        return auxiliary_usd
    found = signal.slots(task.edges_s, start_unix_s=site.start_unix_s)
    supply_j = task.baseline_w * np.diff(task.edges_s)
    return auxiliary_usd + site.carbon_usd_per_g * float(found.intensity_g_per_j @ supply_j)


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
    task = _task(
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
    blocks, solution = _solved(site, task)
    by_request_usd = 0.0
    if fixed is None:
        by_request_usd = _by_request_usd(scenario, source, choices, found, task, blocks, solution)
    return _record(
        site,
        task,
        blocks,
        solution,
        how=_GIVEN if fixed is not None else _PROVEN,
        began_s=began_s,
        by_request_usd=by_request_usd,
        refused_usd=float(found.unservable @ task.right_usd),
        refused=float(found.unservable.sum()),
    )


def _edges(slot_s: float, slots: int, end_s: float, last_s: float) -> Floats:
    """Edges of the slots of a run that ends at ``end_s``, as its books have them."""
    end = number("end_s", end_s)
    if end < last_s:
        raise ArgumentError(
            "end_s", found=f"{end:g} s", allowed=f"the last arrival, {last_s:g} s, or later"
        )
    end = max(end, 1e-6)
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
    scenario: Scenario,
    source: TraceSource,
    choices: tuple[Choice, ...],
    found: Requests,
    task: Task,
    blocks: Blocks,
    solution: Solution,
) -> float:
    """What the program's prices save at most when each request takes its own cheapest option,
    instead of each class [$]: 0 or less, but for requests that some option cannot take.
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
