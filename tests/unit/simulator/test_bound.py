"""The clairvoyant bound lies below every run, and is tight where it can be."""

from __future__ import annotations

import itertools
import os

import bound_instances as instances
import msgspec
import numpy as np
import pytest

from baseload.base.errors import BadInputError
from baseload.base.kernels import is_compiled, plain
from baseload.base.streams import stream
from baseload.routing.policies import POLICIES
from baseload.simulator import bound as module
from baseload.simulator import bound_terms as terms
from baseload.simulator.bound import bound, rest_power_w
from baseload.simulator.scenario import Group, Scenario
from baseload.testing.fleets import replica_type
from baseload.workload.chunks import source_of
from baseload.workload.tiers import Tier
from baseload.workload.trace import Trace

SCALE = float(os.environ.get("BASELOAD_TEST_SCALE", "1"))
EACH = max(1, round(260 * SCALE))
ROUND_OFF = 1e-9


@pytest.mark.parametrize(
    "part", [0, 1, *(pytest.param(part, marks=pytest.mark.slow) for part in range(2, 8))]
)
def test_no_run_on_random_small_instances_lies_below_the_bound(part):
    ratios = instances.hold_many(part * EACH, EACH)
    assert len(ratios) > EACH
    assert min(ratios) < 1 + 1e-6, "in some instances the bound is reached"


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_no_policy_lies_below_the_bound(policy):
    for seed in range(10_000, 10_020):
        instances.held(instances.case(seed), policy)


def test_sleep_for_nothing_never_raises_the_bound_but_for_the_search_of_multipliers():
    """The multipliers of the lower bound are allowed in the higher one too; the search is not
    exact.
    """
    pairs = [instances.bounds(instances.case(seed)) for seed in range(300)]
    higher = [awake.energy_j < asleep.energy_j * (1 - 1e-6) for awake, asleep in pairs]
    assert sum(higher) <= 3
    assert all(asleep.energy_j <= 1.05 * awake.energy_j for awake, asleep in pairs)


def test_the_instances_cover_what_they_should():
    made = [instances.case(seed) for seed in range(300)]
    groups = [group for one in made for group in one.scenario.groups]
    kinds = [group.kind for group in groups]
    assert any(group.park_after_s is not None for group in groups)
    assert any(group.off_after_s is not None for group in groups)
    assert any(kind.costs.expert_hit_frac > 0 for kind in kinds)
    assert any(kind.power.power_w_idle > kind.power.power_w_active_static for kind in kinds)
    preempted = 0
    for one in made:
        rng = stream(one.seed, "tests", "bound", "dice")
        dice = instances.Dice(one, instances.type_of(one), rng)
        preempted += int(instances.by_steps(one, dice).preemptions.sum())
    assert preempted > 5


class Fixed:
    """A router that sends request ``i`` to ``replicas[i]``."""

    def __init__(self, replicas):
        self._replicas = replicas

    def pick(self, index, now_s):
        return self._replicas[index]

    def done(self, index, replica, now_s):
        pass


def trace(*rows):
    """Requests ``(arrival_s, input_tokens, output_tokens)`` of class chat."""
    arrival_s, given, asked = zip(*rows, strict=True)
    return Trace(
        name="small",
        t_us=np.round(np.array(arrival_s) * 1e6).astype(np.int64),
        input_tokens=np.array(given, np.int32),
        output_tokens=np.array(asked, np.int32),
        class_code=np.zeros(len(rows), np.int16),
        classes=("chat",),
    )


def case(requests, *groups, tiers=()):
    """A scenario of ``groups`` for the trace ``requests``."""
    scenario = Scenario(
        name="small",
        groups=groups,
        requests=lambda _seed: source_of(requests),
        tiers=tiers or (Tier(name="all", classes=("chat",)),),
    )
    return instances.Case(0, scenario, requests)


