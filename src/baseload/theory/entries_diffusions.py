"""Catalogue entries of diffusions, under the names and inputs of the reference vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from baseload.base.errors import ArgumentError
from baseload.theory.checked_call import by_keyword
from baseload.theory.dam import dam_rates, two_pole_rates
from baseload.theory.entry import Entry, Standing
from baseload.theory.job_laws import JobLaw, job_law
from baseload.theory.ladder import MarkovSupply, SupplyRates, supply_rates
from baseload.theory.markov_fluid import markov_fluid_rates
from baseload.theory.one_sided import (
    expected_aux_one_sided,
    expected_aux_slotted,
    expected_aux_slotted_zero_drift,
    expected_aux_with_bias,
)
from baseload.theory.poisson import expected_aux_poisson
from baseload.theory.regime import regime
from baseload.theory.slots import gamma_loss
from baseload.theory.slotted import slotted_two_sided_rates
from baseload.theory.two_sided import expected_aux_finite_B, mean_level, two_sided_rates

_SPELLINGS = {
    "sigma2": "var",
    "lambda": "lam",
    "D": "slot",
    "S_0": "S0",
    "x": "S0",
    "capacity": "B",
    "law": "dist",
    "c": "b",
    "a": "mean",
}
"""Other common names of inputs."""

Call = Callable[..., Any]
Dist = str | JobLaw


def _two_sided_u(*, theta: float, var: float, B: float) -> float:
    return two_sided_rates(theta, var, B).u_w


def _two_sided_w(*, theta: float, var: float, B: float) -> float:
    return two_sided_rates(theta, var, B).w_w


def _two_sided_validity(*, theta: float, var: float, B: float) -> SupplyRates:
    return supply_rates(theta, var, B=B)


def _mean_level(*, theta: float, var: float, B: float) -> float:
    return mean_level(theta, var, B)


def _slotted_u(*, theta: float, var: float, slot: float, B: float) -> float:
    return slotted_two_sided_rates(theta, var, slot=slot, B=B).u_w


def _slotted_validity(*, theta: float, var: float, slot: float, B: float) -> SupplyRates:
    return supply_rates(theta, var / slot, slot=slot, B=B)


def _exact_dam_u(*, lam: float, b: float, B: float, dist: Dist = "exp", mean: float) -> float:
    return dam_rates(lam, job_law(dist, mean), b=b, B=B).u_w


def _two_pole_u(*, lam: float, b: float, B: float, dist: Dist = "exp", mean: float) -> float:
    return two_pole_rates(lam, job_law(dist, mean), b=b, B=B).u_w


def _dam_validity(
    *, lam: float, b: float, B: float, dist: Dist = "exp", mean: float
) -> SupplyRates:
    return supply_rates(lam=lam, law=job_law(dist, mean), b=b, B=B)


def _two_pole_validity(
    *, lam: float, b: float, B: float, dist: Dist = "exp", mean: float
) -> SupplyRates:
    return supply_rates(lam=lam, law=job_law(dist, mean), b=b, B=B, quick=True)


def _markov_u(*, r_plus: float, r_minus: float, q12: float, q21: float, B: float) -> float:
    return markov_fluid_rates(r_plus, r_minus, q12=q12, q21=q21, B=B).u_w


def _markov_validity(
    *, r_plus: float, r_minus: float, q12: float, q21: float, B: float
) -> SupplyRates:
    supply = MarkovSupply(r_plus=r_plus, r_minus=r_minus, q12=q12, q21=q21)
    return supply_rates(markov=supply, B=B)


def _aux_one_sided(*, S0: float = 0.0, theta: float, var: float, T: float) -> float:
    return expected_aux_one_sided(theta, var, T=T, S0=S0)


def _aux_slotted(*, theta: float, sigma_slot: float, n_slots: float, S0: float = 0.0) -> float:
    return expected_aux_slotted(theta, sigma_slot, n_slots=n_slots, S0=S0)


def _aux_slotted_zero_drift(*, sigma_slot: float, n_slots: float) -> float:
    return expected_aux_slotted_zero_drift(sigma_slot, n_slots)


def _aux_poisson(
    *, lam: float, mean: float, dist: Dist = "exp", b: float, T: float, S0: float = 0.0
) -> float:
    return expected_aux_poisson(lam, job_law(dist, mean), b=b, T=T, S0=S0)


def _aux_finite_b(*, S0: float = 0.0, theta: float, var: float, B: float, T: float) -> float:
    return expected_aux_finite_B(theta, var, B=B, T=T, S0=S0)


def _aux_with_bias(*, sigma: float, eps: float, T: float) -> float:
    return expected_aux_with_bias(sigma, eps, T=T)


def _gamma_loss(*, shape: float, scale: float, b: float) -> float:
    return gamma_loss(shape, scale, b=b)


def _supply_rates(
    *,
    theta: float | None = None,
    var: float | None = None,
    B: float,
    slot: float | None = None,
    lam: float | None = None,
    dist: Dist = "exp",
    mean: float | None = None,
    b: float | None = None,
    third: float | None = None,
    episode_j: float | None = None,
    quick: bool = False,
) -> dict[str, Any]:
    if (lam is None) != (mean is None):
        raise ArgumentError("mean", found="one of lam and mean", allowed="lam and mean together")
    law = None if mean is None else job_law(dist, mean)
    found = supply_rates(
        theta, var, B=B, slot=slot, lam=lam, law=law, b=b, third=third,
        episode_j=episode_j, quick=quick,
    )  # fmt: skip
    return msgspec.structs.asdict(found)


def _regime(
    *, theta: float, var: float, B: float | None = None, T: float | None = None
) -> dict[str, Any]:
    return msgspec.structs.asdict(regime(theta, var, B=B, T=T))


def _entry(
    name: str,
    call: Call,
    typed: Call,
    gives: str,
    section: str,
    *,
    standing: Standing = "exact",
    example: dict[str, Any],
    validity: Call | None = None,
) -> Entry:
    """One entry of this file's topic."""
    return Entry(
        name=name,
        call=by_keyword(call, name=name, also=_SPELLINGS),
        typed=typed,
        gives=gives,
        topic="diffusions",
        section=section,
        standing=standing,
        example=example,
        validity=None if validity is None else by_keyword(validity, name=name, also=_SPELLINGS),
    )


