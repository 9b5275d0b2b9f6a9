"""Expected answers: joules by class and option, on the type that draws least, beside the others."""

from __future__ import annotations

import numpy as np
import pytest

from baseload.base.kernels import plain
from baseload.routing import answers as answering
from baseload.routing.answers import expected_answers
from baseload.routing.fleet_state import learn
from baseload.routing.position import joule_prices
from baseload.routing.price import ANY_MODEL, BARRED, OPTION
from baseload.testing.fleets import Fleet, replica_type, two_models


def table(*rows):
    """Options ``(model, factor, cap, wrong)`` for two classes."""
    made = np.zeros((2, len(rows)), dtype=OPTION).view(np.recarray)
    for number, (model, factor, cap, wrong) in enumerate(rows):
        made[:, number] = (model, factor, cap, wrong, 2.0, 0.25, 1.0)
    return made


def found(fleet, options, rate=0.0):
    prices = joule_prices(options.shape, 1000.0)
    return expected_answers(fleet, options, prices, np.full(options.shape, rate))


@pytest.mark.parametrize("seed", range(15))
def test_the_kernel_equals_its_plain_twin(seed, drawn):
    made = drawn(seed)
    options = made.options()
    prices = joule_prices(options.shape, 1000.0)
    prices.taken[:] = made.rng.integers(0, 30, options.shape)
    prices.prompts[:] = made.rng.uniform(0, 5000, len(options))
    rate = made.rng.uniform(0, 2, options.shape)
    one = expected_answers(made.state, options, prices, rate)
    two = [np.zeros(options.shape) for _ in one]
    load = np.zeros((*options.shape, len(made.state.cost)))
    plain(answering._fill)(made.state, options, prices, rate, load, *two)
    for name, value, twin in zip(one._fields, one, two, strict=True):
        assert np.allclose(value, twin, rtol=1e-12, atol=0.0), name
    there = np.isfinite(one.cost_usd)
    assert (one.mean_j >= 0.0).all()
    assert (one.mean_j[~there] == 0.0).all()
    slack = 1.0 - 1e-9
    assert (one.square_j2 >= slack * one.mean_j**2).all()


def test_what_nobody_serves_or_a_class_may_not_have_costs_without_end():
    fleet = two_models().state(classes=2)
    options = table((ANY_MODEL, 1.0, np.inf, 0.1), (7, 1.0, np.inf, 0.0), (BARRED, 1, np.inf, 0))
    seen = found(fleet, options)
    assert np.isfinite(seen.cost_usd).tolist() == [[True, False, False]] * 2
    assert (seen.mean_j[:, 0] > 0).all()
    assert (seen.mean_j[:, 1:] == 0).all()
    assert seen.cost_usd[:, 0] == pytest.approx([2.0 * 0.1 + 0.25] * 2)


def test_an_option_of_any_model_takes_the_type_that_draws_least():
    fleet = two_models().state(classes=2)
    seen = found(fleet, table((ANY_MODEL, 1, np.inf, 0), (0, 1, np.inf, 0), (1, 1, np.inf, 0)))
    assert seen.mean_j[0, 0] == min(seen.mean_j[0, 1:])
    assert seen.mean_j[0, 2] > seen.mean_j[0, 1]


def test_tokens_scale_joules_and_a_cap_cuts_them_and_what_is_right():
    fleet = two_models().state(classes=2)
    whole, half, cut = found(
        fleet, table((0, 1, np.inf, 0), (0, 0.5, np.inf, 0), (0, 1, 100.0, 0))
    ).mean_j[0]
    assert cut < half < whole
    assert half == pytest.approx(0.5 * whole, rel=0.1)
    costs = found(fleet, table((0, 1, np.inf, 0), (0, 1, 100.0, 0))).cost_usd[0]
    assert costs[1] > costs[0]


def test_lengths_are_those_that_the_class_has_shown():
    fleet = two_models().state(classes=2)
    for _ in range(200):
        learn(fleet, 0, 100.0, 1000.0)
        learn(fleet, 1, 100.0, 50.0)
    seen = found(fleet, table((0, 1.0, np.inf, 0.0)))
    assert seen.mean_j[0, 0] > 10.0 * seen.mean_j[1, 0]


def test_beside_others_an_answer_adds_less():
    fleet = Fleet(types=(replica_type(),), replicas=(1,)).state(classes=2)
    alone, beside = (found(fleet, table((0, 1.0, np.inf, 0.0)), rate) for rate in (0.0, 2.0))
    assert (beside.mean_j < 0.5 * alone.mean_j).all()


def test_an_answer_never_draws_less_than_nothing():
    """A type whose idle power is above that of its work has negative marginal joules; the moments
    of a routing instance may not be.
    """
    odd = replica_type(energy_j_per_step=0.1, energy_j_per_sequence=0.0, power_w_idle=400.0)
    fleet = Fleet(types=(odd,), replicas=(1,)).state(classes=2)
    seen = found(fleet, table((0, 1.0, np.inf, 0.0)))
    assert (seen.mean_j == 0.0).all()
    assert (seen.square_j2 >= 0.0).all()
