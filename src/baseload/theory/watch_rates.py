"""The rates that the theory expects of a watched log: to hold against its meters."""

from __future__ import annotations

import math

from baseload.base.units import S_PER_DAY
from baseload.theory.inputs import number, positive
from baseload.theory.ladder import SupplyRates, supply_rates
from baseload.theory.seasons import PeriodicUse, periodic_rates
from baseload.theory.watch import Watched


def expected_rates(
    watched: Watched, *, storage_j: float, slot_s: float, third: float | None = None
) -> SupplyRates | None:
    """The rates that the accuracy ladder expects for drift and variance rate since the last change;
    None where the variance rate is not known.

    ``slot_s``: length of a settlement slot [s], used where slots are independent; otherwise the
    correlated episode is deviation times correlation time. ``third`` [J^3/s] of the requests.
    For a lossless store without power limits: lower bounds of ``u`` otherwise.
    """
    state = watched.state
    if state.theta_w is None or state.sigma2 is None:
        return None
    slots = watched.whole.correlation_slots or 1.0
    independent = slots <= 1.5 and not watched.cycle.found
    return supply_rates(
        number("theta", state.theta_w),
        state.sigma2,
        B=positive("storage_j", storage_j),
        slot=positive("slot_s", slot_s) if independent else None,
        third=third,
        episode_j=None if independent else _episode_j(watched, state.sigma2, slots * slot_s),
    )


def expected_daily_rates(watched: Watched, *, storage_j: float) -> PeriodicUse | None:
    """The rates under the mean day since the last change, moved to the drift since then, and the
    variance rate around it; None where the net power does not follow the day or the variance rate
    is not known.

    Exact for Brownian noise around a fixed day; lossless store. docs/explanation/provisioning.md,
    3.10.
    """
    state, profile = watched.state, watched.profile_w
    if not profile or state.theta_w is None or state.sigma2 is None:
        return None
    shift = state.theta_w - math.fsum(profile) / len(profile)
    return periodic_rates(
        theta=[power + shift for power in profile],
        var=state.sigma2,
        B=positive("storage_j", storage_j),
        period=S_PER_DAY,
    )


def _episode_j(watched: Watched, sigma2: float, correlation_s: float) -> float:
    """Energy of one correlated episode: the swing of a day, or deviation times correlation time.

    With sigma2 = 2 v tau for deviations of variance v and correlation time tau, v^0.5 tau is
    (sigma2 tau / 2)^0.5; ``correlation_s`` is 2 tau.
    """
    if watched.cycle.found:
        return watched.cycle.swing_j
    return math.sqrt(sigma2 * correlation_s) / 2
