"""What a run cost beside the clairvoyant dispatch of the same requests: with proven joules, and
with those that the run itself showed (docs/explanation/dispatch.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from baseload.base.errors import BadInputError
from baseload.simulator.dispatch import Dispatch, RunDispatch
from baseload.simulator.dispatch_trace import dispatch_of
from baseload.simulator.measure import Totals, service_usd
from baseload.simulator.records import ACTIVE
from baseload.simulator.results import DispatchFigures, DispatchResult
from baseload.simulator.scenario import Scenario
from baseload.workload.requests import tier_of
from baseload.workload.trace import TraceSource


def check_dispatch(scenario: Scenario) -> None:
    """Raise ``BadInputError`` for a scenario that has no clairvoyant dispatch."""
    if scenario.supplied is None:
        raise BadInputError(
            "dispatch of a scenario without a supply", found="none", allowed="a site that feeds it"
        )
    if scenario.cap_tokens is not None:
        raise BadInputError(
            "dispatch of a scenario with a cap on answers",
            found=f"{scenario.cap_tokens} tokens",
            allowed="no cap",
            todo="leave out the cap: the bound weighs whole answers",
        )


def dispatch_of_run(
    scenario: Scenario, source: TraceSource, run: Totals, *, seed: int
) -> RunDispatch:
    """The dispatch of the requests of a finished run, at the scale nearest to 1, up to the instant
    at which the run ended; *as run* with the mean joules of its own answers and what its fleet drew
    beside them; requests that the run refused are answered there like the others. ``None`` where no
    request was answered.
    """
    check_dispatch(scenario)
    assert scenario.supplied is not None
    assert run.chosen is not None
    assert run.chosen_j is not None
    main = scenario.supplied.main
    end_s = run.supply[main].account.span_s
    given: dict[str, Any] = {
        "seed": seed,
        "right_usd": {name: tier_of(name, scenario.tiers).right_usd for name in source.classes},
        "scale": scenario.supplied.scales[main],
        "end_s": end_s,
    }
    joules = np.full(run.chosen.shape, math.inf)
    np.divide(run.chosen_j, run.chosen, out=joules, where=run.chosen > 0)
    as_run = None
    if np.isfinite(joules).any():
        rest_j = float(run.account_j.sum() - run.account_j[:, ACTIVE].sum())
        as_run = dispatch_of(scenario, source, joules=joules, floor_w=rest_j / end_s, **given)
    return RunDispatch(
        run_cost_usd=comparable_usd(scenario, run),
        proven=dispatch_of(scenario, source, **given),
        as_run=as_run,
    )


def comparable_usd(scenario: Scenario, run: Totals) -> float:
    """What of a run's cost the dispatch counts too [$], at the scale nearest to 1: the site's
    without the demand charge, wrong answers and fees; not broken promises.
    """
    assert scenario.supplied is not None
    costs = run.supply[scenario.supplied.main].account.costs
    fees = [choice.fee_usd for choice in scenario.choices]
    fee_usd = float(run.chosen.sum(axis=0) @ fees) if fees and run.chosen is not None else 0.0
    wrong_usd = service_usd(scenario, run).get("wrong_usd", 0.0)
    return costs.total_usd - (costs.demand_usd or 0.0) + wrong_usd + fee_usd


def dispatch_result(
    scenario: Scenario, policy: str, runs: Sequence[Totals]
) -> DispatchResult | None:
    """The means over the runs of all seeds; ``None`` where none was compared."""
    found = [run.dispatch for run in runs if run.dispatch is not None]
    if not found:
        return None
    classes = runs[0].classes
    names = [choice.name for choice in scenario.choices] or ["plain"]
    shown = [one.as_run for one in found if one.as_run is not None]
    return DispatchResult(
        policy=policy,
        run_cost_usd=_mean([one.run_cost_usd for one in found]),
        proven=_figures([one.proven for one in found], classes, names),
        as_run=_figures(shown, classes, names) if len(shown) == len(found) else None,
        never_used=_never_used(runs, classes, names),
    )


def _never_used(
    runs: Sequence[Totals], classes: Sequence[str], names: Sequence[str]
) -> dict[str, list[str]]:
    """Options by class of which some run shows no joules."""
    lacks: dict[str, list[str]] = {}
    for row, label in enumerate(classes):
        counts = [run.chosen[row] for run in runs if run.chosen is not None]
        missing = [
            name
            for at, name in enumerate(names)
            if any(count.sum() > 0 and count[at] == 0 for count in counts)
        ]
        if missing:
            lacks[label] = missing
    return lacks


def _figures(
    found: Sequence[Dispatch], classes: Sequence[str], names: Sequence[str]
) -> DispatchFigures:
    """Means over the dispatches of all seeds."""
    parts = {name for one in found for name in one.cost_usd}
    known = [one.quality_frac for one in found if one.quality_frac is not None]
    shares = np.mean([one.choice_frac for one in found], axis=0)
    return DispatchFigures(
        total_cost_usd=_mean([one.total_cost_usd for one in found]),
        cost_usd={name: _mean([one.cost_usd.get(name, 0.0) for one in found]) for name in parts},
        cost_missing=list(found[0].cost_missing),
        **{name: _mean([getattr(one, name) for one in found]) for name in _FLOWS},
        quality_frac=_mean(known) if known else None,
        choice_frac={
            label: dict(zip(names, row.tolist(), strict=True))
            for label, row in zip(classes, shares, strict=True)
        },
        how=found[0].how,
    )


_FLOWS = ("auxiliary_j", "waste_j", "unserved_j", "demand_j")


def _mean(values: Sequence[float]) -> float:
    """The mean."""
    return math.fsum(values) / len(values)
