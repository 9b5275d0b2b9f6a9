"""The fast pick is the plain scan, in thousands of random states."""

from __future__ import annotations

import copy
import math
import os

import msgspec
import numpy as np
import pytest

from baseload.base.kernels import plain
from baseload.routing.fleet_state import close_replica, enter, open_replica
from baseload.routing.pick import admits, pick, pick_scan, takes
from baseload.routing.policies import POLICIES
from baseload.routing.policy import Policy
from baseload.routing.price import (
    KNOBS,
    PARTS,
    called_price_usd,
    option_row,
    price_usd,
    request_row,
)
from baseload.routing.sizing import profile
from baseload.testing.fleets import Fleet, equal_replicas, replica_type, two_models

STATES = round(120 * float(os.environ.get("BASELOAD_TEST_SCALE", "1")))
PICKS = 8


def assert_fast_is_plain(drawn, policy, seed, options=None):
    """A few picks in a row from one state, with turns and random draws carried on."""
    made = drawn(seed)
    fast = policy.state(made.state, seed=seed, options=made.options(options))
    slow = copy.deepcopy(fast)
    for at in range(PICKS):
        request = made.request()
        one, two = pick(made.state, fast, request), pick_scan(made.state, slow, request)
        where = (
            f"{policy.name}, seed {seed}, pick {at}, rates {policy.rates}: replay with this seed"
        )
        assert one == two, where
        for field, ours, theirs in zip(fast._fields, fast, slow, strict=True):
            if field == "flat":
                continue  # what the fast pick remembers to find its way
            pairs = zip(ours, theirs, strict=True) if field == "joules" else [(ours, theirs)]
            assert all((one == two).all() for one, two in pairs), f"{field}: {where}"
        check_choice(made.state, fast, request, one)
        if one[1] >= 0:
            enter(made.state, one[1], 10, 0)


def check_choice(state, policy_state, request, choice):
    """Nobody is refused who could be served, and nobody is sent where there is no room."""
    option, replica = choice
    free = [r for r in range(len(state.type_of)) if takes(state, request, r)]
    if replica >= 0:
        assert replica in free
        row = option_row(policy_state.options, request)
        chosen = policy_state.options[row, option] if option >= 0 else None
        assert chosen is None or chosen.model in (-1, state.limits[state.type_of[replica]].model)
    elif (policy_state.options.model[:, 0] == -1).all():
        assert not free


@pytest.mark.slow
@pytest.mark.parametrize("name", POLICIES)
def test_built_in_policies(drawn, name):
    for seed in range(STATES):
        assert_fast_is_plain(drawn, POLICIES[name], seed)


@pytest.mark.slow
@pytest.mark.parametrize("free_seats", [False, True])
def test_random_rates_on_all_parts(drawn, free_seats):
    """Any mix of parts that depend on requests in flight; equal prices are common with rates of 0
    and 1.
    """
    for seed in range(2 * STATES):
        rng = np.random.default_rng(seed)
        parts = [part for part in PARTS if part not in ("tokens", "backlog")]
        rates = {
            part: float(rng.choice([0.0, 0.0, 1.0, -1.0, rng.uniform(0, 2)])) for part in parts
        }
        policy = Policy(name="mix", summary="", source="", rates=rates, free_seats=free_seats)
        assert_fast_is_plain(drawn, policy, seed)


def test_random_rates_on_tokens(drawn):
    """``by_tokens``: outstanding tokens, the backlog, and what does not depend on the load."""
    for seed in range(2 * STATES):
        rng = np.random.default_rng(seed)
        rates = {
            "tokens": float(rng.choice([1.0, rng.uniform(0.01, 2)])),
            "backlog": float(rng.choice([0.0, rng.uniform(0, 2)])),
            "average": float(rng.choice([0.0, 1.0])),
            "size": float(rng.choice([0.0, 1.0])),
            "quality": rng.random(),
            "fee": 1.0,
        }
        policy = Policy(name="mix", summary="", source="", rates=rates, by_tokens=True)
        assert_fast_is_plain(drawn, policy, seed)


