"""Makes simulations that look like real ones, and odd ones, without running the simulator."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec
import numpy as np
import pytest

from baseload.simulator.results import (
    SCHEMA,
    ControlSeries,
    Curve,
    FleetRow,
    PolicyResult,
    Quantiles,
    Series,
    Simulation,
    TraceInfo,
)
from baseload.simulator.sweeps import Sweep, sweep_of

Record = TypeVar("Record", PolicyResult, Simulation)

SPAN_S = 3501.0
DEVICES = ("A100-80GB", "H100-80GB", "L4")
NONE = Quantiles(p50=None, p95=None, p99=None)


def make_policy(
    name: str = "round-robin",
    *,
    saving_frac: float = 0.0,
    seed: int = 0,
    requests: int = 19366,
    refused: int = 0,
    slower: float = 1.0,
    seeds: int = 1,
    bins: int = 58,
) -> PolicyResult:
    """A policy that saves part of 240 MJ/h and whose answers take ``slower`` times as long."""
    rng = np.random.default_rng(seed)
    completed = requests - refused
    power_w = _power(rng, saving_frac, bins)
    by_state = {state: sum(values) * SPAN_S / bins for state, values in power_w.items()}
    energy_j = sum(by_state.values())
    ttft, e2e = _latency(rng, 0.18 * slower, 0.9), _latency(rng, 9.0 * slower, 0.7)
    answered = completed > 0
    interval = {}
    if seeds > 1:
        interval = {"energy_j": [energy_j * 0.985, energy_j * 1.015], "miss_frac": [0.002, 0.006]}
    return PolicyResult(
        policy=name,
        parameters={"park_after_s": 30.0 * seed, "seed": seed} if seed else {},
        energy_j=energy_j,
        energy_mj_per_hour=energy_j / 1e6 / (SPAN_S / 3600),
        idle_energy_j=by_state["idle"],
        active_energy_j=by_state["active"],
        energy_j_per_request=energy_j / completed if answered else None,
        energy_j_per_output_token=energy_j / (completed * 211) if answered else None,
        ttft_s=_quantiles(ttft) if answered else NONE,
        tpot_s=Quantiles(p50=0.021 * slower, p95=0.034 * slower, p99=0.047 * slower)
        if answered
        else NONE,
        e2e_s=_quantiles(e2e) if answered else NONE,
        miss_frac=min(1.0, 0.004 * slower**2 + refused / requests) if requests else None,
        miss_frac_by_tier={"interactive": 0.004 * slower**2, "bulk": 0.0 if requests else None},
        completed=completed,
        refused=refused,
        refused_by_reason={"too_long": refused} if refused else {},
        utilization_by_device=dict(zip(DEVICES, (0.51, 0.64, 0.33), strict=True)),
        bulk_share_by_device=dict(zip(DEVICES, (0.0, 0.12, 0.4), strict=True)),
        mean_batch_by_device=dict(zip(DEVICES, (4.2, 7.9, None), strict=True)),
        carbon_kg=None,
        ledger_residual_j=3.1e-6,
        requests_per_cpu_s=1.3e6,
        cpu_s=0.015,
        interval=interval,
        goodput_per_s=completed / SPAN_S,
        output_tokens=completed * 211,
        input_tokens=completed * 1155,
        ttft_s_by_tier={"interactive": _quantiles(ttft), "bulk": NONE},
        energy_j_by_state=by_state,
        energy_j_by_device={d: energy_j * w for d, w in zip(DEVICES, (0.4, 0.5, 0.1), strict=True)},
        energy_j_by_model={"llama-3.1-8b": energy_j},
        energy_j_by_device_and_state={
            d: {state: value * w for state, value in by_state.items()}
            for d, w in zip(DEVICES, (0.4, 0.5, 0.1), strict=True)
        },
        ttft_curve=_curve(ttft) if answered else Curve(x=[], frac=[]),
        e2e_curve=_curve(e2e) if answered else Curve(x=[], frac=[]),
        series=Series(
            bin_s=SPAN_S / bins,
            t_s=[SPAN_S / bins * index for index in range(bins)],
            power_w=power_w,
            in_flight=[80.0] * bins,
            arrivals_per_s=[5.5] * bins,
            replicas=_replicas(saving_frac, bins),
            miss_frac=[None, *(0.004 * slower**2 * (1 + at % 7) for at in range(bins - 1))],
        ),
        energy_over_bound=energy_j / 9.1e7,
        parked_hours=12.0 * saving_frac,
        wakes=round(300 * saving_frac),
        lambda_by_tier={"interactive": 12.5, "bulk": 0.0} if saving_frac else {},
        energy_j_by_cause={
            "weight_stream": 0.6 * by_state["active"] * (1 - saving_frac / 2),
            "tokens": by_state["active"] * (1 - 0.6 * (1 - saving_frac / 2)),
            "rest": energy_j - by_state["active"],
        },
        energy_j_by_tier={
            "interactive": 0.8 * by_state["active"],
            "bulk": 0.2 * by_state["active"],
        },
        control=_diary(bins) if saving_frac else None,
    )


def _replicas(saving_frac: float, bins: int) -> dict[str, list[float]]:
    """Of 32 replicas, those that a thriftier policy lets sleep."""
    parked = 32 * saving_frac
    return {
        "active": [20.0 * (1 - saving_frac)] * bins,
        "idle": [32 - parked - 20.0 * (1 - saving_frac)] * bins,
        "parked": [parked] * bins,
        "off": [0.0] * bins,
        "waking": [0.0] * bins,
    }


def _diary(entries: int) -> ControlSeries:
    """A controller that weighs lateness more and more in one tier only."""
    return ControlSeries(
        t_s=[60.0 * at for at in range(entries)],
        lambda_by_tier={
            "interactive": [1.0 + at for at in range(entries)],
            "bulk": [0.0] * entries,
        },
        open_by_type={"h100-8b": [8 - at % 3 for at in range(entries)]},
        held=[at % 5 for at in range(entries)],
    )


def _power(rng: np.random.Generator, saving_frac: float, bins: int) -> dict[str, list[float]]:
    wave = 1.0 + 0.25 * np.sin(np.linspace(0, 9, bins)) + 0.08 * rng.standard_normal(bins)
    active = 42_000.0 * wave * (1 - 0.4 * saving_frac)
    idle = np.clip(66_000.0 - active, 2_000, None) * (1 - 1.6 * saving_frac)
    parked = np.full(bins, 3_000.0 * saving_frac)
    waking = 900.0 * saving_frac * np.abs(rng.standard_normal(bins))
    states = {"active": active, "idle": idle, "parked": parked, "off": parked * 0, "waking": waking}
    return {
        state: [float(value) for value in np.clip(values, 0, None)]
        for state, values in states.items()
    }


def _latency(rng: np.random.Generator, median_s: float, sigma: float) -> np.ndarray:
    return np.sort(median_s * np.exp(sigma * rng.standard_normal(4000)))


def _quantiles(sample: np.ndarray) -> Quantiles:
    p50, p95, p99 = (float(np.quantile(sample, q)) for q in (0.5, 0.95, 0.99))
    return Quantiles(p50=p50, p95=p95, p99=p99)


def _curve(sample: np.ndarray) -> Curve:
    keep = sample[:: max(1, len(sample) // 200)]
    frac = (np.arange(len(keep)) + 1) / len(keep)
    return Curve(x=[float(x) for x in keep], frac=[float(f) for f in frac])


def make_simulation(policies: list[PolicyResult] | None = None, **changes: object) -> Simulation:
    """The Azure conversation trace over a mixed fleet, as three policies might do it."""
    if policies is None:
        policies = [
            make_policy("round-robin"),
            make_policy("least-loaded", saving_frac=0.03, seed=1, slower=0.9),
            make_policy("pack-and-park", saving_frac=0.42, seed=2, slower=1.35),
        ]
    fields: dict[str, object] = {
        "schema": SCHEMA,
        "version": "0.1.0",
        "scenario": "azure-chat",
        "seeds": [0],
        "trace": TraceInfo(name="azure-2023-conv", sha256="ab" * 32, requests=19366, span_s=SPAN_S),
        "fleet": make_fleet(),
        "bound_energy_j": 9.1e7,
        "policies": policies,
        "tiers": {
            "interactive": {"ttft_s": 2.0, "tpot_s": 0.06, "e2e_s": None, "target_miss_frac": 0.01},
            "bulk": {"ttft_s": None, "tpot_s": None, "e2e_s": 600.0, "target_miss_frac": 0.01},
        },
        "offered_load_frac": 0.43,
        "notes": ["2 prompts were longer than any replica takes and were refused."],
    }
    return Simulation(**{**fields, **changes})  # type: ignore[arg-type]


def make_fleet() -> list[FleetRow]:
    """Three types of replica, each with its own method mark."""
    rows = (
        ("h100-8b", "H100-80GB", 8, "measured", 0.056),
        ("a100-8b", "A100-80GB", 16, "modelled", 0.09),
        ("l4-8b", "L4", 8, "assumed", 0.35),
    )
    return [
        FleetRow(
            type=kind,
            device=device,
            model="llama-3.1-8b",
            gpus=n,
            replicas=n,
            method=method,
            error_frac=error,
        )
        for kind, device, n, method, error in rows
    ]


def odd_simulations() -> dict[str, Simulation]:
    """The edge cases by name: every output must cope with each of them."""
    no_work = [make_policy(name, requests=0) for name in ("a", "b")]
    shirker = make_policy("shirker", saving_frac=0.6, refused=9000)
    hostile = '<script>alert("x")</script> & [bold]$\\alpha$ 東京 " onload="evil()'
    many = [
        make_policy(f"policy-{n}", saving_frac=0.05 * n, seed=n, slower=1 + 0.1 * n)
        for n in range(10)
    ]
    bare = make_policy("bare")
    bare = replace_fields(
        bare, energy_j_by_state={}, series=None, utilization_by_device={}, energy_j_by_device={},
        mean_batch_by_device={}, bulk_share_by_device={}, ttft_curve=Curve(x=[], frac=[]),
        e2e_curve=Curve(x=[], frac=[]), miss_frac=None, miss_frac_by_tier={},
        energy_over_bound=None, energy_j_by_cause={}, energy_j_by_tier={}, control=None,
    )  # fmt: skip
    no_series = Series(bin_s=60.0, t_s=[], power_w={}, in_flight=[], arrivals_per_s=[])
    nothing = replace_fields(
        make_policy("round-robin", requests=0),
        energy_j=0.0, energy_mj_per_hour=0.0, idle_energy_j=0.0, active_energy_j=0.0,
        energy_j_by_state={}, series=no_series,
    )  # fmt: skip
    empty = TraceInfo(name="empty", sha256="", requests=0, span_s=0.0)
    return {
        "one-policy": make_simulation([make_policy()]),
        "ten-policies": make_simulation(many),
        "equal-names": make_simulation([make_policy("same", seed=n) for n in range(3)]),
        "all-refused": make_simulation([make_policy(n, refused=19366) for n in ("a", "b")]),
        "one-refuses": make_simulation([make_policy(), shirker]),
        "no-requests": make_simulation(no_work, trace=empty),
        "nothing-at-all": make_simulation(
            [nothing], trace=empty, fleet=[], tiers={}, bound_energy_j=None
        ),
        "bare": make_simulation([bare, bare], tiers={}, bound_energy_j=None, notes=[]),
        "seeds": make_simulation(
            [make_policy(seeds=5), make_policy("pack", saving_frac=0.4, seeds=5, seed=3, slower=3)],
            seeds=[0, 1, 2, 3, 4],
        ),
        "hostile": make_simulation(
            [make_policy(hostile), make_policy(hostile * 3, saving_frac=0.2, seed=1)],
            scenario=hostile, notes=[hostile, "see </style><img src=x>"],
            trace=TraceInfo(name=hostile, sha256=hostile, requests=3, span_s=1.0),
        ),
    }  # fmt: skip


def replace_fields(record: Record, **changes: object) -> Record:
    """A copy of ``record`` with some fields changed."""
    return msgspec.structs.replace(record, **changes)


@pytest.fixture(name="make_policy")
def _make_policy() -> Callable[..., PolicyResult]:
    return make_policy


@pytest.fixture(name="make_simulation")
def _make_simulation() -> Callable[..., Simulation]:
    return make_simulation


@pytest.fixture(name="replace_fields")
def _replace_fields() -> Callable[..., PolicyResult]:
    return replace_fields


@pytest.fixture(params=sorted(odd_simulations()))
def odd(request: pytest.FixtureRequest) -> Simulation:
    """Each edge case in turn."""
    return odd_simulations()[request.param]


def make_sweep(simulations: dict[float, Simulation] | None = None, **changes: object) -> Sweep:
    """Three policies at three loads, the last of them more than the fleet completes."""
    if simulations is None:
        simulations = {
            load_frac: make_simulation(
                [
                    make_policy("round-robin", slower=1 + load_frac),
                    make_policy("least-loaded", saving_frac=0.03, seed=1, slower=0.9 + load_frac),
                    make_policy("pack-and-park", saving_frac=0.4 * (1 - load_frac / 2), seed=2),
                ],
                offered_load_frac=load_frac,
                notes=[],
            )
            for load_frac in (0.3, 0.6, 1.2)
        }
    return msgspec.structs.replace(sweep_of(simulations), **changes)


def odd_sweeps() -> dict[str, Sweep]:
    """Each odd simulation as a sweep of two loads, and sweeps that are odd themselves."""
    found = {}
    for name, simulation in odd_simulations().items():
        policies = [
            replace_fields(policy, policy=f"{policy.policy} {place}")
            for place, policy in enumerate(simulation.policies)
        ]
        apart = replace_fields(simulation, policies=policies)
        found[name] = make_sweep({0.5: apart, 0.9: apart})
    no_bound = make_sweep()
    points = [
        msgspec.structs.replace(point, bound_energy_j_per_request=None, energy_over_bound=None)
        for point in no_bound.points
    ]
    found["no-bound"] = msgspec.structs.replace(no_bound, points=points)
    return found


@pytest.fixture(name="make_sweep")
def _make_sweep() -> Callable[..., Sweep]:
    return make_sweep


@pytest.fixture(params=sorted(odd_sweeps()))
def odd_sweep(request: pytest.FixtureRequest) -> Sweep:
    """Each odd sweep in turn."""
    return odd_sweeps()[request.param]
