"""How loss falls with parameters and training tokens, and the cheapest way to a loss.

Derived in docs/explanation/scaling-laws.md, 6.7. Forms: Hoffmann et al., arXiv 2203.15556
(compute-optimal training) and Sardana et al., arXiv 2401.00448 (inference counted in).
"""

from __future__ import annotations

import math

import msgspec
from scipy.special import log_expit

from baseload.base.errors import ArgumentError
from baseload.theory.inputs import finite_result, not_negative, number, positive
from baseload.theory.numerics import brentq


class LossLaw(msgspec.Struct, frozen=True, kw_only=True):
    """Loss(N, D) = E + A / N^alpha + B / D^beta, in nats per token.

    ``source`` cites the fit; ``errors`` are standard errors of the constants where published.
    """

    E: float
    A: float
    B: float
    alpha: float
    beta: float
    source: str = "given"
    errors: dict[str, float] | None = None

    def __post_init__(self) -> None:
        """Refuse constants that are no law: E >= 0, the others above 0."""
        not_negative("E", self.E)
        for field in ("A", "B", "alpha", "beta"):
            positive(field, getattr(self, field))

    def reducible(self, *, N: float, D: float) -> float:
        """Loss above E of ``N`` parameters trained on ``D`` tokens (infinite allowed)."""
        size, data = positive("N", N, infinite=True), positive("D", D, infinite=True)
        rest: float = self.A * size**-self.alpha + self.B * data**-self.beta
        if rest == 0:
            raise ArgumentError("N, D", found="both infinite", allowed="one of them finite")
        return rest

    def loss(self, *, N: float, D: float) -> float:
        """E + A / N^alpha + B / D^beta."""
        return self.E + self.reducible(N=N, D=D)


CHINCHILLA = LossLaw(
    E=1.69,
    A=406.4,
    B=410.7,
    alpha=0.34,
    beta=0.28,
    source="Hoffmann et al. 2022, arXiv 2203.15556, approach 3, as printed (rounded)",
)
"""The constants that most people quote. Known not to give the 70B / 1.4T of the same paper."""

CHINCHILLA_UNROUNDED = LossLaw(
    E=1.6934,
    A=406.4,
    B=410.7,
    alpha=0.3392,
    beta=0.2849,
    source="Hoffmann et al. 2022, TeX source, as quoted by Besiroglu et al. 2024",
)
"""The same fit before rounding: nearer, still not the paper's 20 tokens per parameter."""

REFIT = LossLaw(
    E=1.8172,
    A=482.01,
    B=2085.43,
    alpha=0.3478,
    beta=0.3658,
    source="Besiroglu et al. 2024, arXiv 2404.10102",
    errors={"E": 0.03, "A": 124.58, "B": 1293.23, "alpha": 0.02, "beta": 0.02},
)
"""The re-fit to 240 runs read off the plots of Hoffmann et al.; standard errors by bootstrap. The
default where a law is needed.
"""

LAWS: dict[str, LossLaw] = {
    "chinchilla": CHINCHILLA,
    "chinchilla-unrounded": CHINCHILLA_UNROUNDED,
    "refit": REFIT,
}
"""The published fits by name."""


class TrainingPlan(msgspec.Struct, frozen=True, kw_only=True):
    """``N`` parameters, ``D`` training tokens, the ``loss`` reached, and the FLOPs of training and
    of the inference counted in.
    """

    N: float
    D: float
    loss: float
    training_flops: float
    inference_flops: float

    @property
    def tokens_per_parameter(self) -> float:
        """D / N."""
        return self.D / self.N


def compute_optimal(*, law: LossLaw, C: float) -> TrainingPlan:
    """The N and D of least loss for ``C`` = 6 N D training FLOPs.

    N = G (C/6)^(beta/(alpha+beta)), D = (C/6)/N, G = (alpha A / (beta B))^(1/(alpha+beta)). Exact
    for the law. docs/explanation/scaling-laws.md, 6.7.
    """
    budget = positive("C", C)
    both = law.alpha + law.beta
    log_g = math.log(law.alpha * law.A / (law.beta * law.B)) / both
    log_pairs = math.log(budget / 6)
    log_n = log_g + law.beta / both * log_pairs
    return _plan("compute_optimal", law, log_n, log_pairs - log_n, 0.0)


def inference_aware_training_optimum(
    *, law: LossLaw, target_loss: float, T_inf: float
) -> TrainingPlan:
    """The N and D that reach ``target_loss`` with the least 6 N D + 2 N T_inf FLOPs, where
    ``T_inf`` tokens will be inferred over the model's life.

    With s the share of the reducible loss that parameters leave, alpha s / (beta (1-s)) =
    1 + T_inf / (3 D(s)): one root, found to 1e-13. Exact for the law. Raises ArgumentError for a
    target at or below E. docs/explanation/scaling-laws.md, 6.7.
    """
    target = number("target_loss", target_loss)
    tokens = not_negative("T_inf", T_inf)
    if target <= law.E:
        raise ArgumentError(
            "target_loss", found=f"{target:g}", allowed=f"above the law's E = {law.E:g}"
        )
    log_rest = math.log(target - law.E)

    def log_d(logit: float) -> float:
        return (math.log(law.B) - log_rest - float(log_expit(-logit))) / law.beta

    def log_tax(logit: float) -> float:
        """ln(1 + T_inf / (3 D))."""
        if tokens == 0:
            return 0.0
        x = math.log(tokens) - math.log(3) - log_d(logit)
        return x + math.log1p(math.exp(-x)) if x > 0 else math.log1p(math.exp(x))

    start = math.log(law.beta / law.alpha)
    top = start + log_tax(start)  # where the tax is largest
    logit = start
    if top > start:
        logit = float(brentq(lambda at: at - start - log_tax(at), start, top + 1.0, xtol=1e-14))
    log_n = (math.log(law.A) - log_rest - float(log_expit(logit))) / law.alpha
    return _plan("inference_aware_training_optimum", law, log_n, log_d(logit), tokens)


def _plan(name: str, law: LossLaw, log_n: float, log_d: float, tokens: float) -> TrainingPlan:
    """The plan of a size and data set given by their logarithms."""
    if max(log_n, log_d, log_n + log_d) > 700 or min(log_n, log_d) < -700:
        raise ArithmeticError(f"{name} leaves the range of floats for {law}")
    size, data = math.exp(log_n), math.exp(log_d)
    return TrainingPlan(
        N=size,
        D=data,
        loss=law.loss(N=size, D=data),
        training_flops=6 * size * data,
        inference_flops=finite_result(name, 2 * size * tokens, N=size, T_inf=tokens),
    )
