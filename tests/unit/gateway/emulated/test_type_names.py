"""Short names of replica types follow from the tables."""

from __future__ import annotations

import re

import pytest

from baseload.base.errors import BaseloadError, DoesNotFitError, UnknownNameError
from baseload.fleet.devices import DEVICES
from baseload.fleet.models import model_names
from baseload.gateway.emulated.type_names import device_slugs, model_slugs, named_type, type_names


def test_every_device_and_model_has_one_short_name_of_its_own_at_least():
    assert sorted(device_slugs().values()) == sorted(DEVICES)
    assert set(model_slugs().values()) == set(model_names())


@pytest.mark.parametrize(
    ("name", "model", "device", "gpus"),
    [
        ("h100-llama-8b", "meta-llama/Llama-3.1-8B", "H100-SXM-80GB", 1),
        ("a100-llama-8b", "meta-llama/Llama-3.1-8B", "A100-SXM4-80GB", 1),
        ("a100-40gb-llama-8b", "meta-llama/Llama-3.1-8B", "A100-SXM4-40GB", 1),
        ("l4-qwen3-8b", "Qwen/Qwen3-8B", "L4-24GB", 1),
        ("H100-Qwen3-32B", "Qwen/Qwen3-32B", "H100-SXM-80GB", 1),
        ("h100-llama-70b", "meta-llama/Llama-3.3-70B", "H100-SXM-80GB", 2),
        ("l4-llama-70b", "meta-llama/Llama-3.3-70B", "L4-24GB", 8),
        ("h100-qwen3-32b-x2", "Qwen/Qwen3-32B", "H100-SXM-80GB", 2),
    ],
)
def test_a_name_means_device_model_and_as_few_gpus_as_hold_it(name, model, device, gpus):
    kind = named_type(name)
    assert (kind.model, kind.device, kind.num_gpus) == (model, device, gpus)
    assert kind.name == name.lower()


def test_every_listed_name_can_be_made():
    for name in list(type_names())[::9]:
        assert named_type(name).num_gpus == type_names()[name].gpus


def test_the_newest_version_goes_without_it():
    names = model_slugs()
    assert names["llama-70b"] == "meta-llama/Llama-3.3-70B"
    assert names["gemma-27b"] == "google/gemma-3-27b"
    assert not any(re.search(r"-\d\.\d-\d+b$", name) for name in ("llama-8b", "gemma-27b"))


def test_an_unknown_name_shows_the_nearest():
    with pytest.raises(UnknownNameError, match="h100-llama-8b"):
        named_type("h100-lama-8b")


def test_too_few_gpus_and_odd_counts_are_refused():
    with pytest.raises(DoesNotFitError, match="use 2 GPUs"):
        named_type("h100-llama-70b-x1")
    with pytest.raises(BaseloadError, match="1, 2, 4, 8"):
        named_type("h100-llama-8b-x3")
