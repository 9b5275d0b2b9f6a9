"""The assumed response to a lower clock: its laws, its mark, and what it refuses."""

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.base.errors import BadInputError
from baseload.fleet.clock import (
    CLOCK_ERROR_FRAC,
    ClockResponse,
    at_clock,
    check_clock_frac,
    clock_response,
    clock_suffix,
)
from baseload.fleet.devices import DEVICES, Device, find_device
from baseload.fleet.engines import Constants, find_constants, shipped_constants
from baseload.fleet.models import ModelSpec, find_model
from baseload.fleet.physics import (
    Layout,
    StepWork,
    layout_of,
    replica_type,
    step_dynamic_j,
    step_time_s,
    step_work,
)
from baseload.fleet.predict import predict

MODELS = ("Llama-3.1-8B", "Qwen3-32B", "gpt-oss-20b", "NVIDIA-Nemotron-Nano-9B-v2")
CLOCKS = st.floats(min_value=0.05, max_value=1.0)


def free(
    work: StepWork, spec: ModelSpec, layout: Layout, board: Device, constants: Constants
) -> tuple[float, float]:
    """Seconds and joules of a step without a cap."""
    time_s = step_time_s(work, spec, layout, board, constants)
    return time_s, constants.power.static_w * time_s + step_dynamic_j(work, constants)


@given(st.sampled_from(MODELS), st.sampled_from(tuple(DEVICES)), CLOCKS, CLOCKS,
       st.floats(min_value=1, max_value=256), st.floats(min_value=0, max_value=4096))  # fmt: skip
def test_a_lower_clock_is_slower_and_draws_less(
    model: str, device: str, one: float, other: float, batch: float, prefill: float
) -> None:
    low, high = sorted((one, other))
    spec, board, layout = find_model(model), find_device(device), layout_of(tensor_parallel=4)
    work = step_work(spec, layout, batch, 1000.0, prefill_tokens=prefill)
    full = find_constants("vllm-0.11.1", board, spec)
    (low_s, low_j), (high_s, high_j) = (
        free(work, spec, layout, board, at_clock(full, board, frac)) for frac in (low, high)
    )
    assert low_s >= high_s * (1 - 1e-12)
    assert low_j / low_s <= high_j / high_s * (1 + 1e-12)
    assert low_j / low_s >= board.power_w_idle_context * (1 - 1e-12)


def test_full_clock_changes_nothing() -> None:
    board = find_device("H100")
    full = find_constants("vllm-0.11.1", board, find_model("Llama-3.1-8B"))
    assert at_clock(full, board, 1.0) is full
    plain = replica_type(model="Llama-3.1-8B", device="H100")
    assert replica_type(model="Llama-3.1-8B", device="H100", clock_frac=1.0) == plain
    assert predict("Llama-3.1-8B", "H100", batch=32, clock_frac=1.0) == predict(
        "Llama-3.1-8B", "H100", batch=32
    )


def test_bytes_keep_their_time_down_to_the_knee_and_continuously() -> None:
    board = find_device("A100")
    full = find_constants("vllm-0.11.1", board, find_model("Llama-3.1-8B"))
    for frac in (0.9, 0.5):
        slow = at_clock(full, board, frac)
        assert slow.time.weight_frac == full.time.weight_frac
        assert slow.time.cache_frac == full.time.cache_frac
        assert slow.time.flop_frac == full.time.flop_frac * frac
        assert slow.time.layer_s == pytest.approx(full.time.layer_s * (0.5 + 0.5 / frac))
        assert slow.time.sequence_s == full.time.sequence_s
    below = at_clock(full, board, 0.25)
    assert below.time.weight_frac == pytest.approx(full.time.weight_frac / 2)


def test_joules_follow_the_voltage_and_the_memory_keeps_its_own() -> None:
    board = find_device("H100")
    full = find_constants("vllm-0.11.1", board, find_model("Llama-3.1-8B"))
    slow = at_clock(full, board, 0.6)
    square = (0.7 + 0.3 * 0.6) ** 2
    assert slow.power.flop_j == pytest.approx(full.power.flop_j * square)
    assert slow.power.sequence_j == pytest.approx(full.power.sequence_j * square)
    assert slow.power.weight_j - 40e-12 == pytest.approx((full.power.weight_j - 40e-12) * square)
    assert slow.power.static_w - 120 == pytest.approx((full.power.static_w - 120) * 0.6**1.1)
    cheap = msgspec.structs.replace(
        full, power=msgspec.structs.replace(full.power, cache_j=30e-12, static_w=100.0)
    )
    slow = at_clock(cheap, board, 0.6)
    assert slow.power.cache_j == 30e-12
    assert slow.power.static_w == 100.0  # never above what it was


