"""From a measured run to a replica file: settle the engine's structure, fit its times, add its
energy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from baseload.base.errors import BadInputError, BaseloadError
from baseload.fleet.devices import find_device
from baseload.fleet.models import find_model, is_known_model
from baseload.fleet.physics import replica_type
from baseload.fleet.replica_type import (
    Method,
    PowerStates,
    ReplicaType,
    StepCosts,
    most_static_power_w,
)
from baseload.fleet.step import cost_table, free_step
from baseload.profiler.energy import EnergyFit, fit_energy
from baseload.profiler.fit import (
    NUMBERS,
    TIMES,
    Fit,
    Structure,
    fit_times,
    polish,
    predict,
    search_kv,
)
from baseload.profiler.limits import (
    DEFAULT_MAX_BATCH,
    DEFAULT_MAX_STEP_TOKENS,
    FULL_FRAC,
    STEP_TOKENS_TRIED,
    Saturation,
    saturation,
)
from baseload.profiler.measured import LEAST_REQUESTS, MeasuredRun, time_per_token
from baseload.sources.replicas import (
    SCHEMA,
    Candidate,
    EnergySource,
    FitReport,
    FittedNumber,
    Limit,
    ReplicaFile,
    ResidualQuantiles,
)

Floats = NDArray[np.float64]
How = Literal["flag", "meta", "estimated", "default", "not binding"]

USUAL_HIT_FRAC = 1 / 16
"""Share of experts that one token hits, tried when the model is unknown (8 of 128 is the
commonest).
"""
SPARSE_GAIN, STEP_TOKENS_GAIN, WATERMARK_GAIN, LIMIT_GAIN = 0.90, 0.95, 0.95, 0.90
"""A structure with more freedom must lower the cost to this share to be believed."""
DEFAULT_MAX_CONTEXT_TOKENS = 32_768
MOST_FITTED = 1000
"""Requests fitted at most: more cost time and tell nothing new."""

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the user says about a run; ``None``: see the meta file, then the data.

    ``fit_frac``: share of the requests, first by arrival, whose measured times are fitted.
    ``replicas``: engines behind one front end, each with its own queue.
    """

    max_batch: int | None = None
    max_step_tokens: int | None = None
    kv_tokens: int | None = None
    max_context_tokens: int | None = None
    replicas: int | None = None
    model: str | None = None
    device: str | None = None
    name: str | None = None
    fit_frac: float = 0.5


@dataclass(kw_only=True)
class _Search:
    """The structures tried so far, and what is known of each limit."""

    run: MeasuredRun
    rows: int
    progress: Progress
    tried: list[tuple[str, Fit]] = field(default_factory=list)
    how: dict[str, How] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def fit(self, what: str, structure: Structure, start: Fit | None = None) -> Fit:
        """Fit ``structure`` (from ``start``, if given) and remember it."""
        self.progress(what)
        starts = None if start is None else [start.numbers]
        found = fit_times(self.run, structure, self.rows, starts=starts)
        self.tried.append((what, found))
        return found

    def polish(self, fit: Fit) -> Fit:
        """Search on from ``fit``, which takes its place among the tried."""
        self.progress("the last digits")
        found = polish(self.run, fit, self.rows)
        self.tried = [(what, found if each is fit else each) for what, each in self.tried]
        return found


def calibrate_run(
    run: MeasuredRun, options: Options, *, progress: Progress = lambda _: None
) -> ReplicaFile:
    """The replica file that explains the first ``fit_frac`` of ``run``.

    Raises ``BaseloadError`` on bad options.
    """
    rows = _fitted_rows(run, options)
    # Nobody who came after the last of these had finished can have slowed them.
    run = run.head(int(np.sum(run.arrival_s <= run.last_token_s[:rows].max())))
    search = _Search(run=run, rows=rows, progress=progress)
    chosen = _settle(search, options)
    progress("energy numbers")
    kind, energy, notes = _replica(search, chosen, options)
    return ReplicaFile(
        schema=SCHEMA,
        replica=kind,
        replicas=chosen.structure.ranks,
        latency_s=chosen.value("latency_s"),
        energy=energy,
        fit=_report(search, chosen, kind, [*search.notes, *notes]),
    )


