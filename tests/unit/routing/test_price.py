"""Each part of the price against numbers worked out by hand, and its unit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from baseload.routing.estimate import (
    expected_lateness_s,
    expected_s,
    headroom_frac,
    marginal_energy_j,
    step_s,
)
from baseload.routing.price import (
    KNOBS,
    PARTS,
    UNITS,
    backlog_free_tokens,
    plain_option,
    price_usd,
    request_row,
)
from baseload.testing.fleets import Fleet, replica_type

ROOMY = replica_type(max_batch=32, kv_tokens=10**6, power_w_cap=1e6)


class Candidate:
    """A replica with profiled numbers that are easy to reckon with: 1,000 tokens a second at 0.05 J
    each.
    """

    def __init__(self, *, frugal=0, wrong_frac=0.25, fee_usd=0.5, factor=1.0):
        state = Fleet(types=(ROOMY,), replicas=(1,)).state(max_queue=8)
        self.cost, self.limits, self.traffic = state.cost[0], state.limits[0], state.traffic[0]
        self.limits["profiled_tokens_per_s"] = 1000.0
        self.limits["profiled_j_per_token"] = 0.05
        self.limits["frugal"] = frugal
        self.option = plain_option()[0, 0]
        self.option.wrong_frac, self.option.fee_usd = wrong_frac, fee_usd
        self.option.right_usd = 1.0
        self.option.output_factor = factor

    def price(self, rates, *, in_flight=3, tokens=4000, knobs=None, **request):
        """The price of a request of 1,000 input and 200 output tokens unless told otherwise."""
        values = [rates.get(part, 0.0) for part in PARTS]
        values += (KNOBS | (knobs or {})).values()
        row = request_row(**({"input_tokens": 1000.0, "output_tokens": 200.0} | request))[0]
        seen = (self.cost, self.limits, self.traffic, self.option, row)
        return price_usd(np.array(values), *seen, in_flight, tokens)

    @property
    def seen(self):
        return self.cost, self.limits, self.traffic


def test_parts_are_named_once_and_have_a_unit():
    assert len(PARTS) == len(UNITS) == len(set(PARTS))
    assert not set(PARTS) & set(KNOBS)


def test_without_rates_the_price_is_nothing():
    assert Candidate().price({}) == 0.0


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("quality", 0.25),
        ("fee", 0.5),
        ("requests", 3.0),
        ("tokens", 4000.0),
        ("average", 0.05 * 1200),
    ],
)
def test_a_part_is_its_quantity_times_its_rate(part, expected):
    assert Candidate().price({part: 1.0}) == pytest.approx(expected)
    assert Candidate().price({part: -2.5}) == pytest.approx(-2.5 * expected)


def test_joules_and_grams():
    one = Candidate()
    joules = marginal_energy_j(*one.seen, 3, 1000.0, 200.0)
    assert joules == pytest.approx(200 * (0.05 + 1100 * 1e-4) + 5.0), (
        "two coefficients and a prompt"
    )
    assert one.price({"energy": 3e-8}) == pytest.approx(3e-8 * joules)
    assert one.price({"carbon": 2.0}, grid_g_per_j=1e-4) == pytest.approx(2e-4 * joules)
    assert one.price({"carbon": 2.0}) == 0.0, "no intensity is known"


def test_seconds_to_the_last_token():
    one = Candidate()
    assert one.price({"seconds": 2.0}) == pytest.approx(2 * expected_s(*one.seen, 3, 1000.0, 200.0))


def test_lateness_is_weighted_by_the_lambda_of_the_tier():
    one = Candidate()
    promised = {"ttft_s": 0.01, "tpot_s": 0.005, "output_spread": 50.0}
    row = request_row(input_tokens=1000.0, output_tokens=200.0, **promised)[0]
    late_s = expected_lateness_s(*one.seen, 3, row, 200.0, 50.0)
    assert late_s > 0.0
    for weight in (0.0, 1.0, 40.0):
        found = one.price({"lateness": 0.5}, lateness_weight=weight, **promised)
        assert found == pytest.approx(0.5 * weight * late_s)


def test_the_backlog_is_late_by_what_the_profiled_speed_does_not_work_off():
    """4,000 tokens wait, 1,200 come, 1,000 a second: 5.2 s; promised 3.2 s."""
    one = Candidate()
    assert one.price({"backlog": 0.5}, deadline_s=3.2) == pytest.approx(0.5 * 2.0)
    assert one.price({"backlog": 0.5}, deadline_s=3.2, lateness_weight=10.0) == pytest.approx(10.0)
    assert one.price({"backlog": 0.5}, deadline_s=5.3) == 0.0
    assert one.price({"backlog": 0.5}) == 0.0, "no deadline"
    half = {"deadline_factor": 0.5}
    assert one.price({"backlog": 1.0}, deadline_s=3.2, knobs=half) == pytest.approx(3.6)


def test_the_free_backlog_is_where_lateness_begins():
    one = Candidate()
    rates = np.array([0.0] * len(PARTS) + list(KNOBS.values()))
    row = request_row(input_tokens=1000.0, output_tokens=200.0, deadline_s=3.2)[0]
    free = backlog_free_tokens(rates, one.limits, row, 200.0)
    assert free == pytest.approx(2000.0)
    assert one.price({"backlog": 1.0}, deadline_s=3.2, tokens=int(free)) == 0.0
    assert one.price({"backlog": 1.0}, deadline_s=3.2, tokens=int(free) + 1) > 0.0
    row = request_row(input_tokens=1000.0, output_tokens=200.0)[0]
    assert backlog_free_tokens(rates, one.limits, row, 200.0) == math.inf


def test_headroom_packs_what_is_kept_and_shuns_what_is_not():
    one, promised = Candidate(), {"ttft_s": 0.5, "tpot_s": 0.05}
    left = headroom_frac(*one.seen, 3, 1000.0, 0.5, 0.05, 0.8, 0.0)
    assert 0.0 < left < 1.0
    assert one.price({"headroom": 2.0}, **promised) == pytest.approx(2 * left)
    missed = headroom_frac(*one.seen, 3, 1000.0, 0.5, 0.05, 0.8, 0.99)
    assert missed < 0.0
    wide = {"margin_frac": 0.99}
    assert one.price({"headroom": 2.0}, knobs=wide, **promised) == pytest.approx(2 * (2 - missed))
    broken = one.price({"headroom": 1.0}, ttft_s=0.001, tpot_s=0.05)
    assert broken > 1.0 >= one.price({"headroom": 1.0})
    worse = one.price({"headroom": 1.0}, ttft_s=0.0005, tpot_s=0.05)
    assert worse > broken, "of two broken promises the less broken"
    other = {"ttft_weight": 0.1}
    by_rest = headroom_frac(*one.seen, 3, 1000.0, 0.5, 0.05, 0.1, 0.0)
    assert one.price({"headroom": 1.0}, knobs=other, **promised) == pytest.approx(by_rest)


def test_tiles_are_filled_before_another_is_opened():
    """Tiles of four, up to 40 in flight: 0, 4, 8 open one; less up to a half for load."""
    one, of_four = Candidate(), {"tile_requests": 4.0}
    prices = [one.price({"tiles": 1.0}, in_flight=n, knobs=of_four) for n in range(9)]
    opens = [1, 0, 0, 0, 1, 0, 0, 0, 1]
    assert prices == pytest.approx([o - 0.5 * n / 40 for n, o in enumerate(opens)])


def test_a_tile_that_breaks_the_time_per_token_costs_more_than_any_other():
    one = Candidate()
    token_s = step_s(one.cost, 4.0, one.traffic)
    late = one.price({"tiles": 1.0}, tpot_s=token_s / 1.5)
    assert late == pytest.approx(1 + 1.5)
    kept = one.price({"tiles": 1.0}, tpot_s=token_s * 1.01)
    assert kept < 1.0 < 2.0 < late
    margin = {"margin_frac": 0.2}
    assert one.price({"tiles": 1.0}, tpot_s=token_s * 1.01, knobs=margin) > 2.0


@pytest.mark.parametrize(
    ("frugal", "input_tokens", "output_tokens", "expected"),
    [
        (1, 32.0, 200.0, 0.0),
        (0, 32.0, 200.0, 1.0),
        (1, 33.0, 200.0, 1.0),
        (0, 33.0, 200.0, 0.0),
        (1, 32.0, 301.0, 1.0),
        (0, 32.0, 301.0, 0.0),
    ],
)
def test_short_requests_belong_on_frugal_devices(frugal, input_tokens, output_tokens, expected):
    found = Candidate(frugal=frugal).price(
        {"size": 1.0},
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        knobs={"short_output_tokens": 300.0},
    )
    assert found == expected


def test_an_option_changes_how_long_the_answer_is():
    """Twice the tokens: in the joules, the seconds, the lateness and the profiled average."""
    twice, once = Candidate(factor=2.0), Candidate()
    rates = {"energy": 1.0, "seconds": 1.0, "average": 1.0, "lateness": 1.0, "backlog": 1.0}
    promised = {"deadline_s": 1.0, "ttft_s": 0.1, "tpot_s": 0.005, "e2e_s": 1.0}
    found = twice.price(rates, **promised, output_spread=30.0)
    expected = once.price(rates, **promised, output_tokens=400.0, output_spread=60.0)
    assert found == pytest.approx(expected)


def test_the_price_is_the_sum_of_its_parts():
    one, promised = Candidate(frugal=1), {"deadline_s": 3.2, "ttft_s": 0.1, "tpot_s": 0.005}
    rng = np.random.default_rng(0)
    rates = dict(zip(PARTS, rng.uniform(0.1, 2, len(PARTS)), strict=True))
    parts = [one.price({part: rate}, **promised, grid_g_per_j=1e-4) for part, rate in rates.items()]
    assert all(parts)
    assert one.price(rates, **promised, grid_g_per_j=1e-4) == pytest.approx(math.fsum(parts))


def test_a_row_takes_its_deadline_for_the_whole_answer_unless_told():
    assert request_row(input_tokens=1, output_tokens=1, deadline_s=4.0).e2e_s[0] == 4.0
    assert request_row(input_tokens=1, output_tokens=1, deadline_s=4.0, e2e_s=9.0).e2e_s[0] == 9.0
