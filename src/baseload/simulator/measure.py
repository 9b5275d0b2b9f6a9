"""From the engine's tallies to the figures of ``results``: percentiles, shares, means over
seeds, intervals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from baseload.base.units import S_PER_HOUR, S_PER_MINUTE, kg_from_g, mj_from_j
from baseload.simulator.dispatch import RunDispatch
from baseload.simulator.plant import Diary, Tick
from baseload.simulator.records import (
    ACTIVE,
    BIN_RATIO,
    BINS,
    E2E,
    ENERGY,
    HISTOGRAM_LOW,
    IDLE,
    OFF,
    PARKED,
    REFUSALS,
    SERIES_BINS,
    TPOT,
    TTFT,
    Engine,
)
from baseload.simulator.results import (
    POWER_STATES,
    ControlSeries,
    Curve,
    PolicyResult,
    Quantiles,
    Series,
    SupplyDiary,
    SupplyResult,
)
from baseload.simulator.scenario import Scenario
from baseload.simulator.statistics import interval
from baseload.simulator.supplied import Settled, supply_result

_CURVE_POINTS = 200
_DIARY_ENTRIES = 240


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """The raw sums of one run of one policy: what is kept of an engine when it is done. Arrays as
    in ``records.Engine``.

    ``account_j`` [types, accounts] joules; ``busy_s``, ``batch_s`` [types]; ``still_s`` [types]
    seconds not busy within the trace. ``requests``: how many came; ``span_s``: when the last one
    came. ``supply``: the books of the site under each of its scales. ``joule_prices``: the diary
    of a policy that looks at the supply. ``chosen`` [classes, options]: answers by each option,
    where there is a choice, and ``chosen_j`` their joules. ``dispatch``: the clairvoyant one of its
    requests, where it was asked for.
    """

    histogram: NDArray[np.int64]
    tally: np.recarray[Any, Any]
    account_j: NDArray[np.float64]
    busy_s: NDArray[np.float64]
    batch_s: NDArray[np.float64]
    still_s: NDArray[np.float64]
    refused: NDArray[np.int64]
    preempted: int
    cut_short: int
    requests: int
    span_s: float
    last_s: float
    residual_j: float
    cpu_s: float
    series: Series
    wakes: int = 0
    parked_s: float = 0.0
    stream_j: float = 0.0
    weights: tuple[float, ...] = ()
    control: ControlSeries | None = None
    bound_energy_j: float | None = None
    supply: tuple[Settled, ...] = ()
    joule_prices: SupplyDiary | None = None
    chosen: NDArray[np.int64] | None = None
    chosen_j: NDArray[np.float64] | None = None
    dispatch: RunDispatch | None = None
    classes: tuple[str, ...] = ()


def totals(
    engine: Engine,
    *,
    requests: int,
    span_s: float,
    cpu_s: float,
    scenario: Scenario,
    classes: Sequence[str] = (),
    diary: Diary | None = None,
) -> Totals:
    """The sums of a finished engine; ``classes``: of its trace; ``diary``: of the slow
    controller.
    """
    kinds = engine.tally.shape[1]
    kind_of = engine.replicas.kind
    account_j = np.zeros((kinds, len(POWER_STATES)))
    np.add.at(account_j, kind_of, engine.replicas.account_j)
    total = engine.total[0]
    return Totals(
        histogram=engine.histogram.copy(),
        tally=engine.tally.copy(),
        account_j=account_j,
        busy_s=_by_kind(engine, "busy_s"),
        batch_s=_by_kind(engine, "batch_s"),
        still_s=_by_kind(engine, "still_s"),
        refused=np.array(total.refused),
        preempted=int(total.preempted),
        cut_short=int(total.cut_short),
        requests=requests,
        span_s=span_s,
        last_s=float(total.last_s),
        residual_j=float(
            math.fsum(account_j[:, ACTIVE]) - math.fsum(engine.tally.energy_j.ravel())
        ),
        cpu_s=cpu_s,
        series=_series(engine),
        wakes=int(total.wakes),
        parked_s=float(engine.state_s[:, PARKED].sum() + engine.state_s[:, OFF].sum()),
        stream_j=float(engine.replicas.stream_j.sum()),
        chosen=engine.chosen.copy(),
        chosen_j=engine.chosen_j.copy(),
        classes=tuple(classes),
        weights=() if diary is None else diary.mean_weight,
        control=None if diary is None else _control_series(scenario, diary.ticks),
    )


def _control_series(scenario: Scenario, diary: Sequence[Tick]) -> ControlSeries | None:
    """The diary, thinned, by name of tier and of type."""
    if not diary:
        return None
    kept = [
        diary[int(at)]
        for at in np.unique(np.linspace(0, len(diary) - 1, _DIARY_ENTRIES).astype(int))
    ]
    return ControlSeries(
        t_s=[tick.at_s for tick in kept],
        lambda_by_tier={
            tier.name: [float(tick.weight[index]) for tick in kept]
            for index, tier in enumerate(scenario.tiers)
        },
        open_by_type={
            group.kind.name: [int(tick.opened[index]) for tick in kept]
            for index, group in enumerate(scenario.groups)
        },
        held=[tick.held for tick in kept],
    )


def _by_kind(engine: Engine, field: str) -> NDArray[np.float64]:
    """A field of the replicas, summed by replica type."""
    sums = np.zeros(engine.tally.shape[1])
    np.add.at(sums, engine.replicas.kind, engine.replicas[field])
    return sums


def _series(engine: Engine) -> Series:
    """Mean power and requests in flight over the trace, in at most ``SERIES_BINS`` stretches of
    equally many time bins; the last may be shorter.
    """
    bins, bin_s = len(engine.power_j) - 1, float(engine.bin_s[0])
    starts = np.arange(0, bins, -(-bins // SERIES_BINS))
    length_s = np.diff(starts, append=bins) * bin_s

    def sums(column: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(np.add.reduceat(column[:-1], starts, axis=0))

    power_w = sums(engine.power_j).sum(axis=1) / length_s[:, None]
    replicas = sums(engine.state_s) / length_s[:, None]
    return Series(
        bin_s=float(length_s[0]),
        t_s=(starts * bin_s).tolist(),
        power_w={state: power_w[:, index].tolist() for index, state in enumerate(POWER_STATES)},
        in_flight=(sums(engine.crowd_s) / length_s).tolist(),
        arrivals_per_s=(sums(engine.arrivals) / length_s).tolist(),
        replicas={state: replicas[:, index].tolist() for index, state in enumerate(POWER_STATES)},
        miss_frac=[
            missed / ended if ended else None
            for missed, ended in zip(
                sums(engine.missed).tolist(), sums(engine.ended).tolist(), strict=True
            )
        ],
    )


def bin_edges(measure: int) -> NDArray[np.float64]:
    """Edges of a measure's histogram bins, ``[BINS + 1]`` [s, or J for ENERGY]."""
    return HISTOGRAM_LOW[measure] * BIN_RATIO ** np.arange(BINS + 1, dtype=np.float64)


