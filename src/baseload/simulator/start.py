"""An idle fleet and an idle engine for a scenario: where every run begins."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from baseload.base.errors import BadInputError
from baseload.fleet.step import Cost, cost_table
from baseload.routing.fleet_state import FleetState, fleet_state
from baseload.simulator.choices import models_of
from baseload.simulator.measure import is_bulk
from baseload.simulator.records import MAX_PRIORITIES, TIER, Engine, engine, records
from baseload.simulator.scenario import Group, Scenario
from baseload.simulator.supplied import slots_of
from baseload.workload.requests import tier_of
from baseload.workload.trace import TraceSource


def new_engine(
    scenario: Scenario, source: TraceSource, *, log_rows: int = 0
) -> tuple[FleetState, Engine]:
    """An idle fleet as routing sees it, and an idle engine under it."""
    groups = scenario.groups
    kinds = [group.kind for group in groups]
    fleet = fleet_state(
        kinds,
        [group.replicas for group in groups],
        classes=source.classes,
        max_queue=scenario.max_queue,
        models=models_of(scenario.choices, source.models),
    )
    for limits, cost, group in zip(fleet.limits, fleet.cost, groups, strict=True):
        limits.wake_s = 0.0 if scenario.parking else _wake_s(cost, group)
    tier_index = {tier.name: index for index, tier in enumerate(scenario.tiers)}
    tier_of_class = [tier_index[tier_of(name, scenario.tiers).name] for name in source.classes]
    return fleet, engine(
        type_of=fleet.type_of,
        max_batch=[kind.max_batch for kind in kinds],
        max_step_tokens=[kind.max_step_tokens for kind in kinds],
        park_after_s=[_never(group.park_after_s) for group in groups],
        off_after_s=[_never(group.off_after_s) for group in groups],
        cost=cost_table([*kinds, *(slow for group in groups for slow in group.slower)]),
        tiers=_tier_rows(scenario),
        tier_of_class=np.array(tier_of_class, dtype=np.int16),
        options=scenario.options(source.classes, source.models),
        span_s=source.span_s,
        bin_s=_slot_s(scenario, source.span_s),
        log_rows=max(log_rows, 2 * max(kind.max_batch for kind in kinds)) if log_rows else 0,
    )


def _wake_s(cost: Cost, group: Group) -> float:
    """Seconds in which an idle replica that has fallen asleep by its own timeouts wakes."""
    if group.park_after_s is not None:
        return float(cost.wake_s_from_parked)
    return float(cost.wake_s_from_off) if group.off_after_s is not None else 0.0


def _slot_s(scenario: Scenario, span_s: float) -> float | None:
    """Width of a time bin [s]: a slot of the site that feeds the fleet, where there is one."""
    if scenario.supplied is None:
        return None
    slot_s = scenario.supplied.site.slot_s
    slots_of(span_s, slot_s)
    return slot_s


def _never(timeout_s: float | None) -> float:
    """A timeout in seconds; infinite for never."""
    return math.inf if timeout_s is None else timeout_s


def _tier_rows(scenario: Scenario) -> np.recarray[Any, Any]:
    """The tiers as rows of ``TIER``, priorities made dense."""
    levels = sorted({tier.priority for tier in scenario.tiers})
    if len(levels) > MAX_PRIORITIES:
        raise BadInputError(
            "tiers: too many priorities",
            found=str(len(levels)),
            allowed=f"at most {MAX_PRIORITIES} different ones",
        )
    rows = records(TIER, len(scenario.tiers))
    for index, tier in enumerate(scenario.tiers):
        deadlines = [_never(value) for value in (tier.ttft_s, tier.tpot_s, tier.e2e_s)]
        rows[index] = (*deadlines, levels.index(tier.priority), is_bulk(scenario, index))
    return rows