def _fitted_rows(run: MeasuredRun, options: Options) -> int:
    if not 0 < options.fit_frac <= 1:
        raise BadInputError(
            "fit fraction", found=repr(options.fit_frac), allowed="above 0, at most 1"
        )
    rows = int(len(run) * options.fit_frac)
    if rows < LEAST_REQUESTS // 2:
        raise BadInputError(
            f"measured run {run.name}: too few requests to fit",
            found=f"{rows} of {len(run)} requests",
            allowed=f"at least {LEAST_REQUESTS // 2}",
        )
    if not (run.output_tokens[:rows] > 1).any():
        raise BadInputError(
            f"measured run {run.name}: no answer of two tokens or more in the fitted part",
            found="output_tokens = 1 throughout",
            allowed="some longer answers, or there is no time per token to fit",
        )
    return min(rows, MOST_FITTED)


def _settle(search: _Search, options: Options) -> Fit:
    """Settle ranks, sparsity, limits: each unknown by the structure that explains the first rows
    best.
    """
    meta, shown = search.run.meta, saturation(search.run, search.rows)
    ranks = options.replicas or meta.data_parallel
    base = Structure(
        max_batch=_known(search, "max_batch", options.max_batch, meta.max_batch, DEFAULT_MAX_BATCH),
        max_step_tokens=_known(
            search,
            "max_step_tokens",
            options.max_step_tokens,
            meta.max_step_tokens,
            DEFAULT_MAX_STEP_TOKENS,
        ),
        kv_tokens=_known(search, "kv_tokens", options.kv_tokens, meta.kv_tokens, 0),
        ranks=ranks,
    )
    if not base.kv_tokens:
        search.how["kv_tokens"] = "not binding"
        base = replace(base, kv_tokens=_boundless(search.run, base, options))
    hits = _hit_fracs(options.model or meta.model)
    first = _settle_limits(search, replace(base, expert_hit_frac=hits[0]), shown)
    best = _settle_sparsity(search, first, hits[1:])
    if ranks > 1 and options.replicas is None:
        best = _settle_lockstep(search, best, ranks)
    if search.how["max_step_tokens"] == "default":
        best = _settle_step_tokens(search, best)
    if search.how["kv_tokens"] in ("meta", "flag"):
        best = _settle_watermark(search, best)
    if search.how["max_batch"] == "default":
        search.notes.append(
            f"max_batch: {best.structure.max_batch} is the engine's default; nobody waited for a "
            "place in the fitted part, so give --max-batch if it was set"
        )
    return search.polish(best)


def _known(search: _Search, name: str, flag: int | None, meta: int | None, default: int) -> int:
    if flag is not None:
        if flag < 1:
            raise BadInputError(f"{name}", found=repr(flag), allowed="an integer >= 1")
        search.how[name] = "flag"
        return flag
    search.how[name] = "default" if meta is None else "meta"
    return default if meta is None else meta


def _boundless(run: MeasuredRun, base: Structure, options: Options) -> int:
    """KV tokens that can never bind: the largest batch of the longest contexts."""
    return max(base.max_batch, len(run)) * _max_context(run, options)


def _max_context(run: MeasuredRun, options: Options) -> int:
    asked = options.max_context_tokens or run.meta.max_context_tokens
    model = options.model or run.meta.model
    known = find_model(model).max_context_tokens if model and is_known_model(model) else None
    longest = int((run.input_tokens + run.output_tokens).max())
    return max(asked or known or DEFAULT_MAX_CONTEXT_TOKENS, longest)


def _hit_fracs(model: str | None) -> list[float]:
    """The shares of experts to try: that of a known model, else dense first, then the usual sparse
    one.
    """
    if model and is_known_model(model):
        return [find_model(model).expert_hit_frac]
    return [0.0, USUAL_HIT_FRAC]


