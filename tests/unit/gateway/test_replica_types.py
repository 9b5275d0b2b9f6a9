"""What a replica costs, by what its entry says."""

from __future__ import annotations

from pathlib import Path

import pytest

from baseload.base.errors import BadInputError, BaseloadError, DoesNotFitError
from baseload.fleet.physics import replica_type
from baseload.gateway.config import ModelEntry, ReplicasEntry
from baseload.gateway.replica_types import (
    STAND_IN_DEVICE,
    STAND_IN_WEIGHTS,
    replica_type_of,
)

REPLICA = Path(__file__).parents[2] / "reference"


def made(model="small", upstream=None, folder=Path(), **fields):
    entry = ReplicasEntry(model=model, **{"urls": ("http://a",), **fields})
    return replica_type_of(entry, ModelEntry(name=model, upstream_name=upstream), folder)


def test_a_device_and_weights_give_what_the_fleet_room_says():
    expected = replica_type(
        model="Qwen/Qwen3-14B", device="H100-SXM-80GB", tensor_parallel=2, max_batch=16
    )
    fields = {"device": "h100", "tensor_parallel": 2, "max_batch": 16}
    assert made(weights="Qwen3-14B", **fields) == expected
    assert made(model="Qwen/Qwen3-14B", **fields) == expected
    assert made(upstream="Qwen/Qwen3-14B", **fields) == expected
    assert made(engine="emulated", weights="Qwen3-14B", **fields) == expected


def test_an_emulated_engine_of_which_nothing_is_said_is_a_known_one_and_not_assumed():
    kind = made(engine="emulated")
    assert kind == replica_type(model=STAND_IN_WEIGHTS, device=STAND_IN_DEVICE)
    assert kind.method == "modelled"


@pytest.mark.parametrize("engine", ["vllm", "sglang", "tensorrt-llm", "openai"])
def test_where_nothing_is_said_a_stand_in_is_marked_assumed(engine):
    kind = made(engine=engine)
    assert kind.method == "assumed"
    assert "nobody said what small is" in kind.basis
    assert kind.error_frac is None
    plain = replica_type(model=STAND_IN_WEIGHTS, device=STAND_IN_DEVICE)
    assert kind.costs == plain.costs


@pytest.mark.parametrize("engine", ["llama.cpp", "ollama"])
def test_a_local_engine_stands_for_a_cpu_under_its_own_limits(engine):
    kind = made(engine=engine, max_batch=2, max_context_tokens=2048)
    assert (kind.device, kind.method) == ("cpu", "assumed")
    assert (kind.max_batch, kind.max_context_tokens) == (2, 2048)
    assert made(engine=engine, max_batch=1024).max_step_tokens > 1024


def test_a_known_model_stands_on_as_few_boards_as_hold_it():
    large = made(model="Qwen/Qwen3-235B-A22B")
    assert large.method == "assumed"
    assert large.num_gpus > 1
    with pytest.raises(DoesNotFitError):
        replica_type(
            model="Qwen/Qwen3-235B-A22B",
            device=STAND_IN_DEVICE,
            tensor_parallel=large.num_gpus // 2,
        )
    assert made(model="Qwen/Qwen3-8B").num_gpus == 1


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"device": "H1000"}, "device", "nearest: H100"),
        ({"device": "h100"}, "weights", "weights"),
        ({"device": "h100", "weights": "Qwen3-140B"}, "weights", "nearest"),
        ({"weights": "no such weights at all"}, "weights", "weights"),
        ({"device": "h100", "weights": "Qwen3-8B", "precision": "fp9"}, "precision", "fp8"),
        ({"device": "L4", "weights": "Qwen3-32B"}, "device", "tensor_parallel: "),
        ({"device": "h100", "weights": "Qwen3-8B", "max_batch": 0}, "max_batch", "1 or more"),
        (
            {"device": "h100", "weights": "Qwen3-8B", "max_step_tokens": 9},
            "max_step_tokens",
            "more",
        ),
        ({"engine": "ollama", "max_step_tokens": 2}, "max_step_tokens", "max_batch"),
        ({"replica": "none.json"}, "replica", "baseload calibrate"),
    ],
)
def test_an_error_begins_with_the_field_and_says_what_to_do(fields, field, words):
    with pytest.raises(BaseloadError) as caught:
        made(**fields)
    assert caught.value.asked.startswith(f"{field}: ")
    assert words in str(caught.value)


def test_a_replica_file_counts_from_the_folder(tmp_path):
    with pytest.raises(BadInputError, match=r"replica: replica file .*one\.json"):
        made(folder=tmp_path, replica="one.json")