def quantile(counts: NDArray[np.int64], edges: NDArray[np.float64], frac: float) -> float | None:
    """The value below which ``frac`` of the counted lie: the geometric middle of its bin, so that
    it is off by half a bin's ratio at most, even where all values are equal; ``None`` when nothing
    was counted.
    """
    cumulative = np.cumsum(counts)
    if cumulative[-1] == 0:
        return None
    place = int(np.searchsorted(cumulative, frac * cumulative[-1]))
    return float(math.sqrt(edges[place] * edges[place + 1]))


def _quantiles(counts: NDArray[np.int64], measure: int) -> Quantiles:
    """Median, 95th and 99th percentile of a histogram."""
    edges = bin_edges(measure)
    p50, p95, p99 = (quantile(counts, edges, frac) for frac in (0.5, 0.95, 0.99))
    return Quantiles(p50=p50, p95=p95, p99=p99)


def _curve(counts: NDArray[np.int64], measure: int) -> Curve:
    """The distribution of a measure at up to ``_CURVE_POINTS`` values."""
    used = np.flatnonzero(counts)
    if not len(used):
        return Curve(x=[], frac=[])
    low, high = int(used[0]), int(used[-1]) + 1
    at = np.unique(np.linspace(low, high, min(_CURVE_POINTS, high - low + 1)).round().astype(int))
    below = np.concatenate(([0], np.cumsum(counts)))
    return Curve(x=bin_edges(measure)[at].tolist(), frac=(below[at] / below[-1]).tolist())


