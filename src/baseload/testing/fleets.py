"""A few ready fleets for tests: made of round, assumed numbers, without files or measurements.

They are small on purpose, so that a test can say which replica should win and why. Their numbers
have the size of real ones (a step of milliseconds, hundreds of watts) but are not anybody's
measurement: `method` says "assumed".
"""

from __future__ import annotations

from typing import Any

import msgspec

from baseload.fleet.replica_type import (
    PowerStates,
    ReplicaType,
    StepCosts,
    most_static_power_w,
)
from baseload.routing.fleet_state import FleetState, fleet_state


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """``replicas[i]`` equal replicas of ``types[i]``."""

    types: tuple[ReplicaType, ...]
    replicas: tuple[int, ...]

    @property
    def models(self) -> tuple[str, ...]:
        """The models that are served, each once: a request asks for one by its place here."""
        return tuple(dict.fromkeys(kind.model for kind in self.types))

    def state(self, *, classes: int = 1, max_queue: int = 1024) -> FleetState:
        """The idle fleet as routing keeps it."""
        return fleet_state(
            self.types, self.replicas, classes=classes, max_queue=max_queue, models=self.models
        )


def replica_type(name: str = "toy", **changes: Any) -> ReplicaType:
    """A replica type with round numbers; ``changes`` replace fields of it, of its costs or power
    states.

    By default: 10 ms a step and 1 W s (J) at batch 1, batch 8, 4,000 KV tokens, 50 W idle, 500 W
    cap, and 100 W of static power or what the joules per second of the least term leave. Raises
    ``TypeError`` for a field that does not exist.
    """
    costs: dict[str, Any] = {
        "time_s_per_step": 0.01,
        "time_s_per_sequence": 0.0005,
        "time_s_per_context_token": 1e-6,
        "time_s_per_prefill_token": 2e-5,
        "energy_j_per_step": 2.0,
        "energy_j_per_sequence": 0.05,
        "energy_j_per_context_token": 1e-4,
        "energy_j_per_prefill_token": 0.005,
    }
    power: dict[str, Any] = {
        "power_w_cap": 500.0,
        "power_w_idle": 50.0,
        "power_w_parked": 10.0,
        "power_w_off": 0.0,
        "wake_s_from_parked": 2.0,
        "wake_j_from_parked": 100.0,
        "wake_s_from_off": 20.0,
        "wake_j_from_off": 1000.0,
    }
    kind: dict[str, Any] = {
        "name": name,
        "device": name,
        "model": "model-a",
        "max_batch": 8,
        "max_step_tokens": 256,
        "kv_tokens": 4000,
        "max_context_tokens": 2000,
        "method": "assumed",
        "basis": "round numbers for tests",
    }
    for field, value in changes.items():
        if field in StepCosts.__struct_fields__:
            costs[field] = value
        elif field in PowerStates.__struct_fields__:
            power[field] = value
        elif field in ReplicaType.__struct_fields__:
            kind[field] = value
        else:
            raise TypeError(f"a replica type has no field {field!r}")
    numbers = StepCosts(**costs)
    power.setdefault("power_w_active_static", min(100.0, most_static_power_w(numbers)))
    return ReplicaType(costs=numbers, power=PowerStates(**power), **kind)


def one_replica() -> Fleet:
    """A single small replica."""
    return Fleet(types=(replica_type(),), replicas=(1,))


def equal_replicas(count: int = 8) -> Fleet:
    """``count`` equal replicas: every price ties, so the lowest number has to win."""
    return Fleet(types=(replica_type(),), replicas=(count,))


def fast_and_slow() -> Fleet:
    """Two fast replicas that cost more energy a step, and four slow thrifty ones."""
    fast = replica_type("fast", time_s_per_step=0.005, energy_j_per_step=2.0, max_batch=16)
    slow = replica_type("slow", time_s_per_step=0.03, energy_j_per_step=1.8)
    return Fleet(types=(fast, slow), replicas=(2, 4))


def two_models() -> Fleet:
    """Two models on two devices: some requests can be served by one type only."""
    small = replica_type("small", model="model-a")
    large = replica_type(
        "large", model="model-b", time_s_per_step=0.04, energy_j_per_step=12.0, power_w_cap=900.0
    )
    return Fleet(types=(small, large, small_copy(small)), replicas=(3, 2, 1))


def small_copy(kind: ReplicaType) -> ReplicaType:
    """The same replica type under another name and with half the KV cache: two types serve one
    model.
    """
    return msgspec.structs.replace(
        kind, name=f"{kind.name}-half", kv_tokens=max(1, kind.kv_tokens // 2)
    )


def short_of_memory() -> Fleet:
    """Replicas whose KV cache holds two or three requests: they queue and preempt early."""
    kind = replica_type("tight", kv_tokens=300, max_context_tokens=250, max_step_tokens=64)
    return Fleet(types=(kind,), replicas=(3,))


def experts() -> Fleet:
    """A dense and a sparse (mixture of experts) type beside each other."""
    sparse = replica_type(
        "sparse", time_s_all_experts=0.02, energy_j_all_experts=6.0, expert_hit_frac=0.06
    )
    return Fleet(types=(replica_type("dense"), sparse), replicas=(2, 2))


def many_equal(count: int = 130) -> Fleet:
    """More replicas than two machine words have bits, for everything that indexes by bit."""
    return Fleet(types=(replica_type(),), replicas=(count,))


READY = {
    "one_replica": one_replica,
    "equal_replicas": equal_replicas,
    "fast_and_slow": fast_and_slow,
    "two_models": two_models,
    "short_of_memory": short_of_memory,
    "experts": experts,
    "many_equal": many_equal,
}
"""All ready fleets by name."""
