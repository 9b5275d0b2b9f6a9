"""The JouleSched note's experiment in its own abstract model, and what it cannot have seen.

``joulesched_study`` replays a day of 64 % chat, 28 % RAG and 8 % batch over 160 A100, 128 H100 and
32 L4 as token queues, with the chosen constants of ``joulesched_fit``, and puts each published
figure beside the one obtained. The same fleet under measured physics is the scenario ``joulesched``
of the command line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from baseload.base.errors import BadInputError
from baseload.fleet.devices import find_device
from baseload.fleet.physics import replica_type
from baseload.simulator.joulesched_fit import (
    at_rate,
    day_pieces,
    sample,
    shipped_constants,
)
from baseload.simulator.joulesched_note import (
    CARBON_PUBLISHED_KG,
    DEVICE_COUNTS,
    DEVICES,
    EPS_RATIO,
    H100_UTILIZATION,
    L4_BULK_SHARE,
    PUBLISHED,
    SAVING_FRAC,
    SCHEDULERS,
    carbon_line,
    largest_round_robin_utilization,
    largest_saving,
    mj_per_hour,
    needed_eps_ratio,
)
from baseload.simulator.joulesched_records import (
    ChosenConstants,
    ImpossibleClaim,
    JouleSchedStudy,
    Saving,
    StudyFigure,
)
from baseload.simulator.scenario import Group, fleet_capacity_per_s
from baseload.simulator.statistics import interval
from baseload.simulator.token_queues import Arrivals, QueueRun, TokenQueues, run_queues
from baseload.workload.load import TokenLoad

BOARDS = ("A100-SXM4-80GB", "H100-SXM-80GB", "L4-24GB")
DEFAULT_REQUESTS = 2_000_000
EXTRA_SCHEDULERS = ("least_eta", "joulesched_first")
"""Readings of the note's words that differ from ours: least loaded by time instead of tokens, and
ties to the first device of the list, as its listing has it. Run with the first seed only.
"""

SAVING_TOLERANCE_FRAC = 0.03
_EQUAL_SPEED = 1.0


def joulesched_study(
    *,
    seeds: int = 3,
    requests: float | None = DEFAULT_REQUESTS,
    constants: ChosenConstants | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> JouleSchedStudy:
    """The note's experiment in its own model, over seeds 0 .. ``seeds - 1``.

    ``requests`` a seed at the chosen load: a day in time lapse, or, where it is ``None`` or more
    than a day has, the whole day. ``constants``: those that ship, unless others are given.
    ``progress`` is called with the seed and the share of its requests done. Raises
    ``BadInputError`` for a count below 1 of seeds, or below 10,000 of requests (too few for a 99th
    percentile in each tier).
    """
    if seeds < 1:
        raise BadInputError("number of seeds", found=str(seeds), allowed="an integer >= 1")
    if requests is not None and not requests >= 10_000:
        raise BadInputError("requests of the study", found=str(requests), allowed=">= 10,000")
    chosen = shipped_constants() if constants is None else constants
    day = chosen.requests_per_day
    lapse = 1.0 if requests is None else max(1.0, day / requests)
    window_s = None if lapse == 1.0 else 3600.0 / lapse
    runs = [_one_seed(chosen, seed, window_s, lapse, progress) for seed in range(seeds)]
    return JouleSchedStudy(
        seeds=list(range(seeds)),
        requests=sum(float(run["round_robin"].requests.sum()) for run in runs) / seeds,
        time_lapse=lapse,
        figures=[figure for name in SCHEDULERS for figure in _figures(name, runs)],
        saving=_saving(chosen, runs),
        utilization_frac=_by_device(runs, lambda run, at: float(run.utilization_frac[at])),
        bulk_share_frac=_by_device(runs, lambda run, at: run.bulk_share_frac(at) or 0.0),
        other_readings=[figure for name in EXTRA_SCHEDULERS for figure in _figures(name, runs[:1])],
        carbon=carbon_line(),
        largest_saving=largest_saving(),
        largest_saving_without_l4=largest_saving(l4_bulk_share=None),
        needed_energy_ratio=needed_eps_ratio(),
        impossible=impossible_claims(),
        constants=chosen,
    )


Runs = dict[str, QueueRun]


def _one_seed(
    chosen: ChosenConstants,
    seed: int,
    window_s: float | None,
    lapse: float,
    progress: Callable[[int, float], None] | None,
) -> Runs:
    """All schedulers over one day's requests, made once."""
    rules = (*SCHEDULERS, *EXTRA_SCHEDULERS) if seed == 0 else SCHEDULERS
    queues = [TokenQueues(chosen.fleet, rule) for rule in rules]
    done, expected = 0, chosen.requests_per_day / lapse
    for piece in day_pieces(
        chosen.requests_per_s,
        seed=seed,
        forecast_mae_frac=chosen.fleet.forecast_mae_frac,
        window_s=window_s,
    ):
        for each in queues:
            each.feed(piece)
        done += len(piece.t_s)
        if progress is not None:
            progress(seed, min(1.0, done / expected))
    return {rule: each.result() for rule, each in zip(rules, queues, strict=True)}