def _settle_limits(search: _Search, base: Structure, shown: Saturation) -> Fit:
    """The limit that made requests wait, where flags and meta file leave it open."""
    running = -(-shown.running // base.ranks)
    if search.how["max_batch"] == "default" and shown.running > base.max_batch * base.ranks:
        base = replace(base, max_batch=running)
        search.how["max_batch"] = "estimated"
    open_batch = search.how["max_batch"] == "default" and shown.waiters > 0
    full = running >= FULL_FRAC * base.max_batch
    open_kv = search.how["kv_tokens"] == "not binding" and shown.waiters > 0
    given = search.fit("limits as given", base)
    fits: list[tuple[Fit, dict[str, How]]] = []
    if open_batch:
        limited = replace(base, max_batch=running)
        fits.append((search.fit(f"max_batch {running}", limited), {"max_batch": "estimated"}))
    if open_kv and not full and not (open_batch and shown.flat):
        found = _search_kv(search, base, shown.held_tokens // base.ranks)
        fits.append((found, {"kv_tokens": "estimated"}))
    best, how = min(fits, key=lambda each: each[0].cost, default=(given, {}))
    if best.cost >= LIMIT_GAIN * given.cost:
        return given
    search.how.update(how)
    return best


def _search_kv(search: _Search, base: Structure, guess: int) -> Fit:
    def on_try() -> None:
        search.progress("kv_tokens")

    found = search_kv(search.run, base, search.rows, guess, on_try=on_try)
    search.tried.append((f"kv_tokens {found.structure.kv_tokens}", found))
    return found


def _settle_sparsity(search: _Search, best: Fit, hits: list[float]) -> Fit:
    for hit_frac in hits:
        other = replace(best.structure, expert_hit_frac=hit_frac)
        found = search.fit(f"sparse, {hit_frac:.3g} of the experts a token", other)
        if found.cost < SPARSE_GAIN * best.cost:
            best = found
    return best


def _settle_lockstep(search: _Search, best: Fit, ranks: int) -> Fit:
    """Ranks that share their steps (expert parallelism) behave like one engine of all their limits
    together.
    """
    own = best.structure
    together = replace(
        own,
        ranks=1,
        max_batch=own.max_batch * ranks,
        max_step_tokens=own.max_step_tokens * ranks,
        kv_tokens=own.kv_tokens * ranks,
    )
    found = search.fit(f"{ranks} ranks in lockstep as one engine", together)
    return found if found.cost < best.cost else best


def _settle_step_tokens(search: _Search, best: Fit) -> Fit:
    lowest = best.cost
    for tokens in STEP_TOKENS_TRIED:
        if tokens <= best.structure.max_batch:
            continue
        other = replace(best.structure, max_step_tokens=tokens)
        found = search.fit(f"max_step_tokens {tokens}", other, best)
        if found.cost < min(best.cost, STEP_TOKENS_GAIN * lowest):
            best = found
            search.how["max_step_tokens"] = "estimated"
    return best


def _settle_watermark(search: _Search, best: Fit) -> Fit:
    """An engine that admits into all of its cache holds 1 % more than our rules would let it."""
    own = best.structure
    found = search.fit(
        "admission without a watermark", replace(own, kv_tokens=own.kv_tokens * 100 // 99)
    )
    if found.cost >= WATERMARK_GAIN * best.cost:
        return best
    search.notes.append(
        f"kv_tokens: {own.kv_tokens} given, raised by 1 % because the engine admits without the "
        "watermark of our rules"
    )
    return found


def _replica(
    search: _Search, chosen: Fit, options: Options
) -> tuple[ReplicaType, EnergySource, list[str]]:
    """The replica type of the chosen fit with its energy numbers, and what to know about them."""
    run, structure = search.run, chosen.structure
    bare = _timed(search, chosen, options)
    physics, notes = _physics(search, chosen, options)
    measured = fit_energy(run, bare, structure.ranks, chosen.value("latency_s"), search.rows)
    if measured is not None:
        return _with_measured(bare, measured, physics, notes)
    if physics is not None:
        return _with_physics(bare, physics, run), "modelled", notes
    notes.append("energy absent: no power_w or energy_j column, and device or model not known")
    return bare, "absent", notes


def _timed(search: _Search, chosen: Fit, options: Options) -> ReplicaType:
    """The replica type with its times; energy numbers zero, for now."""
    run, structure, meta = search.run, chosen.structure, search.run.meta
    costs = {name: chosen.value(name) for name in TIMES}
    costs["time_s_per_step"] = max(costs["time_s_per_step"], 1e-9)
    energies = ("per_step", "per_sequence", "per_context_token", "per_prefill_token")
    grouped = meta.data_parallel if structure.ranks == 1 and options.replicas is None else 1
    return ReplicaType(
        name=options.name or run.name,
        device=options.device or meta.device or "unknown",
        model=options.model or meta.model or "unknown",
        costs=StepCosts(
            **costs,
            **{f"energy_j_{name}": 0.0 for name in energies},
            time_s_all_experts=chosen.value("time_s_all_experts"),
            expert_hit_frac=structure.expert_hit_frac,
        ),
        power=PowerStates(
            power_w_active_static=0.0, power_w_cap=1.0, power_w_idle=0.0, power_w_parked=0.0
        ),
        max_batch=structure.max_batch,
        max_step_tokens=max(structure.max_step_tokens, structure.max_batch + 1),
        kv_tokens=structure.kv_tokens,
        max_context_tokens=_max_context(run, options),
        precision=meta.precision or "bf16",
        engine=meta.engine or "unknown",
        num_gpus=meta.tensor_parallel * grouped,
        tensor_parallel=meta.tensor_parallel,
        method="assumed",
        basis=f"times measured: fitted to {search.rows} requests of {run.name}; energy absent",
    )


def _physics(
    search: _Search, chosen: Fit, options: Options
) -> tuple[ReplicaType | None, list[str]]:
    """The same replica from the physics of its device and model; ``None`` and why where it cannot
    be had.

    Names given by flag must be known (the error lists the nearest); names from the meta file may
    be unknown.
    """
    meta = search.run.meta
    model, device = options.model or meta.model, options.device or meta.device
    if model is None or device is None:
        return None, []
    grouped = chosen.structure.ranks == 1 and options.replicas is None
    parallel = meta.data_parallel if grouped else 1
    try:
        kind = replica_type(
            model=model,
            device=find_device(device),
            tensor_parallel=meta.tensor_parallel,
            data_parallel=parallel,
            expert_parallel=parallel if meta.expert_parallel else 1,
            precision=meta.precision,
        )
    except BaseloadError as error:
        if options.model or options.device:
            raise
        return None, [f"no modelled energy for {model} on {device}: {error.asked}"]
    return kind, []


def _with_physics(bare: ReplicaType, physics: ReplicaType, run: MeasuredRun) -> ReplicaType:
    """Modelled energy at the fitted times: the work's own joules stay, static power runs on.

    The measured times contain whatever a power cap did to them, so a full step that would exceed
    the cap at its measured time is overestimated work: all work is scaled to the cap.
    """
    static_w, cap_w = physics.power.power_w_active_static, physics.power.power_w_cap
    costs = {name: getattr(bare.costs, name) for name in bare.costs.__struct_fields__}
    costs["expert_hit_frac"] = physics.costs.expert_hit_frac
    work_j: dict[str, float] = {}
    for time_name in (*TIMES, "time_s_all_experts"):
        name = time_name.replace("time_s", "energy_j")
        modelled_s = getattr(physics.costs, time_name)
        work_j[name] = max(0.0, getattr(physics.costs, name) - static_w * modelled_s)
    for name, joules in work_j.items():
        costs[name] = joules
    batch = float(min(bare.max_batch, len(run)))
    context = batch * float((run.input_tokens + run.output_tokens / 2).mean())
    row = cost_table([msgspec.structs.replace(bare, costs=StepCosts(**costs))])[0]
    fulls = [free_step(row, batch, context, p) for p in (0.0, bare.max_step_tokens - batch)]
    share = min(1.0, *((cap_w - static_w) * time_s / joules for time_s, joules in fulls))
    for name, joules in work_j.items():
        costs[name] = share * joules + static_w * costs[name.replace("energy_j", "time_s")]
    return msgspec.structs.replace(
        bare,
        device=physics.device,
        model=physics.model,
        costs=StepCosts(**costs),
        power=physics.power,
        method=physics.method,
        error_frac=physics.error_frac,
        basis=f"{bare.basis.removesuffix('; energy absent')}; energy: {physics.basis}",
    )


def _with_measured(
    bare: ReplicaType, measured: EnergyFit, physics: ReplicaType | None, notes: list[str]
) -> tuple[ReplicaType, EnergySource, list[str]]:
    """Energy numbers from the run's own columns; power states from it, then from physics, else
    assumed.
    """
    costs = {name: getattr(bare.costs, name) for name in bare.costs.__struct_fields__}
    peak_w = measured.power_w_peak or (physics.power.power_w_cap if physics else None)
    if peak_w is None:
        peak_w = max(measured.costs_j["energy_j_per_step"] / bare.costs.time_s_per_step, 1.0) * 10
        notes = [*notes, "power cap assumed: the run has no power series and the device is unknown"]
    idle_w = measured.power_w_idle
    if idle_w is None:
        idle_w = physics.power.power_w_idle if physics else 0.3 * peak_w
        notes = [*notes, f"idle power {'modelled' if physics else 'assumed'}: the run never rests"]
    cap_w = max(peak_w, physics.power.power_w_cap if physics else 0.0, 1.01 * idle_w, 1.0)
    numbers = StepCosts(
        **(costs | measured.costs_j)
    )  # fitted freely: a term may carry little power
    power = PowerStates(
        power_w_active_static=min(idle_w, 0.99 * cap_w, most_static_power_w(numbers)),
        power_w_cap=cap_w,
        power_w_idle=idle_w,
        power_w_parked=min(idle_w, physics.power.power_w_parked) if physics else idle_w,
    )
    method: Method = "measured" if measured.power_w_idle is not None else "modelled"
    kind = msgspec.structs.replace(
        bare,
        costs=numbers,
        power=power,
        method=method,
        error_frac=measured.error_frac,
        basis=bare.basis.removesuffix("; energy absent") + f"; energy fitted to {measured.source}",
    )
    return kind, "measured", notes


def _report(search: _Search, chosen: Fit, kind: ReplicaType, notes: list[str]) -> FitReport:
    run, rows = search.run, search.rows
    first_s, last_s, preemptions = predict(run, chosen.numbers, chosen.structure)
    ttft_s = (first_s - run.arrival_s)[:rows]
    tpot_s = time_per_token(first_s, last_s, run.output_tokens)[:rows]
    names = chosen.structure.numbers
    numbers = [
        FittedNumber(name=name, value=chosen.value(name), at_bound=bool(value <= 1e-12))
        for name, value in zip(names, chosen.numbers[: len(NUMBERS)], strict=True)
    ]
    limits = [
        Limit(name=name, value=getattr(kind, name), how=search.how[name])
        for name in ("max_batch", "max_step_tokens", "kv_tokens")
    ]
    return FitReport(
        run=run.name,
        sha256=run.sha256,
        rows_fitted=rows,
        rows_load=len(run),
        numbers=numbers,
        limits=limits,
        candidates=[
            Candidate(what=what, cost=fit.cost, chosen=fit is chosen) for what, fit in search.tried
        ],
        ttft_error_frac=error_of_means(ttft_s, run.ttft_s[:rows]),
        tpot_error_frac=error_of_means(tpot_s, run.tpot_s[:rows]),
        ttft_residual=_quantiles(ttft_s / run.ttft_s[:rows] - 1.0),
        tpot_residual=_quantiles(tpot_s / run.tpot_s[:rows] - 1.0),
        preemptions=int(preemptions[:rows].sum()),
        notes=notes,
    )


def error_of_means(predicted: Floats, measured: Floats) -> float:
    """|mean predicted - mean measured| / mean measured; rows with NaN are left out."""
    both = np.isfinite(predicted) & np.isfinite(measured)
    return abs(float(predicted[both].mean() / measured[both].mean()) - 1.0)


def _quantiles(values: Floats) -> ResidualQuantiles:
    p05, p50, p95 = np.quantile(values[np.isfinite(values)], (0.05, 0.5, 0.95)).tolist()
    return ResidualQuantiles(p05=p05, p50=p50, p95=p95)