def result(
    scenario: Scenario,
    policy: str,
    parameters: dict[str, float | int | str | bool | None],
    runs: Sequence[Totals],
    *,
    baseline: Sequence[Totals],
    bounded: Sequence[Totals],
) -> PolicyResult:
    """What a policy cost over the runs of all seeds: means, percentiles of all requests, intervals.

    ``baseline``: the runs of the first policy over the same seeds; the interval of the change in
    energy is that of the paired differences. ``bounded``: those that carry the bounds.
    """
    pooled = np.sum([run.histogram for run in runs], axis=0)
    every = pooled.sum(axis=1)
    names = [tier.name for tier in scenario.tiers]
    bounds = [first.bound_energy_j for first in bounded]
    capped = _is_capped(scenario, runs)
    figures = [
        _figures(scenario, run, least, capped=capped)
        for run, least in zip(runs, bounds, strict=True)
    ]
    mean = {key: _mean(figure[key] for figure in figures) for key in figures[0]}
    tally = [run.tally for run in runs]
    count = len(runs)

    supply = _supply(scenario, runs)

    def number(key: str) -> float:
        value = mean[key]
        return 0.0 if value is None else value

    return PolicyResult(
        policy=policy,
        parameters=parameters,
        energy_j=number("energy_j"),
        energy_mj_per_hour=number("energy_mj_per_hour"),
        idle_energy_j=number("idle_energy_j"),
        active_energy_j=number("active_energy_j"),
        energy_j_per_request=mean["energy_j_per_request"],
        energy_j_per_output_token=mean["energy_j_per_output_token"],
        ttft_s=_quantiles(every[TTFT], TTFT),
        tpot_s=_quantiles(every[TPOT], TPOT),
        e2e_s=_quantiles(every[E2E], E2E),
        miss_frac=mean["miss_frac"],
        miss_frac_by_tier={name: mean[f"miss_frac.{name}"] for name in names},
        completed=round(sum(int(t.completed.sum()) for t in tally) / count),
        refused=round(sum(int(run.refused.sum()) for run in runs) / count),
        refused_by_reason={
            reason: round(sum(int(run.refused[index]) for run in runs) / count)
            for index, reason in enumerate(REFUSALS)
        },
        utilization_by_device=_by_device(scenario, "utilization", mean),
        bulk_share_by_device=_by_device(scenario, "bulk_share", mean),
        mean_batch_by_device={
            device: mean[f"mean_batch.{device}"] for device in _devices(scenario)
        },
        carbon_kg=mean["carbon_kg"],
        ledger_residual_j=max((run.residual_j for run in runs), key=abs),
        requests_per_cpu_s=sum(run.requests for run in runs)
        / max(1e-9, sum(run.cpu_s for run in runs)),
        cpu_s=sum(run.cpu_s for run in runs),
        interval=_intervals(figures) | _percentile_intervals(runs) | _paired(runs, baseline),
        goodput_per_s=number("goodput_per_s"),
        output_tokens=round(sum(int(t.output_tokens.sum()) for t in tally) / count),
        input_tokens=round(sum(int(t.input_tokens.sum()) for t in tally) / count),
        preempted=round(sum(run.preempted for run in runs) / count),
        cut_short=round(sum(run.cut_short for run in runs) / count),
        ttft_s_by_tier={name: _quantiles(pooled[TTFT, i], TTFT) for i, name in enumerate(names)},
        tpot_s_by_tier={name: _quantiles(pooled[TPOT, i], TPOT) for i, name in enumerate(names)},
        e2e_s_by_tier={name: _quantiles(pooled[E2E, i], E2E) for i, name in enumerate(names)},
        energy_j_by_state=_accounts(scenario, runs, _fleet)["fleet"],
        energy_j_by_device={
            device: sum(parts.values())
            for device, parts in _accounts(scenario, runs, _device).items()
        },
        energy_j_by_model={
            model: sum(parts.values()) for model, parts in _accounts(scenario, runs, _model).items()
        },
        energy_j_by_device_and_state=_accounts(scenario, runs, _device),
        request_energy_j=_quantiles(every[ENERGY], ENERGY),
        ttft_curve=_curve(every[TTFT], TTFT),
        e2e_curve=_curve(every[E2E], E2E),
        series=runs[0].series,
        energy_over_bound=mean["energy_over_bound"],
        parked_hours=number("parked_hours"),
        wakes=round(sum(run.wakes for run in runs) / count),
        lambda_by_tier={
            tier.name: sum(run.weights[index] for run in runs) / count
            for index, tier in enumerate(scenario.tiers)
            if all(run.weights for run in runs)
        },
        energy_j_by_cause={
            cause: number(f"cause_{cause}_j") for cause in ("weight_stream", "tokens", "rest")
        },
        energy_j_by_tier={name: number(f"energy_j.{name}") for name in names},
        control=runs[0].control,
        supply=supply,
        quality_frac=mean.get("quality_frac"),
        quality_frac_by_tier={
            name: mean[f"quality_frac.{name}"] for name in names if f"quality_frac.{name}" in mean
        },
        choice_frac=_choice_frac(scenario, runs),
        answer_energy_j=_answer_energy_j(scenario, runs),
        cost_over_dispatch=mean.get("cost_over_dispatch"),
        cost_over_dispatch_as_run=mean.get("cost_over_dispatch_as_run"),
        capped_frac=mean.get("capped_frac"),
        joule_prices=runs[0].joule_prices,
        demand_variance_j2_per_s=mean["demand_variance_j2_per_s"],
        **_at_main_scale(scenario, supply, runs),
    )