FIGURES: dict[str, Callable[[QueueRun], float]] = {
    "energy_mj_per_hour": lambda run: mj_per_hour(run.energy_j, run.span_s),
    "latency_s_p50": lambda run: run.latency_s(0.5),
    "latency_s_p99": lambda run: run.latency_s(0.99),
    "miss_frac": lambda run: run.miss_frac,
    "utilization_frac_h100": lambda run: float(run.utilization_frac[DEVICES.index("H100")]),
    "bulk_share_frac_l4": lambda run: run.bulk_share_frac(DEVICES.index("L4")) or 0.0,
}


def published(scheduler: str, figure: str) -> float | None:
    """What the note gives for a figure of a scheduler; ``None`` where it says nothing."""
    if figure == "utilization_frac_h100":
        return H100_UTILIZATION.get(scheduler)
    if figure == "bulk_share_frac_l4":
        return L4_BULK_SHARE.get(scheduler)
    rows = {row.scheduler: row for row in PUBLISHED}
    value = getattr(rows[scheduler], figure) if scheduler in rows else None
    return None if value is None else float(value)


def _figures(scheduler: str, runs: Sequence[Runs]) -> list[StudyFigure]:
    """Every figure of one scheduler."""
    return [
        StudyFigure(
            scheduler=scheduler,
            figure=figure,
            published=published(scheduler, figure),
            obtained=_mean(values),
            interval=_interval(values),
        )
        for figure, of in FIGURES.items()
        for values in [[of(run[scheduler]) for run in runs]]
    ]


def _saving(chosen: ChosenConstants, runs: Sequence[Runs]) -> Saving:
    """What joulesched saves, seed by seed."""

    def against(base: str) -> list[float]:
        return [1 - run["joulesched"].energy_j / run[base].energy_j for run in runs]

    saved = against("round_robin")
    return Saving(
        published_frac=SAVING_FRAC,
        obtained_frac=_mean(saved),
        interval=_interval(saved),
        published_against_least_loaded_frac=1
        - PUBLISHED[2].energy_mj_per_hour / PUBLISHED[1].energy_mj_per_hour,
        obtained_against_least_loaded_frac=_mean(against("least_loaded")),
        idle_frac=_mean([_saving_with_idle(chosen, run) for run in runs]),
        least_eta_frac=1 - runs[0]["least_eta"].energy_j / runs[0]["round_robin"].energy_j,
        within_tolerance=abs(_mean(saved) - SAVING_FRAC) <= SAVING_TOLERANCE_FRAC,
    )


def _saving_with_idle(chosen: ChosenConstants, run: Runs) -> float:
    """The saving when empty queues draw the share of full power that measured boards draw."""
    energy_j = {}
    for name in ("round_robin", "joulesched"):
        energy_j[name] = run[name].energy_j
        for group, board, used in zip(
            chosen.fleet.groups, BOARDS, run[name].utilization_frac, strict=True
        ):
            spec = find_device(board)
            full_w = group.energy_j_per_token * group.tokens_per_s
            idle_w = full_w * spec.power_w_idle_context / spec.tdp_w
            energy_j[name] += group.devices * (1 - float(used)) * run[name].span_s * idle_w
    return 1 - energy_j["joulesched"] / energy_j["round_robin"]


