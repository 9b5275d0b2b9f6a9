"""Outlooks on a day of a small site, for the tests of rules and tables."""

from __future__ import annotations

import numpy as np

from baseload.routing.answers import Answers
from baseload.routing.supply_outlook import Outlook
from baseload.supply.store import Store

HOURS = np.arange(24)
SUN = np.maximum(0.0, np.sin(HOURS / 24 * 2 * np.pi)) * np.pi  # mean 1, midnight first


def answers(*, scale=1.0, classes=2):
    """Three options a class: frugal and often wrong, to dear and right."""
    mean_j = scale * np.array([[1000.0, 300.0, 80.0]] * classes)
    usd = np.array([[1e-4, 4e-4, 9e-4]] * classes)
    return Answers(mean_j, 1.6 * mean_j**2, usd, mean_j / 500.0)


def outlook(*, capacity_j=2e6, level_j=1e6, sun=0.0, scale=1.0, price=1.0, **changes):
    """A day whose baseline is the demand of the first option, ``sun`` of it by day only.
    ``scale`` on all joules, ``price`` on those of a joule.
    """
    rate = np.full((24, 2), 0.05)
    net_w = scale * 100.0 * ((1.0 - sun) + sun * np.roll(SUN, -6))
    fields = {
        "answers": answers(scale=scale),
        "store": Store(capacity_j=capacity_j * scale),
        "capacity_j": capacity_j * scale,
        "level_j": level_j * scale,
        "hour": 6,
        "seen_day": True,
        "rate_per_s": rate,
        "net_w": net_w,
        "usual_net_w": net_w,
        "auxiliary_usd_per_j": np.full(24, 1e-6 * price),
        "waste_usd_per_j": np.full(24, 1e-7 * price),
        "variance_j2_per_s": 2e4 * scale**2,
    }
    return Outlook(**(fields | changes))
