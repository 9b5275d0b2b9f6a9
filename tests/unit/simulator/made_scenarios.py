"""Small scenarios for the tests of this folder."""

from __future__ import annotations

import msgspec
import numpy as np

from baseload.base.streams import stream
from baseload.simulator import run as running
from baseload.simulator.run import run_once
from baseload.simulator.scenario import Group, Scenario
from baseload.testing.fleets import replica_type
from baseload.workload.chunks import source_of
from baseload.workload.tiers import Tier
from baseload.workload.trace import Trace

TIERS = (
    Tier(name="interactive", classes=("chat",), priority=0, ttft_s=0.5, tpot_s=0.05),
    Tier(name="bulk", classes=("batch",), priority=1, e2e_s=60.0),
)


def made_trace(count=300, *, seed=0, gap_s=0.05, most_input=200, most_output=120, **columns):
    """Poisson arrivals of two classes with uniform lengths."""
    rng = stream(seed, "tests", "trace")
    t_us = np.cumsum(rng.exponential(gap_s, count) * 1e6).astype(np.int64)
    trace = Trace(
        name="made",
        t_us=t_us,
        input_tokens=rng.integers(1, most_input, count, dtype=np.int32),
        output_tokens=rng.integers(1, most_output, count, dtype=np.int32),
        class_code=rng.integers(0, 2, count).astype(np.int16),
        classes=("chat", "batch"),
    )
    return msgspec.structs.replace(trace, **columns)


def all_at_once(count=64, *, input_tokens=50, output_tokens=100):
    """Equal requests that come together at time 0: fixed work, no idleness to pay for."""
    return Trace(
        name="at once",
        t_us=np.zeros(count, np.int64),
        input_tokens=np.full(count, input_tokens, np.int32),
        output_tokens=np.full(count, output_tokens, np.int32),
        class_code=np.ones(count, np.int16),
        classes=("chat", "batch"),
    )


def groups_of(*counts, **changes):
    """A fast and a slow type, or copies of them, ``counts[i]`` replicas of each."""
    fast = replica_type("fast", time_s_per_step=0.005, **changes)
    slow = replica_type("slow", time_s_per_step=0.02, energy_j_per_step=1.5, **changes)
    return tuple(
        Group(kind=kind, replicas=n) for kind, n in zip((fast, slow), counts, strict=False)
    )


def made_scenario(trace=None, *, groups=None, chunk_requests=None, **changes):
    """A scenario that replays ``trace``; by default another one for each seed."""

    def requests(seed):
        given = made_trace(seed=seed) if trace is None else trace
        return source_of(given, chunk_requests=chunk_requests or 262_144)

    fields = {
        "name": "made",
        "groups": groups_of(1, 2) if groups is None else groups,
        "requests": requests,
        "tiers": TIERS,
        "grid_g_per_j": 400.0 / 3.6e6,
    }
    return Scenario(**(fields | changes))


def finished(scenario, policy, monkeypatch, *, seed=0):
    """One run and what it leaves: ``(totals, engine, fleet)`` as the checkers get them."""
    kept = []
    with monkeypatch.context() as patch:
        patch.setattr(running, "check_run", lambda *arguments: kept.append(arguments))
        run_once(scenario, policy, scenario.requests(seed), seed=seed, check=True)
    _, totals, engine, fleet = kept[0]
    return totals, engine, fleet


def same(one, two):
    """Whether two runs are equal to the bit in everything but the time they took."""
    arrays = ("histogram", "tally", "account_j", "busy_s", "batch_s", "still_s", "refused")
    return (
        all(getattr(one, name).tobytes() == getattr(two, name).tobytes() for name in arrays)
        and one.series == two.series
        and (one.preempted, one.cut_short, one.residual_j)
        == (two.preempted, two.cut_short, two.residual_j)
    )


def on_its_own(result):
    """A policy's result without the machine's speed and the change against the first policy."""
    alone = {key: value for key, value in result.interval.items() if key != "energy_change_frac"}
    return msgspec.structs.replace(result, cpu_s=0.0, requests_per_cpu_s=0.0, interval=alone)
