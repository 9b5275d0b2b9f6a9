"""What a replica costs: from an entry of ``replicas`` to a replica type with its eight numbers.

In this order: a ``replica`` file that ``baseload calibrate`` wrote; the physics of ``device`` and
``weights``; and where the file says neither, a stand-in that is marked assumed, so that a gateway
can route before anybody has measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from baseload.base.errors import BadInputError, BaseloadError, DoesNotFitError
from baseload.fleet.devices import find_device
from baseload.fleet.models import find_model, is_known_model
from baseload.fleet.physics import DEFAULT_MAX_STEP_TOKENS, replica_type
from baseload.fleet.replica_type import PowerStates, ReplicaType, StepCosts
from baseload.gateway.config import ModelEntry, ReplicasEntry
from baseload.sources.replicas import read_replica

STAND_IN_DEVICE = "H100-SXM-80GB"
STAND_IN_WEIGHTS = "meta-llama/Llama-3.1-8B"
_MOST_STAND_IN_GPUS = 16
_LIMITS = ("max_batch", "max_step_tokens", "max_context_tokens")

_ON_A_CPU = ReplicaType(
    name="small model/cpu",
    device="cpu",
    model="small model",
    costs=StepCosts(
        time_s_per_step=0.008,
        time_s_per_sequence=0.004,
        time_s_per_context_token=1e-6,
        time_s_per_prefill_token=0.002,
        energy_j_per_step=0.16,
        energy_j_per_sequence=0.08,
        energy_j_per_context_token=2e-5,
        energy_j_per_prefill_token=0.04,
    ),
    power=PowerStates(
        power_w_active_static=10.0,
        power_w_cap=65.0,
        power_w_idle=5.0,
        power_w_parked=5.0,
        power_w_off=0.0,
        wake_s_from_parked=1.0,
        wake_j_from_parked=5.0,
        wake_s_from_off=5.0,
        wake_j_from_off=50.0,
    ),
    max_batch=4,
    max_step_tokens=512,
    kv_tokens=16_384,
    max_context_tokens=4096,
    precision="int8",
    engine="llama.cpp",
    method="assumed",
    basis="round numbers of a model below 1e9 parameters on a core or two of a CPU",
)
"""20 W more than nothing while it works, 10 ms a token: a guess of the right size, no more."""


def replica_type_of(entry: ReplicasEntry, model: ModelEntry, folder: Path) -> ReplicaType:
    """The type of the replicas of ``entry``, which serve ``model``; its ``replica`` file is found
    from ``folder``.

    ``method`` says how its numbers came about and ``basis`` says it in words: ``assumed`` where the
    entry says neither device nor file. Raises ``BaseloadError`` whose ``asked`` begins with the
    entry's field, as ``device: unknown device 'H1000'``.
    """
    if entry.replica is not None:
        with _of("replica"):
            return read_replica(folder / entry.replica)
    for name in _LIMITS:
        value = getattr(entry, name)
        if value is not None and value < 1:
            raise BadInputError(f"{name}: too small", found=repr(value), allowed="1 or more")
    if entry.engine == "emulated":
        return _modelled(
            entry,
            weights=entry.weights or _name_of(model, entry) or STAND_IN_WEIGHTS,
            device=entry.device or STAND_IN_DEVICE,
        )
    if entry.device is not None:
        return _modelled(entry, weights=_weights(entry, model), device=entry.device)
    return _stand_in(entry, _weights(entry, model))


def _weights(entry: ReplicasEntry, model: ModelEntry) -> str:
    """What the entry serves, by the name that the fleet room may know."""
    return entry.weights or model.upstream_name or model.name


def _name_of(model: ModelEntry, entry: ReplicasEntry) -> str | None:
    """With a device, an emulated engine runs the model that it is called; without, a stand-in."""
    return None if entry.device is None else _weights(entry, model)


def _modelled(
    entry: ReplicasEntry, *, weights: str, device: str, tensor_parallel: int | None = None
) -> ReplicaType:
    """The type of a model on a device by the physics of the fleet room."""
    ways = entry.tensor_parallel if tensor_parallel is None else tensor_parallel
    with _of("device"):
        find_device(device)
    with _of("weights", todo="say `weights:` with a known model, or `replica:` with a fitted file"):
        find_model(weights)
    with _of("precision"):
        find_model(weights, entry.precision)
    with _of("device"):
        kind = replica_type(
            model=weights,
            device=device,
            tensor_parallel=ways,
            precision=entry.precision,
            max_batch=entry.max_batch,
            max_step_tokens=entry.max_step_tokens or DEFAULT_MAX_STEP_TOKENS,
            max_context_tokens=entry.max_context_tokens,
        )
    if entry.max_step_tokens is not None and entry.max_step_tokens <= kind.max_batch:
        raise BadInputError(
            "max_step_tokens: too small",
            found=f"{entry.max_step_tokens} tokens a step, batch of {kind.max_batch}",
            allowed="more than max_batch, or prompts starve",
            todo="raise max_step_tokens or lower max_batch",
        )
    return kind


def _stand_in(entry: ReplicasEntry, weights: str) -> ReplicaType:
    """A type for an entry that says neither device nor file, marked assumed."""
    if entry.weights is not None or is_known_model(weights):
        kind = _on_few_boards(entry, weights)
        why = f"nobody said on what {weights} runs: {kind.name} taken"
    elif entry.engine in ("llama.cpp", "ollama"):
        kind = _limited(_ON_A_CPU, entry)
        why = f"nobody said what {weights} is: {kind.basis}"
    else:
        kind = _modelled(entry, weights=STAND_IN_WEIGHTS, device=STAND_IN_DEVICE)
        why = f"nobody said what {weights} is and on what it runs: {kind.name} taken"
    return msgspec.structs.replace(kind, method="assumed", error_frac=None, basis=why)


def _on_few_boards(entry: ReplicasEntry, weights: str) -> ReplicaType:
    """Known weights on as few of the stand-in's boards as hold them."""
    ways = entry.tensor_parallel
    while True:
        try:
            return _modelled(entry, weights=weights, device=STAND_IN_DEVICE, tensor_parallel=ways)
        except DoesNotFitError:
            if ways >= _MOST_STAND_IN_GPUS:
                raise
            ways *= 2


def _limited(kind: ReplicaType, entry: ReplicasEntry) -> ReplicaType:
    """A stand-in under the limits that the entry gives."""
    batch = entry.max_batch or kind.max_batch
    context = entry.max_context_tokens or kind.max_context_tokens
    step = entry.max_step_tokens or max(kind.max_step_tokens, batch + 1)
    with _of("max_step_tokens"):
        return msgspec.structs.replace(
            kind,
            max_batch=batch,
            max_context_tokens=context,
            max_step_tokens=step,
            kv_tokens=max(kind.kv_tokens, batch * context),
        )


@contextmanager
def _of(field: str, *, todo: str = "") -> Iterator[None]:
    """Put the entry's field before what an error says."""
    try:
        yield
    except BaseloadError as error:
        raise type(error)(
            f"{field}: {error.asked}",
            found=error.found,
            allowed=error.allowed,
            todo=todo or error.todo.replace("--tensor-parallel ", "tensor_parallel: "),
        ) from error
