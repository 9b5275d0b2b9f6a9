"""Routing problems for tests: the reference one, and random ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from baseload.theory.entries_routing import REFERENCE, instance_of
from baseload.theory.routing_instance import RoutingInstance


def reference(**changes: Any) -> RoutingInstance:
    """Three classes, three models."""
    return instance_of(**{**REFERENCE, **changes})


def random_instance(
    seed: int, classes: int = 3, options: int = 3, **changes: Any
) -> RoutingInstance:
    """Options that trade energy against failures; supply between the least and the most."""
    draw = np.random.default_rng(seed)
    lam = draw.dirichlet(np.ones(classes))
    size = draw.lognormal(0, 0.7, (classes, 1))
    ratio = np.sort(draw.uniform(0.3, 4, (1, options)))
    mean = size * ratio * draw.uniform(0.7, 1.4, (classes, options))
    scv = draw.uniform(0.2, 2.5, (classes, options))
    hard = np.sort(draw.uniform(0.05, 0.8, classes))[:, None]
    fail = hard ** (1 + np.arange(options)) * draw.uniform(0.6, 1, (classes, options))
    low, high = lam @ mean.min(axis=1), lam @ mean.max(axis=1)
    fields = {
        "lam": lam,
        "mean": mean,
        "second": mean**2 * (1 + scv),
        "other_cost": draw.uniform(2, 8) * fail * mean.mean(),
        "Cu": 1.0,
        "Cw": draw.uniform(0, 0.3),
        "b": low + (high - low) * draw.uniform(0.2, 0.6),
    }
    return RoutingInstance(**{**fields, **changes})


def padded(instance: RoutingInstance) -> RoutingInstance:
    """The same problem with an unavailable option and an idle class more, filled with nonsense."""

    def wide(table: Any, fill: float) -> Any:
        return np.pad(table, ((0, 1), (0, 2)), constant_values=fill)

    return RoutingInstance(
        lam=np.append(instance.lam, 0.0),
        mean=wide(instance.mean, np.nan),
        second=wide(instance.second, -1.0),
        other_cost=wide(instance.other_cost, np.nan),
        available=np.pad(instance.available, ((0, 1), (0, 2)), constant_values=False),
        Cu=instance.Cu,
        Cw=instance.Cw,
        b=instance.b,
        v0=instance.v0,
    )