def _at_main_scale(
    scenario: Scenario, supply: Sequence[SupplyResult], runs: Sequence[Totals]
) -> dict[str, Any]:
    """The fields of a result that stand for the scale nearest to 1."""
    if scenario.supplied is None:
        return {}
    place = scenario.supplied.main
    main = supply[place]
    names = ("total_cost_usd", "cost_usd", "auxiliary_j", "waste_j")
    each = [run.supply[place].total_usd for run in runs]
    return {name: getattr(main, name) for name in names} | {"total_cost_usd_by_seed": each}


def _choice_frac(scenario: Scenario, runs: Sequence[Totals]) -> dict[str, dict[str, float]]:
    """Share of each option in the answers to each class that had any, over all runs."""
    if not scenario.choices:
        return {}
    chosen = np.sum([run.chosen for run in runs if run.chosen is not None], axis=0)
    names = [choice.name for choice in scenario.choices]
    return {
        label: dict(zip(names, (row / row.sum()).tolist(), strict=True))
        for label, row in zip(runs[0].classes, chosen, strict=True)
        if row.sum() > 0
    }


def _answer_energy_j(scenario: Scenario, runs: Sequence[Totals]) -> dict[str, dict[str, float]]:
    """Mean joules of an answer to each class by each option that gave any, over all runs."""
    if not scenario.choices:
        return {}
    counts = np.sum([run.chosen for run in runs if run.chosen is not None], axis=0)
    joules = np.sum([run.chosen_j for run in runs if run.chosen_j is not None], axis=0)
    found: dict[str, dict[str, float]] = {}
    for row, label in enumerate(runs[0].classes):
        for at, choice in enumerate(scenario.choices):
            if counts[row, at]:
                each_j = float(joules[row, at] / counts[row, at])
                found.setdefault(label, {})[choice.name] = each_j
    return found


def _supply(scenario: Scenario, runs: Sequence[Totals]) -> list[SupplyResult]:
    """What the policy's demand cost its site under each scale; empty without a site."""
    supplied = scenario.supplied
    if supplied is None:
        return []
    return [
        supply_result(supplied, place, [run.supply[place] for run in runs])
        for place in range(len(supplied.scales))
    ]


def _fleet(_scenario: Scenario, _kind: int) -> str:
    """One heading for all replica types."""
    return "fleet"


def _device(scenario: Scenario, kind: int) -> str:
    """The device of a replica type."""
    return scenario.groups[kind].kind.device


def _model(scenario: Scenario, kind: int) -> str:
    """The model of a replica type."""
    return scenario.groups[kind].kind.model


