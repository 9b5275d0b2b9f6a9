"""Names resolve, and what the architectures imply matches published figures."""

import pytest

from baseload.base.errors import BadInputError, UnknownNameError
from baseload.fleet.devices import DEVICES, find_device
from baseload.fleet.model_spec import BYTES_PER_PARAM, ModelSpec
from baseload.fleet.model_table import MODELS
from baseload.fleet.models import assumed_model, find_model, model_names
from baseload.fleet.profiles import read_shipped


@pytest.mark.parametrize(
    ("name", "resolved", "precision"),
    [
        ("Qwen/Qwen3-32B", "Qwen/Qwen3-32B", "bf16"),
        ("qwen3-32b", "Qwen/Qwen3-32B", "bf16"),
        ("Qwen/Qwen3-235B-A22B-Thinking-2507-FP8", "Qwen/Qwen3-235B-A22B", "fp8"),
        ("Qwen/Qwen3-30B-A3B-Instruct-2507", "Qwen/Qwen3-30B-A3B", "bf16"),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B", "bf16"),
        ("meta-llama/Llama-3.1-405B-Instruct-FP8", "meta-llama/Llama-3.1-405B", "fp8"),
        ("openai/gpt-oss-120b", "openai/gpt-oss-120b", "mxfp4"),
        ("deepseek-ai/DeepSeek-R1-0528", "deepseek-ai/DeepSeek-R1", "fp8"),
        ("google/gemma-3-27b-it", "google/gemma-3-27b", "bf16"),
        ("RedHatAI/Qwen3-14B-FP8-dynamic", "Qwen/Qwen3-14B", "fp8"),
    ],
)
def test_names_and_variants_resolve(name: str, resolved: str, precision: str) -> None:
    model = find_model(name)
    assert model.name == resolved
    assert model.precision == precision


def test_every_shipped_row_resolves_as_its_columns_say() -> None:
    for row in read_shipped("llm_energy_profiles.csv"):
        model = find_model(row["model"])
        assert model.precision == row["precision"]
        assert model.architecture == row["architecture"]
        assert model.params_total / 1e9 == pytest.approx(float(row["params_total_b"]), rel=0.35)
        assert find_device(row["device"]).name == row["device"]


@pytest.mark.parametrize(
    ("name", "bytes_per_token"),
    [
        # Model cards; gpt-oss counts the layers without a window only
        ("Llama-3.1-8B", 131_072),
        ("Llama-3.1-70B", 327_680),
        ("Qwen3-8B", 147_456),
        ("Qwen3-32B", 262_144),
        ("Qwen3-30B-A3B", 98_304),
        ("gpt-oss-20b", 49_152 // 2),
        ("DeepSeek-V3", 70_272),
    ],
)
def test_cache_bytes_per_token(name: str, bytes_per_token: int) -> None:
    assert find_model(name).cache_bytes_per_token() == bytes_per_token


@pytest.mark.parametrize(
    ("name", "dense_gb", "experts_gb"),
    [
        ("Llama-3.1-8B", 15.0, 0.0),
        ("Llama-3.1-70B", 139.0, 0.0),
        ("Qwen3-32B", 64.0, 0.0),
        ("Qwen3-30B-A3B", 2.5, 58.0),
        ("gpt-oss-120b", 3.2, 60.9),
    ],
)
def test_weight_bytes(name: str, dense_gb: float, experts_gb: float) -> None:
    model = find_model(name)
    assert model.weight_bytes_dense() / 1e9 == pytest.approx(dense_gb, rel=0.02)
    assert model.weight_bytes_experts() / 1e9 == pytest.approx(experts_gb, rel=0.02)


def test_active_parameters_follow_from_the_structure() -> None:
    for name in model_names():
        model = find_model(name)
        assert model.params_matmul == pytest.approx(model.params_active, rel=0.2)


def test_window_caps_the_cache_and_spread_averages_it() -> None:
    model = find_model("gemma-3-12b")
    per_token = model.cache_bytes(1000.0) / 1000.0
    assert model.cache_bytes(500.0) == pytest.approx(500.0 * per_token)
    beyond = model.cache_bytes(4000.0) - model.cache_bytes(3000.0)
    assert beyond == pytest.approx(1000.0 * model.cache_bytes_per_token())
    assert model.cache_bytes(1024.0, 1024.0) < model.cache_bytes(1024.0)


def test_unknown_names_list_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Qwen3-32B"):
        find_model("Qwen3-33B")
    with pytest.raises(UnknownNameError, match="H100"):
        find_device("H10")
    with pytest.raises(UnknownNameError, match="fp8"):
        find_model("Qwen3-32B", "fp9")


def test_model_without_a_table_line_is_assumed() -> None:
    model = assumed_model("new/Thing-40B", 40.0, 40.0)
    assert model.method == "assumed"
    assert model.params_matmul == pytest.approx(40e9, rel=0.1)
    sparse = assumed_model("new/Thing-100B-A5B", 100.0, 5.0, architecture="moe")
    assert sparse.params_matmul == pytest.approx(5e9, rel=0.3)
    with pytest.raises(BadInputError):
        assumed_model("x", float("nan"), 1.0)


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("H100", "H100-SXM-80GB"),
        ("h100-80gb", "H100-SXM-80GB"),
        ("A100-40GB", "A100-SXM4-40GB"),
        ("A100-80GB", "A100-SXM4-80GB"),
        ("a100", "A100-SXM4-80GB"),
        ("l4", "L4-24GB"),
        ("L40S", "L40S-48GB"),
        ("RTX4090", "RTX-4090-24GB"),
        ("rtx 4090", "RTX-4090-24GB"),
        ("RTX-PRO-6000", "RTX-PRO-6000-96GB"),
        ("B200", "B200-SXM-180GB"),
        ("NVIDIA H200", "H200-SXM-141GB"),
    ],
)
def test_device_aliases(alias: str, name: str) -> None:
    assert find_device(alias).name == name


def test_every_device_says_where_its_numbers_come_from() -> None:
    for device in DEVICES.values():
        assert device.datasheet.source
        assert device.idle.source
        assert device.idle.method in ("measured", "assumed")


def test_every_model_of_the_table_is_found_by_its_own_name() -> None:
    assert model_names() == sorted(model.name for model in MODELS)
    for model in MODELS:
        assert isinstance(model, ModelSpec)
        assert find_model(model.name) == model


@pytest.mark.parametrize("precision", BYTES_PER_PARAM)
def test_fewer_bits_never_weigh_more(precision: str) -> None:
    full = find_model("Qwen3-32B", "bf16")
    assert find_model("Qwen3-32B", precision).weight_bytes_resident() <= (
        full.weight_bytes_resident()
    )
