"""Laws of the step model, and the reference figures of the energy study."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.base.errors import BadInputError, DoesNotFitError
from baseload.fleet.devices import DEVICES, find_device
from baseload.fleet.engines import (
    Constants,
    PowerConstants,
    StepConstants,
    find_constants,
    find_engine,
)
from baseload.fleet.models import find_model
from baseload.fleet.physics import (
    capped_step,
    kv_tokens_that_fit,
    layout_of,
    power_cap_w,
    replica_type,
    step_work,
)
from baseload.fleet.replica_type import ReplicaType

DENSE = ("Llama-3.1-8B", "Qwen3-14B", "Qwen3-32B", "Llama-3.1-70B", "gemma-3-27b")
SPARSE = ("gpt-oss-20b", "gpt-oss-120b", "Qwen3-30B-A3B", "DeepSeek-R1")
PLACES = tuple(DEVICES)
GPUS = (1, 2, 4, 8)
BATCHES = st.floats(min_value=1, max_value=512)
CONTEXTS = st.floats(min_value=1, max_value=30_000)


def stepped(
    model: str, device: str, gpus: int, batch: float, context: float, prefill: float = 0.0
) -> tuple[float, float, Constants, float]:
    """Seconds, joules per GPU, constants and cap of one step."""
    spec, board, layout = find_model(model), find_device(device), layout_of(tensor_parallel=gpus)
    constants = find_constants("vllm-0.11.1", board, spec)
    work = step_work(spec, layout, batch, context, prefill_tokens=prefill)
    time_s, energy_j = capped_step(work, spec, layout, board, constants)
    return time_s, energy_j, constants, power_cap_w(board)


@given(
    st.sampled_from(DENSE + SPARSE), st.sampled_from(PLACES), st.sampled_from(GPUS), BATCHES,
    CONTEXTS, st.floats(min_value=0, max_value=8192),
)  # fmt: skip
def test_power_lies_between_static_and_cap(
    model: str, device: str, gpus: int, batch: float, context: float, prefill: float
) -> None:
    time_s, energy_j, constants, cap_w = stepped(model, device, gpus, batch, context, prefill)
    assert constants.power.static_w * (1 - 1e-9) <= energy_j / time_s <= cap_w * (1 + 1e-9)


@given(
    st.sampled_from(DENSE + SPARSE), st.sampled_from(PLACES), st.sampled_from(GPUS), BATCHES,
    CONTEXTS, st.floats(min_value=1.01, max_value=3),
)  # fmt: skip
def test_a_larger_batch_never_costs_more_per_token(
    model: str, device: str, gpus: int, batch: float, context: float, factor: float
) -> None:
    small = stepped(model, device, gpus, batch, context)[1] / batch
    large = stepped(model, device, gpus, batch * factor, context)[1] / (batch * factor)
    assert large <= small * (1 + 1e-9)
    if model in DENSE:
        assert large < small


@given(
    st.sampled_from(DENSE + SPARSE), st.sampled_from(PLACES), st.sampled_from(GPUS), BATCHES,
    CONTEXTS, st.floats(min_value=1.01, max_value=3),
)  # fmt: skip
def test_longer_contexts_cost_more(
    model: str, device: str, gpus: int, batch: float, context: float, factor: float
) -> None:
    short = stepped(model, device, gpus, batch, context)
    long = stepped(model, device, gpus, batch, context * factor)
    assert long[0] > short[0]
    assert long[1] > short[1]


@given(st.sampled_from(DENSE), st.sampled_from(PLACES), st.sampled_from(GPUS), BATCHES, CONTEXTS)
def test_one_more_sequence_costs_less_than_the_average(
    model: str, device: str, gpus: int, batch: float, context: float
) -> None:
    here = stepped(model, device, gpus, batch, context)[1]
    more = stepped(model, device, gpus, batch + 1, context)[1]
    assert 0 < more - here < here / batch


def cost_of(kind: ReplicaType, batch: float, context: float, prefill: float) -> tuple[float, float]:
    """Seconds and joules of a step by the eight numbers, before the cap."""
    costs = kind.costs
    total = batch * context
    hit = 1 - (1 - costs.expert_hit_frac) ** (batch + prefill)
    time_s = (
        costs.time_s_per_step + batch * costs.time_s_per_sequence
        + total * costs.time_s_per_context_token + prefill * costs.time_s_per_prefill_token
        + hit * costs.time_s_all_experts
    )  # fmt: skip
    energy_j = (
        costs.energy_j_per_step + batch * costs.energy_j_per_sequence
        + total * costs.energy_j_per_context_token + prefill * costs.energy_j_per_prefill_token
        + hit * costs.energy_j_all_experts
    )  # fmt: skip
    return time_s, energy_j


@settings(max_examples=60)
@given(
    st.sampled_from(("Llama-3.1-8B", "Qwen3-14B", "gpt-oss-20b", "NVIDIA-Nemotron-Nano-9B-v2")),
    st.sampled_from((1, 2, 4)), BATCHES, st.floats(min_value=200, max_value=20_000),
    st.floats(min_value=0, max_value=4000),
)  # fmt: skip
def test_the_eight_numbers_are_the_physics(
    model: str, gpus: int, batch: float, context: float, prefill: float
) -> None:
    kind = replica_type(model=model, device="H100", tensor_parallel=gpus)
    time_s, energy_j = cost_of(kind, batch, context, prefill)
    static_w, cap_w = kind.power.power_w_active_static, kind.power.power_w_cap
    dynamic_j = energy_j - static_w * time_s
    time_s = max(time_s, dynamic_j / (cap_w - static_w))
    exact = stepped(model, "H100", gpus, batch, context, prefill)
    # the term per token of mean context (a floor of single GPUs) is taken at a typical context
    floor_s = exact[2].time.context_s * abs(context - 1000) if gpus == 1 else 0.0
    assert time_s == pytest.approx(exact[0], rel=1e-6, abs=1.01 * floor_s)
    assert dynamic_j + static_w * time_s == pytest.approx(
        exact[1] * gpus, rel=1e-6, abs=1.01 * floor_s * static_w
    )


def test_the_busiest_expert_gpu_sets_the_time_not_the_energy() -> None:
    model = find_model("Qwen3-235B-A22B")
    spread = step_work(model, layout_of(expert_parallel=8), 8.0, 500.0)
    split = step_work(model, layout_of(tensor_parallel=8), 8.0, 500.0)
    assert spread.expert_bytes == pytest.approx(split.expert_bytes)
    assert spread.expert_bytes_slowest > spread.expert_bytes
    assert split.expert_bytes_slowest == split.expert_bytes


def test_prompts_that_come_at_once_hit_fewer_experts_than_a_trickle() -> None:
    model, layout = find_model("Qwen3-30B-A3B"), layout_of()
    trickle = step_work(model, layout, 8.0, 500.0, prefill_tokens=8.0)
    whole = step_work(model, layout, 8.0, 500.0, prefill_tokens=8.0, prompt_tokens=250.0)
    assert whole.expert_bytes < trickle.expert_bytes


def test_a_model_that_does_not_fit_says_how_many_gpus_would() -> None:
    with pytest.raises(DoesNotFitError, match="use 2 GPUs"):
        replica_type(model="Llama-3.1-70B", device="H100")
    assert (
        kv_tokens_that_fit(
            find_model("Llama-3.1-70B"), find_device("H100"), layout_of(tensor_parallel=2)
        )
        > 2048
    )


def test_shipped_layouts_of_the_modern_engine_fit() -> None:
    from baseload.fleet.profiles import shipped_rows

    for row in shipped_rows():
        setting = row.setting
        assert kv_tokens_that_fit(setting.model, setting.device, setting.layout) > 0, setting


def test_power_cap_stretches_the_step_and_keeps_order() -> None:
    free = replica_type(model="Qwen3-32B", device="H100", tensor_parallel=2)
    capped = replica_type(model="Qwen3-32B", device="H100", tensor_parallel=2, power_cap_w=400)
    assert capped.power.power_w_cap == 800
    assert capped.costs == free.costs
    with pytest.raises(BadInputError, match="static power"):
        replica_type(model="Qwen3-32B", device="H100", tensor_parallel=2, power_cap_w=100)


@pytest.mark.parametrize("device", PLACES)
def test_power_states_are_in_order_on_every_device(device: str) -> None:
    kind = replica_type(model="Qwen3-4B", device=device)
    power = kind.power
    assert power.power_w_off <= power.power_w_parked <= power.power_w_idle
    assert power.power_w_idle <= power.power_w_active_static < power.power_w_cap
    assert 0 < power.wake_s_from_parked < power.wake_s_from_off
    measured = ("A100-SXM4-40GB", "H100-SXM-80GB", "B200-SXM-180GB")
    modern = device in measured[1:]
    assert kind.method == ("modelled" if modern else "assumed")


def test_unmeasured_devices_are_assumed_and_wide() -> None:
    kind = replica_type(model="Llama-3.1-8B", device="L4")
    assert kind.method == "assumed"
    assert kind.error_frac is not None
    assert kind.error_frac >= 0.35


@pytest.mark.parametrize(
    ("model", "device", "gpus", "expected"),
    [
        # The energy study's table "model output, context 600": its constants are
        # older than ours and under-predict 8B at large batches, as it says itself
        ("Llama-3.1-8B", "H100", 1, (3.31, 0.45, 0.144, 0.068)),
        ("Llama-3.1-8B", "A100-80GB", 1, (3.40, 0.47, 0.154, 0.075)),
        ("Llama-3.1-70B", "H100", 4, (29.8, 3.95, 1.18, 0.49)),
        ("Llama-3.1-70B", "A100-80GB", 4, (31.0, 4.15, 1.28, 0.56)),
        ("Qwen3-32B", "H100", 2, (13.8, 1.84, 0.56, 0.24)),
    ],
)
def test_near_the_energy_study(
    model: str, device: str, gpus: int, expected: tuple[float, ...]
) -> None:
    for batch, joules in zip((1, 8, 32, 128), expected, strict=True):
        energy_j = stepped(model, device, gpus, batch, 600)[1]
        assert energy_j * gpus / batch == pytest.approx(joules, rel=0.3)


def test_plain_form_gives_the_energy_study_figures() -> None:
    """The published constants through our step model give the published table (8B on H100)."""
    constants = Constants(
        engine="vllm-0.11.1", device="H100-SXM-80GB", family="dense", weight_class="bf16",
        time=StepConstants(
            layer_s=2.045e-3 / 32, weight_frac=0.837, expert_frac=1.0, cache_frac=1.0,
            flop_frac=0.54, sequence_s=23.75e-6,
        ),
        power=PowerConstants(
            static_w=151.5, weight_j=143e-12, expert_j=0.0, cache_j=143e-12, flop_j=1.197e-12
        ),
        method="modelled", error_frac=0.07, basis="energy study",
    )  # fmt: skip
    spec, board, layout = find_model("Llama-3.1-8B"), find_device("H100"), layout_of()
    found = []
    for batch in (1, 8, 32, 128):
        work = step_work(spec, layout, batch, 600.0)
        found.append(capped_step(work, spec, layout, board, constants)[1] / batch)
    assert np.array(found) == pytest.approx([3.31, 0.45, 0.144, 0.068], rel=0.03)


def test_engine_names() -> None:
    assert find_engine("0.11.1") == find_engine("VLLM") == "vllm-0.11.1"
