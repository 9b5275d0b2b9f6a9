"""Auxiliary energy and waste of a site at one baseline, by the first rung that applies.

``exact_dam``, ``two_pole``: Poisson requests under a constant supply. ``slotted``,
``kx_corrected``, ``diffusion``: further rungs of ``theory.ladder``. ``slots``: no store, slot by
slot. ``lossy_slots``: conversion losses, the stored-side diffusion. ``leaky_diffusion``:
self-discharge. ``episode_widened``: where the load or the supply moves slowly, the diffusion of a
store that acts wider than it is (``net.Net.widening_j``); ``slot_widened`` its limit without slow
noise, used where a search wants a quick answer. ``fluid``: no noise.
"""

from __future__ import annotations

import math

import msgspec

from baseload.planner.figures import Standing, figure
from baseload.planner.net import Net
from baseload.planner.records import Rates
from baseload.theory.dam import dam_rates, two_pole_rates
from baseload.theory.ladder import supply_rates
from baseload.theory.lossy import two_sided_lossy, two_sided_with_leak
from baseload.theory.slots import no_storage_rates
from baseload.theory.two_sided import fluid_rates, mean_level, two_sided_rates

_TWO_POLE_JOBS = 3.0
MANY_JOBS = 40.0
"""Stores beyond so many requests need no renewal equation: two poles are within 1e-3 there."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Rates [W] with the rung that gave them and its relative error (of the smaller rate), the
    mean fill of the store [J].
    """

    u_w: float
    w_w: float
    rung: str
    standing: Standing
    error_frac: float | None
    stored_j: float


def rates_of(net: Net, theta: float, store_j: float | None = None, *, exact: bool = False) -> Found:
    """Long-run rates at net drift ``theta`` [W] with a store of ``store_j`` [J] (``None``: as the
    supply has it). ``exact``: climb the whole ladder, at a cost of up to 0.3 s; else what a
    search can afford.
    """
    store = net.supply.store_j if store_j is None else store_j
    net_supply_w = net.moving_w + theta  # baseline less the steady draw
    if net.var == 0 or (net_supply_w <= 0 and store == 0):
        fluid = fluid_rates(theta, store)
        return _found(fluid.u_w, fluid.w_w, "fluid", "exact", 0.0, store if theta > 0 else 0.0)
    if store == 0:
        return _without_store(net, theta)
    if net.supply.lossy:
        return _lossy(net, theta, store)
    if net.supply.leak_per_s > 0:
        return _leaking(net, theta, store)
    if exact and net.slow == 0 and net_supply_w > 0:
        return _by_ladder(net, theta, store)
    if net.law is not None and net.requests_per_s is not None and net_supply_w > 0:
        return _poisson(net, theta, store)
    return _widened(net, theta, store)


def _found(
    u_w: float,
    w_w: float,
    rung: str,
    standing: Standing,
    error_frac: float | None,
    stored_j: float,
) -> Found:
    return Found(
        u_w=max(u_w, 0.0),
        w_w=max(w_w, 0.0),
        rung=rung,
        standing=standing,
        error_frac=error_frac,
        stored_j=stored_j,
    )


def _without_store(net: Net, theta: float) -> Found:
    """Slot by slot."""
    rates = no_storage_rates(
        theta,
        net.slot_var(),
        slot=net.supply.slot_s,
        lam=net.requests_per_s,
        law=net.law,
        demand_w=net.moving_w if net.moving_w > 0 else None,
    )
    standing: Standing = "exact" if rates.law == "compound" else "asymptotic"
    error = {"compound": 1e-6, "gamma": 0.05, "normal": 0.05, "fluid": 0.0}[rates.law]
    return _found(rates.u_w, rates.w_w, "slots", standing, error, 0.0)


def _lossy(net: Net, theta: float, store: float) -> Found:
    """Stored-side diffusion; leakage, where there is some, as a draw of its mean."""
    slot_s, drain_w = net.loss_slot_s, 0.0
    spread_j = math.sqrt(net.var * slot_s)
    eta_c, eta_d = net.supply.charge_efficiency, net.supply.discharge_efficiency
    stored = store / 2.0
    for _ in range(4 if net.supply.leak_per_s > 0 else 1):
        found = two_sided_lossy(
            theta=theta - drain_w, sd=spread_j, slot=slot_s, B=store, eta_c=eta_c, eta_d=eta_d
        )
        if found.var_stored > 0 and math.isfinite(store):
            stored = mean_level(found.theta_stored, found.var_stored, store)
        drain_w = net.supply.leak_per_s * stored
    error = 0.03 if store >= 20.0 * spread_j else 0.15
    standing: Standing = "asymptotic" if net.slow == 0 and drain_w == 0 else "heuristic"
    if net.slow > 0:
        error = max(error, 0.3)
    rung = "lossy_slots"
    return _found(found.u, found.w, rung, standing, error, stored)


