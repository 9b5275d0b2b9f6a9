"""Baseload: the fewest joules that keep the promised quality, deadline and energy supply.

The public names of the rooms, gathered. They load what they need at first use, so ``import
baseload`` is quick:

>>> import baseload
>>> scenario = baseload.load_scenario("azure-chat")
>>> result = baseload.simulate(scenario, [baseload.policy("least_loaded")])
>>> round(result.trace.span_s / 60)
58
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from baseload.base.version import VERSION as __version__

_HOMES = {
    "baseload.base.errors": ("BaseloadError",),
    "baseload.base.kernels": ("kernel",),
    "baseload.cli.scenario_file": ("builtin_scenarios", "load_scenario"),
    "baseload.fleet.physics": ("replica_type",),
    "baseload.fleet.predict": ("Prediction", "predict"),
    "baseload.fleet.replica_type": ("PowerStates", "ReplicaType", "StepCosts"),
    "baseload.planner.fleet_case": ("fleet_case",),
    "baseload.planner.demand_records": ("Demand",),
    "baseload.planner.plan": ("plan_site",),
    "baseload.planner.records": ("Plan", "Supply", "prices_per_kwh"),
    "baseload.routing.policies": ("POLICIES", "policy"),
    "baseload.routing.policy": ("FleetView", "Policy"),
    "baseload.simulator.results": ("PolicyResult", "Simulation"),
    "baseload.simulator.run": ("simulate",),
    "baseload.simulator.scenario": ("Group", "Scenario"),
    "baseload.sources": ("builtin_trace", "read_trace", "write_trace"),
    "baseload.supply.accounts": ("settle",),
    "baseload.supply.site": ("Site",),
    "baseload.supply.store": ("Store", "lithium_battery"),
    "baseload.theory.ladder": ("supply_rates",),
    "baseload.theory.monitor": ("Monitor",),
    "baseload.workload.generator": ("generate",),
    "baseload.workload.requests": ("Request",),
    "baseload.workload.tiers": ("Tier",),
    "baseload.workload.trace": ("Trace", "TraceSource"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "POLICIES",
    "BaseloadError",
    "Demand",
    "FleetView",
    "Group",
    "Monitor",
    "Plan",
    "Policy",
    "PolicyResult",
    "PowerStates",
    "Prediction",
    "ReplicaType",
    "Request",
    "Scenario",
    "Simulation",
    "Site",
    "StepCosts",
    "Store",
    "Supply",
    "Tier",
    "Trace",
    "TraceSource",
    "__version__",
    "builtin_scenarios",
    "builtin_trace",
    "fleet_case",
    "generate",
    "kernel",
    "lithium_battery",
    "load_scenario",
    "plan_site",
    "policy",
    "predict",
    "prices_per_kwh",
    "read_trace",
    "replica_type",
    "settle",
    "simulate",
    "supply_rates",
    "write_trace",
]

if TYPE_CHECKING:
    from baseload.base.errors import BaseloadError
    from baseload.base.kernels import kernel
    from baseload.cli.scenario_file import builtin_scenarios, load_scenario
    from baseload.fleet.physics import replica_type
    from baseload.fleet.predict import Prediction, predict
    from baseload.fleet.replica_type import PowerStates, ReplicaType, StepCosts
    from baseload.planner.demand_records import Demand
    from baseload.planner.fleet_case import fleet_case
    from baseload.planner.plan import plan_site
    from baseload.planner.records import Plan, Supply, prices_per_kwh
    from baseload.routing.policies import POLICIES, policy
    from baseload.routing.policy import FleetView, Policy
    from baseload.simulator.results import PolicyResult, Simulation
    from baseload.simulator.run import simulate
    from baseload.simulator.scenario import Group, Scenario
    from baseload.sources import builtin_trace, read_trace, write_trace
    from baseload.supply.accounts import settle
    from baseload.supply.site import Site
    from baseload.supply.store import Store, lithium_battery
    from baseload.theory.ladder import supply_rates
    from baseload.theory.monitor import Monitor
    from baseload.workload.generator import generate
    from baseload.workload.requests import Request
    from baseload.workload.tiers import Tier
    from baseload.workload.trace import Trace, TraceSource


def __getattr__(name: str) -> Any:
    """Load a public name from its room at first use."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'baseload' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
