"""The clairvoyant dispatch at a site: the least cost that any choice of options and any use of the
store could have reached, everything known beforehand.

What is relaxed, and what is proved: docs/explanation/dispatch.md. The program itself is in
``dispatch_program``; ``dispatch_trace`` has the dispatch of a trace in a scenario.
"""

from __future__ import annotations

import math
import time
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from baseload.base.errors import ArgumentError
from baseload.base.inputs import Floats, not_negative, numbers, whole
from baseload.simulator import dispatch_program as programs
from baseload.simulator.dispatch_blocks import Blocks, blocks_of
from baseload.simulator.dispatch_program import Solution
from baseload.supply.series import checked_edges
from baseload.supply.site import Site
from baseload.supply.tariff import bill

MOST_BLOCKS = 9_000

GIVEN = (
    "Linear program over {blocks} blocks of {block_s:g} s: every answer of a class by an option "
    "needs the joules given for it."
)
PROVEN = (
    "Linear program over {blocks} blocks of {block_s:g} s, its prices held against every request: "
    "each needs the joules that no schedule can undercut."
)
_NO_DEMAND_CHARGE = "The demand charge is left out."


class Dispatch(msgspec.Struct, frozen=True, kw_only=True):
    """The least that a trace could have cost at a site.

    ``total_cost_usd``: the bound [$], the sum of ``cost_usd`` by part: those of
    ``supply.accounts.Costs`` but the demand charge (0 or more in any run, left out), ``wrong_usd``
    for answers that are not right, ``fee_usd``, and, with proven joules, ``by_request_usd``: what
    weighing each request for itself changes, mostly below 0. ``cost_missing``: parts without a
    price, not in the total. ``auxiliary_j``, ``waste_j``, ``unserved_j``, ``demand_j`` [J at the
    bus], ``quality_frac`` (expected share of right answers, ``None`` without requests) and
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


class RunDispatch(msgspec.Struct, frozen=True, kw_only=True):
    """The dispatches of one run's requests: ``proven``, and ``as_run`` with the joules that the run
    showed (``None``: it did not show enough). ``run_cost_usd``: what the run cost of what they
    count [$].
    """

    run_cost_usd: float
    proven: Dispatch
    as_run: Dispatch | None


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
    task = task_of(
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
    blocks, solution = solved(site, task)
    return record_of(site, task, blocks, solution, how=GIVEN, began_s=began_s)


def task_of(*, edges_s: ArrayLike, arrivals: ArrayLike, **given: Any) -> Task:
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


def solved(site: Site, task: Task) -> tuple[Blocks, Solution]:
    """The program of a task, solved."""
    blocks = blocks_of(
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


def record_of(
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
