"""The function behind the two-sided regulator, g(y) = y / (exp y - 1), and its slope.

With y = 2 theta B / sigma2 the auxiliary rate is sigma2 / (2 B) g(y), the waste rate
sigma2 / (2 B) g(-y), and du/dtheta = g'(y). Textbook: Harrison, *Brownian Motion and Stochastic
Flow Systems*. THEORY 3.4.
"""

from __future__ import annotations

import math


def g(y: float) -> float:
    """y / expm1(y): 1 at 0, falls, about -y far below 0 and 0 far above."""
    if abs(y) < 1e-4:
        return 1 - y / 2 + y * y / 12
    if y > 700:
        return y * math.exp(-y)
    return y / math.expm1(y)


def g_slope(y: float) -> float:
    """g'(y): -1/2 at 0, between -1 (far below) and 0 (far above), rising."""
    if abs(y) < 0.02:
        return -0.5 + y / 6 - y**3 / 180 + y**5 / 5040
    if y > 0:
        q, d = math.exp(-y), -math.expm1(-y)
        return q / d - y * q / d**2
    if y < -700:
        return -1.0
    return 1 / math.expm1(y) - y * math.exp(y) / math.expm1(y) ** 2
