"""Scenarios at a site for the tests of this folder: two models, three options, a day that moves a
store.
"""

from __future__ import annotations

import msgspec
import numpy as np
from made_scenarios import groups_of, made_scenario, made_trace

from baseload.base.streams import stream
from baseload.routing.policies import POLICIES
from baseload.simulator.choices import Choice
from baseload.simulator.supplied import Supplied
from baseload.supply.baseline import Constant, Diurnal
from baseload.supply.site import Site
from baseload.supply.store import Store
from baseload.supply.tariff import FlatPrice, Tariff
from baseload.workload.tiers import Tier

LOOKING = [name for name, policy in POLICIES.items() if policy.slow.supply != "none"]
CHOICES = (
    Choice(name="careful", tokens_factor={"": 3.0}, right_frac={"": 0.9}),
    Choice(name="brief", right_frac={"": 0.8}),
    Choice(name="curt", tokens_factor={"": 0.3}, right_frac={"": 0.5}),
)
TIERS = (
    Tier(name="interactive", classes=("chat",), right_usd=3e-4),
    Tier(name="bulk", classes=("batch",), right_usd=1e-4),
)
SUN_W = np.maximum(0.0, np.sin(np.arange(24) / 24 * 2 * np.pi)) * np.pi


def site(**changes):
    """Panels that give by day what the idle fleet draws, and a battery of half a day."""
    fields = {
        "baseline": Diurnal(profile_w=160.0 * SUN_W),
        "store": Store(capacity_j=4e6, soc_start_frac=0.5),
        "slot_s": 900.0,
        "tariff": Tariff(energy=FlatPrice(usd_per_j=1e-6)),
        "waste_usd_per_j": 1e-7,
    }
    return Site(**(fields | changes))


def steady(**changes):
    """The same without a day."""
    return site(**({"baseline": Constant(value_w=160.0)} | changes))


def days(count=400, *, span_s=200_000.0, seed=0, **columns):
    """Requests over some days, at random instants."""
    trace = made_trace(count, seed=seed)
    at_s = np.sort(stream(seed, "tests", "days").uniform(0.0, span_s, count))
    return msgspec.structs.replace(trace, t_us=(at_s * 1e6).astype(np.int64), **columns)


def at_site(place=None, *, trace=None, scales=(1.0,), **changes):
    """A scenario at a site."""
    fields = {
        "groups": groups_of(1, 2),
        "choices": CHOICES,
        "tiers": TIERS,
        "supplied": Supplied(site=site() if place is None else place, scales=scales),
    }
    return made_scenario(days() if trace is None else trace, **(fields | changes))
