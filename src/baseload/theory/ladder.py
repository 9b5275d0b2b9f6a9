"""Which formula to trust for the rates of a store: the accuracy ladder.

``supply_rates`` takes what is known of a site, picks the most exact formula that it allows and
gives the rates with the rung, its error and the three validity ratios: capacity against the noise
of one slot, against the mean overshoot of one request, and against one correlated episode. The
plain diffusion needs all three to be large. docs/explanation/critical-regime.md, 3.5.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from baseload.base.errors import ArgumentError
from baseload.theory.dam import dam_rates, two_pole_rates
from baseload.theory.entry import Standing
from baseload.theory.inputs import not_negative, number, positive
from baseload.theory.job_laws import JobLaw
from baseload.theory.markov_fluid import (
    markov_fluid_drift,
    markov_fluid_rates,
    markov_fluid_variance,
)
from baseload.theory.normal import BETA_0, expected_shortfall, pdf
from baseload.theory.regime import RegimeLabel, regime
from baseload.theory.slots import no_storage_rates
from baseload.theory.slotted import slotted_two_sided_rates
from baseload.theory.two_sided import Rates, fluid_rates, two_sided_rates

Rung = Literal[
    "exact_dam",
    "two_pole",
    "slotted",
    "kx_corrected",
    "markov_fluid",
    "slots",
    "fluid",
    "diffusion",
]
"""From requests one by one down to plain Brownian motion; ``slots`` is no storage, ``fluid`` no
noise.
"""

_AMPLE = 20.0
_SAME = 1e-6
_SMALL_SHIFT = 0.2


class MarkovSupply(msgspec.Struct, frozen=True, kw_only=True):
    """Net rates of two states: rising at ``r_plus`` [W] until a switch at rate ``q12`` [1/s],
    falling at ``r_minus`` [W] until a switch at rate ``q21``.
    """

    r_plus: float
    r_minus: float
    q12: float
    q21: float


class SupplyRates(msgspec.Struct, frozen=True, kw_only=True):
    """Long-run rates of a site [W] and how far to trust them.

    ``error_frac`` is the stated error of the rung, as a share of ``u_w`` and of ``w_w`` each; None
    where nothing is known that would bound it. The ratios are None where their scale is
    unknown. ``y`` is the criticality index, ``regime`` its label, ``warnings`` whole sentences.
    """

    u_w: float
    w_w: float
    rung: Rung
    standing: Standing
    error_frac: float | None
    storage_per_slot_noise: float | None
    storage_per_overshoot: float | None
    storage_per_episode: float | None
    y: float
    regime: RegimeLabel
    warnings: tuple[str, ...]


class _Site(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a site, made consistent. Scales [J] are None where unknown."""

    theta: float
    var: float
    B: float
    slot: float | None
    lam: float | None
    law: JobLaw | None
    markov: MarkovSupply | None
    slot_noise_j: float | None
    overshoot_j: float | None
    episode_j: float | None
    only_requests: bool
    quick: bool


