"""The jump lattice: exact evaluation and optimum."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from baseload.base.errors import BadInputError
from baseload.theory.dynamic_routing import prices_at, solve_hjb
from baseload.theory.job_cells import quantile_laws
from baseload.theory.lattice import (
    best_static,
    evaluate_policy,
    guarded,
    jump_lattice,
    method_for,
    optimal_policy,
    option_values,
)
from baseload.theory.routing_instance import RoutingInstance
from baseload.theory.routing_tables import full_jump_tables, taylor_tables
from baseload.theory.static_routing import static_optimum

from .routing_cases import padded, random_instance, reference


def by_hand(lattice, policy, slots=20_000):
    """The cost of a constant deterministic policy by running the law forward, slot by slot, event
    by event.
    """
    instance, nodes = lattice.instance, len(lattice.level)
    law = np.full(nodes, 1 / nodes)
    for _ in range(slots):
        after, bought, spent = (1 - lattice.arrival.sum()) * law, 0.0, 0.0
        for k, option in enumerate(policy):
            spent += lattice.arrival[k] * instance.other_cost[k, option]
            for steps, chance in enumerate(lattice.job[k, option]):
                for level in range(nodes) if chance > 1e-15 else ():
                    mass = lattice.arrival[k] * chance * law[level]
                    after[max(level - steps, 0)] += mass
                    bought += mass * max(steps - level, 0) * lattice.delta
        wasted = after[-1] * lattice.delta
        new = np.append(0.0, after[:-1])
        new[-1] += after[-1]
        if np.abs(new - law).max() < 1e-13:
            break
        law = new
    u, w = bought / lattice.slot_s, wasted / lattice.slot_s
    return instance.Cu * u + instance.Cw * w + spent / lattice.slot_s, u, w, law


@pytest.mark.parametrize("policy", [(0, 1), (1, 0)])
def test_a_constant_policy_costs_what_its_law_run_forward_costs(policy):
    instance = RoutingInstance(
        lam=[0.4, 0.2],
        mean=[[1, 2], [2, 3]],
        second=[[2, 6], [5, 9]],
        other_cost=[[0.5, 0.1], [2.0, 1.0]],
        Cw=0.2,
        b=1.2,
    )
    lattice = jump_lattice(instance, 4.0, delta=0.5, dist="deterministic")
    found = evaluate_policy(lattice, policy)
    cost, u, w, law = by_hand(lattice, policy)
    assert found.cost == pytest.approx(cost, rel=1e-9)
    assert (found.u, found.w) == pytest.approx((u, w), rel=1e-8)
    assert found.law == pytest.approx(law, abs=1e-10)
    assert found.mean_level == pytest.approx(law @ lattice.level)


def test_waste_less_auxiliary_is_supply_less_demand():
    lattice = jump_lattice(reference(), 20.0, delta=0.25)
    found = evaluate_policy(lattice, [0, 1, 1])
    demand = sum(
        rate * (lattice.job[k, a] @ np.arange(lattice.job.shape[-1])) * 0.25
        for rate, k, a in zip(reference().lam, range(3), [0, 1, 1], strict=True)
    )
    assert found.w - found.u == pytest.approx(3.0 - demand)
    assert found.cost == pytest.approx(found.u + 0.1 * found.w + found.other)


def test_the_optimum_beats_every_table_of_a_tiny_lattice():
    instance = random_instance(5, 1, 2)
    lattice = jump_lattice(instance, 3.0, delta=0.375)
    found = optimal_policy(lattice)
    tables = itertools.product([0, 1], repeat=len(lattice.level))
    costs = [evaluate_policy(lattice, np.array(table)[:, None]).cost for table in tables]
    assert found.cost.cost == pytest.approx(min(costs), rel=1e-12)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_the_optimum_solves_its_equation(seed):
    lattice = jump_lattice(random_instance(seed), 8.0, delta=0.125)
    found = optimal_policy(lattice)
    scores = option_values(lattice, found.value)
    chosen = np.take_along_axis(scores, found.choice[..., None], axis=2)[..., 0]
    assert chosen == pytest.approx(scores.min(axis=2), rel=1e-9, abs=1e-9)
    assert evaluate_policy(lattice, found.choice).cost == pytest.approx(found.cost.cost, rel=1e-12)
    assert best_static(lattice)[1].cost >= found.cost.cost * (1 - 1e-12)
    again = optimal_policy(lattice, start=np.zeros(lattice.instance.shape[0], dtype=int))
    assert again.cost.cost == pytest.approx(found.cost.cost, rel=1e-10)


def test_mixtures_and_tables_are_read_alike():
    lattice = jump_lattice(reference(), 10.0, delta=0.25)
    table = np.array([0, 1, 1])
    shares = reference().shares_of(table)
    nodes = len(lattice.level)
    one = evaluate_policy(lattice, table).cost
    for other in (shares, np.tile(table, (nodes, 1)), np.tile(shares, (nodes, 1, 1))):
        assert evaluate_policy(lattice, other).cost == pytest.approx(one, rel=1e-14)
    half = 0.5 * shares + 0.5 * reference().shares_of([1, 1, 1])
    assert evaluate_policy(lattice, half).u > 0


def test_a_long_store_is_the_diffusion():
    instance = reference()
    lattice = jump_lattice(instance, 150.0, delta=0.5)
    assert optimal_policy(lattice).cost.cost == pytest.approx(
        solve_hjb(instance, 150.0).gam, rel=0.01
    )


def test_padding_changes_nothing():
    plain = optimal_policy(jump_lattice(reference(), 10.0, delta=0.25))
    wide = optimal_policy(jump_lattice(padded(reference()), 10.0, delta=0.25))
    assert wide.cost.cost == pytest.approx(plain.cost.cost, rel=1e-13)
    assert np.array_equal(wide.choice[:, :3], plain.choice)


def test_noise_of_the_supply_costs_and_a_sure_step_is_the_default():
    plain = jump_lattice(reference(), 10.0, delta=0.25)
    sure = jump_lattice(reference(), 10.0, delta=0.25, supply=[0, 1, 0])
    noisy = jump_lattice(reference(), 10.0, delta=0.25, supply=[0.6, 0.0, 0.2, 0.2])
    costs = [optimal_policy(one).cost.cost for one in (plain, sure, noisy)]
    assert costs[0] == pytest.approx(costs[1], rel=1e-12)
    assert costs[2] > costs[0]
    found = evaluate_policy(noisy, [0, 1, 1])
    assert found.w - found.u == pytest.approx(
        evaluate_policy(plain, [0, 1, 1]).w - evaluate_policy(plain, [0, 1, 1]).u
    )


def test_a_job_law_may_be_given():
    pmf = jump_lattice(reference(), 10.0, delta=0.25).job
    given = jump_lattice(reference(), 10.0, delta=0.25, job=pmf)
    assert evaluate_policy(given, [0, 0, 0]).cost == pytest.approx(
        evaluate_policy(jump_lattice(reference(), 10.0, delta=0.25), [0, 0, 0]).cost
    )


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"B": 10.1}, "B"),
        ({"B": 0.0}, "B"),
        ({"delta": 5.0}, "delta"),
        ({"delta": 1e-4}, "B"),
        ({"dist": "weibull"}, "dist"),
        ({"job": np.ones((3, 3))}, "job"),
        ({"job": np.ones((3, 3, 4))}, "job"),
        ({"supply": [0.5, 0.4]}, "supply"),
    ],
)
def test_bad_input(change, field):
    settings = {"B": 10.0, "delta": 0.25, **change}
    with pytest.raises(BadInputError, match=f"^{field}"):
        jump_lattice(reference(), settings.pop("B"), **settings)


def test_bad_policies():
    lattice = jump_lattice(reference(), 10.0, delta=0.25)
    for wrong in ([0, 1, 3], np.full((3, 3), 0.5), [-1, 0, 0]):
        with pytest.raises(BadInputError, match="policy"):
            evaluate_policy(lattice, wrong)
    with pytest.raises(BadInputError, match=r"^b"):
        jump_lattice(reference(b=0.0), 10.0, delta=0.25)
    with pytest.raises(BadInputError, match="fail_limit"):
        optimal_policy(jump_lattice(reference(fail_limit=0.2), 10.0, delta=0.25))


def study(seed, jobs):
    """Shares of the static-to-optimal gap that full-jump and mean-only scores leave."""
    instance = random_instance(seed)
    mean_job = static_optimum(instance, 1e3 * instance.b).mean / instance.lam.sum()
    B, delta = jobs * mean_job, mean_job / 8
    lattice = jump_lattice(instance, B, delta=delta, cap=80 * mean_job)
    best, static = optimal_policy(lattice).cost.cost, best_static(lattice)[1].cost
    if static - best < 2e-3 * static:
        return None
    found = solve_hjb(instance, B)
    laws = quantile_laws(instance.mean, instance.second)
    jumps = full_jump_tables(
        instance, laws, level=lattice.level, worth=lambda s: prices_at(found, s).value
    )
    prices = prices_at(found, lattice.level)
    mean_only = taylor_tables(
        instance, level=lattice.level, lamS=prices.lamS, om=np.zeros_like(prices.om)
    )
    _, kept, _ = guarded(lattice, jumps.choice)
    assert kept.cost <= static * (1 + 1e-12)
    costs = [evaluate_policy(lattice, one.choice).cost for one in (jumps, mean_only)]
    return [(cost - best) / (static - best) for cost in costs]


@pytest.mark.parametrize("jobs", [3, 10, 30])
def test_full_jump_scores_leave_at_most_a_tenth_of_the_gap_and_mean_only_far_more(jobs):
    shares = [share for seed in range(10) if (share := study(seed, jobs)) is not None]
    left, mean_only = np.median(shares, axis=0)
    assert len(shares) >= 4
    assert left <= 0.10
    assert mean_only > 3 * left


def test_the_guard_keeps_a_good_table_and_drops_a_bad_one():
    lattice = jump_lattice(reference(), 20.0, delta=0.25)
    good = optimal_policy(lattice).choice
    table, cost, kept = guarded(lattice, good)
    assert kept
    assert table.shape == (81, 3, 3)
    _, fallback, kept = guarded(lattice, good[::-1])
    assert not kept
    assert fallback.cost == best_static(lattice)[1].cost > cost.cost


def test_many_options_have_candidates_too():
    instance = random_instance(4, 6, 4)
    lattice = jump_lattice(instance, 8.0, delta=0.5)
    _, found = best_static(lattice)
    assert optimal_policy(lattice).cost.cost <= found.cost
    assert found.cost <= evaluate_policy(lattice, static_optimum(instance, 8.0).shares).cost


def test_which_method():
    assert [method_for(jobs, 1.0) for jobs in (3, 5, 30, 90)] == [
        "lattice",
        "full_jump",
        "full_jump",
        "taylor",
    ]


def test_two_hundred_and_forty_levels_are_quick():
    lattice = jump_lattice(reference(), 60.0, delta=0.25)
    started = time.perf_counter()
    optimal_policy(lattice)
    assert time.perf_counter() - started < 2.0