def _by_device(
    runs: Sequence[Runs], of: Callable[[QueueRun, int], float]
) -> dict[str, dict[str, float]]:
    """A figure by scheduler and device, mean over seeds."""
    return {
        scheduler: {
            device: _mean([of(run[scheduler], at) for run in runs])
            for at, device in enumerate(DEVICES)
        }
        for scheduler in SCHEDULERS
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the mean; ``None`` with one value."""
    if len(values) < 2:
        return None
    low, high = interval(values)
    return low, high


def impossible_claims() -> list[ImpossibleClaim]:
    """The note's statements that cannot hold, each against its bound."""
    ceiling = _ceiling_mj_per_hour()
    speeds = measured_speeds()
    carbon = carbon_line()
    round_robin, _, joulesched = PUBLISHED
    boards = "power limits of the boards (data sheets; 160 x 400, 128 x 700, 32 x 72 W)"
    drawn = "GPUs cannot draw more than their power limit, all of them, all day"
    rows = [
        ("fleet energy under round robin", "MJ/h", round_robin.energy_mj_per_hour, ceiling, "most",
         drawn, boards),
        ("fleet energy under JouleSched", "MJ/h", joulesched.energy_mj_per_hour, ceiling, "most",
         drawn, boards),
        ("CO2 saved in a year, from its own 464 MJ/h", "t", CARBON_PUBLISHED_KG / 1e3,
         carbon.mass_kg / 1e3, "exact",
         "464 MJ/h / 3.6 x 8,760 h x 0.42 kg/kWh; without the division by 3.6 it is the note's",
         "arithmetic: 1 kWh is 3.6 MJ"),
        ("CO2 saved in a year, from what the boards can draw", "t", CARBON_PUBLISHED_KG / 1e3,
         carbon_line(SAVING_FRAC * ceiling).mass_kg / 1e3, "most",
         "24.8 % of the fleet at its power limits all year", boards),
        ("saving at H100 utilisation 72 to 89 % and 49 % of bulk on L4", "%", 100 * SAVING_FRAC,
         100 * largest_saving().saving_frac, "most",
         f"joules per token that differ by at most {EPS_RATIO[1]:g}; the rest is shares of tokens",
         "linear program over the note's own statements (largest_saving)"),
        ("round robin's bulk share on L4", "%", 100 * L4_BULK_SHARE["round_robin"],
         100 * DEVICE_COUNTS[2] / sum(DEVICE_COUNTS), "exact",
         "round robin gives each of 320 devices the same; 32 of them are L4", "counting"),
        ("H100 utilisation under round robin", "%", 100 * H100_UTILIZATION["round_robin"],
         100 * largest_round_robin_utilization(speeds), "most",
         f"equal shares fill the slowest device first: an L4 serves {speeds[2] / speeds[1]:.3f}, "
         f"an A100 {speeds[0] / speeds[1]:.2f} of an H100's requests",
         "Llama-3.1-8B on the three boards, modelled by the eight numbers, lengths of the mix"),
        ("median latency, round robin over least loaded", "ratio",
         round_robin.latency_s_p50 / PUBLISHED[1].latency_s_p50, _waiting_ratio(), "least",
         "72 % busy first-in-first-out queues without choice wait; equal speeds, the mildest case",
         "token queues, one seed"),
    ]  # fmt: skip
    return [
        ImpossibleClaim(
            claim=claim,
            unit=unit,
            claimed=claimed,
            possible=possible,
            bound=bound,
            ratio=claimed / possible,
            reason=reason,
            source=source,
        )
        for claim, unit, claimed, possible, bound, reason, source in rows
    ]


def _ceiling_mj_per_hour() -> float:
    """All boards at their power limit [MJ/h]."""
    power_w = sum(
        count * find_device(board).tdp_w for count, board in zip(DEVICE_COUNTS, BOARDS, strict=True)
    )
    return mj_per_hour(power_w * 3600.0, 3600.0)


def measured_speeds() -> tuple[float, float, float]:
    """Requests per second of the mix that one A100, H100 and L4 complete under measured physics,
    with Llama-3.1-8B and all seats taken.
    """
    load = TokenLoad(requests_per_s=1.0, input_tokens_per_s=2740.0, output_tokens_per_s=254.0)
    a100, h100, l4 = (
        fleet_capacity_per_s(
            (
                Group(
                    kind=replica_type(model="meta-llama/Llama-3.1-8B-Instruct", device=board),
                    replicas=1,
                ),
            ),
            load,
        )
        for board in BOARDS
    )
    return a100, h100, l4


def _waiting_ratio() -> float:
    """Median latency of round robin over least loaded at 72 % on devices of equal speed."""
    taken = sample()
    fleet = shipped_constants().fleet
    speed = fleet.groups[1].tokens_per_s
    groups = tuple(
        msgspec.structs.replace(group, tokens_per_s=speed * _EQUAL_SPEED) for group in fleet.groups
    )
    equal = msgspec.structs.replace(fleet, groups=groups)
    rate = H100_UTILIZATION["round_robin"] * fleet.devices * speed / taken.mean_tokens
    arrivals: Arrivals = at_rate(taken, rate)
    medians = [
        run_queues(equal, rule, [arrivals]).latency_s(0.5)
        for rule in ("round_robin", "least_loaded")
    ]
    return medians[0] / medians[1]
