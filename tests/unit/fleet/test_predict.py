"""Predictions: measured points exactly, no peeking at results, honest methods, clear refusals."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.base.errors import (
    BadInputError,
    BaseloadError,
    DoesNotFitError,
    UnknownNameError,
)
from baseload.fleet.predict import predict, predict_row, predict_setting
from baseload.fleet.profiles import (
    read_shipped,
    reasoning_requests,
    setting_of,
    shape_of,
    shipped_rows,
)

RESULTS = (
    "tokens_per_s",
    "itl_ms",
    "joules_per_output_token",
    "avg_power_w_per_gpu",
    "joules_per_request",
    "avg_power_w",
    "itl_p90_ms",
    "itl_p99_ms",
)
ROWS = read_shipped("llm_energy_profiles.csv")


def test_measured_points_come_out_as_measured() -> None:
    for row in shipped_rows():
        same = [
            other
            for other in shipped_rows()
            if other.setting == row.setting or (
                other.setting.layout == row.setting.layout
                and other.setting.task == row.setting.task
                and other.setting.device == row.setting.device
                and other.setting.model == row.setting.model
                and other.setting.engine == row.setting.engine
                and abs(other.setting.sequences - row.setting.sequences) < 0.2
            )
        ]  # fmt: skip
        if len(same) > 1:
            continue  # the same batch measured twice: one of them is taken
        answer = predict_setting(row.setting)
        assert answer.energy_j_per_token == pytest.approx(row.energy_j_per_token, rel=1e-9)
        assert answer.method == "measured"
        assert answer.step_s == pytest.approx(row.time_s, rel=0.01)


@given(
    st.sampled_from(ROWS),
    st.dictionaries(
        st.sampled_from(RESULTS), st.one_of(st.just(""), st.just("nan"), st.floats().map(str))
    ),
    st.sampled_from(("auto", "modelled")),
)
def test_no_measured_column_of_a_row_is_read(
    row: dict[str, str], changed: dict[str, str], method: str
) -> None:
    without = {name: text for name, text in row.items() if name not in RESULTS}
    answer = predict_row({**row, **changed}, method=method)  # type: ignore[arg-type]
    assert answer == predict_row(without, method=method)  # type: ignore[arg-type]


@given(st.sampled_from(shipped_rows()), st.floats(min_value=0.3, max_value=3))
def test_answers_are_positive_and_within_the_boards(row: object, factor: float) -> None:
    import msgspec

    setting = row.setting  # type: ignore[attr-defined]
    setting = msgspec.structs.replace(setting, sequences=setting.sequences * factor)
    answer = predict_setting(setting)
    assert 0 < answer.step_s < math.inf
    assert 0 < answer.power_w_per_gpu <= setting.device.tdp_w * (1 + 1e-9)
    assert answer.power_w == pytest.approx(answer.tokens_per_s * answer.energy_j_per_token)
    assert answer.marginal_energy_j_per_token >= 0
    assert 0 < answer.error_frac < 1


def errors_by_group(method: str) -> dict[tuple[str, str, str], float]:
    """Mean absolute relative error of J/token over the shipped rows."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for row in shipped_rows():
        answer = predict_setting(row.setting, method=method)  # type: ignore[arg-type]
        key = (row.setting.engine, row.setting.device.name, row.setting.family)
        miss = abs(answer.energy_j_per_token / row.energy_j_per_token - 1)
        found.setdefault(key, []).append(miss)
    return {key: float(np.mean(misses)) for key, misses in found.items()}


def test_accuracy_of_pure_physics() -> None:
    errors = errors_by_group("modelled")
    assert errors["vllm-0.11.1", "H100-SXM-80GB", "dense"] < 0.04
    assert errors["vllm-0.11.1", "H100-SXM-80GB", "moe"] < 0.08
    assert errors["vllm-0.5.4", "A100-SXM4-40GB", "dense"] < 0.09
    assert errors["vllm-0.11.1", "B200-SXM-180GB", "dense"] < 0.07
    assert max(errors.values()) < 0.15


def test_hidden_batches_of_measured_curves() -> None:
    """Each row predicted from the other rows of its curve."""
    misses = []
    rows = [
        row
        for row in shipped_rows()
        if row.setting.device.name == "H100-SXM-80GB" and row.setting.engine == "vllm-0.11.1"
    ]
    for row in rows:
        rest = [other for other in rows if other.row_id != row.row_id]
        answer = predict_setting(row.setting, rows=rest)
        misses.append(abs(answer.energy_j_per_token / row.energy_j_per_token - 1))
    assert np.mean(misses) < 0.04


def test_siblings_share_a_shape() -> None:
    rows = {row.setting.model.name: shape_of(row.setting.model) for row in shipped_rows()}
    assert rows["meta-llama/Llama-3.1-70B"] == rows["meta-llama/Llama-3.3-70B"]
    assert rows["Qwen/Qwen3-8B"] != rows["meta-llama/Llama-3.1-8B"]


def test_methods_say_what_they_are() -> None:
    known = predict("Qwen3-32B", "H100", tensor_parallel=2, batch=64, context_tokens=516)
    assert known.method == "measured"
    assert "batch" in known.basis
    assert known.num_gpus == 2
    new = predict("Qwen3-14B", "H100", batch=64, context_tokens=500)
    assert new.method == "modelled"
    guessed = predict("Qwen3-14B", "L40S", batch=8, context_tokens=500)
    assert guessed.method == "assumed"
    assert guessed.error_frac >= 0.35
    pure = predict(
        "Qwen3-32B", "H100", tensor_parallel=2, batch=64, context_tokens=516, method="modelled"
    )
    assert pure.method == "modelled"
    assert pure.error_frac >= known.error_frac
    with pytest.raises(BadInputError, match="no measured profile"):
        predict("Qwen3-14B", "H100", batch=64, context_tokens=500, method="measured")


