"""A store settled in slots: collocation and the two-boundary closed form meet; simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from baseload.base.errors import BadInputError
from baseload.theory import slotted
from baseload.theory.normal import BETA_0
from baseload.theory.slots import normal_slot_rates
from baseload.theory.slotted import (
    log_overshoot_factor,
    slotted_corrected_rates,
    slotted_two_sided_rates,
)


@pytest.mark.parametrize("theta", [-0.5, -0.1, 0.0, 1e-9, 0.05, 0.5])
def test_both_forms_meet(theta):
    below, above = (
        slotted_two_sided_rates(theta, 1.0, slot=1.0, B=12 * (1 + edge * 1e-13)).u_w
        for edge in (-1, 1)
    )
    assert below == pytest.approx(above, rel=1e-9)
    assert slotted._COLLOCATED == 12


def test_overshoot_factor():
    below, above = (log_overshoot_factor(1 + edge * 1e-12) for edge in (-1, 1))
    assert below == pytest.approx(above, rel=1e-9)
    assert log_overshoot_factor(1e-6) / 2e-6 == pytest.approx(-BETA_0, rel=1e-9)


@pytest.mark.parametrize("theta", [-0.3, 0.0, 0.3])
def test_the_shifted_diffusion_is_close_and_an_empty_store_is_the_newsvendor(theta):
    exact = slotted_two_sided_rates(theta, 4.0, slot=2.0, B=20.0)
    shifted = slotted_corrected_rates(theta, 4.0, slot=2.0, B=20.0)
    assert shifted.u_w == pytest.approx(exact.u_w, rel=0.01)
    assert exact.w_w - exact.u_w == pytest.approx(theta, abs=1e-14)
    bare = normal_slot_rates(theta, 2.0, 2.0)
    tiny = slotted_two_sided_rates(theta, 4.0, slot=2.0, B=1e-10)
    assert tiny.u_w == pytest.approx(bare.u_w, rel=1e-9)
    assert slotted_two_sided_rates(theta, 4.0, slot=2.0, B=0.0) == bare


def test_against_simulation():
    stream = np.random.default_rng(9)
    theta, B, slots = 0.1, 3.0, 200_000
    levels, bought = np.full(50, 1.5), np.zeros(50)
    moves = stream.normal(theta, 1.0, (slots // 50, 50))
    for move in moves:
        levels = levels + move
        bought += np.maximum(-levels, 0.0)
        levels = np.clip(levels, 0.0, B)
    rates = bought / moves.shape[0]
    got = slotted_two_sided_rates(theta, 1.0, slot=1.0, B=B).u_w
    assert abs(got - rates.mean()) < 4 * rates.std() / math.sqrt(50)


def test_edges():
    assert slotted_two_sided_rates(-2.0, 1.0, slot=1.0, B=math.inf).u_w == 2.0
    assert slotted_two_sided_rates(-2.0, 0.0, slot=1.0, B=3.0).u_w == 2.0
    assert slotted_two_sided_rates(1e6, 1.0, slot=1.0, B=3.0).u_w == 0.0
    assert slotted_two_sided_rates(2.0, 1.0, slot=1.0, B=12.0).u_w < 1e-18
    with pytest.raises(BadInputError, match="slot"):
        slotted_two_sided_rates(0.0, 1.0, slot=0.0, B=3.0)
