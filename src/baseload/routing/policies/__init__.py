"""Every built-in policy, one file each, in one table. A duplicate name is an error; an unknown
one lists the nearest.
"""

from __future__ import annotations

from collections.abc import Iterable

from baseload.base.errors import unknown_name
from baseload.routing.policies import (
    baseload,
    battery_threshold,
    best_static,
    energy_greedy,
    freesh_llf,
    greedy_green,
    joulesched,
    least_latency,
    least_loaded,
    least_tokens,
    lyapunov,
    mean_only,
    power_of_two,
    random,
    round_robin,
    slo_packing,
    taylor,
    variance_aware,
    voltana_route,
    weighted_round_robin,
    wilkins_threshold,
)
from baseload.routing.policy import Policy


def _table(policies: Iterable[Policy]) -> dict[str, Policy]:
    """Policies by name."""
    found: dict[str, Policy] = {}
    for policy in policies:
        assert policy.name not in found, f"two policies are called {policy.name!r}"
        found[policy.name] = policy
    return found


POLICIES = _table(
    (
        round_robin.POLICY,
        random.POLICY,
        weighted_round_robin.POLICY,
        least_loaded.POLICY,
        least_tokens.POLICY,
        power_of_two.POLICY,
        least_latency.POLICY,
        energy_greedy.POLICY,
        slo_packing.POLICY,
        joulesched.POLICY,
        wilkins_threshold.POLICY,
        voltana_route.POLICY,
        freesh_llf.POLICY,
        baseload.POLICY,
        variance_aware.POLICY,
        best_static.POLICY,
        mean_only.POLICY,
        taylor.POLICY,
        battery_threshold.POLICY,
        lyapunov.POLICY,
        greedy_green.POLICY,
    )
)


def policy(spec: str) -> Policy:
    """The built-in policy that ``spec`` names: ``name`` or
    ``name:parameter=value,parameter=value``.

    Raises ``UnknownNameError`` with the nearest names, ``BadInputError`` for a parameter that the
    policy does not have.
    """
    name, _, text = spec.partition(":")
    if name not in POLICIES:
        raise unknown_name("policy", name, POLICIES, todo="`baseload policies` lists them all")
    if not text:
        return POLICIES[name]
    values = dict(part.partition("=")[::2] for part in text.split(","))
    return POLICIES[name].with_parameters(values)