_BROWNIAN = {"theta": 0.5, "var": 4.0, "B": 100.0}
_REQUESTS = {"lam": 1.0, "b": 1.1, "B": 20.0, "dist": "logn s=1", "mean": 1.0}

ENTRIES: tuple[Entry, ...] = (
    _entry(
        "gamma_loss",
        _gamma_loss,
        gamma_loss,
        "expected shortfall of gamma demand against the supply b of a slot [J]",
        "3.2",
        example={"shape": 4.0, "scale": 2.5, "b": 11.0},
    ),
    _entry(
        "expected_aux_one_sided",
        _aux_one_sided,
        expected_aux_one_sided,
        "expected auxiliary energy over T, unlimited store from S0 [J]",
        "3.3",
        example={"S0": 0.0, "theta": 0.0, "var": 2.0, "T": 100.0},
    ),
    _entry(
        "expected_aux_slotted",
        _aux_slotted,
        expected_aux_slotted,
        "expected auxiliary energy after n slots, theta in J per slot, unlimited store [J]",
        "3.3",
        example={"theta": -0.1, "sigma_slot": 1.0, "n_slots": 200, "S0": 0.0},
    ),
    _entry(
        "expected_aux_slotted_zero_drift",
        _aux_slotted_zero_drift,
        expected_aux_slotted_zero_drift,
        "expected auxiliary energy after n slots of critical supply, unlimited store [J]",
        "3.3",
        example={"sigma_slot": 1.0, "n_slots": 10},
    ),
    _entry(
        "expected_aux_poisson",
        _aux_poisson,
        expected_aux_poisson,
        "expected auxiliary energy over T of Poisson requests, unlimited store [J]",
        "3.3",
        example={"lam": 1.0, "mean": 1.0, "dist": "exponential", "b": 0.9, "T": 50.0, "S0": 0.0},
    ),
    _entry(
        "two_sided_u",
        _two_sided_u,
        two_sided_rates,
        "long-run auxiliary rate of a finite store, Brownian net energy [W]",
        "3.4",
        example=_BROWNIAN,
        validity=_two_sided_validity,
    ),
    _entry(
        "two_sided_w",
        _two_sided_w,
        two_sided_rates,
        "long-run waste rate of a finite store, Brownian net energy [W]",
        "3.4",
        example=_BROWNIAN,
        validity=_two_sided_validity,
    ),
    _entry(
        "mean_level",
        _mean_level,
        mean_level,
        "long-run mean level of a finite store, Brownian net energy [J]",
        "3.4",
        example=_BROWNIAN,
        validity=_two_sided_validity,
    ),
    _entry(
        "expected_aux_finite_B",
        _aux_finite_b,
        expected_aux_finite_B,
        "expected auxiliary energy over T of a finite store from S0 [J]",
        "3.4",
        example={"S0": 2.0, "theta": 0.4, "var": 4.0, "B": 5.0, "T": 60.0},
    ),
    _entry(
        "supply_rates",
        _supply_rates,
        supply_rates,
        "auxiliary u_w and waste w_w [W] by the best formula, with rung, error and validity ratios",
        "3.5",
        standing="asymptotic",
        example={"theta": 0.0, "var": 2.0, "B": 50.0, "slot": 1.0},
    ),
    _entry(
        "exact_dam_u",
        _exact_dam_u,
        dam_rates,
        "long-run auxiliary rate, Poisson requests of any law, constant supply [W]",
        "3.5 (i)",
        example=_REQUESTS,
        validity=_dam_validity,
    ),
    _entry(
        "two_pole_u",
        _two_pole_u,
        two_pole_rates,
        "long-run auxiliary rate of Poisson requests by two poles: instant, large stores [W]",
        "3.5 (ii)",
        standing="asymptotic",
        example={**_REQUESTS, "dist": "logn s=1 cap=20"},
        validity=_two_pole_validity,
    ),
    _entry(
        "slotted_two_sided_u",
        _slotted_u,
        slotted_two_sided_rates,
        "long-run auxiliary rate, normal slots of variance var per slot [W]",
        "3.5 (iii)",
        example={"theta": 0.05, "var": 1.0, "slot": 1.0, "B": 20.0},
        validity=_slotted_validity,
    ),
    _entry(
        "markov_fluid_u",
        _markov_u,
        markov_fluid_rates,
        "long-run auxiliary rate of a supply that switches between two states [W]",
        "3.5 (v)",
        example={"r_plus": 3.0, "r_minus": 2.0, "q12": 0.3, "q21": 0.25, "B": 20.0},
        validity=_markov_validity,
    ),
    _entry(
        "regime",
        _regime,
        regime,
        "regime label and criticality index of a store or a horizon",
        "2.5",
        standing="heuristic",
        example={"theta": 0.5, "var": 4.0, "B": 100.0},
    ),
    _entry(
        "expected_aux_with_bias",
        _aux_with_bias,
        expected_aux_with_bias,
        "expected auxiliary energy over T when supply is eps [W] too low [J]",
        "7.5",
        example={"sigma": 1.0, "eps": 0.03, "T": 10_000.0},
    ),
)
