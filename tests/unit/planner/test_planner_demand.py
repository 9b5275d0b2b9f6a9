"""The demand of a trace, priced by the eight numbers, and of a run's slots."""

from __future__ import annotations

import math

import numpy as np
import pytest

from baseload.base.errors import BadInputError
from baseload.fleet.physics import replica_type
from baseload.fleet.step import cost_table, step
from baseload.planner.demand import (
    capped_digest,
    demand_of_slots,
    demand_of_trace,
    hourly_profile,
    law_of_values,
    slow_variance,
)
from baseload.planner.demand_records import Demand
from baseload.planner.digest import digest_of, work_of
from baseload.planner.fleet_case import at_bus, fleet_case
from baseload.planner.response import fleet_response, terms_of
from baseload.routing.fleet_state import fleet_state
from baseload.sources import builtin_trace
from baseload.supply.random_paths import ar1_path
from baseload.workload.chunks import source_of
from baseload.workload.trace import Trace

H100 = replica_type(device="H100-SXM-80GB", model="Qwen/Qwen3-14B")
L4 = replica_type(device="L4-24GB", model="meta-llama/Llama-3.1-8B-Instruct")


def trace(count=4000, *, rate=5.0, seed=1, classes=("chat",)):
    rng = np.random.default_rng(seed)
    return Trace(
        name="made up",
        t_us=np.cumsum(rng.exponential(1e6 / rate, count)).astype(np.int64),
        input_tokens=rng.integers(10, 2000, count).astype(np.int32),
        output_tokens=(1 + rng.geometric(1 / 200, count)).astype(np.int32),
        class_code=rng.integers(0, len(classes), count).astype(np.int16),
        classes=classes,
    )


def test_work_counts_steps_context_and_prompt():
    # 3 tokens after a prompt of 10: the prompt's step gives the first, the others read 10.. tokens
    work = work_of(np.array([10.0]), np.array([3.0]))
    assert work.tolist() == [[3.0, 2 * 11.5, 10.0]]


def test_the_digest_is_the_same_in_pieces():
    one = trace(classes=("chat", "batch"))
    whole, pieces = digest_of(one), digest_of(source_of(one, chunk_requests=257))
    assert whole.requests == pieces.requests == len(one)
    np.testing.assert_allclose(whole.work, pieces.work)
    np.testing.assert_allclose(whole.work_products, pieces.work_products)
    np.testing.assert_allclose(whole.slot_work, pieces.slot_work)
    assert whole.slot_requests.sum() == len(one)


def test_poisson_gaps_have_ca2_1_even_under_a_moving_rate():
    rng = np.random.default_rng(3)
    rates = np.repeat([2.0, 20.0, 5.0], 20_000)
    one = trace(60_000)
    moved = Trace(
        **{
            name: getattr(one, name)
            for name in ("name", "input_tokens", "output_tokens", "class_code", "classes")
        },
        t_us=np.cumsum(rng.exponential(1e6 / rates)).astype(np.int64),
    )
    assert digest_of(moved).ca2 == pytest.approx(1.0, abs=0.05)


def test_a_long_trace_is_cut_and_says_so():
    digest = digest_of(source_of(trace(), chunk_requests=500), most_requests=1000)
    assert digest.requests == 1000
    assert "first 1,000 requests" in digest.notes[0]
    assert digest.requests_per_s == pytest.approx(5.0, rel=0.1)


def test_no_requests_is_an_error():
    with pytest.raises(BadInputError, match="no requests"):
        digest_of(trace(0))


@pytest.mark.parametrize("kind", [H100, L4])
def test_a_busy_replica_draws_the_stream_and_what_requests_add_to_it(kind):
    """Over T seconds of steps, energy = stream x T + sum of (joules - stream x seconds): whatever
    the batches are, as long as the cap does not bind.
    """
    cost = cost_table([kind])[0]
    state = fleet_state([kind], [1])
    state.traffic[0] = (50.0, 200.0)
    terms = terms_of(cost, 4.0, state.traffic[0])
    rng = np.random.default_rng(5)
    spent = np.zeros(2)
    work = np.zeros(3)
    for _ in range(200):
        batch = int(rng.integers(1, 6))
        context, prompt = float(rng.integers(1, 3000)), float(rng.integers(0, 2)) * 50.0
        spent += step(cost, float(batch), context, prompt)
        work += [batch, context, prompt]
    by_law = terms.stream_w * spent[0] + (terms.energy_j - terms.stream_w * terms.time_s) @ work
    assert by_law == pytest.approx(spent[1], rel=1e-3)


