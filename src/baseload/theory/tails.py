"""Output lengths with heavy tails, and what a cap on them does.

tau is lognormal(mu, s) or Pareto(xm, xi); the answer is cut at ``cap`` tokens. Derived in
docs/explanation/scaling-laws.md, 6.5.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec
from scipy.special import exprel, log_ndtr, ndtr

from baseload.base.errors import ArgumentError
from baseload.theory.inputs import finite_result, not_negative, number, positive, whole
from baseload.theory.query_cost import TokenMoments


class Lognormal(msgspec.Struct, frozen=True, kw_only=True):
    """ln tau is normal with mean ``mu`` and standard deviation ``s`` >= 0."""

    mu: float
    s: float

    def __post_init__(self) -> None:
        """Refuse parameters that are no law."""
        number("mu", self.mu)
        not_negative("s", self.s)

    def survival(self, tokens: float) -> float:
        """P(tau > tokens)."""
        if tokens <= 0:
            return 1.0
        gap = self.mu - math.log(tokens)
        return float(ndtr(gap / self.s)) if self.s > 0 else float(gap > 0)

    def moment(self, order: float, cap: float) -> float:
        """E[min(tau, cap)^order], in logarithms: no overflow while the moment itself is a float."""
        limit = not_negative("cap", cap, infinite=True)
        p = whole("order", order)
        if limit == 0:
            return 0.0 if p else 1.0
        if self.s == 0:
            if self.mu >= math.log(limit):
                return _power(limit, p)
            return _exp("capped_lognormal", p * self.mu, self, cap)
        below = p * self.mu + 0.5 * (p * self.s) ** 2
        if limit == math.inf:
            return _exp("capped_lognormal", below, self, cap)
        z = (math.log(limit) - self.mu) / self.s
        below += float(log_ndtr(z - p * self.s))
        above = p * math.log(limit) + float(log_ndtr(-z))
        total = _exp("capped_lognormal", below, self, cap) + _exp(
            "capped_lognormal", above, self, cap
        )
        return min(total, _power(limit, p))


class Pareto(msgspec.Struct, frozen=True, kw_only=True):
    """P(tau > t) = (xm / t)^xi from ``xm`` > 0 on; ``xi`` > 0 is the tail index."""

    xm: float
    xi: float

    def __post_init__(self) -> None:
        """Refuse parameters that are no law."""
        positive("xm", self.xm)
        positive("xi", self.xi)

    def survival(self, tokens: float) -> float:
        """P(tau > tokens)."""
        return 1.0 if tokens <= self.xm else (self.xm / tokens) ** self.xi

    def moment(self, order: float, cap: float) -> float:
        """E[min(tau, cap)^order]; without a cap only for orders below the tail index."""
        limit = number("cap", cap, least=self.xm, infinite=True)
        p = whole("order", order)
        scale = _power(self.xm, p)
        if limit == math.inf:
            if p >= self.xi:
                raise ArgumentError(
                    "cap",
                    found=f"no cap on a Pareto law with xi = {self.xi:g}: moment {p} is infinite",
                    allowed=f"a finite cap, or xi above {p}",
                    todo="cap the tokens",
                )
            return finite_result("capped_pareto", scale * (1 + p / (self.xi - p)), law=self)
        decades = math.log(limit / self.xm)
        # p (r^(p-xi) - 1) / (p - xi), whose limit at p = xi is p ln r
        grown = p * decades * float(exprel((p - self.xi) * decades))
        return min(finite_result("capped_pareto", scale * (1 + grown), law=self), _power(limit, p))


def _power(x: float, p: int) -> float:
    """x^p, infinite where it is no float."""
    try:
        return float(x**p)
    except OverflowError:
        return math.inf


def _exp(name: str, log_value: float, law: object, cap: float) -> float:
    """exp, or ArithmeticError where the result is no float."""
    if log_value > 709:
        raise ArithmeticError(f"{name} leaves the range of floats for {law} with cap {cap:g}")
    return math.exp(log_value)


def capped_lognormal(*, mu: float, s: float, cap: float = math.inf) -> TokenMoments:
    """Moments E[min(tau, cap)] and E[min(tau, cap)^2] of a lognormal length.

    Exact; s = 0 is the constant e^mu, an infinite cap no cap.
    docs/explanation/scaling-laws.md, 6.5.
    """
    return capped_moments(Lognormal(mu=mu, s=s), cap=cap)


def capped_pareto(*, xm: float, xi: float, cap: float = math.inf) -> TokenMoments:
    """Moments of a Pareto length with a cap >= ``xm``: m1 = xm (1 + ((C/xm)^(1-xi) - 1)/(1-xi)),
    m2 = xm^2 (1 + 2 ((C/xm)^(2-xi) - 1)/(2-xi)), logarithms at xi = 1 and 2.

    Exact, continuous in xi. Raises ArgumentError that asks for a cap where xi <= 2 and there is
    none. docs/explanation/scaling-laws.md, 6.5.
    """
    return capped_moments(Pareto(xm=xm, xi=xi), cap=cap)


def capped_moments(
    law: Lognormal | Pareto, *, cap: float = math.inf, orders: Literal[2, 4] = 2
) -> TokenMoments:
    """The first two, or four, moments of min(tau, cap)."""
    found = [law.moment(order, cap) for order in range(1, orders + 1)]
    second = max(found[1], found[0] ** 2)  # equal for a constant, up to rounding
    return TokenMoments(
        m1=found[0],
        m2=second,
        m3=found[2] if orders == 4 else None,
        m4=found[3] if orders == 4 else None,
    )


def finished_frac(law: Lognormal | Pareto, *, cap: float) -> float:
    """P(tau <= cap): the share of answers that end before the cap cuts them. Their success needs
    this much at least. docs/explanation/scaling-laws.md, 6.5.
    """
    return 1 - law.survival(not_negative("cap", cap, infinite=True))


def variance_rate_slope(
    law: Lognormal | Pareto,
    *,
    cap: float,
    rate: float,
    energy_j_per_token: float,
    prefill_j: float = 0.0,
    ca2: float = 1.0,
) -> float:
    """d sigma2 / d cap [J^2/s per token]: what one token more of cap adds to the variance rate.

    sigma2 = rate (E X^2 + (ca2 - 1)(E X)^2), X = prefill_j + energy_j_per_token min(tau, cap);
    ``rate`` [1/s], ``ca2`` the squared coefficient of variation of the interarrival times. Exact.
    docs/explanation/scaling-laws.md, 6.5.
    """
    limit = positive("cap", cap)
    e = not_negative("energy_j_per_token", energy_j_per_token)
    e0 = not_negative("prefill_j", prefill_j)
    bursts = not_negative("ca2", ca2) - 1
    cut = law.survival(limit)
    if cut == 0:
        return 0.0
    slope = 2 * e * (e0 + e * limit) * cut
    if bursts != 0:
        mean = e0 + e * law.moment(1, max(limit, law.xm) if isinstance(law, Pareto) else limit)
        if isinstance(law, Pareto) and limit < law.xm:
            mean = e0 + e * limit
        slope += 2 * bursts * mean * e * cut
    found = not_negative("rate", rate) * slope
    return finite_result("variance_rate_slope", found, law=law, cap=cap)


def pareto_of_difficulty(
    *, nu: float, kappa: float, ability: float, skills: float, tokens_per_step: float
) -> Pareto:
    """The tail of the chain length when difficulty is exponential with rate ``nu`` and the step
    success is logistic(kappa (ability - difficulty)).

    tau = tokens_per_step skills (1 + e^(kappa (d - ability))) has a Pareto tail with index
    xi = nu / kappa whatever the model; ability only scales it, xm = tokens_per_step skills
    e^(-kappa ability). Asymptotic: the relative error of P(tau > t) is about
    xi tokens_per_step skills / t. docs/explanation/scaling-laws.md, 6.5.
    """
    steepness = positive("kappa", kappa)
    step = positive("tokens_per_step", tokens_per_step) * positive("skills", skills)
    return Pareto(
        xm=step * _exp("pareto_of_difficulty", -steepness * number("ability", ability), nu, 0.0),
        xi=positive("nu", nu) / steepness,
    )


def auxiliary_growth_exponent(*, xi: float, capped: bool = False) -> float:
    """The g in E[U_T] ~ T^g at critical supply without storage limit: 1/2 for a finite variance
    (capped, or xi >= 2), 1/xi for 1 < xi < 2. At xi = 2 without a cap a logarithm comes on top.

    Asymptotic in T. Raises ArgumentError for xi <= 1 without a cap: the mean demand is infinite, so
    no supply is critical. docs/explanation/scaling-laws.md, 6.5.
    """
    index = positive("xi", xi, infinite=True)
    if capped or index >= 2:
        return 0.5
    if index <= 1:
        raise ArgumentError(
            "xi", found=f"{index:g} without a cap: infinite mean", allowed="above 1", todo="cap it"
        )
    return 1 / index
