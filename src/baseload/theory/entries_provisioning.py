"""Catalogue entries of provisioning, under the names and inputs of the reference vectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import ArrayLike

from baseload.theory import lossy, provision, ride_through, seasons, variance
from baseload.theory.entry import Entry, Standing, entry_of
from baseload.theory.inputs import not_negative, positive
from baseload.theory.prices import Prices

_SPELLINGS = {
    "kappa_l": "kappa",
    "C_b": "Cb",
    "C_u": "Cu",
    "C_w": "Cw",
    "f": "phi",
    "D": "slot",
    "lambda": "lam",
}
"""Other common names of inputs."""


def _entry(
    call: Callable[..., Any],
    *,
    gives: str,
    topic: str,
    section: str,
    example: dict[str, Any],
    standing: Standing = "exact",
    typed: Callable[..., Any] | None = None,
) -> Entry:
    """The entry of ``call`` under its own name, less a leading underscore."""
    name = call.__name__.removeprefix("_")
    parameters = call.__annotations__
    spellings = _SPELLINGS | ({} if name.startswith("sigma2") else {"sigma2": "var"})
    also: Mapping[str, str] = {
        other: own
        for other, own in spellings.items()
        if own in parameters and other not in parameters
    }
    return entry_of(
        call,
        section,
        gives,
        example,
        topic=topic,
        standing=standing,
        also=also,
        typed=typed,
        name=name,
    )


def _slots(S0: float, B: float, var: float, slot: float | None) -> tuple[float, float]:
    """Start and capacity, corrected where the store is settled in slots."""
    if slot is None:
        return S0, B
    sd = math.sqrt(not_negative("var", var) * positive("slot", slot))
    return ride_through.start_with_slots(S0=S0, B=B, sd=sd)


def _two_sided_with_leak(*, theta: float, var: float, kappa: float, B: float) -> dict[str, float]:
    found = lossy.two_sided_with_leak(theta=theta, var=var, kappa=kappa, B=B)
    return {"u": found.u, "w": found.w, "leak": found.leak, "mean_level": found.mean_level}


def _two_sided_with_leak_u(*, theta: float, var: float, kappa: float, B: float) -> float:
    return lossy.two_sided_with_leak(theta=theta, var=var, kappa=kappa, B=B).u


def _two_sided_lossy(
    *, theta: float, sd: float, slot: float, B: float, eta_c: float = 1.0, eta_d: float = 1.0
) -> dict[str, float]:
    found = lossy.two_sided_lossy(theta=theta, sd=sd, slot=slot, B=B, eta_c=eta_c, eta_d=eta_d)
    return {"u": found.u, "w": found.w, "loss": found.loss}


def _mean_ride_through(
    *, S0: float, theta: float, var: float, B: float = math.inf, slot: float | None = None
) -> float:
    S0, B = _slots(S0, B, var, slot)
    return ride_through.mean_ride_through(S0=S0, theta=theta, var=var, B=B)


def _p_any_aux_infinite_store(
    *, S0: float, theta: float, var: float, T: float, slot: float | None = None
) -> float:
    S0, _ = _slots(S0, math.inf, var, slot)
    return ride_through.p_any_aux_infinite_store(S0=S0, theta=theta, var=var, T=T)


def _p_any_aux_finite_store(
    *, S0: float, theta: float, var: float, B: float, T: float, slot: float | None = None
) -> float:
    S0, B = _slots(S0, B, var, slot)
    return ride_through.p_any_aux_finite_store(S0=S0, theta=theta, var=var, B=B, T=T)


def _autonomy_time(
    *,
    S0: float,
    theta: float,
    var: float,
    risk: float,
    B: float = math.inf,
    slot: float | None = None,
) -> float:
    S0, B = _slots(S0, B, var, slot)
    return ride_through.autonomy_time(S0=S0, theta=theta, var=var, risk=risk, B=B)


def _expected_aux_time_varying(
    *,
    theta: seasons.DriftLike,
    var: float,
    B: float,
    S0: float,
    T: float,
    steps: int | None = None,
    cells: int | None = None,
) -> dict[str, float]:
    found = seasons.expected_aux_time_varying(
        theta=theta, var=var, B=B, S0=S0, T=T, steps=steps, cells=cells
    )
    return {"EU": found.EU, "EW": found.EW}


def _periodic_rates(
    *,
    theta: seasons.DriftLike,
    var: float,
    B: float,
    period: float,
    steps: int | None = None,
    cells: int | None = None,
) -> dict[str, float]:
    found = seasons.periodic_rates(
        theta=theta, var=var, B=B, period=period, steps=steps, cells=cells
    )
    return {"u": found.u, "w": found.w, "mean_level": found.mean_level}


def _fluid_swing(*, theta: seasons.DriftLike, period: float) -> dict[str, float]:
    found = seasons.fluid_swing(theta=theta, period=period)
    return {
        "swing": found.swing,
        "mean": found.mean,
        "drawdown": found.drawdown,
        "surge": found.surge,
    }


def _newsvendor_z(*, Cb: float, Cu: float, Cw: float = 0.0) -> float:
    return provision.newsvendor_z(prices=Prices(Cb=Cb, Cu=Cu, Cw=Cw))


def _optimal_supply(
    *,
    Cb: float,
    Cu: float,
    var: float,
    B: float,
    Cw: float = 0.0,
    slot: float | None = None,
    mean: float | None = None,
    most: float | None = None,
) -> dict[str, float]:
    found = provision.optimal_supply(
        prices=Prices(Cb=Cb, Cu=Cu, Cw=Cw), var=var, B=B, slot=slot, mean=mean, most=most
    )
    return {
        "theta": found.theta,
        "u": found.u,
        "w": found.w,
        "excess_cost": found.excess_cost,
        "ratio": found.ratio,
    }


def _price_of_variance(*, Cb: float, Cu: float, B: float, Cw: float = 0.0) -> float:
    return provision.price_of_variance(prices=Prices(Cb=Cb, Cu=Cu, Cw=Cw), B=B)


def _optimal_provision_and_storage(
    *,
    Cb: float,
    Cu: float,
    h: float,
    var: float,
    Cw: float = 0.0,
    slot: float | None = None,
    mean: float | None = None,
    most: float | None = None,
) -> dict[str, float]:
    found = provision.optimal_provision_and_storage(
        prices=Prices(Cb=Cb, Cu=Cu, Cw=Cw), h=h, var=var, slot=slot, mean=mean, most=most
    )
    return {
        "B": found.B,
        "theta": found.theta,
        "beta": found.beta,
        "excess_cost": found.excess_cost,
    }


def _variance_components(
    *,
    w: ArrayLike,
    p: ArrayLike,
    mean: ArrayLike,
    var: ArrayLike | None = None,
    second: ArrayLike | None = None,
    ca2: float = 0.0,
) -> dict[str, float]:
    found = variance.variance_components(w=w, p=p, mean=mean, var=var, second=second, ca2=ca2)
    return {
        "mix": found.mix,
        "model": found.model,
        "effort": found.effort,
        "execution": found.execution,
        "arrival": found.arrival,
        "total": found.total,
    }


_STORE = {"S0": 3.0, "theta": 0.4, "var": 4.0, "B": 5.0}
_PRICES = {"Cb": 1.0, "Cu": 3.0, "Cw": 0.2}
_DAY = {"theta": "1.5*sin(2*pi*t/24)-0.1", "var": 4.0, "B": 10.0}

_STORES: tuple[Entry, ...] = (
    _entry(
        lossy.critical_z_lossy,
        gives="net energy at which a lossy store is critical, in sd of a slot",
        topic="losses",
        section="2.4",
        example={"eta_c": 0.95, "eta_d": 0.95},
    ),
    _entry(
        _two_sided_lossy,
        typed=lossy.two_sided_lossy,
        gives="auxiliary u, waste w and conversion loss [W], without power limits",
        topic="losses",
        section="3.7",
        standing="asymptotic",
        example={"theta": 0.0, "sd": 1.0, "slot": 1.0, "B": 20.0, "eta_c": 0.95, "eta_d": 0.95},
    ),
    _entry(
        _two_sided_with_leak_u,
        typed=lossy.two_sided_with_leak,
        gives="auxiliary rate of a store with self-discharge [W]",
        topic="losses",
        section="3.7",
        example={"theta": 0.5, "var": 4.0, "kappa": 0.2, "B": 5.0},
    ),
    _entry(
        _two_sided_with_leak,
        typed=lossy.two_sided_with_leak,
        gives="auxiliary u, waste w, self-discharge leak [W] and mean level [J]",
        topic="losses",
        section="3.7",
        example={"theta": 0.5, "var": 4.0, "kappa": 0.2, "B": 5.0},
    ),
    _entry(
        _mean_ride_through,
        typed=ride_through.mean_ride_through,
        gives="mean time to the first auxiliary joule [s]",
        topic="ride-through",
        section="3.6",
        example=_STORE,
    ),
    _entry(
        ride_through.log_mean_ride_through,
        gives="natural logarithm of the mean ride-through in seconds",
        topic="ride-through",
        section="3.6",
        example=_STORE,
    ),
    _entry(
        _p_any_aux_infinite_store,
        typed=ride_through.p_any_aux_infinite_store,
        gives="probability of any auxiliary use by T, infinite store",
        topic="ride-through",
        section="3.6",
        example={"S0": 3.0, "theta": 0.2, "var": 2.0, "T": 40.0},
    ),
    _entry(
        _p_any_aux_finite_store,
        typed=ride_through.p_any_aux_finite_store,
        gives="probability of any auxiliary use by T",
        topic="ride-through",
        section="3.6",
        example={**_STORE, "T": 50.0},
    ),
    _entry(
        ride_through.p_no_aux_stationary_zero_drift,
        gives="probability of no auxiliary use by T from a random time on, critical supply",
        topic="ride-through",
        section="3.6",
        example={"var": 4.0, "B": 5.0, "T": 5.0},
    ),
    _entry(
        _autonomy_time,
        typed=ride_through.autonomy_time,
        gives="time until auxiliary use has probability risk [s]",
        topic="ride-through",
        section="3.6",
        example={**_STORE, "risk": 0.1},
    ),
)

_OPTIMA: tuple[Entry, ...] = (
    _entry(
        _newsvendor_z,
        typed=provision.newsvendor_z,
        gives="best supply without storage, in sd of a slot above mean demand",
        topic="provisioning",
        section="3.8",
        example={"Cb": 1.0, "Cu": 4.0, "Cw": 0.5},
    ),
    _entry(
        provision.optimal_criticality_index,
        gives="best y = 2 theta B / var for price ratio r",
        topic="provisioning",
        section="3.8",
        example={"r": 0.1},
    ),
    _entry(
        provision.optimal_beta_horizon,
        gives="best theta sqrt(T) / sigma over a horizon for r = Cb / Cu",
        topic="provisioning",
        section="3.8",
        example={"r": 0.75},
    ),
    _entry(
        _optimal_supply,
        typed=provision.optimal_supply,
        gives="best theta, u, w [W], excess cost [$/s] and price ratio for given storage",
        topic="provisioning",
        section="3.8",
        example={**_PRICES, "var": 4.0, "B": 25.0},
    ),
    _entry(
        _price_of_variance,
        typed=provision.price_of_variance,
        gives="cost a second of one J^2/s of variance, at the best supply [$/J^2]",
        topic="provisioning",
        section="3.8",
        example={**_PRICES, "B": 25.0},
    ),
    _entry(
        _optimal_provision_and_storage,
        typed=provision.optimal_provision_and_storage,
        gives="best storage B [J], theta [W], beta [s^-1/2] and excess cost [$/s]",
        topic="provisioning",
        section="3.9",
        example={**_PRICES, "h": 0.01, "var": 4.0},
    ),
    _entry(
        _fluid_swing,
        typed=seasons.fluid_swing,
        gives="storage a periodic drift moves [J]: swing, drawdown, surge; its mean [W]",
        topic="seasons",
        section="3.10",
        example={"theta": "1.5*sin(2*pi*t/24)", "period": 24.0},
    ),
    _entry(
        _expected_aux_time_varying,
        typed=seasons.expected_aux_time_varying,
        gives="expected auxiliary energy EU and waste EW until T [J]",
        topic="seasons",
        section="3.10",
        example={**_DAY, "S0": 5.0, "T": 48.0},
    ),
    _entry(
        _periodic_rates,
        typed=seasons.periodic_rates,
        gives="mean auxiliary u and waste w [W], mean level [J] under a periodic drift",
        topic="seasons",
        section="3.10",
        example={**_DAY, "period": 24.0},
    ),
)

_VARIANCE: tuple[Entry, ...] = (
    _entry(
        variance.sigma2_compound_renewal,
        gives="variance rate of renewal arrivals of random jobs [J^2/s]",
        topic="variance",
        section="4.1",
        example={"lam": 1.0, "ca2": 1.0, "p": [0.7, 0.3], "mean": [1, 4], "var": [0.5, 9]},
    ),
    _entry(
        _variance_components,
        typed=variance.variance_components,
        gives="variance per arrival by mix, model, effort, execution, arrival; total [J^2]",
        topic="variance",
        section="4.2",
        example={
            "w": [0.5, 0.5],
            "p": [[[0.2, 0.8]], [[1.0, 0.0]]],
            "mean": [[[1.0, 2.0]], [[3.0, 4.0]]],
            "var": [[[1.0, 1.0]], [[2.0, 2.0]]],
        },
    ),
    _entry(
        variance.sigma2_mmpp,
        gives="variance rate under a Markov environment [J^2/s]",
        topic="variance",
        section="4.3",
        example={
            "Q": [[-0.3, 0.3], [0.1, -0.1]],
            "lam": [0.5, 2.0],
            "mean": [1.0, 1.5],
            "second": [1.5, 4.0],
            "b": [1.5, 2.5],
        },
    ),
    _entry(
        variance.sigma2_two_states,
        gives="variance rate of a power that alternates between two values [J^2/s]",
        topic="variance",
        section="4.3",
        example={"q12": 0.3, "q21": 0.1, "r1": 1.0, "r2": -0.5},
    ),
    _entry(
        variance.sigma2_ar1,
        gives="variance rate of AR(1) slot energies [J^2/s]",
        topic="variance",
        section="4.4",
        example={"phi": 0.9, "var": 2.0, "slot": 1.0},
    ),
    _entry(
        variance.sigma2_ou,
        gives="variance rate of an Ornstein-Uhlenbeck power [J^2/s]",
        topic="variance",
        section="4.4",
        example={"var": 2.0, "tau": 600.0},
    ),
    _entry(
        variance.sigma2_from_autocovariance,
        gives="variance rate from autocovariances of slot energies [J^2/s]",
        topic="variance",
        section="4.4",
        example={"gamma": [2.0, 1.0, 0.5, 0.25], "slot": 1.0},
    ),
    _entry(
        variance.sigma2_shared_factor,
        gives="variance rate of jobs that share a random factor a slot [J^2/s]",
        topic="variance",
        section="4.5",
        example={"lam": 5.0, "mean": 1.0, "second": 2.0, "slot": 1.0, "var_factor": 0.04},
    ),
)

ENTRIES: tuple[Entry, ...] = (*_STORES, *_OPTIMA, *_VARIANCE)
