"""Random small instances: replica types, fleets, and episodes of arrivals and ends, from a seed and
a number.

The same seed and number give the same instance on every machine, so that a finding can be replayed
by number. Every part of the model is drawn: power caps that bind, experts, tight memory, several
models, equal types, ties, replicas that close and open, promises of every kind.
"""

from __future__ import annotations

import msgspec
import numpy as np

from baseload.base.streams import stream
from baseload.fleet.replica_type import PowerStates, ReplicaType, StepCosts
from baseload.testing.fakes import request
from baseload.testing.fleets import READY, Fleet
from baseload.workload.requests import Request

CLASSES = ("chat", "batch")
TIERS = ("interactive", "bulk")


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One arrival of an episode, and what a slow controller does before it.

    ``output_spread``: standard deviation of the forecast [tokens]; ``urgency``: factor on the
    policy's first lambda; ``closes``, ``opens``: replicas that change before the arrival.
    ``output_tokens``, ``answers`` and ``stays`` (the numbers of later arrivals after which the
    first token is out and the request ends) are hidden from policies.
    """

    request: Request
    class_code: int
    grid_g_per_j: float
    output_tokens: int
    stays: int
    answers: int = 0
    output_spread: float = 0.0
    urgency: float = 1.0
    closes: tuple[int, ...] = ()
    opens: tuple[int, ...] = ()


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """A fleet and what happens to it. ``number`` names the instance within a seed."""

    number: int
    fleet: Fleet
    max_queue: int
    steps: tuple[Step, ...]


def random_type(rng: np.random.Generator, *, name: str, model: str = "model-a") -> ReplicaType:
    """A replica type: any mix of zero and positive costs, a cap that binds in about half of them,
    experts in some.
    """
    static_w = rng.uniform(50, 150)
    cap_w = static_w + rng.uniform(20, 400)
    times = {
        "time_s_per_step": rng.uniform(0.001, 0.02),
        "time_s_per_sequence": rng.choice([0.0, rng.uniform(0, 1e-3)]),
        "time_s_per_context_token": rng.choice([0.0, rng.uniform(0, 1e-5)]),
        "time_s_per_prefill_token": rng.choice([0.0, rng.uniform(0, 1e-4)], p=[0.1, 0.9]),
    }
    dynamic_w = rng.uniform(0.2, 1.6) * (cap_w - static_w)
    energies = {
        key.replace("time_s", "energy_j"): value * (static_w + dynamic_w * rng.uniform(0, 2))
        for key, value in times.items()
    }
    experts = {}
    if rng.random() < 0.3:
        time_s = rng.uniform(0, 0.02)
        experts = {
            "time_s_all_experts": time_s,
            "energy_j_all_experts": time_s * (static_w + dynamic_w * rng.uniform(0, 2)),
            "expert_hit_frac": rng.uniform(0.01, 0.5),
        }
    idle_w = rng.uniform(10, min(60.0, cap_w))
    max_batch = int(rng.integers(1, 12))
    return ReplicaType(
        name=name,
        device=f"device-{name}",
        model=model,
        costs=StepCosts(**times, **energies, **experts),
        power=PowerStates(
            power_w_active_static=static_w,
            power_w_cap=cap_w,
            power_w_idle=idle_w,
            power_w_parked=idle_w / 2,
            power_w_off=idle_w / 20,
            wake_s_from_parked=rng.uniform(0, 1),
            wake_j_from_parked=rng.uniform(0, 50),
            wake_s_from_off=rng.uniform(0, 4),
            wake_j_from_off=rng.uniform(0, 200),
        ),
        max_batch=max_batch,
        max_step_tokens=max_batch + int(rng.integers(1, 200)),
        kv_tokens=int(rng.integers(30, 4000)),
        max_context_tokens=int(rng.integers(20, 3000)),
        method="assumed",
    )


def random_fleet(rng: np.random.Generator) -> Fleet:
    """One to four types, some of them equal in all but name, one or two models, one to eighty
    replicas of each.
    """
    types: list[ReplicaType] = []
    for index in range(int(rng.integers(1, 5))):
        model = str(rng.choice(["model-a", "model-b"], p=[0.7, 0.3]))
        if types and rng.random() < 0.25:
            types.append(msgspec.structs.replace(types[-1], name=f"t{index}", model=model))
        else:
            types.append(random_type(rng, name=f"t{index}", model=model))
    many = rng.random() < 0.15
    replicas = tuple(int(rng.integers(60, 80) if many else rng.integers(1, 6)) for _ in types)
    return Fleet(types=tuple(types), replicas=replicas)


def instance(seed: int, number: int, *, picks: int = 60) -> Instance:
    """Instance ``number`` of ``seed``: the ready fleets come first, random ones after."""
    rng = stream(seed, "testing", "instance", number)
    ready = list(READY.values())
    fleet = ready[number]() if number < len(ready) else random_fleet(rng)
    total = sum(fleet.replicas)
    busy = rng.choice([0.3, 1.0, 3.0]) * min(total * 6, picks)
    longest = max(min(kind.max_context_tokens, kind.kv_tokens) for kind in fleet.types)
    mostly = int(rng.choice([20, 200, longest]))
    steps = []
    now_s = 0.0
    doors = _Doors(fleet)
    for _ in range(picks):
        now_s += float(rng.exponential(0.1)) if rng.random() < 0.8 else 0.0
        step = _step(rng, fleet, now_s=now_s, longest=mostly, busy=float(busy))
        closes, opens = doors.change(rng)
        steps.append(msgspec.structs.replace(step, closes=closes, opens=opens))
    return Instance(
        number=number, fleet=fleet, max_queue=int(rng.choice([0, 1, 4, 1024])), steps=tuple(steps)
    )


class _Doors:
    """Which replicas are open in the course of an episode."""

    def __init__(self, fleet: Fleet) -> None:
        self._open = np.ones(sum(fleet.replicas), dtype=bool)
        self._type_of = np.repeat(np.arange(len(fleet.replicas)), fleet.replicas)

    def change(self, rng: np.random.Generator) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Who closes and who opens now: mostly nobody, at times one replica, a whole type, or,
        when few are left, all.
        """
        wanted = self._open.copy()
        what = rng.random()
        one = int(rng.integers(len(wanted)))
        if what < 0.2:
            wanted[one] = not wanted[one]
        elif what < 0.25:
            wanted[self._type_of == self._type_of[one]] = rng.random() < 0.5
        elif what < 0.35 and wanted.mean() < 0.5:
            wanted[:] = True
        closes, opens = np.flatnonzero(self._open & ~wanted), np.flatnonzero(wanted & ~self._open)
        self._open = wanted
        return tuple(closes.tolist()), tuple(opens.tolist())


