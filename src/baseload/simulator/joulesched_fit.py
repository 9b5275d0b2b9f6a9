"""Constants for the JouleSched note's abstract model, which it does not give: chosen, and how.

The note names neither speeds nor joules per token, deadlines, volume or gains. ``fit_constants``
searches them, deterministically and within its own words, for the least distance to what it
publishes. The result ships as data; ``python bench/joulesched_constants.py`` makes it again.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from baseload.base.streams import stream
from baseload.base.units import S_PER_DAY
from baseload.simulator.joulesched_note import (
    DEVICE_COUNTS,
    DEVICES,
    EPS_RATIO,
    H100_UTILIZATION,
    L4_BULK_SHARE,
    MIX,
    PUBLISHED,
    SCHEDULERS,
    mj_per_hour,
)
from baseload.simulator.joulesched_records import (
    AbstractFleet,
    ChosenConstants,
    Control,
    DeviceGroup,
)
from baseload.simulator.token_queues import (
    BULK,
    INTERACTIVE,
    Arrivals,
    QueueRun,
    forecast,
    forecast_sigma,
    run_queues,
)
from baseload.workload.generator import generate

HOURS = 24
UNITS = {"energy": 0.01, "latency": 0.05, "miss": 0.002, "utilization": 0.03, "bulk": 0.03}
"""One unit of distance: 1 % of energy, 5 % of a latency, 0.2, 3 and 3 points of the shares."""

_SAMPLE_RATE_PER_S = 450.0
_SAMPLE_WINDOW_S = 20.0


@functools.cache
def shipped_constants() -> ChosenConstants:
    """The constants that ship in the package, as ``fit_constants`` found them."""
    file = resources.files("baseload.simulator") / "data" / "joulesched_constants.json"
    return msgspec.json.decode(file.read_bytes(), type=ChosenConstants)


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of the search: every hour of the day by 20 seconds, at 450 requests/s."""

    arrivals: Arrivals
    rate_per_s: float
    mean_tokens: float


def day_pieces(
    requests_per_s: float,
    *,
    seed: int,
    forecast_mae_frac: float,
    window_s: float | None = None,
) -> Iterator[Arrivals]:
    """A day of the note's mix at a mean rate: whole (``window_s`` ``None``), or in time lapse.

    In time lapse each hour is represented by ``window_s`` seconds that begin at the full hour, at
    the full rate, with randomness of its own; the windows follow each other without a gap. The
    load on the queues is that of the day, only its slow drift passes faster.
    """
    noise = stream(seed, "joulesched", "forecast")
    sigma = forecast_sigma(forecast_mae_frac)
    for begin_s, source in _sources(requests_per_s, seed, window_s):
        for piece in source.chunks():
            tokens = piece.output_tokens.astype(np.float64)
            bulk = np.array([BULK if name == "batch" else INTERACTIVE for name in piece.classes])
            yield Arrivals(
                t_s=piece.t_us / 1e6 + begin_s,
                tokens=tokens,
                estimate=forecast(tokens, sigma, noise.standard_normal(len(tokens))),
                tier=bulk[piece.class_code].astype(np.int64),
            )


def _sources(rate: float, seed: int, window_s: float | None) -> Iterator[tuple[float, Any]]:
    """Start [s] and requests of each part of the day."""
    if window_s is None or window_s * HOURS >= S_PER_DAY:
        yield 0.0, generate(seed=seed, span_s=S_PER_DAY, mean_rate_per_s=rate, mix=MIX)
        return
    for hour in range(HOURS):
        source = generate(
            seed=seed * HOURS + hour,
            span_s=window_s,
            mean_rate_per_s=rate,
            mix=MIX,
            start_hour=float(hour),
        )
        yield hour * window_s, source


