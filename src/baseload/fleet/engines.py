"""Constants of step time and power by engine version, device and model family, with the rule that transfers them.

The numbers lie in ``data/constants.json``, written by ``bench/fit_physics.py`` from the shipped measured rows; this file
reads them once. Where no row was measured, the software constants of the measured engine go with the hardware of the asked
device, and the answer is marked assumed (spec ENERGY.md 2.2).
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources

import msgspec

from baseload.base.errors import unknown_name
from baseload.fleet.devices import Device
from baseload.fleet.models import ModelSpec
from baseload.fleet.replica_type import Method

MODERN_ENGINE = "vllm-0.11.1"
_REFERENCE_DEVICE = "H100-SXM-80GB"


class StepConstants(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of one engine step on one device [s, fractions of datasheet rates].

    ``step_s`` every step, ``layer_s`` per layer (kernel launches), ``tp_s`` and ``tp_layer_s`` when GPUs work together,
    ``tp_token_layer_s`` per token and layer then; ``weight_frac``, ``cache_frac``, ``flop_frac`` are the shares of datasheet
    bandwidth and peak that are reached; ``sequence_s`` per running sequence (scheduler, sampler), ``sequence_vocab_s`` per
    sequence and vocabulary entry.
    """

    step_s: float
    weight_frac: float
    cache_frac: float
    flop_frac: float
    sequence_s: float
    layer_s: float = 0.0
    tp_s: float = 0.0
    tp_layer_s: float = 0.0
    tp_token_layer_s: float = 0.0
    sequence_vocab_s: float = 0.0


class PowerConstants(msgspec.Struct, frozen=True, kw_only=True):
    """Watts and joules of one device at work: ``P = static_w + (byte_j * bytes + flop_j * FLOP) / t``.

    ``static_w`` [W] is drawn by a board that runs steps, ``byte_j`` [J/B] per byte moved, ``flop_j`` [J/FLOP].
    """

    static_w: float
    byte_j: float
    flop_j: float


class Constants(msgspec.Struct, frozen=True, kw_only=True):
    """Constants for one (engine, device, family), how they were obtained and how far off J/token may be.

    ``error_frac`` is the mean absolute relative error of J/token over models that the fit did not see.
    """

    engine: str
    device: str
    family: str
    time: StepConstants
    power: PowerConstants
    method: Method
    error_frac: float
    basis: str


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The shape of ``data/constants.json``."""

    schema: str
    engines: dict[str, dict[str, dict[str, Constants]]]
    hardware: dict[str, PowerConstants]


@lru_cache(maxsize=1)
def shipped_constants() -> _File:
    """The constants that ship in the package, by engine, device and family; read once."""
    text = resources.files("baseload.fleet").joinpath("data", "constants.json").read_bytes()
    return msgspec.json.decode(text, type=_File)


def engine_names() -> list[str]:
    """Names of the engines with constants, such as ``vllm-0.11.1``."""
    return sorted(shipped_constants().engines)


def find_engine(name: str) -> str:
    """The engine called ``name``: ``vllm-0.11.1``, ``vllm`` (the modern one) or ``0.11.1``, any case.

    Raises ``UnknownNameError`` with the nearest names.
    """
    folded = name.strip().casefold().replace(" ", "-").replace("vllm-v", "vllm-")
    if folded in ("vllm", ""):
        return MODERN_ENGINE
    for known in engine_names():
        if folded in (known, known.removeprefix("vllm-")):
            return known
    raise unknown_name(
        "engine",
        name,
        engine_names(),
        todo="engines differ by 2x in watts: give the nearest version",
    )


@lru_cache(maxsize=512)
def find_constants(engine: str, device: Device, model: ModelSpec) -> Constants:
    """The constants for ``model`` on ``device`` under ``engine``; transferred and marked assumed where none were fitted."""
    table = shipped_constants().engines[find_engine(engine)]
    families = _families(model)
    for family in families:
        found = table.get(device.name, {}).get(family)
        if found is not None:
            return found
    reference = table[_REFERENCE_DEVICE]
    donor = next(reference[family] for family in families if family in reference)
    return _transferred(donor, device)


def _families(model: ModelSpec) -> tuple[str, ...]:
    """Names of the fits that may serve ``model``, best first."""
    return (model.architecture, "dense")


def _transferred(donor: Constants, device: Device) -> Constants:
    """Software constants of ``donor`` with the hardware of ``device``."""
    hardware = shipped_constants().hardware.get(device.name, donor.power)
    return Constants(
        engine=donor.engine,
        device=device.name,
        family=donor.family,
        time=donor.time,
        power=hardware,
        method="assumed",
        error_frac=max(0.35, donor.error_frac) if device.name != donor.device else donor.error_frac,
        basis=f"software constants of {donor.engine} on {donor.device} ({donor.family}) with the hardware of {device.name}",
    )