def brute_force(made, delays=(0.0,), *, keeps=lambda run, arrival_s: True):
    """The least energy [J] over all assignments of requests to replicas that can take them, and
    over delays of each request from ``delays`` [s] that keep their order.
    """
    kinds = [made.scenario.groups[at].kind for at in instances.type_of(made)]
    replicas = [
        [at for at, kind in enumerate(kinds) if tokens <= instances.longest_context(kind)]
        for tokens in made.trace.input_tokens.tolist()
    ]
    least_j = np.inf
    arrival_s = made.trace.t_us / 1e6
    for held_back in itertools.product(delays, repeat=len(made.trace)):
        if (np.diff(arrival_s + np.array(held_back)) < 0).any():
            continue
        for chosen in itertools.product(*replicas):
            run = instances.by_steps(made, Fixed(chosen), delay_s=np.array(held_back))
            if keeps(run, arrival_s):
                least_j = min(least_j, run.fleet_energy_j)
    return least_j


def test_no_assignment_and_no_delay_lies_below_the_bound():
    tried = 0
    for seed in range(20_000, 20_200):
        made = instances.case(seed)
        replicas = sum(group.replicas for group in made.scenario.groups)
        if len(made.trace) > 3 or replicas**3 > 27 or made.trace.output_tokens.max() > 12:
            continue
        longest = max(instances.longest_context(group.kind) for group in made.scenario.groups)
        if made.trace.input_tokens.max() > longest:
            continue
        least_j = brute_force(made, delays=(0.0, 0.05, 0.3))
        for kept in instances.bounds(made):
            assert kept.energy_j <= least_j * (1 + ROUND_OFF), f"seed {seed}"
        tried += 1
    assert tried > 20


FREE_WAKE = {"wake_s_from_parked": 0.5, "wake_j_from_parked": 0.0}
"""A replica that is parked wakes with all that came at one instant, so that they start together."""


def one_seat_never_asleep():
    """One seat, requests that find the replica idle, the last one at the end of the trace."""
    kind = replica_type(max_batch=1)
    return case(trace((0, 20, 5), (3, 7, 9), (8, 30, 1), (9, 12, 4)), Group(kind=kind, replicas=1))


def one_full_batch():
    """Equal requests at one instant that fill the seats of a replica that wakes for them."""
    kind = replica_type(max_batch=4, **FREE_WAKE)
    group = Group(kind=kind, replicas=1, park_after_s=0.0)
    return case(trace(*[(0.0, 20, 10)] * 4), group)


def two_replicas_full():
    """The same on two replicas, with experts that all seats together read."""
    kind = replica_type(
        max_batch=2,
        time_s_all_experts=0.02,
        energy_j_all_experts=6.0,
        expert_hit_frac=1.0,
        **FREE_WAKE,
    )
    group = Group(kind=kind, replicas=2, park_after_s=0.0)
    return case(trace(*[(0.0, 20, 10)] * 4), group)


def all_work_on_one_type():
    """A thrifty type that takes all work and a costly one that only rests."""
    thrifty = replica_type("thrifty", max_batch=1)
    costly = replica_type("costly", max_batch=1, energy_j_per_step=9.0, power_w_idle=70.0)
    rows = trace((0.0, 20, 6), (0.0, 20, 6), (4.0, 20, 6))
    return case(rows, Group(kind=thrifty, replicas=2), Group(kind=costly, replicas=1))


def off_between_requests():
    """A fleet that switches off at once and wakes for nothing."""
    kind = replica_type(max_batch=1, power_w_off=5.0, wake_s_from_off=0.0, wake_j_from_off=0.0)
    group = Group(kind=kind, replicas=2, off_after_s=0.0)
    return case(trace((0.0, 20, 6), (3.0, 9, 8), (7.0, 5, 5)), group)


def under_the_cap():
    """Every step is stretched by the power cap."""
    kind = replica_type(max_batch=1, power_w_cap=120.0)
    return case(trace((0.0, 20, 6), (4.0, 9, 8)), Group(kind=kind, replicas=1))


def prompts_in_chunks():
    """Long prompts, one token of answer each: every step is full of prompt tokens."""
    kind = replica_type(max_batch=8, max_step_tokens=64)
    rows = trace(*[(0.0, 192, 1)] * 3)
    return case(rows, Group(kind=kind, replicas=1))