@functools.cache
def sample(forecast_mae_frac: float = 0.12) -> Sample:
    """The requests that the search replays, made once."""
    pieces = list(
        day_pieces(
            _SAMPLE_RATE_PER_S,
            seed=0,
            forecast_mae_frac=forecast_mae_frac,
            window_s=_SAMPLE_WINDOW_S,
        )
    )
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(piece, name) for piece in pieces])
        for name in ("t_s", "tokens", "estimate", "tier")
    }
    return Sample(
        arrivals=Arrivals(**columns),
        rate_per_s=len(columns["t_s"]) / (HOURS * _SAMPLE_WINDOW_S),
        mean_tokens=float(columns["tokens"].mean()),
    )


def at_rate(taken: Sample, requests_per_s: float) -> Arrivals:
    """The sample's requests, faster or slower: the same order, another clock."""
    arrivals = taken.arrivals
    return msgspec.structs.replace(arrivals, t_s=arrivals.t_s * (taken.rate_per_s / requests_per_s))


RANGES: dict[str, tuple[float, float]] = {
    "h100_utilization": (0.2, 1.0),
    "h100_tokens_per_s": (300.0, 2000.0),
    "a100_speed": (0.25, 1.0),
    "l4_speed": (0.1, 1.0),
    "a100_energy": (1.0, 4.0),
    "l4_energy": (0.5, 4.0),
    "deadline_s": (1.0, 4.0),
    "bulk_deadline": (1.0, 100.0),
    "kp": (10.0, 3000.0),
    "ki": (0.1, 300.0),
}
"""Where the search looks; logarithmic but for the utilisation, which is that under round robin.

Speeds: of the A100 relative to the H100, of the L4 relative to the A100. Energies per token
relative to the H100. The bulk deadline in interactive ones. Gains in joules of a mean request on an
H100, per second.
"""


def constants_at(place: NDArray[np.float64], taken: Sample) -> tuple[AbstractFleet, float]:
    """The fleet and the request rate [1/s] of a point of the unit cube over ``RANGES``; joules per
    token relative to the H100.
    """
    value = {
        name: low + (high - low) * x if name == "h100_utilization" else low * (high / low) ** x
        for x, (name, (low, high)) in zip(map(float, place), RANGES.items(), strict=True)
    }
    speed = value["h100_tokens_per_s"]
    speeds = (speed * value["a100_speed"], speed, speed * value["a100_speed"] * value["l4_speed"])
    energies = (value["a100_energy"], 1.0, value["l4_energy"])
    groups = tuple(
        DeviceGroup(device=name, devices=count, tokens_per_s=mu, energy_j_per_token=eps)
        for name, count, mu, eps in zip(DEVICES, DEVICE_COUNTS, speeds, energies, strict=True)
    )
    fleet = AbstractFleet(
        groups=groups,
        deadline_s=(value["deadline_s"], value["deadline_s"] * value["bulk_deadline"]),
        control=Control(
            kp_j_per_s=value["kp"] * taken.mean_tokens,
            ki_j_per_s=value["ki"] * taken.mean_tokens,
            start_j_per_s=10.0 * taken.mean_tokens,
        ),
    )
    return fleet, value["h100_utilization"] * sum(DEVICE_COUNTS) * speed / taken.mean_tokens


def scaled(fleet: AbstractFleet, factor: float) -> AbstractFleet:
    """The same fleet with all joules (and what weighs against them) multiplied."""
    groups = tuple(
        msgspec.structs.replace(group, energy_j_per_token=group.energy_j_per_token * factor)
        for group in fleet.groups
    )
    control = msgspec.structs.replace(
        fleet.control,
        kp_j_per_s=fleet.control.kp_j_per_s * factor,
        ki_j_per_s=fleet.control.ki_j_per_s * factor,
        start_j_per_s=fleet.control.start_j_per_s * factor,
    )
    return msgspec.structs.replace(fleet, groups=groups, control=control)


def run_all(fleet: AbstractFleet, arrivals: Arrivals) -> dict[str, QueueRun]:
    """The note's three schedulers over the same arrivals."""
    return {rule: run_queues(fleet, rule, [arrivals]) for rule in SCHEDULERS}