@settings(max_examples=25)
@given(st.sampled_from(MODELS), st.floats(min_value=0.3, max_value=0.999))
def test_a_type_below_full_clock_says_it_is_assumed_and_rests_as_before(
    model: str, frac: float
) -> None:
    full = replica_type(model=model, device="H100")
    slow = replica_type(model=model, device="H100", clock_frac=frac)
    assert slow.method == "assumed"
    assert slow.name == full.name + clock_suffix(frac)
    assert "assumed, not measured" in slow.basis
    assert slow.error_frac is not None
    assert slow.error_frac >= CLOCK_ERROR_FRAC * (1 - frac)
    for name in full.power.__struct_fields__:
        if name != "power_w_active_static":
            assert getattr(slow.power, name) == getattr(full.power, name), name
    assert slow.power.power_w_active_static < full.power.power_w_active_static
    for name in ("max_batch", "max_step_tokens", "kv_tokens", "max_context_tokens"):
        assert getattr(slow, name) == getattr(full, name)


def test_names_of_clocks() -> None:
    assert [clock_suffix(frac) for frac in (1.0, 0.9, 0.55, 0.625)] == [
        "", "@90%", "@55%", "@62.5%",
    ]  # fmt: skip
    assert replica_type(model="Llama-3.1-8B", device="H100", clock_frac=0.6, name="a").name == "a"


@pytest.mark.parametrize("frac", [0.0, -0.1, 1.0001, math.nan, math.inf])
def test_clocks_that_cannot_be_are_refused(frac: float) -> None:
    with pytest.raises(BadInputError, match="above 0 to 1"):
        replica_type(model="Llama-3.1-8B", device="H100", clock_frac=frac)
    with pytest.raises(BadInputError, match=r"from 0\.3 to 1"):
        check_clock_frac(frac, least=0.3)


def test_constants_that_hold_waiting_are_refused() -> None:
    with pytest.raises(BadInputError, match=r"vllm-0\.5\.4 waits for the host"):
        replica_type(model="Llama-3.1-8B", device="H100", engine="0.5.4", clock_frac=0.8)
    copies = next(f for f in shipped_constants().fits if f.weight_class.endswith("-copies"))
    with pytest.raises(BadInputError, match="data parallel"):
        at_clock(copies, find_device(copies.device), 0.8)


def test_responses_by_device_and_their_bounds() -> None:
    assert clock_response(find_device("H200")).static_exponent == 1.1
    assert clock_response(find_device("A100-40GB")).static_exponent == 2.5
    assert clock_response(find_device("L4")).static_exponent == 1.8
    given_law = ClockResponse(static_exponent=0.0, voltage_frac_min=1.0, launch_frac=0.0)
    slow = replica_type(
        model="Llama-3.1-8B", device="H100", clock_frac=0.6, clock_response=given_law
    )
    full = replica_type(model="Llama-3.1-8B", device="H100")
    assert slow.costs.energy_j_per_context_token == full.costs.energy_j_per_context_token
    for wrong in ({"voltage_frac_min": 1.1}, {"static_exponent": -1.0}, {"launch_frac": math.nan}):
        with pytest.raises(BadInputError, match=next(iter(wrong))):
            ClockResponse(**{"static_exponent": 1.0, **wrong})


def test_a_prediction_at_a_clock_is_the_one_at_full_clock_times_the_response() -> None:
    def both(method: str) -> tuple[float, float]:
        full, slow = (
            predict("Llama-3.1-8B", "H100", batch=32, context_tokens=400, method=method,  # type: ignore[arg-type]
                    clock_frac=frac)
            for frac in (1.0, 0.7)
        )  # fmt: skip
        assert slow.method == "assumed"
        assert slow.basis.startswith(full.basis)
        assert slow.error_frac > 0.2
        return slow.step_s / full.step_s, slow.energy_j_per_token / full.energy_j_per_token

    assert both("auto") == pytest.approx(both("modelled"))
    with pytest.raises(BadInputError, match="no row was measured at another clock"):
        predict("Llama-3.1-8B", "H100", batch=32, method="measured", clock_frac=0.7)