TIGHT = (
    one_seat_never_asleep,
    one_full_batch,
    two_replicas_full,
    all_work_on_one_type,
    off_between_requests,
    under_the_cap,
    prompts_in_chunks,
)


@pytest.mark.parametrize("make", TIGHT)
def test_the_bound_is_what_brute_force_finds(make):
    made = make()
    least_j = brute_force(made)
    found = bound(made.scenario, source_of(made.trace), sleep=False)
    assert found.energy_j == pytest.approx(least_j, rel=ROUND_OFF)
    asleep = bound(made.scenario, source_of(made.trace), sleep=True)
    assert asleep.energy_j <= found.energy_j * (1 + ROUND_OFF)


def test_asleep_the_bound_is_what_a_fleet_that_sleeps_for_nothing_draws():
    """The bound of a fleet that never sleeps, ``sleep=True``, is the energy of one that is off
    between requests and wakes for nothing.
    """
    made = off_between_requests()
    awake = tuple(
        msgspec.structs.replace(group, off_after_s=None) for group in made.scenario.groups
    )
    scenario = msgspec.structs.replace(made.scenario, groups=awake)
    source = source_of(made.trace)
    found = bound(scenario, source, sleep=True).energy_j
    assert found == pytest.approx(brute_force(made), rel=ROUND_OFF)
    assert found < 0.5 * bound(scenario, source, sleep=False).energy_j


def test_by_hand():
    """One seat, one request: a prompt step of 20 tokens and two decode steps."""
    kind = replica_type(max_batch=1)
    made = case(trace((2.0, 20, 3)), Group(kind=kind, replicas=3))
    work_j = 3 * (2.0 + 0.05) + (20 + 21) * 1e-4 + 20 * 0.005
    found = bound(made.scenario, source_of(made.trace), sleep=False)
    assert found.rest_energy_j == 3 * 2.0 * 50.0
    assert found.energy_j == pytest.approx(300.0 + work_j, rel=1e-12)
    assert found.by_device["toy"].requests == 1


def tpot_keeps_all_off_the_slow_type():
    """A slow type that would be cheaper, and deadlines that only the fast one can keep."""
    fast = replica_type("fast", max_batch=1, energy_j_per_step=9.0, power_w_cap=2e3)
    slow = replica_type("slow", max_batch=1, time_s_per_step=0.06, energy_j_per_step=3.5)
    tiers = (Tier(name="all", classes=("chat",), tpot_s=0.03),)
    rows = trace((0.0, 20, 6), (3.0, 20, 9), (9.0, 4, 4))
    return case(rows, Group(kind=fast, replicas=1), Group(kind=slow, replicas=2), tiers=tiers)


def test_with_deadlines_the_bound_is_what_brute_force_finds():
    made = tpot_keeps_all_off_the_slow_type()
    source = source_of(made.trace)

    def in_time(most_late):
        def keeps(run, arrival_s):
            tpot_s = (run.finish_s - run.first_token_s) / np.maximum(1, run.output_tokens - 1)
            return (tpot_s > 0.03).sum() <= most_late

        return keeps

    free = bound(made.scenario, source, sleep=False)
    strict = bound(made.scenario, source, sleep=False, deadlines=True)
    some = bound(made.scenario, source, sleep=False, deadlines=True, may_miss_frac=0.34)
    every = bound(made.scenario, source, sleep=False, deadlines=True, may_miss_frac=1.0)
    assert strict.energy_j == pytest.approx(brute_force(made, keeps=in_time(0)), rel=ROUND_OFF)
    assert free.energy_j == pytest.approx(brute_force(made), rel=ROUND_OFF)
    assert every.energy_j == pytest.approx(free.energy_j, rel=1e-6)
    one_late_j = brute_force(made, keeps=in_time(1))
    assert free.energy_j < some.energy_j <= one_late_j * (1 + ROUND_OFF)
    assert some.energy_j == pytest.approx(one_late_j, rel=0.01)


