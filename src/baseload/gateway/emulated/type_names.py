"""Short names of replica types, ``h100-llama-8b``: a device and a model by a rule.

The device is the short form that ``fleet.devices`` knows; the model is its name without owner, and
where that has a version before its size (``llama-3.1-8b``) the newest also goes without it
(``llama-8b``). A model gets the fewest GPUs, of 1, 2, 4, 8, that hold it and a cache worth
having; an ending such as ``-x4`` says how many.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from baseload.base.errors import DoesNotFitError, unknown_name
from baseload.fleet.devices import DEVICES, Device, find_device
from baseload.fleet.models import find_model, model_names
from baseload.fleet.physics import kv_tokens_that_fit, layout_of, replica_type
from baseload.fleet.replica_type import ReplicaType

GPU_COUNTS = (1, 2, 4, 8)
_LEAST_TOKENS = 16_384  # of cache: room for more than one request
_VERSION = re.compile(r"-(\d+(?:\.\d+)?)(?=-\d+(?:\.\d+)?b\b)")
_ENDING = re.compile(r"-x(\d+)$")


class TypeName(NamedTuple):
    """A short name, and what it stands for."""

    name: str
    device: str
    model: str
    gpus: int


def device_slugs() -> dict[str, str]:
    """Short name of each device to its full name: ``h100`` to ``H100-SXM-80GB``."""
    found: dict[str, str] = {}
    for name in DEVICES:
        longer = re.sub(r"-sxm\d?", "", name.casefold())
        bare = re.sub(r"-\d+gb$", "", longer)
        found[bare if _is(bare, name) else longer] = name
    return found


def _is(short: str, name: str) -> bool:
    """Whether ``short`` is how people call this device."""
    return find_device(short).name == name


def model_slugs() -> dict[str, str]:
    """Short name of each model to its full name: ``llama-8b`` to ``meta-llama/Llama-3.1-8B``."""
    found: dict[str, str] = {}
    versions: dict[str, float] = {}
    for name in model_names():
        own = name.rsplit("/", 1)[-1].casefold()
        found[own] = name
        version = _VERSION.search(own)
        if version:
            bare = _VERSION.sub("", own)
            if float(version[1]) > versions.get(bare, 0.0):
                versions[bare] = float(version[1])
                found[bare] = name
    return found


@cache
def type_names() -> dict[str, TypeName]:
    """Every short name whose model fits on at most eight GPUs of its device."""
    found: dict[str, TypeName] = {}
    for device_slug, device in device_slugs().items():
        for model_slug, model in model_slugs().items():
            gpus = _fewest(model, DEVICES[device])
            if gpus:
                name = f"{device_slug}-{model_slug}"
                found[name] = TypeName(name, device, model, gpus)
    return found


def _fewest(model: str, device: Device) -> int:
    """The fewest GPUs that hold ``model``; 0: eight do not."""
    spec = find_model(model)
    for gpus in GPU_COUNTS:
        layout = layout_of(tensor_parallel=gpus)
        if kv_tokens_that_fit(spec, device, layout) >= _LEAST_TOKENS:
            return gpus
    return 0


def named_type(name: str) -> ReplicaType:
    """The replica type of a short name.

    Raises ``UnknownNameError`` with the nearest names, ``DoesNotFitError`` where an ending such as
    ``-x2`` asks for too few GPUs.
    """
    asked = name.strip().casefold()
    ending = _ENDING.search(asked)
    known = type_names()
    found = known.get(asked[: ending.start()] if ending else asked)
    if found is None:
        raise unknown_name(
            "replica type",
            name,
            known,
            todo="see `baseload emulate --list`; a type is DEVICE-MODEL, as h100-llama-8b",
        )
    gpus = int(ending[1]) if ending else found.gpus
    if ending and gpus not in GPU_COUNTS:
        raise DoesNotFitError(
            f"replica type {name!r}",
            found=f"{gpus} GPUs",
            allowed=", ".join(map(str, GPU_COUNTS)),
        )
    return replica_type(model=found.model, device=found.device, tensor_parallel=gpus, name=asked)