@pytest.mark.parametrize("sharing", ["packed", "even"])
def test_demand_adds_up(sharing):
    demand = demand_of_trace([(H100, 2), (L4, 1)], trace(), sharing=sharing)
    assert demand.mean_w == pytest.approx(
        demand.base_w + demand.requests_per_s * demand.job.mean_j, rel=1e-6
    )
    assert demand.terms.total_j2_per_s == pytest.approx(demand.var_j2_per_s)
    terms = demand.terms
    compound = terms.execution_j2_per_s + terms.mix_j2_per_s + terms.routing_j2_per_s
    own = demand.requests_per_s * demand.job.var_j2
    assert compound == pytest.approx(own, rel=1e-6)  # total variance, taken apart
    assert np.mean(demand.job.sample_j) == pytest.approx(demand.job.mean_j, rel=0.02)
    assert sum(each.share_frac for each in demand.serving) == pytest.approx(1.0)


def test_classes_that_differ_bring_mix():
    one = trace(classes=("short", "long"))
    tokens = np.where(one.class_code == 1, 1000, 20).astype(np.int32)
    split = Trace(
        name="two",
        t_us=one.t_us,
        input_tokens=one.input_tokens,
        output_tokens=tokens,
        class_code=one.class_code,
        classes=one.classes,
    )
    demand = demand_of_trace([(H100, 1)], split, sharing="even")
    assert demand.terms.mix_j2_per_s > demand.terms.execution_j2_per_s


def test_packing_needs_less_than_an_even_spread():
    groups = [(H100, 8)]
    packed = demand_of_trace(groups, trace(), sharing="packed")
    even = demand_of_trace(groups, trace(), sharing="even")
    asleep = demand_of_trace(groups, trace(), sharing="packed", parking=True)
    assert asleep.mean_w < packed.mean_w < even.mean_w
    assert packed.serving[0].busy_replicas < even.serving[0].busy_replicas


@pytest.mark.parametrize("sharing", ["packed", "even"])
def test_power_rises_with_the_load(sharing):
    powers = [
        fleet_response([(H100, 4), (L4, 4)], digest_of(trace(rate=rate)), sharing=sharing).mean_w
        for rate in (0.5, 2.0, 8.0, 30.0)
    ]
    assert powers == sorted(powers)


def test_a_load_over_capacity_is_said():
    response = fleet_response([(L4, 1)], digest_of(trace(rate=500.0)))
    assert response.load_frac > 1
    assert "would not" in response.warnings[0]


def test_the_shipped_trace_on_its_scenario_fleet():
    """Simulated even spread (least loaded): 1,078 W and 1.2e5 +- 0.4e5 J^2/s."""
    fleet = [
        (H100, 1),
        (replica_type(device="A100-SXM4-80GB", model="Qwen/Qwen3-14B"), 1),
        (replica_type(device="L4-24GB", model="Qwen/Qwen3-14B", tensor_parallel=2), 2),
    ]
    demand = demand_of_trace(fleet, builtin_trace(), sharing="even")
    assert demand.mean_w == pytest.approx(1078, rel=0.03)
    assert 0.8e5 < demand.var_j2_per_s < 1.6e5
    assert 60 < demand.correlation_s < 600


def test_scaled_traffic_pools_requests_but_not_the_movement_of_their_rate():
    one = trace(20_000, rate=20.0)
    groups = [(H100, 40)]
    thin = demand_of_trace(groups, one, sharing="even")
    thick = demand_of_trace(groups, one, sharing="even", scale=4.0)
    assert thick.requests_per_s == pytest.approx(4 * thin.requests_per_s)
    share = thick.terms.arrivals_j2_per_s / thick.job.mean_j**2
    assert share == pytest.approx(4 * thin.terms.arrivals_j2_per_s / thin.job.mean_j**2)


