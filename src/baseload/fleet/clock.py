"""How the constants of a replica answer to a lower core clock: assumed, not measured.

With ``phi`` = core clock / highest core clock (docs/explanation/clocks.md):

    static power     P_ctx + (P0 - P_ctx) phi^a
    voltage          v = v_min + (1 - v_min) phi
    joules per FLOP  times v^2; joules per sequence (attention, sampling) likewise
    joules per byte  40 pJ/B of the memory itself stay, the rest times v^2
    seconds          arithmetic and half of the launch overhead times 1 / phi; bytes unchanged
                     down to phi = 0.5, below that times 0.5 / phi

Idle, parked and off powers do not change: a board at rest lowers its clock by itself.
"""

from __future__ import annotations

import math

import msgspec

from baseload.base.errors import BadInputError
from baseload.fleet.devices import Device
from baseload.fleet.engines import MODERN_ENGINE, Constants

CLOCK_FRAC_MIN = 0.3
"""Lowest clock that a fleet may be given: below it the response is a guess about a guess."""

CLOCK_ERROR_FRAC = 0.75
"""Error of J/token per unit of clock taken away: the largest miss at a published point, held by a
test.
"""


class ClockResponse(msgspec.Struct, frozen=True, kw_only=True):
    """What a lower clock does to one device; every number is assumed.

    ``static_exponent``: how static power above the context power falls with the clock.
    ``voltage_frac_min``: voltage at clock zero by the straight line, as a share of the highest.
    ``memory_j_per_byte`` [J/B]: the part of a byte's joules that lies outside the core's voltage.
    ``launch_frac``: share of the launch overhead that the GPU, not the host, spends.
    ``byte_knee_frac``: clock below which the core no longer keeps the memory busy.
    """

    static_exponent: float
    voltage_frac_min: float = 0.7
    memory_j_per_byte: float = 40e-12
    launch_frac: float = 0.5
    byte_knee_frac: float = 0.5
    source: str = "assumed"

    def __post_init__(self) -> None:
        """Refuse shares outside 0 to 1, and negative or missing numbers."""
        for name in ("voltage_frac_min", "launch_frac", "byte_knee_frac"):
            _require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "0 to 1")
        for name in ("static_exponent", "memory_j_per_byte"):
            holds = 0 <= getattr(self, name) < math.inf
            _require(holds, name, getattr(self, name), "a finite number >= 0")


def _require(holds: bool, name: str, found: float, allowed: str) -> None:
    if not holds:
        raise BadInputError(f"clock response: {name}", found=repr(found), allowed=allowed)


_HOPPER = ClockResponse(static_exponent=1.1, source="one job on H100, 1785 and 840 MHz")
_AMPERE = ClockResponse(static_exponent=2.5, source="one job on A100, 1410 and 810 MHz")
_OTHER = ClockResponse(static_exponent=1.8, source="between A100 and H100; no point of its own")


def clock_response(device: Device) -> ClockResponse:
    """The assumed response of a device: its generation's where a point was published, else the
    middle of the two that there are.
    """
    if device.name.startswith(("H100", "H200")):
        return _HOPPER
    return _AMPERE if device.name.startswith("A100") else _OTHER


def check_clock_frac(clock_frac: float, *, least: float = 0.0) -> None:
    """Raise ``BadInputError`` unless ``clock_frac`` lies above 0 (or from ``least``) to 1."""
    if not (least <= clock_frac <= 1.0 and clock_frac > 0):
        low = f"from {least:g}" if least > 0 else "above 0"
        raise BadInputError(
            "clock_frac, the share of the highest core clock",
            found=repr(clock_frac),
            allowed=f"a number {low} to 1 (1 is the full clock)",
        )


def clock_suffix(clock_frac: float) -> str:
    """What the name of a replica type at this clock ends in: ``@60%``, nothing at full clock."""
    return "" if clock_frac == 1.0 else f"@{100 * clock_frac:.4g}%"


def at_clock(
    constants: Constants,
    device: Device,
    clock_frac: float,
    *,
    response: ClockResponse | None = None,
) -> Constants:
    """``constants`` at a share of the highest core clock, marked assumed; unchanged at 1.

    Source of the form: docs/explanation/clocks.md. Raises ``BadInputError`` for a clock outside
    (0, 1], and for constants that do not tell the GPU's work from waiting: those of a host-bound
    engine, and of attention copied per GPU.
    """
    check_clock_frac(clock_frac)
    if clock_frac == 1.0:
        return constants
    _require_separable(constants)
    law = clock_response(device) if response is None else response
    voltage2 = (law.voltage_frac_min + (1.0 - law.voltage_frac_min) * clock_frac) ** 2
    reach = min(1.0, clock_frac / law.byte_knee_frac) if law.byte_knee_frac > 0 else 1.0
    time, power = constants.time, constants.power
    idle_w = min(device.power_w_idle_context, power.static_w)
    percent = f"{100 * clock_frac:.4g} %"
    return msgspec.structs.replace(
        constants,
        time=msgspec.structs.replace(
            time,
            layer_s=time.layer_s * (1.0 + law.launch_frac * (1.0 / clock_frac - 1.0)),
            flop_frac=time.flop_frac * clock_frac,
            weight_frac=time.weight_frac * reach,
            expert_frac=time.expert_frac * reach,
            cache_frac=time.cache_frac * reach,
        ),
        power=msgspec.structs.replace(
            power,
            static_w=idle_w + (power.static_w - idle_w) * clock_frac**law.static_exponent,
            weight_j=_byte_j(power.weight_j, voltage2, law),
            expert_j=_byte_j(power.expert_j, voltage2, law),
            cache_j=_byte_j(power.cache_j, voltage2, law),
            flop_j=power.flop_j * voltage2,
            sequence_j=power.sequence_j * voltage2,
        ),
        method="assumed",
        error_frac=constants.error_frac + CLOCK_ERROR_FRAC * (1.0 - clock_frac),
        basis=f"{constants.basis}; response to {percent} of the highest core clock assumed, "
        "not measured",
    )


def _byte_j(byte_j: float, voltage2: float, law: ClockResponse) -> float:
    """Joules per byte at a lower voltage: the memory's own part stays."""
    memory_j = min(byte_j, law.memory_j_per_byte)
    return memory_j + (byte_j - memory_j) * voltage2


def _require_separable(constants: Constants) -> None:
    """Refuse constants whose seconds and joules are not those of bytes and arithmetic."""
    if constants.engine != MODERN_ENGINE:
        why = f"{constants.engine} waits for the host, and its constants hold that waiting"
        todo = f"use {MODERN_ENGINE}, or the full clock"
    elif constants.weight_class.endswith("-copies"):
        why = "attention copied per GPU (data parallel): the constants absorb what nobody explained"
        todo = "use another layout, or the full clock"
    else:
        return
    raise BadInputError(
        "a lower clock where the work of the GPU cannot be told from waiting",
        found=why,
        allowed="constants that separate bytes, arithmetic and launches",
        todo=todo,
    )
