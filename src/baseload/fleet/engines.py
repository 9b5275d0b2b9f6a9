"""Constants of step time and power by engine version, device and model family, with the rule that
transfers them.

The numbers lie in ``data/constants.json``, written by ``bench/fit_physics.py`` from the shipped
measured rows; this file reads them once. Where no row was measured, the software constants of the
measured engine go with the hardware of the asked device, and the answer is marked assumed
(docs/explanation/fleet-physics.md).
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

    ``layer_s`` per layer (kernel launches), ``together_layer_s`` per layer where GPUs exchange
    results; ``weight_frac``, ``expert_frac``, ``cache_frac`` are the shares of datasheet bandwidth
    that reading body weights, experts and cache reaches, ``flop_frac`` the share of peak FLOP/s;
    ``sequence_s`` per running sequence (scheduler, sampler), ``vocab_s`` per sequence and entry of
    the vocabulary, ``token_layer_s`` per token and layer; ``context_s`` per token of mean context,
    once a step, on a single GPU (a floor seen on B200).
    """

    layer_s: float
    weight_frac: float
    expert_frac: float
    cache_frac: float
    flop_frac: float
    sequence_s: float = 0.0
    together_layer_s: float = 0.0
    vocab_s: float = 0.0
    token_layer_s: float = 0.0
    context_s: float = 0.0


class PowerConstants(msgspec.Struct, frozen=True, kw_only=True):
    """Watts and joules of one device at work.

    ``static_w`` [W] is drawn by a board that runs steps; ``weight_j``, ``expert_j``, ``cache_j``
    [J/B] per byte of body weights, experts and cache; ``flop_j`` [J/FLOP]; ``sequence_j`` [J] per
    running sequence and step, shared by the GPUs (attention heads, sampling).
    """

    static_w: float
    weight_j: float
    expert_j: float
    cache_j: float
    flop_j: float
    sequence_j: float = 0.0


class Hardware(msgspec.Struct, frozen=True, kw_only=True):
    """Three constants of a device in the plain form, used only as ratios between devices.

    docs/explanation/fleet-physics.md: static power at work [W], joules per byte and per FLOP;
    fitted for H100, A100-40GB and B200, assumed for the rest.
    """

    static_w: float
    byte_j: float
    flop_j: float
    method: Method
    source: str


class Constants(msgspec.Struct, frozen=True, kw_only=True):
    """Constants for one (engine, device, family), how obtained and how far off J/token may be.

    ``error_frac`` is the mean absolute relative error of J/token over models that the fit did not
    see, ``error_frac_fitted`` over held-out rows of the ``fitted_models``.
    """

    engine: str
    device: str
    family: str
    weight_class: str
    time: StepConstants
    power: PowerConstants
    method: Method
    error_frac: float
    basis: str
    error_frac_fitted: float | None = None
    fitted_models: tuple[str, ...] = ()

    def error_frac_of(self, model: ModelSpec) -> float:
        """The error of J/token to expect for ``model``: smaller where the fit saw it."""
        if model.method == "assumed":
            return max(self.error_frac, 0.35)
        if self.method == "assumed" or self.error_frac_fitted is None:
            return self.error_frac
        return self.error_frac_fitted if model.name in self.fitted_models else self.error_frac


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The shape of ``data/constants.json``."""

    schema: str
    fits: list[Constants]
    hardware: dict[str, Hardware]


@lru_cache(maxsize=1)
def shipped_constants() -> _File:
    """The constants that ship in the package, by engine, device and family; read once."""
    text = resources.files("baseload.fleet").joinpath("data", "constants.json").read_bytes()
    return msgspec.json.decode(text, type=_File)


def engine_names() -> list[str]:
    """Names of the engines with constants, such as ``vllm-0.11.1``."""
    return sorted({fit.engine for fit in shipped_constants().fits})


def find_engine(name: str) -> str:
    """The engine called ``name``:

    ``vllm-0.11.1``, ``vllm`` (the modern one) or ``0.11.1``, any case.

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


@lru_cache(maxsize=1)
def _by_key() -> dict[tuple[str, str, str, str], Constants]:
    fits = shipped_constants().fits
    return {(fit.engine, fit.device, fit.family, fit.weight_class): fit for fit in fits}


@lru_cache(maxsize=512)
def find_constants(
    engine: str, device: Device, model: ModelSpec, kind: str | None = None
) -> Constants:
    """The constants for ``model`` on ``device`` under ``engine``.

    ``kind`` is the kind of weights (default: the model's ``weight_class``).
    Where none were fitted they are transferred from H100 and marked assumed.
    """
    name = find_engine(engine)
    table = _by_key()
    for family, weights in _kinds(model, kind):
        found = table.get((name, device.name, family, weights))
        if found is not None:
            return found
    donors = (table.get((name, _REFERENCE_DEVICE, *kind)) for kind in _kinds(model, kind))
    donor = next(found for found in donors if found is not None)
    return _transferred(donor, device)


def _kinds(model: ModelSpec, kind: str | None) -> tuple[tuple[str, str], ...]:
    """(family, weight class) of the fits that may serve ``model``, best first."""
    own, weights = model.architecture, model.weight_class
    asked = ((own, kind),) if kind else ()
    return (*asked, (own, weights), (own, "bf16"), ("dense", weights), ("dense", "bf16"))


def _transferred(donor: Constants, device: Device) -> Constants:
    """Software constants of ``donor`` with the hardware of ``device``: its joules scaled.

    Each joule of ``donor`` is scaled by the ratio of the two devices' dense constants, so that what
    a mixture or a precision adds is carried over.
    """
    hardware = shipped_constants().hardware
    here, there = hardware[device.name], hardware[donor.device]
    by_byte, by_flop = here.byte_j / there.byte_j, here.flop_j / there.flop_j
    power = PowerConstants(
        static_w=max(
            donor.power.static_w * here.static_w / there.static_w, device.power_w_idle_context
        ),
        weight_j=donor.power.weight_j * by_byte,
        expert_j=donor.power.expert_j * by_byte,
        cache_j=donor.power.cache_j * by_byte,
        flop_j=donor.power.flop_j * by_flop,
        sequence_j=donor.power.sequence_j * by_flop,
    )
    return msgspec.structs.replace(
        donor,
        device=device.name,
        power=power,
        method="assumed",
        error_frac=max(0.35, donor.error_frac),
        basis=f"constants of {donor.engine} on {donor.device} ({donor.family}, "
        f"{donor.weight_class}) moved to the hardware of {device.name}",
    )
