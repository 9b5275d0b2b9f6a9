"""Dots of sites that move with the hour: shape kept, hours kept, periods whole."""

from __future__ import annotations

import math

import numpy as np
import pytest

from baseload.base.errors import BadInputError
from baseload.planner.demand_records import Demand
from baseload.planner.records import Supply
from baseload.planner.simulated_seasons import simulate_seasonal_v
from baseload.planner.year import fluid_balance, net_series

SUN = tuple(3000.0 * max(0.0, math.sin((hour - 6) / 12 * math.pi)) for hour in range(24))
MEAN_W = sum(SUN) / 24
EVENING = tuple(1.5 if hour >= 18 else 1.0 - 0.5 / 3 for hour in range(24))


def demand(**changes):
    fields = {
        "name": "made", "mean_w": MEAN_W, "base_w": MEAN_W / 2, "var_j2_per_s": 0.0,
        "requests_per_s": 1.0, "ca2": 1.0, "span_s": 86_400.0, "obtained": "assumed",
    }  # fmt: skip
    return Demand(**{**fields, **changes})


SITE = Supply(
    baseline_w=MEAN_W, series_w=SUN, store_j=5 * 3.6e6, slot_s=900.0, charge_efficiency=0.95
)


def test_without_chance_the_dots_are_the_balance_of_the_series():
    """Once, less baseline was taken off the sun's noon and the night alike, and a night of no sun
    could not give it.
    """
    drawn = demand()
    found = simulate_seasonal_v(drawn, SITE, baseline_w=[0.8 * MEAN_W, MEAN_W, 1.2 * MEAN_W])
    for place, scale in enumerate((0.8, 1.0, 1.2)):
        baseline, demand_w, step_s = net_series(drawn, SITE)
        year = fluid_balance(scale * baseline, demand_w, step_s, SITE, store_j=SITE.store_j)
        assert found.auxiliary_w[place] == pytest.approx(year.auxiliary_w, rel=0.01)
        assert found.waste_w[place] == pytest.approx(year.waste_w, rel=0.01, abs=1e-6)
        assert found.auxiliary_error_w[place] < 1e-6


def test_days_of_a_run_keep_their_hours():
    """A run of days that draw in the evening needs the store as its profile says."""
    evening = demand(hourly_frac=EVENING)
    slots = np.repeat(np.array(EVENING) * MEAN_W * 900.0, 4)
    run = simulate_seasonal_v(
        evening, SITE, baseline_w=[MEAN_W], slot_j=np.tile(slots, 5), slot_s=900.0
    )
    law = simulate_seasonal_v(evening, SITE, baseline_w=[MEAN_W])
    assert "days of a run" in run.how
    assert "variance and profile" in law.how
    assert run.auxiliary_w[0] == pytest.approx(law.auxiliary_w[0], rel=0.01)


def test_a_run_of_a_day_is_too_short_to_draw_from():
    found = simulate_seasonal_v(
        demand(), SITE, baseline_w=[MEAN_W], slot_j=np.full(96, 1.0), slot_s=900.0
    )
    assert "variance and profile" in found.how


def test_years_are_whole_and_give_the_errors():
    year = tuple(np.tile(SUN, 365))
    noisy = demand(var_j2_per_s=1e6, correlation_s=None)
    site = Supply(baseline_w=MEAN_W, series_w=year, store_j=3.6e6, slot_s=3600.0)
    found = simulate_seasonal_v(noisy, site, baseline_w=[MEAN_W], seed=3)
    assert found.span_s % (365 * 86_400) == 0
    assert 0 < found.auxiliary_error_w[0] < 0.05 * found.auxiliary_w[0]
    assert found.waste_w[0] - found.auxiliary_w[0] == pytest.approx(0.0, abs=5.0)


def test_a_constant_supply_of_a_daily_demand_takes_days():
    site = Supply(baseline_w=MEAN_W, store_j=3.6e6, slot_s=900.0)
    done = []
    found = simulate_seasonal_v(
        demand(hourly_frac=EVENING), site, baseline_w=[MEAN_W, 1.1 * MEAN_W],
        on_progress=done.append,
    )  # fmt: skip
    assert done == [0.5, 1.0]
    assert found.span_s == 12 * 32 * 86_400.0
    assert found.auxiliary_w[0] > found.auxiliary_w[1] > 0


def test_negative_energy_is_refused():
    with pytest.raises(BadInputError, match="slot_j"):
        simulate_seasonal_v(demand(), SITE, baseline_w=[1.0], slot_j=[-1.0] * 300, slot_s=900.0)
