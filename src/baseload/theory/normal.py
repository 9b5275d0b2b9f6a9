"""The normal distribution as the theory needs it: density, tails, partial expectations."""

from __future__ import annotations

import math

from scipy.special import erfcx, log_ndtr, ndtr, ndtri

BETA_0 = 0.5825971579390106
"""-zeta(1/2) / sqrt(2 pi): mean overshoot of a random walk, in standard deviations (Siegmund)."""

PHI_0 = 0.3989422804014327
"""1 / sqrt(2 pi): the normal density at 0."""


def pdf(z: float) -> float:
    """Normal density at ``z``."""
    return PHI_0 * math.exp(-0.5 * z * z)


def cdf(z: float) -> float:
    """Normal probability of a value <= ``z``."""
    return float(ndtr(z))


def log_cdf(z: float) -> float:
    """Logarithm of ``cdf``, exact far in the lower tail."""
    return float(log_ndtr(z))


def quantile(share: float) -> float:
    """The value below which ``share`` of the normal distribution lies; infinite at 0 and 1."""
    return float(ndtri(share))


def mills_ratio(z: float) -> float:
    """P(Z > z) / density(z) = sqrt(pi / 2) erfcx(z / sqrt 2)."""
    return math.sqrt(math.pi / 2) * float(erfcx(z / math.sqrt(2)))


def expected_shortfall(z: float) -> float:
    """E[(Z - z)+] of a standard normal Z: L(z) = phi(z) - z Phi(-z), without cancellation."""
    if z > 5:  # phi - z Phi(-z) = phi (1 - z R), whose bracket is tiny
        return pdf(z) * (1 - z * mills_ratio(z)) if z < 50 else pdf(z) / (z * z)
    return pdf(z) - z * cdf(-z)