def errors(runs: dict[str, QueueRun]) -> dict[str, float]:
    """How far each published figure is missed, in units of ``UNITS``; round robin's energy is
    taken as the scale of all joules and so is always met.
    """
    found = {}
    base = runs["round_robin"].energy_j / PUBLISHED[0].energy_mj_per_hour
    for row in PUBLISHED:
        run, name = runs[row.scheduler], row.scheduler
        ratio = run.energy_j / base / row.energy_mj_per_hour
        found[f"{name} energy"] = math.log(ratio) / UNITS["energy"]
        for frac, published in ((0.5, row.latency_s_p50), (0.99, row.latency_s_p99)):
            apart = math.log(run.latency_s(frac) / published)
            found[f"{name} p{100 * frac:g}"] = apart / UNITS["latency"]
        found[f"{name} misses"] = (run.miss_frac - row.miss_frac) / UNITS["miss"]
    h100, l4 = DEVICES.index("H100"), DEVICES.index("L4")
    for name, published in H100_UTILIZATION.items():
        apart = float(runs[name].utilization_frac[h100]) - published
        found[f"{name} H100 utilisation"] = apart / UNITS["utilization"]
    for name, published in L4_BULK_SHARE.items():
        share = runs[name].bulk_share_frac(l4)
        found[f"{name} L4 bulk share"] = ((share or 0.0) - published) / UNITS["bulk"]
    return found


def distance(runs: dict[str, QueueRun]) -> float:
    """Sum over figures of ``2 (sqrt(1 + e^2) - 1)``, ``e`` the error in units: quadratic near 0,
    linear far off, so that a figure that cannot be met does not spoil those that can.
    """
    return sum(2 * (math.sqrt(1 + error**2) - 1) for error in errors(runs).values())


def fit_constants(
    *,
    rounds: int = 40,
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> ChosenConstants:
    """Constants of least distance to the note, by differential evolution from a fixed seed.

    Held to the note's words: no device faster than an H100, joules per token that differ by 2 to 4
    between the best and the worst device, an A100 no better than an H100, no bulk deadline before
    the interactive one. All joules are then scaled so that round robin draws what the note says.
    ``rounds`` of about 60 settings each; the same call gives the same constants on one machine.
    ``progress`` is called after each round with its number and the least distance so far.
    """
    from scipy.optimize import differential_evolution

    taken = sample()
    tried, turn, least = 0, 0, math.inf

    def far(place: NDArray[np.float64]) -> float:
        nonlocal tried, least
        tried += 1
        fleet, rate = constants_at(place, taken)
        spread = [group.energy_j_per_token for group in fleet.groups]
        ratio = max(spread) / min(spread)
        outside = max(EPS_RATIO[0] / ratio, ratio / EPS_RATIO[1]) - 1
        if outside > 1e-9:
            return 1000.0 + outside
        found = distance(run_all(fleet, at_rate(taken, rate)))
        least = min(least, found)
        return found

    def tell(*_: Any, **__: Any) -> None:
        nonlocal turn
        turn += 1
        if progress is not None:
            progress(turn, least)

    answer = differential_evolution(
        far,
        [(0.0, 1.0)] * len(RANGES),
        maxiter=rounds,
        popsize=6,
        init="sobol",
        seed=seed,
        polish=False,
        tol=0.0,
        callback=tell,
    )
    fleet, rate = constants_at(answer.x, taken)
    run = run_queues(fleet, "round_robin", [at_rate(taken, rate)])
    factor = PUBLISHED[0].energy_mj_per_hour / mj_per_hour(run.energy_j, run.span_s)
    return ChosenConstants(
        fleet=scaled(fleet, factor),
        requests_per_s=rate,
        mean_tokens=taken.mean_tokens,
        distance=float(answer.fun),
        evaluations=tried,
    )
