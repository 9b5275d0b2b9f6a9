"""From (device, model, precision, engine, layout) to seconds, joules and the eight numbers of a
replica type.

One engine step, per GPU, with ``b`` running sequences of mean context ``c`` and ``p`` prefill
tokens (docs/explanation/fleet-physics.md):

    t = overheads + W / (weight_frac BW) + X / (expert_frac BW) + V / (cache_frac BW)
        + F / (flop_frac PEAK) + b * per-sequence + (b + p) * layers * per-token-and-layer
    E = static_w * t + weight_j * W + expert_j * X + cache_j * V + flop_j * F + sequence_j * b / TP

W are body weight bytes, X expert bytes, V cache bytes, F floating-point operations. Terms are
added: a roofline ``max`` underestimates measured steps. A mixture reads the share of its experts
that the tokens of the step hit, ``1 - (1 - k/E)^(b + p)``; where experts lie whole on GPUs, the
GPU with the most hits sets the time.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import msgspec

from baseload.base.errors import BadInputError, DoesNotFitError
from baseload.fleet.clock import ClockResponse, at_clock, clock_suffix
from baseload.fleet.devices import Device, find_device
from baseload.fleet.engines import MODERN_ENGINE, Constants, find_constants, find_engine
from baseload.fleet.models import ModelSpec, find_model
from baseload.fleet.replica_type import Method, PowerStates, ReplicaType, StepCosts

MEMORY_USED_FRAC = 0.9
"""Share of GPU memory that the engine takes (vLLM's default)."""

DEFAULT_MAX_STEP_TOKENS = 8192
_RESERVE_BYTES = 1.5e9  # CUDA context, graphs, allocator slack, per GPU (assumed)
_ACTIVATION_BYTES_PER_VALUE = (
    20.0  # live activations per token and hidden value of the largest step (assumed)
)
_TYPICAL_CONTEXT_TOKENS = 1000
_TYPICAL_BATCH = 32
_PARKED_SHARE = 0.5  # parked draws half-way between bare idle and context idle (assumed)
_LOAD_BYTES_S_FROM_HOST = 20e9  # per GPU, host memory to GPU over PCIe (assumed)
_LOAD_BYTES_S_FROM_DISK = 2e9  # per replica, local disk (assumed)
_WAKE_S_PARKED = 1.0
_WAKE_S_OFF = 60.0  # process start, compilation, graph capture (assumed)


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """How one replica lies on its GPUs.

    ``expert_parallel`` spreads experts, ``data_parallel`` copies attention.
    """

    num_gpus: int = 1
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    expert_parallel: int = 1
    data_parallel: int = 1

    def __post_init__(self) -> None:
        """Refuse counts below one and copies that do not divide the GPUs."""
        for name in self.__struct_fields__:
            if getattr(self, name) < 1:
                raise BadInputError(
                    f"layout: {name}", found=repr(getattr(self, name)), allowed="an integer >= 1"
                )
        if self.num_gpus % (self.pipeline_parallel * self.data_parallel):
            raise BadInputError(
                "layout: GPUs do not divide into pipeline stages and copies",
                found=f"{self.num_gpus} GPUs, {self.pipeline_parallel} stages, "
                f"{self.data_parallel} copies",
                allowed="num_gpus a multiple of pipeline_parallel * data_parallel",
            )

    @property
    def expert_ways(self) -> int:
        """GPUs that share the expert (or all dense) weights of one stage."""
        return self.num_gpus // self.pipeline_parallel

    @property
    def attention_ways(self) -> int:
        """GPUs that share the attention of one sequence."""
        return self.expert_ways // self.data_parallel

    def cache_frac(self, model: ModelSpec) -> float:
        """Share of one sequence's cache that each of its GPUs holds:

        key-value heads do not split below one.
        """
        return max(1.0 / self.attention_ways, 1.0 / max(model.kv_heads, 1))


def layout_of(
    *,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    expert_parallel: int = 1,
    data_parallel: int = 1,
    num_gpus: int | None = None,
) -> Layout:
    """The layout with these degrees; ``num_gpus`` defaults to what they multiply to (experts
    share the GPUs).
    """
    degrees = (tensor_parallel, pipeline_parallel, expert_parallel, data_parallel)
    if any(degree < 1 for degree in degrees):
        raise BadInputError(
            "layout: parallel degrees", found=repr(degrees), allowed="integers >= 1"
        )
    least = max(tensor_parallel * data_parallel, expert_parallel) * pipeline_parallel
    return Layout(
        num_gpus=least if num_gpus is None else num_gpus,
        tensor_parallel=tensor_parallel,
        pipeline_parallel=pipeline_parallel,
        expert_parallel=expert_parallel,
        data_parallel=data_parallel,
    )


class StepWork(msgspec.Struct, frozen=True, kw_only=True):
    """What one GPU does in one step [B, FLOP, tokens]; a pipeline's step is one pass through it.

    ``expert_bytes`` is the mean over GPUs (it sets the energy), ``expert_bytes_slowest`` what the
    GPU with the most hit experts reads (it sets the time). ``sequences_per_gpu`` shares sequences
    out over the GPUs that work on them together.
    """

    weight_bytes: float
    expert_bytes: float
    expert_bytes_slowest: float
    cache_bytes: float
    flop: float
    sequences: float
    sequences_per_gpu: float
    tokens: float
    context_tokens: float


def step_work(
    model: ModelSpec,
    layout: Layout,
    sequences: float,
    context_tokens: float,
    *,
    prefill_tokens: float = 0.0,
    prompt_tokens: float = 0.0,
    context_spread_tokens: float = 0.0,
) -> StepWork:
    """The work of one step per GPU.

    ``sequences`` run, of ``context_tokens`` each on average (spread evenly over
    ``context_spread_tokens``), beside ``prefill_tokens``. With ``prompt_tokens`` > 0 the prefill is
    a mean over steps, of which only few carry a whole prompt of that size: what share of experts a
    step hits is then averaged over steps with and without a prompt (arrivals taken as Poisson).
    """
    flight = sequences / layout.pipeline_parallel
    prefill = prefill_tokens / layout.pipeline_parallel
    tokens = flight + prefill
    mean_frac, slowest_frac = _hit_fracs(model, layout, flight, prefill, prompt_tokens)
    experts = model.weight_bytes_experts() / layout.expert_ways
    per_rank = flight / layout.data_parallel
    cache = model.cache_bytes(context_tokens, context_spread_tokens) * layout.cache_frac(model)
    state = model.state_bytes() / layout.attention_ways
    return StepWork(
        weight_bytes=model.weight_bytes_dense() / layout.attention_ways,
        expert_bytes=experts * mean_frac,
        expert_bytes_slowest=experts * slowest_frac,
        cache_bytes=per_rank * (cache + state),
        flop=2.0 * model.params_matmul * tokens / layout.expert_ways,
        sequences=flight,
        sequences_per_gpu=flight / layout.expert_ways,
        tokens=tokens,
        context_tokens=context_tokens,
    )


def _hit_fracs(
    model: ModelSpec, layout: Layout, flight: float, prefill: float, prompt_tokens: float
) -> tuple[float, float]:
    """Share of its experts that the mean GPU and the busiest GPU read in a step."""
    if model.params_experts <= 0:
        return 0.0, 0.0
    miss = 1.0 - model.expert_hit_frac
    if prefill <= 0 or prompt_tokens <= 0:
        hit = 1.0 - miss ** (flight + prefill)
        return hit, _busiest_frac(model, layout, hit)
    prompts = prefill / prompt_tokens
    with_prompt = -math.expm1(-prompts)
    plain, loaded = 1.0 - miss**flight, 1.0 - miss ** (flight + prefill / with_prompt)
    mean = (1.0 - with_prompt) * plain + with_prompt * loaded
    busiest = (1.0 - with_prompt) * _busiest_frac(model, layout, plain)
    return mean, busiest + with_prompt * _busiest_frac(model, layout, loaded)


def _busiest_frac(model: ModelSpec, layout: Layout, hit_frac: float) -> float:
    """Share of its experts that the busiest of the GPUs reads, where experts lie whole on GPUs.

    Expected maximum of normal variables (Blom 1958) with the binomial spread of hits per GPU.
    """
    if layout.expert_parallel <= 1 or layout.expert_ways <= 1:
        return hit_frac
    per_gpu = model.experts / layout.expert_ways
    quantile = NormalDist().inv_cdf((layout.expert_ways - 0.375) / (layout.expert_ways + 0.25))
    spread = math.sqrt(max(hit_frac * (1.0 - hit_frac), 0.0) / per_gpu)
    return min(1.0, hit_frac + quantile * spread)


def time_terms(
    work: StepWork, model: ModelSpec, layout: Layout, device: Device
) -> dict[str, float]:
    """What each constant of step time is multiplied by: seconds = sum of constant times term.

    For the shares of datasheet rates the constant is 1 / share. ``fit`` builds its design matrix of
    these, so that fit and prediction cannot drift apart.
    """
    alone = layout.expert_ways <= 1
    return {
        "layer_s": float(model.layers),
        "together_layer_s": 0.0 if alone else float(model.layers),
        "weight_frac": work.weight_bytes / device.bandwidth_bytes_s,
        "expert_frac": work.expert_bytes_slowest / device.bandwidth_bytes_s,
        "cache_frac": work.cache_bytes / device.bandwidth_bytes_s,
        "flop_frac": work.flop / device.peak_flop_s,
        "sequence_s": work.sequences,
        "vocab_s": work.sequences * model.vocab_size,
        "token_layer_s": work.tokens * model.layers,
        "context_s": work.context_tokens if alone and work.sequences > 0 else 0.0,
    }


def energy_terms(work: StepWork) -> dict[str, float]:
    """What each constant of a step's dynamic energy is multiplied by, on one GPU."""
    return {
        "weight_j": work.weight_bytes,
        "expert_j": work.expert_bytes,
        "cache_j": work.cache_bytes,
        "flop_j": work.flop,
        "sequence_j": work.sequences_per_gpu,
    }


def step_time_s(
    work: StepWork, model: ModelSpec, layout: Layout, device: Device, constants: Constants
) -> float:
    """Seconds of one step before the power cap [s]."""
    total_s = 0.0
    for name, term in time_terms(work, model, layout, device).items():
        constant = getattr(constants.time, name)
        total_s += term / constant if name.endswith("_frac") else term * constant
    return total_s


def step_dynamic_j(work: StepWork, constants: Constants) -> float:
    """Joules of one step on one GPU beside its static power [J]."""
    power = constants.power
    return sum(term * float(getattr(power, name)) for name, term in energy_terms(work).items())


def capped_step(
    work: StepWork,
    model: ModelSpec,
    layout: Layout,
    device: Device,
    constants: Constants,
    *,
    cap_w: float | None = None,
) -> tuple[float, float]:
    """Seconds, and joules on one GPU, of a step under the power cap [W per GPU].

    Above the cap the dynamic energy stays and the step is stretched
    (docs/explanation/fleet-physics.md).
    """
    cap = power_cap_w(device, cap_w)
    static_w = constants.power.static_w
    dynamic_j = step_dynamic_j(work, constants)
    free_s = step_time_s(work, model, layout, device, constants)
    time_s = max(free_s, dynamic_j / (cap - static_w)) if cap > static_w else math.inf
    return time_s, static_w * time_s + dynamic_j


def constants_kind(weight_class: str, data_parallel: int) -> str:
    """The kind of weights by which constants are kept.

    ``fp8-copies`` where attention is copied per GPU (data parallel): those runs behave unlike any
    other and are fitted apart.
    """
    return f"{weight_class}-copies" if data_parallel > 1 else weight_class


def power_cap_w(device: Device, asked_w: float | None = None) -> float:
    """Watts at which one board settles under load [W]:

    the lower of its own limit and ``asked_w``.
    """
    own = device.power_cap_frac * device.tdp_w
    if asked_w is None:
        return own
    if not (math.isfinite(asked_w) and asked_w > 0):
        raise BadInputError(
            "power cap", found=f"{asked_w!r} W", allowed="a finite number of watts per GPU > 0"
        )
    return min(own, asked_w)


def kv_tokens_that_fit(
    model: ModelSpec, device: Device, layout: Layout, *, memory_frac: float = MEMORY_USED_FRAC
) -> int:
    """Context tokens that the cache of one replica holds, 0 or less where the weights alone do
    not fit.

    Memory: ``memory_frac`` of the GPU, less its share of the weights, less a reserve for context
    and activations (assumed).
    """
    embedding = 0.0 if model.tied_embedding else model.params_embedding * 2.0
    dense_bytes = (model.weight_bytes_dense() + embedding) / layout.attention_ways
    weights = (
        dense_bytes + model.weight_bytes_experts() / layout.expert_ways
    ) / layout.pipeline_parallel
    reserve = (
        _RESERVE_BYTES + _ACTIVATION_BYTES_PER_VALUE * DEFAULT_MAX_STEP_TOKENS * model.hidden_size
    )
    free = memory_frac * device.memory_bytes - weights - reserve
    window_layers = model.window_layers if model.window_tokens > _TYPICAL_CONTEXT_TOKENS else 0
    layers = (model.attention_layers + window_layers) / layout.pipeline_parallel
    per_token = layers * model.cache_bytes_per_layer() * layout.cache_frac(model)
    return int(free / per_token * layout.data_parallel)


def require_fit(
    model: ModelSpec, device: Device, layout: Layout, *, least_tokens: int = 2048
) -> int:
    """The cache size in tokens; raises ``DoesNotFitError`` that says how many GPUs would do."""
    tokens = kv_tokens_that_fit(model, device, layout)
    if tokens >= least_tokens:
        return tokens
    enough = next(
        (n for n in (1, 2, 4, 8, 16, 32, 64) if n > layout.num_gpus and _fits(model, device, n)),
        None,
    )
    weights_gb = model.weight_bytes_resident() / 1e9
    todo = (
        f"use {enough} GPUs (--tensor-parallel {enough})"
        if enough
        else "use a larger device or fewer bits"
    )
    raise DoesNotFitError(
        f"{model.name} in {model.precision} does not fit {layout.num_gpus} x {device.name}",
        found=f"{weights_gb:.0f} GB of weights, "
        f"{layout.num_gpus * device.memory_gb:.0f} GB of memory",
        allowed=f"weights, reserve and {least_tokens} tokens of cache within "
        f"{MEMORY_USED_FRAC:.0%} of the memory",
        todo=todo,
    )


def _fits(model: ModelSpec, device: Device, num_gpus: int) -> bool:
    return kv_tokens_that_fit(model, device, layout_of(tensor_parallel=num_gpus)) >= 2048


def replica_type(
    *,
    model: str | ModelSpec,
    device: str | Device,
    tensor_parallel: int = 1,
    precision: str | None = None,
    engine: str = MODERN_ENGINE,
    max_batch: int | None = None,
    power_cap_w: float | None = None,
    name: str | None = None,
    pipeline_parallel: int = 1,
    expert_parallel: int = 1,
    data_parallel: int = 1,
    max_step_tokens: int = DEFAULT_MAX_STEP_TOKENS,
    max_context_tokens: int | None = None,
    typical_context_tokens: int = _TYPICAL_CONTEXT_TOKENS,
    power_w_off: float | None = None,
    clock_frac: float = 1.0,
    clock_response: ClockResponse | None = None,
) -> ReplicaType:
    """The replica type of ``model`` on ``device``, its eight numbers from the fitted physics.

    ``power_cap_w`` is per GPU [W]; ``max_batch`` defaults to what the cache holds at
    ``typical_context_tokens``, at most 256 (vLLM's default limit). ``power_w_off`` [W, whole
    replica] defaults to the bare idle power: the process has ended, the boards are still
    powered; give 0 for hosts that are switched off. ``clock_frac`` is the share of the highest core
    clock, in (0, 1]: below 1 the numbers are assumed (``clock.at_clock``, with the device's own
    ``clock_response`` by default) and the default name says so, as ``@60%``. Raises
    ``UnknownNameError``, ``DoesNotFitError``, ``BadInputError``.
    """
    spec = find_model(model, precision) if isinstance(model, str) else model
    board = find_device(device) if isinstance(device, str) else device
    layout = layout_of(
        tensor_parallel=tensor_parallel,
        pipeline_parallel=pipeline_parallel,
        expert_parallel=expert_parallel,
        data_parallel=data_parallel,
    )
    constants = find_constants(
        find_engine(engine), board, spec, constants_kind(spec.weight_class, data_parallel)
    )
    constants = at_clock(constants, board, clock_frac, response=clock_response)
    kv_tokens = require_fit(spec, board, layout)
    batch = (
        max_batch
        if max_batch is not None
        else max(1, min(256, kv_tokens // typical_context_tokens))
    )
    context = min(spec.max_context_tokens, max_context_tokens or spec.max_context_tokens, kv_tokens)
    return ReplicaType(
        name=name or default_name(spec, board, layout) + clock_suffix(clock_frac),
        device=board.name,
        model=spec.name,
        costs=step_costs(
            spec, board, layout, constants, typical_context_tokens=typical_context_tokens
        ),
        power=power_states(spec, board, layout, constants, cap_w=power_cap_w, off_w=power_w_off),
        max_batch=batch,
        max_step_tokens=max(max_step_tokens, batch + 1),
        kv_tokens=kv_tokens,
        max_context_tokens=context,
        precision=spec.precision,
        engine=constants.engine,
        num_gpus=layout.num_gpus,
        tensor_parallel=tensor_parallel,
        method=_weakest(constants.method, "assumed" if spec.method == "assumed" else "modelled"),
        error_frac=constants.error_frac_of(spec),
        basis=constants.basis,
    )


def default_name(model: ModelSpec, device: Device, layout: Layout) -> str:
    """A readable name such as ``qwen3-32b/h100-sxm-80gb x2``."""
    short = model.name.rsplit("/", 1)[-1].casefold()
    suffix = f" x{layout.num_gpus}" if layout.num_gpus > 1 else ""
    return f"{short}/{device.name.casefold()}{suffix}"


def _weakest(first: Method, second: Method) -> Method:
    order: tuple[Method, ...] = ("measured", "modelled", "assumed")
    return max(first, second, key=order.index)


def step_costs(
    model: ModelSpec,
    device: Device,
    layout: Layout,
    constants: Constants,
    *,
    typical_context_tokens: int = _TYPICAL_CONTEXT_TOKENS,
) -> StepCosts:
    """The eight numbers (and expert terms) of one replica, all its GPUs together.

    The cache of window layers is linear in context below the window and constant above: it is
    charged per token where ``typical_context_tokens`` lies below the window and per sequence
    where it lies above.
    """
    power, gpus = constants.power, layout.num_gpus
    at = float(typical_context_tokens)

    def cost(sequences: float, prefill: float) -> tuple[float, float]:
        """Seconds and joules of a step without its experts."""
        work = step_work(model, layout, sequences, at, prefill_tokens=prefill)
        work = msgspec.structs.replace(work, expert_bytes=0.0, expert_bytes_slowest=0.0)
        time_s = step_time_s(work, model, layout, device, constants)
        return time_s, gpus * (power.static_w * time_s + step_dynamic_j(work, constants))

    below_window = at < model.window_tokens
    layers = model.attention_layers + (model.window_layers if below_window else 0)
    copies = layout.data_parallel * layout.pipeline_parallel
    per_context = layers * model.cache_bytes_per_layer() * layout.cache_frac(model) / copies
    context_s = per_context / (constants.time.cache_frac * device.bandwidth_bytes_s)
    context_j = gpus * (power.static_w * context_s + power.cache_j * per_context)
    nothing_s, nothing_j = cost(0.0, 0.0)
    one_s, one_j = cost(1.0, 0.0)
    two_s, two_j = cost(2.0, 0.0)
    prefill_s, prefill_j = cost(0.0, 1.0)
    step_s, step_j = 2 * one_s - two_s, 2 * one_j - two_j  # with what any sequence adds once a step
    experts = model.weight_bytes_experts() / layout.expert_ways
    hit = 1.0 - (1.0 - model.expert_hit_frac) ** _TYPICAL_BATCH
    uneven = _busiest_frac(model, layout, hit) / hit if hit > 0 else 1.0
    experts_s = uneven * experts / (constants.time.expert_frac * device.bandwidth_bytes_s)
    return StepCosts(
        time_s_per_step=step_s,
        time_s_per_sequence=max(two_s - one_s - at * context_s, 0.0),
        time_s_per_context_token=context_s,
        time_s_per_prefill_token=prefill_s - nothing_s,
        energy_j_per_step=step_j,
        energy_j_per_sequence=max(two_j - one_j - at * context_j, 0.0),
        energy_j_per_context_token=context_j,
        energy_j_per_prefill_token=prefill_j - nothing_j,
        time_s_all_experts=experts_s,
        energy_j_all_experts=gpus * (power.static_w * experts_s + power.expert_j * experts),
        expert_hit_frac=model.expert_hit_frac,
    )


def power_states(
    model: ModelSpec,
    device: Device,
    layout: Layout,
    constants: Constants,
    *,
    cap_w: float | None = None,
    off_w: float | None = None,
) -> PowerStates:
    """Power and wake-up of one replica, all its GPUs together [W, s, J]; ``cap_w`` is per GPU.

    Parked (engine asleep, weights in host memory) lies half-way between bare and context idle,
    assumed. Waking from parked loads the weights at 20 GB/s per GPU, from off at 2 GB/s plus a
    minute of start-up, at context-idle power: assumed.
    """
    gpus = layout.num_gpus
    cap = power_cap_w(device, cap_w)
    static_w = constants.power.static_w
    if cap <= static_w:
        raise BadInputError(
            f"power cap of {cap:g} W per GPU: no step could ever end",
            found=f"{device.name} draws {static_w:.0f} W of static power when it runs steps",
            allowed=f"more than {static_w:.0f} W, at most {device.tdp_w:g} W",
            todo="raise the cap, or park the replica",
        )
    bare, idle = device.power_w_idle_bare, min(device.power_w_idle_context, cap)
    weights = model.weight_bytes_resident()
    wake_s = _WAKE_S_PARKED + weights / gpus / _LOAD_BYTES_S_FROM_HOST
    start_s = _WAKE_S_OFF + weights / _LOAD_BYTES_S_FROM_DISK
    return PowerStates(
        power_w_active_static=gpus * static_w,
        power_w_cap=gpus * cap,
        power_w_idle=gpus * idle,
        power_w_parked=gpus * (bare + _PARKED_SHARE * (idle - bare)),
        power_w_off=gpus * bare if off_w is None else off_w,
        wake_s_from_parked=wake_s,
        wake_j_from_parked=gpus * idle * wake_s,
        wake_s_from_off=start_s,
        wake_j_from_off=gpus * idle * start_s,
    )
