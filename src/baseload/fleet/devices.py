"""The accelerators that Baseload knows:

datasheet values, fitted power constants, idle powers, each with its mark.
"""

from __future__ import annotations

import re

import msgspec

from baseload.base.errors import BadInputError, unknown_name
from baseload.fleet.replica_type import Method


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """How a constant was obtained, and from where."""

    method: Method
    source: str


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One accelerator [GB = 1e9 B, W, B/s, FLOP/s]: datasheet values and idle powers.

    ``memory_bytes`` is what the driver reports, a little more than the nominal size.
    ``peak_flop_s`` is dense bf16, ``peak_fp8_flop_s`` dense fp8 (bf16 where the chip has none).
    ``power_cap_frac`` is the share of the board limit at which a saturated board settles (H100:
    0.985 of 700 W, measured).
    """

    name: str
    memory_gb: float
    memory_bytes: float
    tdp_w: float
    bandwidth_bytes_s: float
    peak_flop_s: float
    peak_fp8_flop_s: float
    power_w_idle_bare: float
    power_w_idle_context: float
    power_cap_frac: float
    datasheet: Mark
    idle: Mark

    def __post_init__(self) -> None:
        """Refuse values that no board has."""
        if not 0 <= self.power_w_idle_bare <= self.power_w_idle_context < self.tdp_w:
            raise BadInputError(
                f"device {self.name!r}: idle powers",
                found=f"bare {self.power_w_idle_bare} W, context {self.power_w_idle_context} W",
                allowed=f"bare <= context < {self.tdp_w} W",
            )


def _device(
    name: str,
    memory: tuple[float, float],
    tdp_w: float,
    bandwidth_gb_s: float,
    peak_tflop_s: tuple[float, float],
    idle_w: tuple[float, float],
    *,
    source: str,
    idle: Mark,
    cap_frac: float = 0.985,
) -> Device:
    """A table line; ``memory`` = (nominal GB, MiB that the driver reports), ``peak_tflop_s`` =
    dense (bf16, fp8), ``idle_w`` = (bare, with a model loaded).
    """
    return Device(
        name=name,
        memory_gb=memory[0],
        memory_bytes=memory[1] * 2**20,
        tdp_w=tdp_w,
        bandwidth_bytes_s=bandwidth_gb_s * 1e9,
        peak_flop_s=peak_tflop_s[0] * 1e12,
        peak_fp8_flop_s=peak_tflop_s[1] * 1e12,
        power_w_idle_bare=idle_w[0],
        power_w_idle_context=idle_w[1],
        power_cap_frac=cap_frac,
        datasheet=Mark(method="measured", source=source),
        idle=idle,
    )


def _measured(source: str) -> Mark:
    return Mark(method="measured", source=source)


def _assumed(source: str) -> Mark:
    return Mark(method="assumed", source=source)


_DEVICES: tuple[Device, ...] = (
    _device(
        "A100-SXM4-40GB", (40, 40960), 400, 1555, (312, 312), (50, 70),
        source="NVIDIA A100 datasheet",
        idle=_measured("bare: dcgm-exporter issue 464; context: powertrace-sim, 68-73 W (80 GB)"),
    ),
    _device(
        "A100-SXM4-80GB", (80, 81920), 400, 2039, (312, 312), (60, 70),
        source="NVIDIA A100 datasheet",
        idle=_measured("bare: 59-62 W in a public DGX log; context: powertrace-sim 68-73 W"),
    ),
    _device(
        "H100-SXM-80GB", (80, 81559), 700, 3350, (989, 1979), (70, 120),
        source="NVIDIA H100 datasheet",
        idle=_measured("context: powertrace-sim 118-126 W; bare 26-50 W lower (arXiv 2605.23918)"),
    ),
    _device(
        "H100-NVL-94GB", (94, 95830), 400, 3900, (835, 1671), (62, 112),
        source="NVIDIA H100 NVL datasheet",
        idle=_assumed("bare 60-63 W measured (TokenPowerBench); context step of the SXM board"),
    ),
    _device(
        "H200-SXM-141GB", (141, 143771), 700, 4800, (989, 1979), (75, 125),
        source="NVIDIA H200 datasheet",
        idle=_assumed("H100 plus 5 W; a public log shows about 74 W dormant"),
    ),
    _device(
        "B200-SXM-180GB", (180, 183359), 1000, 8000, (2250, 4500), (100, 160),
        source="NVIDIA DGX B200 datasheet (rounded)",
        idle=_assumed("no figure published; H100's share of the board limit, two dies"),
    ),
    _device(
        "L4-24GB", (24, 23034), 72, 300, (121, 242), (14, 28),
        source="NVIDIA L4 datasheet (dense = half of the sparse figure)",
        idle=_assumed("AD104 class; T4 measures 17 W bare"), cap_frac=0.99,
    ),
    _device(
        "L40S-48GB", (48, 46068), 350, 864, (362, 733), (33, 99),
        source="NVIDIA L40S datasheet (dense)",
        idle=_assumed("context step of 66 W measured (arXiv 2605.23918); bare assumed"),
        cap_frac=0.98,
    ),
    _device(
        "RTX-4090-24GB", (24, 24564), 450, 1008, (165.2, 330.3), (20, 55),
        source="NVIDIA Ada architecture paper (dense, fp32 accumulation)",
        idle=_assumed("desktop board, display off; context step assumed"), cap_frac=0.98,
    ),
    _device(
        "RTX-PRO-6000-96GB", (96, 97887), 600, 1792, (503.8, 1007.6), (25, 90),
        source="NVIDIA RTX PRO 6000 Blackwell datasheet (dense)",
        idle=_assumed("workstation board; context step of L40S"), cap_frac=0.98,
    ),
)  # fmt: skip

DEVICES: dict[str, Device] = {device.name: device for device in _DEVICES}
"""All known devices by name."""

_ALIASES: dict[str, str] = {
    "a100": "A100-SXM4-80GB",
    "a100-sxm4": "A100-SXM4-80GB",
    "h100": "H100-SXM-80GB",
    "h100-nvl": "H100-NVL-94GB",
    "h200": "H200-SXM-141GB",
    "b200": "B200-SXM-180GB",
    "b200-192gb": "B200-SXM-180GB",
    "l4": "L4-24GB",
    "l40s": "L40S-48GB",
    "rtx4090": "RTX-4090-24GB",
    "4090": "RTX-4090-24GB",
    "rtx6000": "RTX-PRO-6000-96GB",
    "rtxpro6000blackwell": "RTX-PRO-6000-96GB",
}


def _folded(name: str) -> str:
    """The name without case, maker, form factor, memory kind and separators: spellings meet,

    those of ``nvidia-smi`` included.
    """
    short = re.sub(r"nvidia|geforce|tensor ?core|blackwell", "", name.strip().casefold())
    return re.sub(r"sxm\d?|pcie|hbm\d?e?|(server|workstation)? edition|[\s_\-]+", "", short)


def _table() -> dict[str, Device]:
    """Every accepted spelling, folded, to its device."""
    known = {_folded(alias): DEVICES[name] for alias, name in _ALIASES.items()}
    for device in _DEVICES:
        known[_folded(device.name)] = device
        known.setdefault(_folded(re.sub(r"-\d+GB$", "", device.name)), device)
    return known


_BY_FOLDED = _table()


def device_names() -> list[str]:
    """Names of all known devices, sorted."""
    return sorted(DEVICES)


def find_device(name: str) -> Device:
    """The device called ``name``:

    full name or short (``H100``, ``A100-40GB``, ``RTX4090``), any case.

    A bare ``A100`` is the 80 GB board. Raises ``UnknownNameError`` with the nearest names.
    """
    device = _BY_FOLDED.get(_folded(name))
    if device is None:
        raise unknown_name(
            "device", name, [*DEVICES, "H100", "A100-40GB", "A100-80GB", "L4", "RTX4090"]
        )
    return device
