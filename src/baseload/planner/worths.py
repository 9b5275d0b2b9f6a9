"""What one more kWh, kW, GPU or a lower token cap is worth, and where models change places."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import msgspec

from baseload.base.units import J_PER_KWH
from baseload.fleet.models import find_model, is_known_model
from baseload.planner.demand_records import Demand
from baseload.planner.figures import Standing, figure, weakest
from baseload.planner.fleet_case import FleetCase
from baseload.planner.net import net_of
from baseload.planner.optimum import best_drift
from baseload.planner.rates import rates_of
from baseload.planner.records import S_PER_YEAR, Prices, Supply, SwitchPoint, Worth
from baseload.planner.year import fluid_balance, is_seasonal, net_series
from baseload.theory.model_choice import switch_difficulty
from baseload.theory.options import OptionModel

CAP_KEPT_FRAC = 0.75
_KW = 1000.0


class _State(msgspec.Struct, frozen=True, kw_only=True):
    """A site as it is or would be: cost of all [$/s], mean demand, baseline and rates [W]."""

    cost_usd_per_s: float
    mean_w: float
    var_j2_per_s: float
    baseline_w: float
    auxiliary_w: float
    waste_w: float
    standing: Standing


def worths_of(
    demand: Demand, supply: Supply, prices: Prices, *, case: FleetCase | None = None
) -> tuple[Worth, ...]:
    """What changes of the site are worth [$/year], its baseline held where it is; without one, the
    best baseline before and after.

    Where supply or demand moves with the hour, the balance of the whole series without chance
    decides; else the rates with chance. Capital costs of replicas are not counted; storage and
    baseline at their prices.
    """
    before = _state(demand, supply, prices)
    if supply.baseline_w is None:
        how = "rates before and after, each with its best baseline"
    elif is_seasonal(demand, supply):
        how = "the balance of the series before and after, without chance"
    else:
        how = "rates before and after, the baseline held where it is"
    found = [
        _more_storage(demand, supply, prices, before, how),
        _more_baseline(demand, supply, prices, before),
    ]
    if case is not None:
        for index in range(len(case.groups)):
            found.append(_more_replicas(case, index, supply, prices, before, how))
        found.append(_lower_cap(case, supply, prices, before, how))
    return tuple(found)


def _state(demand: Demand, supply: Supply, prices: Prices) -> _State:
    """A site's cost and rates."""
    net = net_of(demand, supply)
    if supply.baseline_w is not None and is_seasonal(demand, supply):
        baseline, drawn, step_s = net_series(demand, supply)
        year = fluid_balance(baseline, drawn, step_s, supply, store_j=supply.store_j)
        u, w, baseline_w = year.auxiliary_w, year.waste_w, supply.baseline_w
        paid = u + year.unserved_w
        standing: Standing = "modelled"
    else:
        if supply.baseline_w is not None:
            theta = supply.baseline_w - net.mean_w
        else:
            theta = best_drift(net, prices, supply.store_j).theta
        found = rates_of(net, theta)
        u, w, baseline_w, standing = found.u_w, found.w_w, net.mean_w + theta, found.standing
        paid = u
    return _State(
        cost_usd_per_s=prices.baseline_usd_per_j * baseline_w
        + prices.auxiliary_usd_per_j * paid
        + prices.waste_usd_per_j * w
        + (prices.storage_usd_per_j_s or 0.0) * supply.store_j,
        mean_w=net.mean_w,
        var_j2_per_s=net.var,
        baseline_w=baseline_w,
        auxiliary_w=u,
        waste_w=w,
        standing=standing,
    )


def _saved(before: _State, after: _State) -> float:
    return (before.cost_usd_per_s - after.cost_usd_per_s) * S_PER_YEAR


def _changes(before: _State, after: _State) -> dict[str, float]:
    """What a change does to the numbers behind its worth."""
    return {
        "mean_demand_w": after.mean_w - before.mean_w,
        "variance_j2_per_s": after.var_j2_per_s - before.var_j2_per_s,
        "auxiliary_w": after.auxiliary_w - before.auxiliary_w,
        "waste_w": after.waste_w - before.waste_w,
        "baseline_w": after.baseline_w - before.baseline_w,
    }


def _more_storage(
    demand: Demand, supply: Supply, prices: Prices, before: _State, how: str
) -> Worth:
    more = msgspec.structs.replace(supply, store_j=supply.store_j + J_PER_KWH)
    after = _state(demand, more, prices)
    price = (prices.storage_usd_per_j_s or 0.0) * J_PER_KWH * S_PER_YEAR
    return Worth(
        what="one more kWh of storage",
        kind="storage",
        usd_per_year=figure(
            _saved(before, after),
            "$/year",
            before.standing,
            note=f"its own price, {price:.3g} $/year, taken off"
            if prices.storage_usd_per_j_s is not None
            else "before what it costs: no price of storage was given",
        ),
        effects=_changes(before, after) | {"price_usd_per_year": price},
        obtained=how,
    )