class _Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Rates of one rung."""

    rates: Rates
    rung: Rung
    standing: Standing
    error_frac: float | None
    notes: tuple[str, ...] = ()


def supply_rates(
    theta: float | None = None,
    var: float | None = None,
    *,
    B: float,
    slot: float | None = None,
    lam: float | None = None,
    law: JobLaw | None = None,
    b: float | None = None,
    third: float | None = None,
    episode_j: float | None = None,
    markov: MarkovSupply | None = None,
    quick: bool = False,
) -> SupplyRates:
    """Auxiliary and waste rates of a store of ``B`` [J] by the best formula that the inputs allow.

    Drift ``theta`` [W] and variance rate ``var`` [J^2/s] of the net energy may be left out where
    they follow from Poisson requests (``lam`` [1/s], ``law``, supply ``b`` [W]) or from a
    ``markov`` supply. ``slot`` [s] is the settlement slot, if there is one; ``third`` [J^3/s] the
    third moment of request energy per second; ``episode_j`` [J] the typical excursion of one
    correlated episode. ``quick`` prefers the two-pole formula to the exact dam where it is
    good. Requests count as all the noise there is when lam E X^2 equals ``var`` within 1e-6.

    Raises ArgumentError for inputs that contradict each other, and for ``B`` = 0 without a slot.
    """
    site = _site(
        theta=theta, var=var, B=B, slot=slot, lam=lam, law=law, b=b, third=third,
        episode_j=episode_j, markov=markov, quick=quick,
    )  # fmt: skip
    choice = _choose(site)
    found = regime(site.theta, site.var, B=site.B, T=site.slot or 1.0)
    if math.isinf(site.B) and site.slot is None:
        found = regime(site.theta, 0.0, T=1.0)
    return SupplyRates(
        u_w=choice.rates.u_w,
        w_w=choice.rates.w_w,
        rung=choice.rung,
        standing=choice.standing,
        error_frac=choice.error_frac,
        storage_per_slot_noise=_ratio(site.B, site.slot_noise_j),
        storage_per_overshoot=_ratio(site.B, site.overshoot_j),
        storage_per_episode=_ratio(site.B, site.episode_j),
        y=found.index,
        regime=found.label,
        warnings=choice.notes + _warnings(site, choice),
    )


def _ratio(capacity_j: float, scale_j: float | None) -> float | None:
    """Capacity over a scale; None where the scale is unknown, infinite where it is 0."""
    if scale_j is None:
        return None
    if math.isinf(scale_j):
        return 0.0
    return capacity_j / scale_j if scale_j > 0 else math.inf


def _site(
    *,
    theta: float | None,
    var: float | None,
    B: float,
    slot: float | None,
    lam: float | None,
    law: JobLaw | None,
    b: float | None,
    third: float | None,
    episode_j: float | None,
    markov: MarkovSupply | None,
    quick: bool,
) -> _Site:
    """The inputs checked, with what follows from them filled in."""
    if (lam is None) != (law is None):
        raise ArgumentError("lam", found="without law" if law is None else "missing beside law",
                            allowed="lam and law together")  # fmt: skip
    requests_var: float | None = None
    if lam is not None and law is not None:
        lam = not_negative("lam", lam)
        theta = _agreed_drift(theta, b=b, demand_w=lam * law.mean_j)
        requests_var = lam * law.second_j2
        third = lam * law.third_j3 if third is None else third
        var = requests_var if var is None else var
    elif markov is not None:
        rates = msgspec.structs.astuple(markov)
        for field, value in zip(markov.__struct_fields__, rates, strict=True):
            not_negative(field, value)
        switches = {"q12": markov.q12, "q21": markov.q21}
        if markov.q12 + markov.q21 == 0:
            raise ArgumentError("q12", found="0 with q21 = 0", allowed="at least one above 0")
        own = markov_fluid_drift(markov.r_plus, markov.r_minus, **switches)
        theta = own if theta is None else theta
        own_var = markov_fluid_variance(markov.r_plus, markov.r_minus, **switches)
        var = own_var if var is None else var
        if episode_j is None and markov.q12 > 0:
            episode_j = markov.r_plus / markov.q12
    if theta is None or var is None:
        field = "theta" if theta is None else "var"
        raise ArgumentError(
            field, found="nothing", allowed="theta and var, or lam, law and b, or a markov supply"
        )
    var = not_negative("var", var)
    slot = None if slot is None else positive("slot", slot)
    overshoot = None
    if third is not None and var > 0:
        overshoot = not_negative("third", third, infinite=True) / (3 * var)
    only = requests_var is not None and abs(requests_var - var) <= _SAME * var
    return _Site(
        theta=number("theta", theta),
        var=var,
        B=not_negative("B", B, infinite=True),
        slot=slot,
        lam=lam,
        law=law,
        markov=markov,
        slot_noise_j=None if slot is None else BETA_0 * math.sqrt(var * slot),
        overshoot_j=overshoot,
        episode_j=None if episode_j is None else not_negative("episode_j", episode_j),
        only_requests=only,
        quick=quick,
    )


def _agreed_drift(theta: float | None, *, b: float | None, demand_w: float) -> float | None:
    """The drift, from the supply where that is given; both must agree."""
    if b is None:
        return theta
    own = not_negative("b", b) - demand_w
    if theta is not None and abs(theta - own) > _SAME * max(abs(b), demand_w):
        raise ArgumentError(
            "theta", found=f"{theta:g} with b - lam mean = {own:g}", allowed="one and the same"
        )
    return own if theta is None else theta


def _choose(site: _Site) -> _Choice:
    """The best rung that the site allows."""
    if site.var == 0 or math.isinf(site.B):
        return _fluid(site)
    if site.markov is not None and site.lam is None and _only_markov(site):
        return _markov(site)
    if site.B == 0:
        return _no_store(site)
    requests = site.only_requests and site.lam is not None and site.law is not None
    if requests and not _slot_decides(site):
        return _requests(site)
    if site.slot is not None:
        return _slotted(site)
    return _diffusion(site)


def _fluid(site: _Site) -> _Choice:
    """No noise, or a store that never fills."""
    notes: tuple[str, ...] = ()
    if site.var > 0 and site.theta >= 0:
        notes = (
            "An unlimited store has no long-run auxiliary rate at this supply; over a horizon the "
            "use still grows: ask expected_aux_one_sided.",
        )
    return _Choice(
        rates=fluid_rates(site.theta, site.B),
        rung="fluid",
        standing="exact",
        error_frac=0.0,
        notes=notes,
    )


def _only_markov(site: _Site) -> bool:
    """Whether drift and variance are those of the two states."""
    m = site.markov
    assert m is not None
    own = markov_fluid_variance(m.r_plus, m.r_minus, q12=m.q12, q21=m.q21)
    drift = markov_fluid_drift(m.r_plus, m.r_minus, q12=m.q12, q21=m.q21)
    same_drift = abs(site.theta - drift) <= _SAME * (m.r_plus + m.r_minus)
    return abs(own - site.var) <= _SAME * site.var and same_drift


def _markov(site: _Site) -> _Choice:
    """Two states are all the noise there is."""
    m = site.markov
    assert m is not None
    rates = markov_fluid_rates(m.r_plus, m.r_minus, q12=m.q12, q21=m.q21, B=site.B)
    return _Choice(rates=rates, rung="markov_fluid", standing="exact", error_frac=1e-9)


def _no_store(site: _Site) -> _Choice:
    """Only the balance of a slot counts."""
    if site.slot is None:
        raise ArgumentError(
            "slot", found="nothing with B = 0", allowed="the settlement slot in seconds"
        )
    found = no_storage_rates(site.theta, site.var, slot=site.slot, lam=site.lam, law=site.law)
    skewness = None
    if site.overshoot_j is not None:
        skewness = 3 * site.overshoot_j / math.sqrt(site.var * site.slot)
    z = abs(site.theta) * math.sqrt(site.slot / site.var)
    error: float | None = 1e-6
    if found.law == "normal":
        error = None if skewness is None else _skewed_error(skewness, z)
    elif found.law == "gamma":
        error = None if skewness is None else 0.05 + _skewed_error(skewness, z) / 3
    standing: Standing = "exact" if found.law == "compound" else "asymptotic"
    return _Choice(
        rates=Rates(u_w=found.u_w, w_w=found.w_w),
        rung="slots",
        standing="heuristic" if found.law == "gamma" else standing,
        error_frac=error,
        notes=(f"No storage: the demand of a slot is taken as {found.law}.",),
    )


def _skewed_error(skewness: float, z: float) -> float:
    """What the first Edgeworth terms would change in the smaller rate, as a share."""
    depth = min(z, 30.0)
    size = skewness / 6 * depth + skewness**2 / 24 * (1 + depth**4 / 3)
    return math.expm1(min(size * pdf(depth) / expected_shortfall(depth), 50.0))


def _slot_decides(site: _Site) -> bool:
    """Whether settling in slots matters more than that requests come in lumps."""
    if site.slot_noise_j is None:
        return False
    lumps = site.overshoot_j if site.overshoot_j is not None else 0.0
    return 2 * site.slot_noise_j > lumps


def _requests(site: _Site) -> _Choice:
    """Poisson requests against a constant supply."""
    assert site.lam is not None
    assert site.law is not None
    b = max(site.lam * site.law.mean_j + site.theta, 0.0)
    apart = 0.0
    if site.slot_noise_j is not None:
        apart = _shift_error(2 * site.slot_noise_j, site)
    if site.quick and _poles_are_good(site):
        rates = two_pole_rates(site.lam, site.law, b=b, B=site.B)
        ample = max(12 * site.law.overshoot_j, 10 * site.law.mean_j) <= site.B
        error = 5e-4 if ample else 8e-3
        return _Choice(
            rates=rates, rung="two_pole", standing="asymptotic", error_frac=error + apart
        )
    dam = dam_rates(site.lam, site.law, b=b, B=site.B)
    return _Choice(
        rates=Rates(u_w=dam.u_w, w_w=dam.w_w),
        rung="exact_dam",
        standing="exact",
        error_frac=dam.error_frac + apart,
    )


def _poles_are_good(site: _Site) -> bool:
    """Whether two poles are within their stated error."""
    law = site.law
    assert law is not None
    if not math.isfinite(law.overshoot_j):
        return False
    light = law.transforms_from_per_j < 0
    return light and max(8 * law.overshoot_j, 3 * law.mean_j) <= site.B


def _slotted(site: _Site) -> _Choice:
    """Normal net energy in slots."""
    assert site.slot is not None
    rates = slotted_two_sided_rates(site.theta, site.var * site.slot, slot=site.slot, B=site.B)
    y = 2 * abs(site.theta) * site.B / site.var
    lumps = site.overshoot_j
    error: float | None = None
    if lumps is not None and math.isfinite(lumps):
        error = 0.0025 + math.expm1(min(0.2 * (lumps / site.B) ** 2 + lumps / site.B * y * y, 50))
    if site.episode_j is not None:
        error = (error or 0.0025) + _shift_error(site.episode_j, site)
    bounded = None if error is None else _bounded(error)
    return _Choice(rates=rates, rung="slotted", standing="asymptotic", error_frac=bounded)


def _shift_error(shift_j: float, site: _Site) -> float:
    """Relative change of the smaller rate when a scale of ``shift_j`` is left out: the first order
    moves ln(w / u) by shift / B (y + y^2), the second by about its square.
    """
    y = 2 * abs(site.theta) * site.B / site.var
    steep = y / -math.expm1(-y) if y > 1e-9 else 1.0
    first = shift_j / site.B * (steep + y * y)
    return math.expm1(min(first + _second_order(shift_j, site), 50.0))


def _bounded(error_frac: float) -> float | None:
    """An error of more than the rate itself is no statement: None."""
    return error_frac if error_frac <= 1 else None


def _second_order(shift_j: float, site: _Site) -> float:
    """Size of the terms in (shift / B)^2 of ln(smaller rate), for job laws no heavier than a few
    times exponential beyond their third moment.
    """
    y = 2 * abs(site.theta) * site.B / site.var
    return 0.35 * min(shift_j / site.B, 1e6) ** 2 * (1 + 4 * y + 4 * y * y + 6 * y**3)


def _diffusion(site: _Site) -> _Choice:
    """Brownian motion, with the capacity corrected for lumps where they are small enough.

    The two-pole formula to first order in kx / B is the diffusion with B + kx (1 - y).
    """
    y = 2 * site.theta * site.B / site.var
    lumps = site.overshoot_j
    correlated = 0.0 if site.episode_j is None else _shift_error(site.episode_j, site)
    if lumps is not None and lumps <= site.B and lumps * abs(y) <= _SMALL_SHIFT * site.B:
        widened = site.B + lumps * (1 - y)
        error = 0.003 + math.expm1(min(_second_order(lumps, site), 50.0))
        return _Choice(
            rates=two_sided_rates(site.theta, site.var, widened),
            rung="kx_corrected",
            standing="asymptotic",
            error_frac=_bounded(error + correlated),
        )
    known = [scale for scale in (lumps, site.episode_j) if scale is not None]
    return _Choice(
        rates=two_sided_rates(site.theta, site.var, site.B),
        rung="diffusion",
        standing="asymptotic",
        error_frac=_bounded(_shift_error(sum(known), site)) if known else None,
    )


def _warnings(site: _Site, choice: _Choice) -> tuple[str, ...]:
    """What a user should know before trusting the rung."""
    said: list[str] = []
    if choice.rung in ("fluid", "slots", "markov_fluid", "exact_dam"):
        return ()
    scales = (
        ("the noise of one slot", site.slot_noise_j, choice.rung == "slotted"),
        ("the mean overshoot of one request", site.overshoot_j, choice.rung == "two_pole"),
        ("one correlated episode", site.episode_j, False),
    )
    for words, scale, included in scales:
        if scale is None or included or scale <= 0:
            continue
        ratio = site.B / scale
        if ratio < 1:
            said.append(f"The store is smaller than {words}: the diffusion does not hold.")
        elif ratio < _AMPLE:
            said.append(f"The store is only {ratio:.3g} times {words}: expect a visible error.")
    if choice.rung == "diffusion" and choice.error_frac is None and site.overshoot_j is not None:
        said.append("The diffusion may be off by more than the rate itself here.")
    if choice.rung == "diffusion" and not any(scale is not None for _, scale, _ in scales):
        said.append(
            "Neither slots, request energies nor episodes are known: the error cannot be stated."
        )
    return tuple(said)
