"""What the JouleSched note says (clawrxiv 2604.02034, version 1), and what its own words allow.

Published figures, the arithmetic of its carbon line, and the largest saving that its formulas can
give under its own utilisation figures: a small linear program. Nothing here is simulated.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import msgspec
import numpy as np

from baseload.base.errors import BadInputError
from baseload.base.units import J_PER_KWH, J_PER_MJ, S_PER_HOUR, kg_from_g
from baseload.simulator.joulesched_records import CarbonLine, LargestSaving

DEVICES = ("A100", "H100", "L4")
DEVICE_COUNTS = (160, 128, 32)
MIX = {"chat": 0.64, "rag": 0.28, "batch": 0.08}
SCHEDULERS = ("round_robin", "least_loaded", "joulesched")
EPS_RATIO = (2.0, 4.0)
"""Section 1: the devices "differ by 2-4x in energy-per-token"."""

H100_UTILIZATION = {"round_robin": 0.72, "joulesched": 0.89}
L4_BULK_SHARE = {"round_robin": 0.12, "joulesched": 0.49}
CARBON_G_PER_KWH = 420.0
CARBON_PUBLISHED_KG = 1_710e3
HOURS_PER_YEAR = 8760.0


class NoteRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table in section 5."""

    scheduler: str
    energy_mj_per_hour: float
    latency_s_p50: float
    latency_s_p99: float
    miss_frac: float


PUBLISHED = (
    NoteRow(
        scheduler="round_robin",
        energy_mj_per_hour=1872,
        latency_s_p50=0.412,
        latency_s_p99=1.830,
        miss_frac=0.009,
    ),
    NoteRow(
        scheduler="least_loaded",
        energy_mj_per_hour=1854,
        latency_s_p50=0.388,
        latency_s_p99=1.704,
        miss_frac=0.006,
    ),
    NoteRow(
        scheduler="joulesched",
        energy_mj_per_hour=1408,
        latency_s_p50=0.401,
        latency_s_p99=1.721,
        miss_frac=0.009,
    ),
)

SAVING_FRAC = 1 - PUBLISHED[2].energy_mj_per_hour / PUBLISHED[0].energy_mj_per_hour


def carbon_line(saving_mj_per_hour: float | None = None) -> CarbonLine:
    """Section 6 done again for a saving [MJ/h], by default the note's own 464 MJ/h.

    A year is 8,760 h at the mean load, as in the note.
    """
    if saving_mj_per_hour is None:
        saving_mj_per_hour = PUBLISHED[0].energy_mj_per_hour - PUBLISHED[2].energy_mj_per_hour
    year = saving_mj_per_hour * HOURS_PER_YEAR
    return CarbonLine(
        saving_mj_per_hour=saving_mj_per_hour,
        intensity_g_per_j=CARBON_G_PER_KWH / J_PER_KWH,
        mass_kg=kg_from_g(year * J_PER_MJ / J_PER_KWH * CARBON_G_PER_KWH),
        mass_kg_unconverted=kg_from_g(year * CARBON_G_PER_KWH),
        published_kg=CARBON_PUBLISHED_KG,
    )


def largest_saving(
    *,
    eps_ratio: float = EPS_RATIO[1],
    utilization_from: float = H100_UTILIZATION["round_robin"],
    utilization_to: float = H100_UTILIZATION["joulesched"],
    l4_bulk_share: float | None = L4_BULK_SHARE["joulesched"],
    bulk_token_frac: float = MIX["batch"],
    counts: Sequence[int] = DEVICE_COUNTS,
) -> LargestSaving:
    """The largest saving against round robin under the note's own statements.

    Energy is ``sum eps_n tokens_n``, so only the shares of tokens matter. Round robin gives each
    device the same share; the H100s go from one utilisation to the other, which fixes their share;
    the L4s keep at least ``l4_bulk_share`` of bulk (``None``: nothing said), which is
    ``bulk_token_frac`` of all tokens; no device is faster than an H100 or busier than always;
    joules per token differ by ``eps_ratio`` at most. For given joules per token the best shares
    are a linear program, and the saving is largest where the joules are at an end of their range.
    Raises ``BadInputError`` for a ratio below 1 or utilisations that are no shares.
    """
    if not eps_ratio >= 1:
        raise BadInputError("ratio of joules per token", found=str(eps_ratio), allowed=">= 1")
    if not 0 < utilization_from <= utilization_to <= 1:
        span = f"{utilization_from} to {utilization_to}"
        raise BadInputError("utilisation of the H100s", found=span, allowed="0 < from <= to <= 1")
    even = np.asarray(counts, np.float64) / sum(counts)
    most = even / utilization_from
    h100 = float(even[1] * utilization_to / utilization_from)
    l4 = (l4_bulk_share or 0.0) * bulk_token_frac
    bounds = [(0.0, float(most[0])), (h100, h100), (l4, float(most[2]))]
    best: LargestSaving | None = None
    for eps in itertools.product((1.0, float(eps_ratio)), repeat=3):
        found = _best_shares(np.array(eps), even, bounds)
        if found is not None and (best is None or found.saving_frac > best.saving_frac):
            best = found
    if best is None:
        found_text = f"{h100:.3f} of the tokens on the H100s, at most {most.sum() - most[1]:.3f}"
        raise BadInputError("utilisation of the H100s", found=found_text, allowed="a full load")
    return best


def _best_shares(
    eps: np.ndarray, even: np.ndarray, bounds: list[tuple[float, float]]
) -> LargestSaving | None:
    """The shares of least energy for given joules per token; ``None`` where no shares fit."""
    from scipy.optimize import linprog

    answer = linprog(eps, A_eq=np.ones((1, 3)), b_eq=[1.0], bounds=bounds)
    if not answer.success:
        return None
    return LargestSaving(
        saving_frac=1 - float(answer.fun) / float(eps @ even),
        round_robin_shares=(float(even[0]), float(even[1]), float(even[2])),
        shares=(float(answer.x[0]), float(answer.x[1]), float(answer.x[2])),
        energy_ratios=(float(eps[0] / eps[1]), 1.0, float(eps[2] / eps[1])),
    )


def needed_eps_ratio(
    saving_frac: float = SAVING_FRAC, *, l4_bulk_share: float | None = L4_BULK_SHARE["joulesched"]
) -> float | None:
    """How much joules per token would have to differ for ``largest_saving`` to reach a saving;
    ``None`` where no ratio does.
    """

    def reached(ratio: float) -> bool:
        most = largest_saving(eps_ratio=ratio, l4_bulk_share=l4_bulk_share)
        return most.saving_frac >= saving_frac

    low, high = 1.0, 1e6
    if not reached(high):
        return None
    for _ in range(60):
        middle = (low * high) ** 0.5
        enough = reached(middle)
        low, high = (low, middle) if enough else (middle, high)
    return high


def largest_round_robin_utilization(speeds: Sequence[float]) -> float:
    """The highest H100 utilisation at which round robin overloads nobody.

    ``speeds`` of A100, H100 and L4 in any common unit. Every device gets the same tokens, so
    utilisation is inversely proportional to speed and the slowest device fills first.
    """
    return float(min(speeds) / speeds[1])


def mj_per_hour(energy_j: float, span_s: float) -> float:
    """A rate of energy in the note's unit [MJ/h]."""
    return energy_j / J_PER_MJ / (span_s / S_PER_HOUR)