def test_a_tight_pace_leaves_fewer_to_share_a_step():
    """Steps of two sequences take 11 ms, of three 11.5 ms: at 11 ms a token no three may share."""
    kind = replica_type(max_batch=4, time_s_per_context_token=0.0, **FREE_WAKE)
    group = Group(kind=kind, replicas=2, park_after_s=0.0)
    tiers = (Tier(name="all", classes=("chat",), tpot_s=0.011),)
    made = case(trace(*[(0.0, 20, 10)] * 4), group, tiers=tiers)
    source = source_of(made.trace)

    def keeps(run, arrival_s):
        return bool(((run.finish_s - run.first_token_s) / 9 < 0.011 + 1e-9).all())

    least_j = brute_force(made, keeps=keeps)
    strict = bound(made.scenario, source, sleep=False, deadlines=True)
    free = bound(made.scenario, source, sleep=False)
    prompt_j = 4 * 2.0 * (1 / 2 - 1 / 4)  # the prompts' step may be shared by four, says the bound
    assert strict.energy_j == pytest.approx(least_j - prompt_j, rel=1e-8)
    assert strict.energy_j > 1.3 * free.energy_j


def test_what_cannot_be_served_costs_nothing_and_what_comes_too_late_is_counted():
    kind = replica_type(max_context_tokens=100)
    tiers = (Tier(name="all", classes=("chat",), ttft_s=0.02),)
    made = case(trace((0, 20, 3), (1, 101, 3), (2, 90, 3)), Group(kind=kind, replicas=1))
    scenario = msgspec.structs.replace(made.scenario, tiers=tiers)
    found = bound(scenario, source_of(made.trace), sleep=False)
    assert (found.requests, found.unservable, found.too_late) == (2, 1, 0)
    strict = bound(scenario, source_of(made.trace), sleep=False, deadlines=True)
    assert (strict.requests, strict.unservable, strict.too_late) == (2, 1, 0)
    scenario = msgspec.structs.replace(
        scenario, tiers=(msgspec.structs.replace(tiers[0], ttft_s=0.0115),)
    )
    strict = bound(scenario, source_of(made.trace), sleep=False, deadlines=True)
    assert strict.too_late == 1


def test_a_trace_without_requests_costs_nothing():
    made = one_seat_never_asleep()
    empty = msgspec.structs.replace(source_of(made.trace), chunks=lambda: iter(()), requests=0)
    assert bound(made.scenario, empty, sleep=False).energy_j == 0.0


def test_a_fraction_outside_0_to_1_is_refused():
    made = one_seat_never_asleep()
    with pytest.raises(BadInputError, match="may miss"):
        bound(made.scenario, source_of(made.trace), sleep=False, may_miss_frac=1.5)


def test_rest_power_is_the_least_that_timeouts_allow():
    kind = replica_type(wake_s_from_parked=2.0, wake_j_from_parked=30.0, wake_j_from_off=1e6)
    at = {"kind": kind, "replicas": 1}
    never = Group(**at)
    assert rest_power_w(never, 100.0, sleep=False) == 50.0
    assert rest_power_w(never, 100.0, sleep=True) == 0.0
    assert rest_power_w(Group(**at, park_after_s=5.0), 100.0, sleep=False) == 10.0
    assert rest_power_w(Group(**at, park_after_s=5.0), 4.0, sleep=False) == 50.0
    assert rest_power_w(Group(**at, park_after_s=5.0, off_after_s=5.0), 100.0, sleep=False) == 0.0
    cheap = replica_type(wake_s_from_parked=2.0, wake_j_from_parked=6.0)
    wakes = Group(kind=cheap, replicas=1, park_after_s=5.0)
    assert rest_power_w(wakes, 100.0, sleep=False) == 3.0