def _leaking(net: Net, theta: float, store: float) -> Found:
    """Diffusion with self-discharge on the widened store."""
    wide = store + net.widening_j(store)
    found = two_sided_with_leak(theta=theta, var=net.var, kappa=net.supply.leak_per_s, B=wide)
    stored = found.mean_level * (store / wide if math.isfinite(wide) else 1.0)
    return _found(
        found.u, found.w, "leaky_diffusion", "asymptotic", _error(net, theta, store), stored
    )


def _by_ladder(net: Net, theta: float, store: float) -> Found:
    """The accuracy ladder, where nothing is slow."""
    law, rate = net.law, None
    if law is not None:
        rate = net.moving_w / law.mean_j  # the thinned law's mean, so that the drift is exact
    var = net.var if rate is None or law is None else rate * law.second_j2
    found = supply_rates(
        theta,
        var,
        B=store,
        slot=None if law is not None else net.supply.slot_s,
        lam=rate,
        law=law,
        third=3.0 * net.overshoot_j * var if law is None and net.overshoot_j > 0 else None,
        quick=law is not None and store > MANY_JOBS * max(law.mean_j, law.overshoot_j),
    )
    return _found(
        found.u_w,
        found.w_w,
        found.rung,
        found.standing,
        found.error_frac,
        mean_level(theta, net.var, store),
    )


def _poisson(net: Net, theta: float, store: float) -> Found:
    """The two poles of the dam, or the dam itself where the store is small: instant."""
    law = net.law
    assert law is not None
    b, rate = net.moving_w + theta, net.moving_w / law.mean_j
    stored = mean_level(theta, net.var, store)
    if store < _TWO_POLE_JOBS * max(law.mean_j, law.overshoot_j):
        dam = dam_rates(rate, law, b=b, B=store)
        return _found(dam.u_w, dam.w_w, "exact_dam", "exact", max(dam.error_frac, 1e-6), stored)
    poles = two_pole_rates(rate, law, b=b, B=store)
    error = 8e-3 if store < 10 * law.mean_j else 1e-3
    return _found(poles.u_w, poles.w_w, "two_pole", "asymptotic", error, stored)


def _widened(net: Net, theta: float, store: float) -> Found:
    """The diffusion of a store that acts wider than it is."""
    wide = store + net.widening_j(store)
    rates = two_sided_rates(theta, net.var, wide)
    stored = mean_level(theta, net.var, wide)
    if math.isfinite(wide):
        stored *= store / wide
    slow = net.slow_frac > 0.01
    rung = "episode_widened" if slow else "slot_widened"
    standing: Standing = "heuristic" if slow else "asymptotic"
    return _found(rates.u_w, rates.w_w, rung, standing, _error(net, theta, store), stored)


def _error(net: Net, theta: float, store: float) -> float:
    """The relative error of the smaller rate of a widened store, from simulations of both limits
    and mixtures: a fifth of the widening, carried over by d ln u / d ln B = y / (1 - exp(-y)),
    and 1 %.
    """
    wide = store + net.widening_j(store)
    if not 0 < wide < math.inf or net.var <= 0:
        return 0.01
    y = 2.0 * abs(theta) * wide / net.var
    steep = 1.0 if y < 1e-9 else y / -math.expm1(-y)
    return 0.01 + 0.2 * net.widening_j(store) / wide * steep


def rates_record(net: Net, baseline_w: float, store_j: float | None = None) -> Rates:
    """The rates at a baseline as a plan shows them."""
    store = net.supply.store_j if store_j is None else store_j
    theta = baseline_w - net.mean_w
    found = rates_of(net, theta, store, exact=True)
    fluid = fluid_rates(theta, store)
    note = "a power limit is left out: auxiliary is at least this" if net.supply.limited else ""
    return Rates(
        baseline_w=baseline_w,
        auxiliary=figure(
            found.u_w,
            "W",
            found.standing,
            rung=found.rung,
            error_frac=found.error_frac,
            note=note,
        ),
        waste=figure(
            found.w_w, "W", found.standing, rung=found.rung, error_frac=found.error_frac, note=note
        ),
        fluid_auxiliary_w=fluid.u_w,
        fluid_waste_w=fluid.w_w,
        stored=figure(found.stored_j, "J", found.standing, rung="diffusion") if store > 0 else None,
        validity=net.validity(store),
    )
