"""Random small configurations of a gateway, and what clients may ask of them."""

from __future__ import annotations

import random

from baseload.gateway.bodies import Asked
from baseload.gateway.config import (
    BreakerEntry,
    GatewayConfig,
    HealthEntry,
    LimitsEntry,
    LiveTierEntry,
    ModelEntry,
    ReplicasEntry,
    RetriesEntry,
)
from baseload.gateway.live_fleet import LiveFleet
from baseload.testing import fleets

POLICIES = (
    "baseload:rate_quality=1",
    "baseload",
    "least_loaded",
    "least_tokens",
    "round_robin",
    "energy_greedy",
    "power_of_two",
    "random",
)

SMALL = ModelEntry(
    name="small",
    efforts=("none", "low", "medium", "high"),
    right_frac={"none": 0.5, "low": 0.6, "medium": 0.7, "high": 0.75},
)
LARGE = ModelEntry(name="large", inputs=("text", "image"), tools=True)
TEXTS = ModelEntry(name="vectors", endpoints=("embeddings",))

ASKED = (
    Asked(endpoint="chat", model="small"),
    Asked(endpoint="chat", model="auto"),
    Asked(endpoint="chat", model="auto", effort="auto"),
    Asked(endpoint="chat", model="small", effort="low"),
    Asked(endpoint="chat", model="small", effort="auto"),
    Asked(endpoint="chat", model="large"),
    Asked(endpoint="chat", model="auto", images=1),
    Asked(endpoint="embeddings", model="vectors"),
)
KINDS = (
    fleets.replica_type("toy"),
    fleets.replica_type("slow", time_s_per_step=0.03, energy_j_per_step=1.5, max_batch=4),
    fleets.replica_type("tiny", max_batch=2, kv_tokens=1500, max_context_tokens=1200),
)


def tiers(draw: random.Random) -> tuple[LiveTierEntry, ...]:
    """Promises: some for people, some for bulk, in any order."""
    found = [
        LiveTierEntry(
            name="interactive",
            ttft_s=draw.choice((0.5, 2.0, 5.0)),
            tpot_s=0.1,
            right_usd=draw.choice((0.0, 0.01)),
        ),
        LiveTierEntry(
            name="bulk",
            priority=1,
            bulk=True,
            e2e_s=draw.choice((5.0, 30.0, 900.0)),
            max_queue=draw.choice((1, 8, 64)),
            max_wait_s=draw.choice((None, 3.0)),
        ),
        LiveTierEntry(name="patient", priority=2, max_wait_s=draw.choice((0.01, 1.0, 60.0))),
        LiveTierEntry(name="heap", priority=3, bulk=True, max_queue=16, right_usd=0.01),
    ]
    kept = found[:2] if draw.random() < 0.3 else found
    draw.shuffle(kept)
    return tuple(kept)


def replicas(draw: random.Random) -> tuple[tuple[ReplicasEntry, ...], list[int]]:
    """Entries, each with its kind: the small model at one or two, the others sometimes."""
    models = ["small", "small", "large", "vectors"]
    entries, kinds = [], []
    for place, model in enumerate(models):
        if place and draw.random() < (0.5 if place == 1 else 0.3):
            continue
        count = draw.choice((1, 1, 2, 3, 6))
        names = draw.sample(range(8), count)
        entries.append(
            ReplicasEntry(
                model=model,
                urls=tuple(f"http://{model}{place}-{name}" for name in names),
                max_queue=draw.choice((0, 1, 4, 64)),
                sleep=draw.random() < 0.5,
            )
        )
        kinds.append(draw.randrange(len(KINDS)))
    return tuple(entries), kinds


def random_fleet(draw: random.Random) -> LiveFleet:
    """A fleet of one to about fifteen replicas, with limits of seconds so that they are reached."""
    entries, kinds = replicas(draw)
    models = tuple(
        model for model in (SMALL, LARGE, TEXTS) if any(one.model == model.name for one in entries)
    )
    config = GatewayConfig(
        models=models,
        replicas=entries,
        tiers=tiers(draw),
        policy=draw.choice(POLICIES),
        parking=draw.random() < 0.4,
        limits=LimitsEntry(
            first_byte_s=draw.choice((1.0, 5.0, 20.0)),
            idle_s=draw.choice((0.5, 3.0, 10.0)),
            total_s=draw.choice((10.0, 40.0, 120.0)),
        ),
        retries=RetriesEntry(
            attempts=draw.choice((0, 1, 2, 3)),
            backoff_s=draw.choice((0.02, 0.05, 0.5)),
            backoff_most_s=draw.choice((0.5, 1.0)),
        ),
        breaker=BreakerEntry(
            failures=draw.choice((1, 2, 3, 5)),
            open_s=draw.choice((0.5, 1.0, 3.0)),
            open_most_s=draw.choice((4.0, 60.0)),
        ),
        health=HealthEntry(
            period_s=draw.choice((0.5, 2.0, 5.0)),
            failures=draw.choice((1, 2, 3)),
            metrics_s=draw.choice((0.5, 1.0)),
        ),
        seed=draw.randrange(1000),
    )
    return LiveFleet(config, [KINDS[kind] for kind in kinds])