@given(
    st.sampled_from(("Llama-3.1-8B", "Qwen3-14B", "Qwen3-8B")),
    st.floats(min_value=1, max_value=60),
    st.floats(min_value=1, max_value=2500),
)
def test_modelled_marginal_is_below_the_average(model: str, batch: float, context: float) -> None:
    answer = predict(model, "H100", batch=batch, context_tokens=context, method="modelled")
    assert 0 < answer.marginal_energy_j_per_token < answer.energy_j_per_token
    cheaper = predict(model, "H100", batch=batch * 1.5, context_tokens=context, method="modelled")
    assert cheaper.energy_j_per_token < answer.energy_j_per_token


def test_prefill_is_inside_when_lengths_are_given() -> None:
    decode = predict("Qwen3-14B", "H100", batch=16, context_tokens=750)
    whole = predict("Qwen3-14B", "H100", batch=16, prompt_tokens=500, output_tokens=500)
    assert whole.energy_j_per_token > decode.energy_j_per_token


def test_power_cap_binds() -> None:
    free = predict("Qwen3-14B", "H100", batch=128, context_tokens=500)
    capped = predict("Qwen3-14B", "H100", batch=128, context_tokens=500, power_cap_w=400)
    assert capped.power_w_per_gpu == pytest.approx(400)
    assert capped.step_s > free.step_s


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"batch": 0.0}, "batch"),
        ({"batch": math.nan}, "batch"),
        ({"batch": -1.0}, "batch"),
        ({"batch": 1.0, "context_tokens": 200_000.0}, "maximum"),
        ({"batch": 2000.0, "context_tokens": 2000.0}, "cache"),
        ({"batch": 1.0, "context_tokens": math.inf}, "context"),
        ({"batch": 1.0, "context_tokens": 10.0, "prompt_tokens": 10.0}, "both"),
        ({"batch": 1.0, "prompt_tokens": 10.0, "output_tokens": 0.0}, "output"),
        ({"batch": 1.0, "tensor_parallel": 0}, "parallel"),
    ],
)
def test_bad_values_are_refused(arguments: dict[str, float], says: str) -> None:
    with pytest.raises(BadInputError, match=says):
        predict("Llama-3.1-8B", "H100", **arguments)  # type: ignore[arg-type]


def test_a_model_that_does_not_fit_is_refused() -> None:
    with pytest.raises(DoesNotFitError, match="GPUs"):
        predict("Llama-3.1-405B", "H100", batch=1.0)
    with pytest.raises(DoesNotFitError, match="row 5"):
        predict_row({"model": "Llama-3.1-70B", "device": "L4", "batch_size": "1"}, number=5)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"device": ""}, "device is missing"),
        ({"model": ""}, "model is missing"),
        ({"batch_size": "-3"}, "batch_size"),
        ({"batch_size": "nan"}, "batch_size"),
        ({"batch_size": "", "max_batch": ""}, "batch_size is missing"),
        ({"tensor_parallel": "1.5"}, "tensor_parallel"),
        ({"output_len": "many"}, "output_len"),
    ],
)
def test_bad_rows_name_row_and_column(changed: dict[str, str], says: str) -> None:
    with pytest.raises(BadInputError, match=says) as caught:
        predict_row({**ROWS[0], **changed}, number=17)
    assert "row 17" in str(caught.value)


@pytest.mark.parametrize(
    "changed",
    [
        {"model": "no/Such"},
        {"device": "H1000"},
        {"engine_version": "9.9"},
        {"precision": "fp3"},
        {"model": "no/Such", "params_total_b": "3", "params_active_b": "9"},
        {"model": "no/Such", "params_total_b": "-3"},
        {"num_gpus": "3", "data_parallel": "2"},
    ],
)
def test_every_error_of_a_row_names_the_row(changed: dict[str, str]) -> None:
    row = {**ROWS[0], "params_total_b": "", "params_active_b": "", **changed}
    with pytest.raises(BaseloadError, match=r"^row 9: "):
        predict_row(row, number=9)


def test_an_unknown_model_with_parameter_counts_is_assumed() -> None:
    row = {
        "device": "H100",
        "model": "new/Model-40B",
        "architecture": "dense",
        "params_total_b": "40",
        "params_active_b": "40",
        "tensor_parallel": "2",
        "num_gpus": "2",
        "max_batch": "32",
        "output_len": "500",
    }
    answer = predict_row(row)
    assert answer.method == "assumed"
    known = predict("Qwen3-32B", "H100", tensor_parallel=2, batch=32, context_tokens=500)
    assert answer.energy_j_per_token == pytest.approx(known.energy_j_per_token * 1.2, rel=0.3)
    with pytest.raises(UnknownNameError):
        predict_row({"device": "H100", "model": "new/Model", "batch_size": "1"})


def test_max_batch_stands_in_for_batch_size() -> None:
    row = dict(ROWS[-1], batch_size="", max_batch="64")
    assert setting_of(row).sequences == 64


def test_reasoning_requests_are_read() -> None:
    table = {(r.device, r.model): r for r in reasoning_requests()}
    row = table["H100-SXM-80GB", "Qwen/Qwen3-32B"]
    assert row.energy_j_per_request == pytest.approx(3783, rel=0.01)