def busy_case(count=400, **changes):
    """Many requests on a small fleet whose thrifty type has neither the time nor the queue to take
    them all.
    """
    rng = stream(1, "tests", "busy")
    rows = Trace(
        name="busy",
        t_us=np.sort(rng.integers(0, 10_000_000, count)),
        input_tokens=rng.integers(1, 200, count, dtype=np.int32),
        output_tokens=rng.integers(1, 60, count, dtype=np.int32),
        class_code=np.zeros(count, np.int16),
        classes=("chat",),
    )
    thrifty = replica_type("thrifty", time_s_per_step=0.05, energy_j_per_step=1.0, **changes)
    costly = replica_type("costly", time_s_per_step=0.005, energy_j_per_step=9.0)
    made = case(rows, Group(kind=thrifty, replicas=1), Group(kind=costly, replicas=3))
    return made._replace(scenario=msgspec.structs.replace(made.scenario, max_queue=8))


def test_time_has_a_price_where_a_type_has_too_little_of_it():
    made = busy_case()
    found = bound(made.scenario, source_of(made.trace), sleep=False)
    thrifty, costly = found.multipliers
    assert thrifty.credit_power_w < 0 < thrifty.rest_power_w
    assert costly.credit_power_w == costly.rest_power_w
    assert 0 < found.by_device["thrifty"].requests < found.requests
    long_queue = msgspec.structs.replace(made.scenario, max_queue=1024)
    assert bound(long_queue, source_of(made.trace), sleep=False).energy_j < found.energy_j
    for policy in sorted(POLICIES):
        energy_j, refused, _ = instances.policy_run(made, policy)
        assert refused or found.energy_j <= energy_j


def test_the_bound_does_not_depend_on_the_pieces_of_the_trace(monkeypatch):
    made = busy_case(2000)
    monkeypatch.setattr(module, "_SAMPLE_REQUESTS", 300)
    one, two = (
        bound(made.scenario, source_of(made.trace, chunk_requests=size), sleep=False)
        for size in (262_144, 77)
    )
    assert two.energy_j == pytest.approx(one.energy_j, rel=1e-12)
    assert two.multipliers == one.multipliers


def test_a_sample_does_nearly_as_well_as_all_requests(monkeypatch):
    made = busy_case(2000)
    exact = bound(made.scenario, source_of(made.trace), sleep=False)
    monkeypatch.setattr(module, "_SAMPLE_REQUESTS", 200)
    sampled = bound(made.scenario, source_of(made.trace), sleep=False)
    assert sampled.energy_j == pytest.approx(exact.energy_j, rel=0.01)


def test_twice_the_joules_are_twice_the_bound():
    made = busy_case(60)
    kinds = [group.kind for group in made.scenario.groups]

    def doubled(part, names):
        return msgspec.structs.replace(part, **{name: 2 * getattr(part, name) for name in names})

    groups = []
    for group, kind in zip(made.scenario.groups, kinds, strict=True):
        energies = [name for name in kind.costs.__struct_fields__ if name.startswith("energy")]
        powers = [name for name in kind.power.__struct_fields__ if not name.startswith("wake_s")]
        twice = msgspec.structs.replace(
            kind, costs=doubled(kind.costs, energies), power=doubled(kind.power, powers)
        )
        groups.append(msgspec.structs.replace(group, kind=twice))
    scenario = msgspec.structs.replace(made.scenario, groups=tuple(groups))
    one = bound(made.scenario, source_of(made.trace), sleep=False).energy_j
    assert bound(scenario, source_of(made.trace), sleep=False).energy_j == pytest.approx(2 * one)


KERNELS = [name for name in dir(terms) if hasattr(getattr(terms, name), "py_func")]


def test_kernels_and_their_plain_twins_agree(monkeypatch):
    """Multipliers and bound of plain Python are those of the compiled kernels."""
    made = [(instances.case(seed), bool(seed % 2)) for seed in range(3)]

    def every():
        return [
            bound(one.scenario, source_of(one.trace), sleep=s, deadlines=s, may_miss_frac=0.3)
            for one, s in made
        ]

    compiled = every()
    assert is_compiled(terms.add)
    for name in KERNELS:
        monkeypatch.setattr(terms, name, plain(getattr(terms, name)))
    for one, two in zip(compiled, every(), strict=True):
        assert two.energy_j == pytest.approx(one.energy_j, rel=1e-9)
        assert two.by_device.keys() == one.by_device.keys()