def _devices(scenario: Scenario) -> list[str]:
    """The devices of the fleet, each once, in order."""
    return list(dict.fromkeys(group.kind.device for group in scenario.groups))


def _by_device(scenario: Scenario, figure: str, mean: dict[str, float | None]) -> dict[str, float]:
    """A figure that each device has, by device."""
    return {device: mean[f"{figure}.{device}"] or 0.0 for device in _devices(scenario)}


def _accounts(
    scenario: Scenario, runs: Sequence[Totals], heading: Callable[[Scenario, int], str]
) -> dict[str, dict[str, float]]:
    """Joules by power state under the heading of each replica type, mean over runs."""
    mean_j = np.mean([run.account_j for run in runs], axis=0)
    found: dict[str, dict[str, float]] = {}
    for kind in range(len(scenario.groups)):
        parts = found.setdefault(heading(scenario, kind), dict.fromkeys(POWER_STATES, 0.0))
        for index, state in enumerate(POWER_STATES):
            parts[state] += float(mean_j[kind, index])
    return found


def _ratio(above: float, below: float) -> float | None:
    """A ratio, or ``None`` of nothing."""
    return above / below if below else None


def _multiple(above: float, below: float) -> float | None:
    """How many times ``below``, or ``None`` of nothing and of less."""
    return above / below if below > 0.0 else None


def _is_capped(scenario: Scenario, runs: Sequence[Totals]) -> bool:
    """Whether caps are a matter here: asked for, or answers were cut by a policy's own."""
    asked = scenario.cap_tokens is not None or bool(scenario.caps)
    return asked or any(run.tally.capped.any() for run in runs)


def _figures(
    scenario: Scenario, run: Totals, bound_j: float | None, *, capped: bool
) -> dict[str, float | None]:
    """The figures of one run that are averaged over seeds and get an interval."""
    tally = run.tally
    energy_j = float(run.account_j.sum())
    completed, refused = int(tally.completed.sum()), int(run.refused.sum())
    missed = int(tally.missed.sum()) + refused
    grams = None
    if scenario.grid_g_per_j is not None:
        grams = energy_j * scenario.grid_g_per_j
    length_s = _length_s(run)
    found: dict[str, float | None] = {
        "energy_j": energy_j,
        "energy_mj_per_hour": mj_from_j(energy_j) * S_PER_HOUR / length_s,
        "active_energy_j": float(run.account_j[:, ACTIVE].sum()),
        "idle_energy_j": float(run.account_j[:, IDLE:].sum()),
        "energy_j_per_request": _ratio(energy_j, completed),
        "energy_j_per_output_token": _ratio(energy_j, int(tally.output_tokens.sum())),
        "miss_frac": _ratio(missed, completed + refused),
        "carbon_kg": None if grams is None else kg_from_g(grams),
        "goodput_per_s": (completed - int(tally.missed.sum())) / length_s,
        "energy_over_bound": None if bound_j is None else _ratio(energy_j, bound_j),
        "parked_hours": run.parked_s / S_PER_HOUR,
        "cause_weight_stream_j": run.stream_j,
        "cause_tokens_j": float(run.account_j[:, ACTIVE].sum()) - run.stream_j,
        "cause_rest_j": float(run.account_j[:, IDLE:].sum()),
        "demand_variance_j2_per_s": float(tally.energy_j2.sum()) / length_s,
    }
    judged = bool(scenario.choices) or capped
    if judged:
        found["quality_frac"] = _ratio(float(tally.right.sum()), completed + refused)
    if run.dispatch is not None:
        cost_usd, other = run.dispatch.run_cost_usd, run.dispatch.as_run
        found["cost_over_dispatch"] = _multiple(cost_usd, run.dispatch.proven.total_cost_usd)
        found["cost_over_dispatch_as_run"] = (
            None if other is None else _multiple(cost_usd, other.total_cost_usd)
        )
    if capped:
        found["capped_frac"] = _ratio(int(tally.capped.sum()), completed)
    for index, tier in enumerate(scenario.tiers):
        row = tally[index]
        turned_away = int(row.refused.sum())
        if judged:
            found[f"quality_frac.{tier.name}"] = _ratio(
                float(row.right.sum()), int(row.completed.sum()) + turned_away
            )
        found[f"energy_j.{tier.name}"] = float(row.energy_j.sum())
        found[f"miss_frac.{tier.name}"] = _ratio(
            int(row.missed.sum()) + turned_away, int(row.completed.sum()) + turned_away
        )
    return found | _device_figures(scenario, run)


