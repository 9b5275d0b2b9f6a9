"""Problems over a cycle for tests: a day, and random ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from baseload.theory.cycle_problem import CycleProblem
from baseload.theory.routing_instance import RoutingInstance

from .routing_cases import random_instance


def of_instance(instance: RoutingInstance, B: float, slot_s: float, **changes: Any) -> CycleProblem:
    """The problem of ``instance`` in slots; one slot unless ``b`` says otherwise."""
    fields = {name: getattr(instance, name) for name in ("lam", "mean", "second", "other_cost")}
    fields |= {"Cu": instance.Cu, "Cw": instance.Cw, "v0": instance.v0, "b": [instance.b]}
    return CycleProblem(**{**fields, "B": B, "slot_s": slot_s, **changes})


def day(**changes: Any) -> CycleProblem:
    """24 hours, sun by day, three classes with three options; 0.2 queries a second."""
    hours = np.arange(24)
    mean = np.array([[50.0, 120.0, 300.0], [80.0, 200.0, 420.0], [150.0, 330.0, 700.0]])
    fail = np.array([[0.1, 0.05, 0.02], [0.4, 0.2, 0.1], [0.7, 0.4, 0.2]])
    sun = np.pi * np.maximum(0.0, np.sin(2 * np.pi * (hours - 6) / 24))
    fields = {
        "slot_s": 3600.0,
        "b": 28.0 * sun,
        "lam": np.array([0.1, 0.06, 0.04]),
        "mean": mean,
        "second": 1.8 * mean**2,
        "other_cost": 520.0 * fail,
        "B": 28.0 * 3600 * 6,
        "eta_c": 0.95,
        "eta_d": 0.95,
    }
    return CycleProblem(**{**fields, **changes})


def random_problem(seed: int, *, tariff: bool = False, **changes: Any) -> CycleProblem:
    """Two classes of three options, 1 to 6 slots; with ``tariff`` the price changes by slot."""
    draw = np.random.default_rng(seed)
    instance = random_instance(seed, classes=2, options=3)
    slots = int(draw.choice([1, 3, 6]))
    swing = 1 + draw.uniform(0, 1.5) * np.cos(2 * np.pi * np.arange(slots) / slots)
    eta = draw.choice([1.0, 0.9])
    job = float(instance.lam @ instance.mean.mean(axis=1))
    fields: dict[str, Any] = {"b": instance.b * swing, "eta_c": eta, "eta_d": eta}
    fields["v0"] = draw.choice([0.0, 5.0])
    if tariff:
        fields["Cu"] = draw.uniform(0.4, 1.5, slots)
    B = float(draw.choice([5, 15, 50])) * job
    return of_instance(instance, B, float(draw.choice([0.1, 0.5, 2, 8])), **{**fields, **changes})
