"""What one more kWh, kW, GPU or a lower token cap is worth, and where models change places."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import msgspec

from baseload.base.units import J_PER_KWH
from baseload.fleet.models import find_model, is_known_model
from baseload.planner.figures import Standing, figure, weakest
from baseload.planner.fleet_case import FleetCase
from baseload.planner.net import Net, net_of
from baseload.planner.optimum import best_drift, excess
from baseload.planner.rates import rates_of
from baseload.planner.records import S_PER_YEAR, Prices, Supply, SwitchPoint, Worth
from baseload.theory.model_choice import switch_difficulty
from baseload.theory.options import OptionModel

CAP_KEPT_FRAC = 0.75
_KW = 1000.0


def worths_of(
    net: Net, supply: Supply, prices: Prices, *, case: FleetCase | None = None
) -> tuple[Worth, ...]:
    """What changes of the site are worth [$/year], its baseline held where it is; without one, the
    best baseline before and after.

    Capital costs of replicas are not counted; storage and baseline at their prices.
    """
    found = [_more_storage(net, prices), _more_baseline(net, supply, prices)]
    if case is not None:
        for index, (kind, _) in enumerate(case.groups):
            found.append(_more_replicas(net, supply, prices, case, index, kind.name))
        found.append(_lower_cap(net, supply, prices, case))
    return tuple(worth for worth in found if worth is not None)


def _cost(net: Net, supply: Supply, prices: Prices, store_j: float) -> tuple[float, float]:
    """Cost of all [$/s] and the drift, at the site's baseline or at the best one."""
    if supply.baseline_w is not None:
        theta = supply.baseline_w - net.mean_w
        above = excess(net, prices, theta, store_j)
    else:
        best = best_drift(net, prices, store_j)
        theta, above = best.theta, best.excess_usd_per_s
    return prices.baseline_usd_per_j * net.mean_w + above, theta


def _changes(before: Net, after: Net, theta: float, theta_after: float) -> dict[str, float]:
    """What a change does to the numbers behind its worth."""
    old, new = rates_of(before, theta), rates_of(after, theta_after)
    return {
        "mean_demand_w": after.mean_w - before.mean_w,
        "variance_j2_per_s": after.var - before.var,
        "auxiliary_w": new.u_w - old.u_w,
        "waste_w": new.w_w - old.w_w,
        "baseline_w": after.mean_w + theta_after - before.mean_w - theta,
    }


def _held(supply: Supply) -> str:
    if supply.baseline_w is not None:
        return "rates before and after, the baseline held where it is"
    return "rates before and after, each with its best baseline"


def _more_storage(net: Net, prices: Prices) -> Worth:
    supply = net.supply
    more = msgspec.structs.replace(supply, store_j=supply.store_j + J_PER_KWH)
    wider = msgspec.structs.replace(net, supply=more)
    before, theta = _cost(net, supply, prices, supply.store_j)
    after, theta_after = _cost(wider, more, prices, more.store_j)
    saved = (before - after) * S_PER_YEAR
    price = (prices.storage_usd_per_j_s or 0.0) * J_PER_KWH * S_PER_YEAR
    standing = rates_of(net, theta).standing
    return Worth(
        what="one more kWh of storage",
        kind="storage",
        usd_per_year=figure(
            saved,
            "$/year",
            standing,
            note=f"its own price, {price:.3g} $/year, taken off"
            if prices.storage_usd_per_j_s is not None
            else "before what it costs: no price of storage was given",
        ),
        effects=_changes(net, wider, theta, theta_after) | {"price_usd_per_year": price},
        obtained=_held(supply),
    )


def _more_baseline(net: Net, supply: Supply, prices: Prices) -> Worth:
    _, theta = _cost(net, supply, prices, supply.store_j)
    before = excess(net, prices, theta, supply.store_j)
    after = excess(net, prices, theta + _KW, supply.store_j)
    return Worth(
        what="one more kW of baseline",
        kind="baseline",
        usd_per_year=figure(
            (before - after) * S_PER_YEAR,
            "$/year",
            rates_of(net, theta).standing,
            note=f"its own price, {prices.baseline_usd_per_j * _KW * S_PER_YEAR:.4g} $/year,"
            " taken off",
        ),
        effects=_changes(net, net, theta, theta + _KW),
        obtained="rates at the baseline, and 1 kW above it",
    )


def _more_replicas(
    net: Net, supply: Supply, prices: Prices, case: FleetCase, index: int, name: str
) -> Worth:
    demand = case.with_replica(index)
    changed = net_of(demand, supply)
    before, theta = _cost(net, supply, prices, supply.store_j)
    after, theta_after = _cost(changed, supply, prices, supply.store_j)
    kind = case.groups[index][0]
    gpus = "GPU" if kind.num_gpus == 1 else f"{kind.num_gpus} GPUs"
    serving = demand.serving[index]
    return Worth(
        what=f"one more replica of {name} ({gpus})",
        kind="replica",
        usd_per_year=figure(
            (before - after) * S_PER_YEAR,
            "$/year",
            "modelled",
            note="energy only: neither the hardware nor the time that answers take is priced",
        ),
        effects=_changes(net, changed, theta, theta_after)
        | {"batch": serving.batch, "idle_w": serving.rest_w},
        obtained=f"the demand worked out again with one more; {_held(supply)}",
    )


def _lower_cap(net: Net, supply: Supply, prices: Prices, case: FleetCase) -> Worth:
    demand, cut_frac = case.capped(CAP_KEPT_FRAC)
    changed = net_of(demand, supply)
    before, theta = _cost(net, supply, prices, supply.store_j)
    after, theta_after = _cost(changed, supply, prices, supply.store_j)
    cut = f"{100 * cut_frac:.2g} % of the answers would be cut"
    return Worth(
        what="a token cap 25 % below the longest answer",
        kind="token_cap",
        usd_per_year=figure(
            (before - after) * S_PER_YEAR,
            "$/year",
            "modelled",
            note=f"{cut}; what they lose in quality is not priced",
        ),
        effects=_changes(net, changed, theta, theta_after) | {"cut_frac": cut_frac},
        obtained=f"lengths of the trace, capped; {_held(supply)}",
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