@pytest.mark.parametrize("free_seats", [False, True])
def test_random_rates_on_a_backlog_that_is_free_at_first(drawn, free_seats):
    """``flat``: the lowest-numbered replica below the free backlog, else the fewest tokens."""
    for seed in range(2 * STATES):
        rng = np.random.default_rng(seed)
        rates = {
            "backlog": float(rng.choice([0.0, rng.uniform(0, 2)])),
            "average": float(rng.choice([0.0, rng.uniform(0, 2)])),
            "size": float(rng.choice([0.0, 1.0])),
            "quality": rng.random(),
        }
        policy = Policy(
            name="mix",
            summary="",
            source="",
            rates=rates,
            knobs={"deadline_factor": float(rng.choice([1.0, rng.uniform(0.01, 2)]))},
            by_tokens=True,
            flat=True,
            free_seats=free_seats,
        )
        assert_fast_is_plain(drawn, policy, seed)


@pytest.mark.parametrize("rates", [{}, {"requests": 0.0}, {"quality": 1.0}])
@pytest.mark.parametrize("rising", [False, True])
def test_when_all_prices_are_equal_the_lowest_number_wins(drawn, rates, rising):
    """With ``rising`` the pick once looked at the least loaded replicas only, and missed a busier
    one with an equal price and a lower number (``least_latency`` on a type whose step time does not
    depend on the batch).
    """
    policy = Policy(name="flat", summary="", source="", rates=rates, rising=rising)
    state = equal_replicas(3).state()
    enter(state, 0, 10, 0)
    request = request_row(input_tokens=10, output_tokens=10)[0]
    assert pick(state, policy.state(state, seed=0), request) == (0, 0)
    for seed in range(STATES // 2):
        assert_fast_is_plain(drawn, policy, seed)


def test_a_step_time_without_batch_ties_least_latency():
    flat = replica_type(
        time_s_per_sequence=0.0,
        time_s_per_context_token=0.0,
        time_s_per_prefill_token=0.0,
        power_w_cap=1e6,
    )
    state = Fleet(types=(flat,), replicas=(4,)).state()
    enter(state, 0, 10, 0)
    policy = POLICIES["least_latency"].state(state, seed=0)
    request = request_row(input_tokens=10, output_tokens=10)[0]
    assert pick(state, policy, request) == pick_scan(state, policy, request) == (0, 0)


def test_equal_prices_go_to_the_lower_option(drawn):
    made = drawn(1)
    options = made.options(3)
    options.model, options.wrong_frac = -1, [0.5, 0.2, 0.2]
    options.right_usd, options.cap_tokens = 1.0, np.inf
    policy = Policy(name="quality", summary="", source="", rates={"quality": 1.0})
    option, _ = pick(made.state, policy.state(made.state, seed=0, options=options), made.request())
    assert option in (1, -1)


def test_a_price_that_is_no_number_picks_nobody():
    state = equal_replicas(2).state()
    policy = POLICIES["least_loaded"].state(state, seed=0)
    policy.rates[:] = np.nan
    request = request_row(input_tokens=10, output_tokens=10)[0]
    assert pick(state, policy, request) == pick_scan(state, policy, request) == (-1, -1)


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:divide by zero encountered:RuntimeWarning")
def test_prices_are_the_prices_of_the_plain_twin(drawn):
    for seed in range(STATES):
        made = drawn(seed)
        rates = np.concatenate((made.rng.uniform(-1, 2, len(PARTS)), list(KNOBS.values())))
        profile(made.state)
        options, request = made.options(), made.request()
        for kind in range(len(made.fleet.types)):
            arguments = (
                rates,
                made.state.cost[kind],
                made.state.limits[kind],
                made.state.traffic[0],
                options[0, 0],
                request,
                int(made.rng.integers(0, 40)),
                int(made.rng.integers(0, 9000)),
            )
            ours, theirs = price_usd(*arguments), plain(price_usd)(*arguments)
            assert math.isclose(ours, theirs, rel_tol=1e-9, abs_tol=1e-9)
            assert called_price_usd(*arguments) == ours


def test_nobody_is_sent_to_a_closed_replica():
    for name in POLICIES:
        state = equal_replicas(5).state()
        policy = POLICIES[name].state(state, seed=0)
        for replica in (0, 2, 3):
            close_replica(state, replica)
        request = request_row(input_tokens=10, output_tokens=10)[0]
        assert {pick(state, policy, request)[1] for _ in range(50)} <= {1, 4}, name
        close_replica(state, 1)
        assert {pick(state, policy, request)[1] for _ in range(50)} == {4}, name
        close_replica(state, 4)
        assert pick(state, policy, request) == (-1, -1), name
        open_replica(state, 2)
        assert pick(state, policy, request)[1] == 2, name


@pytest.mark.parametrize("name", POLICIES)
def test_prompts_that_wait_refuse_nobody(name):
    """``baseload`` once refused requests that replicas had room for, when prompts whose first token
    was not out filled their levels.
    """
    state = equal_replicas(2).state(max_queue=0)
    policy = POLICIES[name].state(state, seed=0)
    request = request_row(input_tokens=10, output_tokens=10)[0]
    for replica in (0, 1):
        enter(state, replica, 10, 30)
    for _ in range(14):
        replica = pick(state, policy, request)[1]
        assert replica >= 0
        enter(state, replica, 10, 30)
    assert pick(state, policy, request) == (-1, -1)


def test_a_request_for_a_model_goes_where_it_is_served():
    fleet = two_models()
    state = fleet.state()
    for name in POLICIES:
        policy = POLICIES[name].state(state, seed=0)
        for code, model in enumerate(fleet.models):
            for _ in range(10):
                request = request_row(input_tokens=10, output_tokens=10, model=code)[0]
                _, replica = pick(state, policy, request)
                assert fleet.types[state.type_of[replica]].model == model
        nobody = request_row(input_tokens=10, output_tokens=10, model=len(fleet.models))[0]
        assert pick(state, policy, nobody) == (-1, -1)


def test_a_prompt_that_fits_nowhere_is_refused():
    state = equal_replicas(2).state()
    request = request_row(input_tokens=2001, output_tokens=10)[0]
    assert not admits(state, 0, request)
    for name in POLICIES:
        assert pick(state, POLICIES[name].state(state, seed=0), request) == (-1, -1)


def test_full_replicas_are_passed_over():
    state = equal_replicas(3).state(max_queue=0)
    for replica in (0, 1):
        for _ in range(8):
            enter(state, replica, 10, 0)
    request = request_row(input_tokens=10, output_tokens=10)[0]
    for name in POLICIES:
        policy = POLICIES[name].state(state, seed=0)
        assert [pick(state, policy, request)[1] for _ in range(4)] == [2] * 4, name


def test_exchange_consistency_of_the_price(drawn):
    """Law 7, exactly: the factor is a power of two."""
    for seed in range(STATES // 2):
        made = drawn(seed)
        rates = {"energy": 1.3, "carbon": 0.7, "average": 0.2, "seconds": 0.01, "lateness": 2.0}
        policy = Policy(name="mix", summary="", source="", rates=rates)
        halves = {"energy": 0.65, "carbon": 0.35, "average": 0.1}
        halved = msgspec.structs.replace(policy, rates=rates | halves)
        doubled = type(made.state)(*(array.copy() for array in made.state))
        for name in doubled.cost.dtype.names:
            if name.startswith(("energy_j", "power_w", "wake_j")):
                doubled.cost[name] *= 2
        request = made.request()
        one = pick(made.state, policy.state(made.state, seed=0), request)
        assert one == pick(doubled, halved.state(doubled, seed=0), request)