def _more_baseline(demand: Demand, supply: Supply, prices: Prices, before: _State) -> Worth:
    more = msgspec.structs.replace(supply, baseline_w=before.baseline_w + _KW)
    after = _state(demand, more, prices)
    price = prices.baseline_usd_per_j * _KW * S_PER_YEAR
    return Worth(
        what="one more kW of baseline",
        kind="baseline",
        usd_per_year=figure(
            _saved(before, after),
            "$/year",
            before.standing,
            note=f"its own price, {price:.4g} $/year, taken off",
        ),
        effects=_changes(before, after) | {"price_usd_per_year": price},
        obtained="rates at the baseline and 1 kW above it"
        + (", in the shape of its series" if supply.series_w else ""),
    )


def _more_replicas(
    case: FleetCase, index: int, supply: Supply, prices: Prices, before: _State, how: str
) -> Worth:
    demand = case.with_replica(index)
    after = _state(demand, supply, prices)
    kind, serving = case.groups[index][0], demand.serving[index]
    gpus = "GPU" if kind.num_gpus == 1 else f"{kind.num_gpus} GPUs"
    return Worth(
        what=f"one more replica of {kind.name} ({gpus})",
        kind="replica",
        usd_per_year=figure(
            _saved(before, after),
            "$/year",
            "modelled",
            note="energy only: neither the hardware nor the time that answers take is priced",
        ),
        effects=_changes(before, after) | {"batch": serving.batch, "idle_w": serving.rest_w},
        obtained=f"the demand worked out again with one more; {how}",
    )


def _lower_cap(case: FleetCase, supply: Supply, prices: Prices, before: _State, how: str) -> Worth:
    demand, cut_frac = case.capped(CAP_KEPT_FRAC)
    after = _state(demand, supply, prices)
    return Worth(
        what="a token cap 25 % below the longest answer",
        kind="token_cap",
        usd_per_year=figure(
            _saved(before, after),
            "$/year",
            "modelled",
            note=f"{100 * cut_frac:.2g} % of the answers would be cut; what they lose in quality"
            " is not priced",
        ),
        effects=_changes(before, after) | {"cut_frac": cut_frac},
        obtained=f"lengths of the trace, capped; {how}",
    )


STEEPNESS, ABILITY_PER_LOG_SIZE = 1.0, 1.5
TOKENS_PER_STEP = 100.0


def options_of(case: FleetCase, *, skills: int = 1) -> list[OptionModel]:
    """The fleet's models as options of the chain model: joules per answer token on their replicas
    at a full batch (the cheapest type of each), ability assumed.

    Assumed: step success logistic(d) with steepness 1 and an ability of 1.5 times the logarithm of
    the active parameters. Fit your own before relying on the difficulty.
    """
    tokens = max(1.0, case.digest.mean_output)
    cheapest: dict[str, float] = {}
    for (kind, _), serving in zip(case.groups, case.demand().serving, strict=True):
        if is_known_model(kind.model):
            per_token = serving.full_batch_j / tokens
            cheapest[kind.model] = min(per_token, cheapest.get(kind.model, math.inf))
    return [
        OptionModel(
            name=model,
            ability=ABILITY_PER_LOG_SIZE * math.log(find_model(model).params_active / 1e9),
            kappa=STEEPNESS,
            energy_j_per_token=joules,
            tokens_per_step=TOKENS_PER_STEP,
            skills=skills,
        )
        for model, joules in cheapest.items()
    ]


def switches_of(options: Sequence[OptionModel]) -> tuple[SwitchPoint, ...]:
    """The difficulty at which each dearer model starts to spend less per solved task than the one
    before it, by joules per token. Fewer than two models: none.
    """
    ordered = sorted(options, key=lambda option: option.energy_j_per_token)
    standing: Standing = weakest("modelled", "assumed")
    points = []
    for small, large in itertools.pairwise(ordered):
        difficulty = switch_difficulty(
            kappa=small.kappa,
            theta_small=small.ability,
            theta_large=large.ability,
            N_small=small.energy_j_per_token,
            N_large=large.energy_j_per_token,
        )
        never = "never: more ability costs more joules than it saves"
        always = "always: it is more able and no dearer"
        points.append(
            SwitchPoint(
                smaller=small.name,
                larger=large.name,
                difficulty=figure(
                    difficulty,
                    "logits",
                    standing,
                    note=(never if difficulty > 0 else always)
                    if math.isinf(difficulty)
                    else "where a step of ability 0 succeeds half the time at difficulty 0;"
                    " abilities are assumed",
                ),
            )
        )
    return tuple(points)