def service_usd(scenario: Scenario, run: Totals) -> dict[str, float]:
    """What wrong answers and broken promises of a run cost [$], refused requests being both; no
    part where no tier says what one is worth.
    """
    found = {}
    if any(tier.right_usd for tier in scenario.tiers):
        found["wrong_usd"] = float(run.tally.wrong_usd.sum())
    if any(tier.miss_usd for tier in scenario.tiers):
        missed = (run.tally.missed + run.tally.refused).sum(axis=1)
        found["miss_usd"] = float(missed @ [tier.miss_usd for tier in scenario.tiers])
    return found


def _length_s(run: Totals) -> float:
    """What "per hour" and "per second" count from [s]: the trace, whose rate they are about.

    A trace of less than a minute has no rate to speak of; there it is the whole run.
    """
    return run.span_s if run.span_s >= S_PER_MINUTE else max(run.span_s, run.last_s, 1e-9)


def _device_figures(scenario: Scenario, run: Totals) -> dict[str, float | None]:
    """Utilisation (busy share of the accounted time), mean batch while busy, and share of bulk
    requests, by device.
    """
    found: dict[str, float | None] = {}
    bulk = np.array([is_bulk(scenario, index) for index in range(len(scenario.tiers))])
    bulk_requests = run.tally.completed[bulk].sum(axis=0)
    for device in _devices(scenario):
        mine = np.array([group.kind.device == device for group in scenario.groups])
        busy_s, still_s = float(run.busy_s[mine].sum()), float(run.still_s[mine].sum())
        found[f"utilization.{device}"] = _ratio(busy_s, busy_s + still_s)
        found[f"mean_batch.{device}"] = _ratio(float(run.batch_s[mine].sum()), busy_s)
        found[f"bulk_share.{device}"] = _ratio(
            float(bulk_requests[mine].sum()), float(bulk_requests.sum())
        )
    return found


def is_bulk(scenario: Scenario, tier: int) -> bool:
    """Whether a tier waits behind others: it is called ``bulk``, or a tier with a lower priority
    number exists.
    """
    mine = scenario.tiers[tier]
    return mine.name == "bulk" or mine.priority > min(other.priority for other in scenario.tiers)


def _mean(values: Iterable[float | None]) -> float | None:
    """The mean of what is there; ``None`` of nothing."""
    present = [value for value in values if value is not None]
    return math.fsum(present) / len(present) if present else None


def _intervals(figures: Sequence[dict[str, float | None]]) -> dict[str, list[float]]:
    """Intervals over seeds of every figure that all seeds have; empty for one seed."""
    if len(figures) < 2:
        return {}
    found = {}
    for key in figures[0]:
        values = [figure[key] for figure in figures]
        present = [value for value in values if value is not None]
        if len(present) == len(values):
            found[key] = interval(present)
    return found


def _percentile_intervals(runs: Sequence[Totals]) -> dict[str, list[float]]:
    """Intervals over seeds of the percentiles of latency."""
    if len(runs) < 2:
        return {}
    found = {}
    for name, measure in (("ttft_s", TTFT), ("tpot_s", TPOT), ("e2e_s", E2E)):
        each = [_quantiles(run.histogram[measure].sum(axis=0), measure) for run in runs]
        for part in ("p50", "p95", "p99"):
            values = [getattr(one, part) for one in each]
            if None not in values:
                found[f"{name}.{part}"] = interval(values)
    return found


def _paired(runs: Sequence[Totals], baseline: Sequence[Totals]) -> dict[str, list[float]]:
    """The interval of the relative change in energy from ``baseline``, seed against seed."""
    if len(runs) < 2:
        return {}
    pairs = zip(runs, baseline, strict=True)
    changes = [float(one.account_j.sum() / other.account_j.sum()) - 1 for one, other in pairs]
    return {"energy_change_frac": interval(changes)}