def _promises(rng: np.random.Generator, *, bulk: bool) -> dict[str, float | None]:
    """Deadlines [s]: mostly the usual ones of the tier, at times any mix, hard or easy."""
    usual = (None, None, 600.0) if bulk else (2.0, 0.06, None)
    names = ("deadline_ttft_s", "deadline_tpot_s", "deadline_e2e_s")
    if rng.random() < 0.6:
        return dict(zip(names, usual, strict=True))
    drawn = (rng.uniform(0.01, 3), rng.uniform(0.002, 0.2), rng.uniform(0.1, 60))
    return {
        name: float(value) if rng.random() < 0.6 else None
        for name, value in zip(names, drawn, strict=True)
    }


def _step(
    rng: np.random.Generator, fleet: Fleet, *, now_s: float, longest: int, busy: float
) -> Step:
    """One arrival at ``now_s`` [s]."""
    code = int(rng.integers(len(CLASSES)))
    bulk = CLASSES[code] == "batch"
    asked = str(rng.choice([*fleet.models, "model-nobody-serves"])) if rng.random() < 0.3 else None
    forecast = float(rng.choice([1.0, 20.0, 250.0, rng.uniform(1, 2000)]))
    visible = request(
        arrival_s=now_s,
        input_tokens=int(rng.integers(1, longest + 2)),
        output_tokens_forecast=forecast,
        class_name=CLASSES[code],
        tier=TIERS[bulk],
        model=asked,
        **_promises(rng, bulk=bulk),
    )
    stays = 1 + int(rng.exponential(busy))
    return Step(
        request=visible,
        class_code=code,
        grid_g_per_j=float(rng.choice([0.0, rng.uniform(0, 2e-4)])),
        output_tokens=int(rng.integers(1, 1500)),
        stays=stays,
        answers=int(rng.integers(0, stays)),
        output_spread=forecast * float(rng.choice([0.0, 0.2, rng.uniform(0, 3)])),
        urgency=float(rng.choice([1.0, 1.0, 0.0, 1e-3, 1e3])),
    )