def test_batch_means_see_the_variance_of_an_autoregression():
    slots = 5.0 + ar1_path(np.random.default_rng(2), 200_000, 0.9)
    found = slow_variance(slots, 1.0)
    assert found.var_j2_per_s == pytest.approx(19.0, rel=0.35)
    assert abs(found.var_j2_per_s - 19.0) < 4 * found.error_j2_per_s


def test_what_repeats_by_the_hour_is_no_variance():
    hours = np.arange(86_400) / 3600.0
    slots = 100.0 + 10.0 * np.sin(2 * np.pi * hours / 24)
    noise = np.random.default_rng(4).standard_normal(86_400)
    assert slow_variance(slots + noise, 1.0).var_j2_per_s == pytest.approx(1.0, rel=0.5)
    profile = hourly_profile(slots, 1.0)
    assert np.mean(profile) == pytest.approx(1.0)
    assert profile[6] == max(profile) or profile[5] == max(profile)
    assert hourly_profile(slots[:3600], 1.0) is None


def test_demand_of_slots_of_a_compound_poisson_stream():
    rng = np.random.default_rng(6)
    counts = rng.poisson(3.0, 100_000)
    energies = rng.gamma(2.0 * counts, 10.0)
    job = law_of_values(rng.gamma(2.0, 10.0, 50_000))
    demand = demand_of_slots(
        energies + 50.0, 1.0, requests=int(counts.sum()), base_w=50.0, job=job, name="made up"
    )
    assert demand.obtained == "simulated"
    assert demand.mean_w == pytest.approx(110.0, rel=0.01)
    assert demand.terms.total_j2_per_s == pytest.approx(3.0 * job.second_j2, rel=0.3)
    with pytest.raises(BadInputError, match="slot_j"):
        demand_of_slots([1.0], 1.0)


def test_a_law_keeps_its_moments_when_it_is_thinned():
    values = np.random.default_rng(7).lognormal(0.0, 1.0, 50_000)
    law = law_of_values(values)
    assert law.mean_j == pytest.approx(values.mean())
    assert len(law.sample_j) == 1000
    assert np.mean(law.sample_j) == pytest.approx(law.mean_j)
    assert np.mean(np.square(law.sample_j)) == pytest.approx(law.second_j2, rel=0.05)
    assert law.overshoot_j == pytest.approx(law.third_j3 / 3 / law.second_j2)


def test_a_cap_on_tokens_lowers_mean_and_variance():
    case = fleet_case([(H100, 1)], trace(), sharing="even")
    before = case.demand()
    after, cut_frac = case.capped(0.3)
    assert 0 < cut_frac < 0.5
    assert after.job.mean_j < before.job.mean_j
    assert after.job.second_j2 < before.job.second_j2
    same, none = capped_digest(case.digest, 1.0)
    assert none == 0.0
    np.testing.assert_allclose(same.work, case.digest.work)
    with pytest.raises(BadInputError, match="keep_frac"):
        capped_digest(case.digest, 0.0)


def test_the_bus_sees_pue_and_overhead():
    demand = demand_of_trace([(H100, 1)], trace(), sharing="even")
    seen = at_bus(demand, pue=1.2, overhead_w=100.0)
    assert seen.mean_w == pytest.approx(1.2 * demand.mean_w + 100.0)
    assert seen.var_j2_per_s == pytest.approx(1.44 * demand.var_j2_per_s)
    assert seen.job.mean_j == pytest.approx(1.2 * demand.job.mean_j)
    assert seen.moving_w == pytest.approx(1.2 * demand.moving_w)
    assert at_bus(demand) is demand


def test_a_demand_refuses_what_cannot_be():
    fields = {
        "name": "x",
        "mean_w": 1.0,
        "base_w": 0.0,
        "var_j2_per_s": 1.0,
        "requests_per_s": 1.0,
        "ca2": 1.0,
        "span_s": 1.0,
        "obtained": "assumed",
    }
    Demand(**fields)
    for name, wrong in (("var_j2_per_s", -1.0), ("mean_w", math.nan), ("span_s", 0.0)):
        with pytest.raises(BadInputError, match=name):
            Demand(**fields | {name: wrong})
    with pytest.raises(BadInputError, match="hourly_frac"):
        Demand(**fields, hourly_frac=(1.0,))
