"""FLOPs and joules of a query."""

import itertools
import math

import numpy as np
import pytest

from baseload.base.errors import BadInputError
from baseload.theory.query_cost import (
    EnergyMoments,
    TokenMoments,
    crossover_context,
    energy_moments,
    energy_moments_of_law,
    joules_per_flop,
    query_flops,
    request_energy,
    roofline_decode,
)
from baseload.theory.tails import Lognormal, capped_moments

SMALL = {"N": 7e9, "n_layer": 32, "d_attn": 4096}
CARD = {
    "N": 8e9,
    "context": 2000,
    "weight_bytes": 1.6e10,
    "kv_bytes": 131072,
    "bandwidth": 3.35e12,
    "peak_flops": 989.4e12,
    "power_w": 700,
}


def test_flops_are_the_sum_over_tokens():
    tokens = np.arange(300)
    each = 2 * 7e9 + 4 * 32 * 4096 * (tokens + 0.5)
    assert query_flops(**SMALL, prompt=100, output=200) == pytest.approx(each.sum(), rel=1e-12)


def test_no_tokens_no_flops():
    assert query_flops(**SMALL, prompt=0, output=0) == 0


def test_attention_equals_weights_at_the_crossover():
    context = crossover_context(**SMALL)
    assert context == pytest.approx(26.7e3, rel=1e-3)
    assert 4 * 32 * 4096 * context == pytest.approx(2 * 7e9)
    assert crossover_context(N=7e9, n_layer=0, d_attn=4096) == math.inf


@pytest.mark.parametrize(("util", "picojoules"), [(1, 0.707), (0.4, 1.77), (0.1, 7.07)])
def test_joules_per_flop_of_an_h100(util, picojoules):
    found = joules_per_flop(power_w=700, peak_flops=989.4e12, util=util)
    assert found * 1e12 == pytest.approx(picojoules, rel=2e-3)
    assert joules_per_flop(power_w=700, peak_flops=989.4e12, util=util, pue=1.2) == pytest.approx(
        1.2 * found
    )


@pytest.mark.parametrize(
    ("field", "value"), [("util", 0), ("util", 1.1), ("pue", 0.9), ("peak_flops", 0)]
)
def test_bad_hardware_is_named(field, value):
    inputs = {"power_w": 700, "peak_flops": 1e15, "util": 0.4, field: value}
    with pytest.raises(BadInputError, match=field):
        joules_per_flop(**inputs)


def test_energy_per_token_falls_with_the_batch_until_compute_binds():
    steps = [roofline_decode(**CARD, batch=2.0**i) for i in range(12)]
    joules = [step.energy_j_per_token for step in steps]
    assert all(b <= a * (1 + 1e-12) for a, b in itertools.pairwise(joules))
    assert steps[0].bound == "memory"
    bound = roofline_decode(**{**CARD, "kv_bytes": 0}, batch=4096)
    assert bound.bound == "compute"
    assert bound.energy_j_per_token == pytest.approx(
        2 * 8e9 * joules_per_flop(power_w=700, peak_flops=989.4e12, util=1)
    )


@pytest.mark.parametrize("e2", [0.0, 3e-5])
def test_moments_equal_quadrature(e2):
    law, cap = Lognormal(mu=7, s=0.9), 32768.0
    prices = {"energy_j_per_token": 0.1, "prefill_j": 40.0, "attention_j_per_token2": e2}
    closed = energy_moments(capped_moments(law, cap=cap, orders=4), **prices)
    numeric = energy_moments_of_law(law.survival, cap_tokens=cap, **prices)
    assert numeric.mean_j == pytest.approx(closed.mean_j, rel=1e-8)
    assert numeric.second_j2 == pytest.approx(closed.second_j2, rel=1e-8)


def test_constant_length_has_no_variance():
    found = energy_moments(
        TokenMoments(m1=10, m2=100, m3=1e3, m4=1e4),
        energy_j_per_token=2,
        prefill_j=3,
        attention_j_per_token2=0.5,
    )
    assert found == EnergyMoments(mean_j=73, second_j2=73.0**2)
    assert found.variance_j2 == 0


def test_attention_asks_for_high_moments():
    with pytest.raises(BadInputError, match="m3"):
        energy_moments(
            TokenMoments(m1=10, m2=200), energy_j_per_token=1, attention_j_per_token2=0.1
        )


@pytest.mark.parametrize(
    "moments", [{"m1": -1, "m2": 1}, {"m1": 10, "m2": 90}, {"m1": 1, "m2": 1, "m3": -1}]
)
def test_impossible_moments_are_refused(moments):
    with pytest.raises(BadInputError):
        TokenMoments(**moments)


def test_a_request_costs_its_flops():
    one = TokenMoments(m1=20_000, m2=4e8, m3=8e12, m4=1.6e17)
    found = request_energy(
        one, prompt=1000, **SMALL, prefill_j_per_flop=2e-12, decode_j_per_flop=7e-12
    )
    prompt = query_flops(**SMALL, prompt=1000, output=0)
    rest = query_flops(**SMALL, prompt=1000, output=20_000) - prompt
    assert found.mean_j == pytest.approx(2e-12 * prompt + 7e-12 * rest, rel=1e-12)
    short = request_energy(
        TokenMoments(m1=100, m2=1e4),
        prompt=1000,
        **SMALL,
        prefill_j_per_flop=2e-12,
        decode_j_per_flop=7e-12,
    )
    exact = 2e-12 * prompt + 7e-12 * (query_flops(**SMALL, prompt=1000, output=100) - prompt)
    assert short.mean_j == pytest.approx(exact, rel=0.01)
