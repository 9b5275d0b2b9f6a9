"""Every built-in policy keeps the laws; for each law there is a policy that breaks it and is
caught.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import ClassVar

import msgspec
import numba
import numpy as np
import pytest

from baseload.routing import pick as room
from baseload.routing import supply_control
from baseload.routing.policies import POLICIES
from baseload.routing.policy import Policy
from baseload.routing.position import NODES, PROMISED_J
from baseload.routing.price import OPTION
from baseload.routing.slow import Orders, Slow
from baseload.routing.supply_rules import JouleOrders
from baseload.testing import LAWS, FirstFree, check_policy, supply_laws
from baseload.testing import instances as drawn
from baseload.testing.environment import environment

FEW = 10


def broken(policy, **how):
    """The laws that a policy breaks."""
    report = check_policy(policy, **({"instances": FEW} | how))
    assert report.ok == (not report.findings)
    return {finding.law for finding in report.findings}


@pytest.mark.parametrize(
    "name",
    [
        name
        if name in ("baseload", "variance_aware")
        else pytest.param(name, marks=pytest.mark.slow)
        for name in POLICIES
    ],
)
def test_every_built_in_policy_keeps_every_law(name):
    report = check_policy(POLICIES[name], instances=16)
    report.raise_if_broken()
    assert report.picks == 16 * 60
    assert str(report) == f"policy '{name}': no law broken in 16 instances, 960 picks"


class Base(FirstFree):
    """A correct policy to spoil."""


def first_free(request, fleet):
    return FirstFree().choose(request, fleet)


class Raises(Base):
    def choose(self, request, fleet):
        raise KeyError("no such thing")


class AnswersWithText(Base):
    def choose(self, request, fleet):
        return "replica 0"


class AnswersWithTruth(Base):
    def choose(self, request, fleet):
        return True


class PicksAfterTheLast(Base):
    def choose(self, request, fleet):
        return len(fleet.type_of)


class CannotBeMade(Base):
    def __init__(self):
        raise RuntimeError("needs a licence")


class WritesToTheFleet(Base):
    def choose(self, request, fleet):
        fleet.in_flight.base[0] += 1
        return 0


class WritesToTheRequest(Base):
    def choose(self, request, fleet):
        msgspec.structs.force_setattr(request, "input_tokens", 1)
        return first_free(request, fleet)


class InsistsOnTheFirst(Base):
    def choose(self, request, fleet):
        return 0


class ForgetsThatReplicasClose(Base):
    """Correct but for the doors."""

    def choose(self, request, fleet):
        return spread(request, fleet, 0, closed_too=True)


class PicksTheClosedWhenAllAre(Base):
    def choose(self, request, fleet):
        found = first_free(request, fleet)
        return 0 if found is None and not fleet.open.any() else found


class RefusesLongOnes(Base):
    def choose(self, request, fleet):
        return None if request.input_tokens > 50 else first_free(request, fleet)


class LooksAtTheClock(Base):
    def choose(self, request, fleet):
        return spread(request, fleet, time.time_ns() // 1000)


class DrawsGlobally(Base):
    def choose(self, request, fleet):
        return spread(request, fleet, random.randrange(1000))


class DrawsGloballyFromNumpy(Base):
    def choose(self, request, fleet):
        return spread(request, fleet, np.random.randint(1000))  # noqa: NPY002


class GoesByIdentity(Base):
    def choose(self, request, fleet):
        return spread(request, fleet, id(request) // 16)


class DrawsUnseeded(Base):
    def __init__(self):
        self.rng = np.random.default_rng()

    def choose(self, request, fleet):
        return spread(request, fleet, int(self.rng.integers(1000)))


class RemembersInTheClass(Base):
    turn: ClassVar = [0]

    def choose(self, request, fleet):
        self.turn[0] += 1
        return spread(request, fleet, self.turn[0])


class RemembersInItself(Base):
    def __init__(self):
        self.turn = 0

    def choose(self, request, fleet):
        self.turn += 1
        return spread(request, fleet, self.turn)


def spread(request, fleet, number, *, closed_too=False):
    """The ``number``-th of the replicas that can take the request, cyclically."""
    free = []
    for replica, kind in enumerate(fleet.type_of):
        served = request.model is None or fleet.types[kind].model == request.model
        fits = request.input_tokens <= fleet.limits["max_input_tokens"][kind]
        room = fleet.in_flight[replica] < fleet.max_in_flight[kind]
        if served and fits and room and (fleet.open[replica] or closed_too):
            free.append(replica)
    return free[number % len(free)] if free else None


@pytest.mark.parametrize(
    ("policy", "law"),
    [
        (Raises, "answers"),
        (AnswersWithText, "answers"),
        (AnswersWithTruth, "answers"),
        (PicksAfterTheLast, "answers"),
        (CannotBeMade, "answers"),
        (WritesToTheFleet, "hands off"),
        (WritesToTheRequest, "hands off"),
        (InsistsOnTheFirst, "open"),
        (InsistsOnTheFirst, "room"),
        (ForgetsThatReplicasClose, "open"),
        (PicksTheClosedWhenAllAre, "open"),
        (RefusesLongOnes, "serves"),
        (LooksAtTheClock, "repeatable"),
        (DrawsGlobally, "repeatable"),
        (DrawsGloballyFromNumpy, "repeatable"),
        (DrawsUnseeded, "forgets"),
        (RemembersInTheClass, "forgets"),
        (GoesByIdentity, "forgets"),
    ],
)
def test_what_a_policy_in_python_breaks_is_found(policy, law):
    assert law in broken(policy)


@pytest.mark.parametrize("policy", [FirstFree, FirstFree(), RemembersInItself, RemembersInItself()])
def test_honest_policies_in_python_pass(policy):
    check_policy(policy, instances=FEW).raise_if_broken()


def record(**fields):
    return Policy(**({"name": "mine", "summary": "", "source": ""} | fields))


@numba.njit
def not_a_number(cost, limits, traffic, option, request, in_flight, tokens):
    return np.nan


@numba.njit
def infinite_when_long(cost, limits, traffic, option, request, in_flight, tokens):
    return np.inf if request.input_tokens > 30 else float(in_flight)


@numba.njit
def falling(cost, limits, traffic, option, request, in_flight, tokens):
    return -float(in_flight)


@numba.njit
def random_price(cost, limits, traffic, option, request, in_flight, tokens):
    return np.random.random()  # noqa: NPY002


@numba.njit
def writes(cost, limits, traffic, option, request, in_flight, tokens):
    traffic.output_tokens = 1.0
    return float(in_flight)


@numba.njit
def needs_a_key(cost, limits, traffic, option, request, in_flight, tokens):
    if in_flight > 1:
        raise ValueError("too many")
    return float(in_flight)


@numba.njit
def falling_from_one_on(cost, limits, traffic, option, request, in_flight, tokens):
    return 1.0 if in_flight == 0 else 2.0 - 0.01 * in_flight


@numba.njit
def dear_when_idle(cost, limits, traffic, option, request, in_flight, tokens):
    return 2.0 if in_flight == 0 else 1.0 + 0.01 * in_flight


def uncompiled(cost, limits, traffic, option, request, in_flight, tokens):
    return float(in_flight)


@numba.njit
def wraps_around(cost, limits, traffic, option, request, in_flight, tokens):
    """64-bit integers overflow silently when compiled, never in Python."""
    big = 1 << 62
    return float(big * (int(tokens) + 2))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "law"),
    [
        (record(price=not_a_number), "finite price"),
        (record(price=not_a_number), "serves"),
        (record(price=infinite_when_long), "finite price"),
        (record(price=infinite_when_long), "serves"),
        (record(price=falling, rising=True), "rising"),
        (record(price=falling_from_one_on, rising=True), "rising"),
        (record(price=random_price), "forgets"),
        (record(price=writes), "hands off"),
        (record(price=needs_a_key), "answers"),
        (record(price=uncompiled), "twin"),
        (record(price=wraps_around), "twin"),
        (record(rates={"requests": -1.0}, rising=True), "rising"),
        (record(rates={"requests": 1.0}, by_tokens=True), "by tokens"),
        (record(rates={"requests": 1.0}, by_tokens=True), "index"),
        (record(rates={"tokens": -1.0}, by_tokens=True), "by tokens"),
        (record(rates={"tokens": 1.0}), "index"),
        (record(rates={"backlog": 1.0}, by_tokens=True), "index"),
        (record(rates={"tokens": 1.0}, by_tokens=True, flat=True), "flat"),
        (record(rates={"tokens": 1.0}, by_tokens=True, flat=True), "index"),
        (record(rates={"tiles": 1.0}, rising=True), "rising"),
        (record(rates={"headroom": 1.0}, rising=True), "rising"),
    ],
)
def test_what_a_record_breaks_is_found(policy, law):
    assert law in broken(policy)


@pytest.mark.slow
def test_honest_records_pass():
    @numba.njit
    def price(cost, limits, traffic, option, request, in_flight, tokens):
        return float(in_flight) + 1e-6 * tokens

    for policy in (
        record(price=price),
        record(rates={"energy": 1.0, "seconds": 0.2, "carbon": 0.1}, free_seats=True),
        record(rates={"tokens": 1.0}, by_tokens=True),
        record(price=dear_when_idle, rising=True),
        record(rates={"average": 1.0, "backlog": 1.0}, by_tokens=True, flat=True),
        record(rates={"headroom": 1.0}, knobs={"margin_frac": 0.1}, queue="laxity"),
        record(rates={"tiles": 1.0, "size": 0.5}, knobs={"tile_requests": 4.0}),
        record(rates={"energy": 1.0, "lateness": 1.0}, slow=Slow(rule="pi"), pending_unit=64),
    ):
        check_policy(policy, instances=FEW).raise_if_broken()


def test_an_index_that_errs_is_found(monkeypatch):
    """The checker does not trust the pick it is given."""
    from baseload.testing import check

    def err(state, policy, request):
        option, replica = room.pick(state, policy, request)
        return (option, replica) if replica < 1 else (option, replica - 1)

    monkeypatch.setattr(check, "pick", err)
    assert "index" in broken(POLICIES["least_loaded"])


def test_a_price_that_is_not_a_sum_of_rates_breaks_exchange(monkeypatch):
    """A pick that knows joules by a threshold of its own."""
    from baseload.testing import check

    def err(state, policy, request):
        option, replica = room.pick(state, policy, request)
        heavy = state.cost[0].energy_j_per_step > 2.5
        return (option, 0) if heavy and replica > 0 else (option, replica)

    monkeypatch.setattr(check, "pick", err)
    assert "exchange" in broken(POLICIES["energy_greedy"])


BAD_ORDERS = {
    "open -1": lambda facts: Orders(open=-np.ones_like(facts.replicas)),
    "more open than there are": lambda facts: Orders(open=facts.replicas + 1),
    "all closed": lambda facts: Orders(open=np.zeros_like(facts.replicas)),
    "awake beyond what there is": lambda facts: Orders(
        open=facts.replicas, reserve=np.ones_like(facts.replicas)
    ),
    "a lambda below zero": lambda facts: Orders(weight=np.array([1.0, -1.0])),
    "a lambda that is no number": lambda facts: Orders(weight=np.array([np.nan, 1.0])),
    "a batch without end": lambda facts: Orders(
        forecast_batch=np.full(len(facts.replicas), np.inf)
    ),
    "no promise left": lambda facts: Orders(promise_frac=0.0),
    "half a hold": lambda facts: Orders(hold=np.array([2, 0], dtype=np.uint8)),
    "more released than held": lambda facts: Orders(release=10**9),
    "other orders every time": lambda facts: Orders(weight=np.random.random(2)),  # noqa: NPY002
}


@pytest.mark.parametrize("orders", BAD_ORDERS.values(), ids=BAD_ORDERS)
def test_orders_that_cannot_be_carried_out_are_found(monkeypatch, orders):
    from baseload.testing import slow_laws

    class Spoilt(slow_laws.Control):
        def __init__(self, slow, facts, promises, *, park):
            super().__init__(slow, facts, promises, park=park)
            self.facts = facts

        def tick(self, signals):
            return orders(self.facts)

    monkeypatch.setattr(slow_laws, "Control", Spoilt)
    assert broken(POLICIES["baseload"], instances=4) == {"orders"}


def test_a_controller_that_changes_what_it_is_shown_is_found(monkeypatch):
    from baseload.testing import slow_laws

    class Spoilt(slow_laws.Control):
        def __init__(self, slow, facts, promises, *, park):
            super().__init__(slow, facts, promises, park=park)
            facts.limits.forecast_batch[:] += 1.0

    monkeypatch.setattr(slow_laws, "Control", Spoilt)
    assert broken(POLICIES["baseload"], instances=2) == {"orders"}


def test_every_law_has_a_breaker():
    """The parametrisations above name each law at least once."""
    named = {
        mark.args[1][at][1]
        for test in (
            test_what_a_policy_in_python_breaks_is_found,
            test_what_a_record_breaks_is_found,
        )
        for mark in test.pytestmark
        if mark.name == "parametrize"
        for at in range(len(mark.args[1]))
    }
    assert named | {"exchange", "orders", "joule prices"} == set(LAWS)


def test_the_report_says_what_where_and_how_to_see_it_again():
    report = check_policy(RefusesLongOnes, seed=3, instances=FEW)
    text = str(report)
    assert text.startswith("policy 'RefusesLongOnes': breaks 1 law in 10 instances, 600 picks")
    finding = report.findings[0]
    assert finding.times > 1
    assert f"check_policy(..., seed=3, instances=[{finding.instance}])" in text
    assert LAWS["serves"] in text
    again = check_policy(RefusesLongOnes, seed=3, instances=[finding.instance])
    assert again.findings[0].what == finding.what
    with pytest.raises(AssertionError, match="breaks 1 law"):
        report.raise_if_broken()


def test_the_report_in_the_docs_is_the_report():
    class Careless:
        def choose(self, request, fleet):
            return int(fleet.in_flight.argmin())

    page = Path(__file__).parents[3] / "docs" / "how-to" / "write-a-policy.md"
    assert str(check_policy(Careless)) in page.read_text(encoding="utf-8")


def test_slowness_is_said_and_not_judged():
    report = check_policy(FirstFree(), instances=2, slow_s=0.0)
    assert report.ok
    assert any("a pick takes" in note for note in report.notes)
    median, slowest = report.seconds_per_pick
    assert 0 < median <= slowest


def test_the_environment_is_put_back():
    clock, state, numpy_state = time.time, random.getstate(), np.random.get_state()  # noqa: NPY002
    with environment(1):
        assert time.time is not clock
        one = (time.time_ns(), random.random(), np.random.random())  # noqa: NPY002
        assert time.monotonic() < time.monotonic()
    with environment(1):
        assert (time.time_ns(), random.random(), np.random.random()) == one  # noqa: NPY002
    with environment(2):
        assert time.time_ns() != one[0]
    assert time.time is clock
    assert random.getstate() == state
    assert (np.random.get_state()[1] == numpy_state[1]).all()  # noqa: NPY002


def test_instances_are_the_same_everywhere():
    one, two = drawn.instance(5, 9), drawn.instance(5, 9)
    assert one == two
    assert drawn.instance(5, 10) != one
    assert drawn.instance(6, 9) != one
    made = [drawn.instance(0, number) for number in range(60)]
    assert any(len(case.fleet.models) == 2 for case in made)
    assert any(sum(case.fleet.replicas) > 64 for case in made)
    assert {case.max_queue for case in made} == {0, 1, 4, 1024}
    steps = [step for case in made for step in case.steps]
    assert any(step.closes for step in steps)
    assert any(step.opens for step in steps)
    assert any(len(step.opens) == sum(case.fleet.replicas) for case in made for step in case.steps)
    assert {step.urgency for step in steps} == {0.0, 1e-3, 1.0, 1e3}
    assert all(0 <= step.answers < step.stays for step in steps)
    assert OPTION.names is not None


def test_a_policy_that_looks_at_the_supply_is_tried_at_sites(monkeypatch):
    """Prices that are no numbers, that differ from run to run, and a rule that there is none of."""
    honest = POLICIES["variance_aware"]
    assert broken(honest, instances=4) == set()
    no_rule = msgspec.structs.replace(
        honest, slow=msgspec.structs.replace(honest.slow, supply="sunshine")
    )
    assert broken(no_rule, instances=1) == {"joule prices"}

    class Spoilt:
        def __init__(self, value):
            self.value = value

        def orders(self, look):
            scores = np.repeat(self.value() * look.answers.mean_j[..., None], NODES, axis=-1)
            return JouleOrders(scores, np.full(len(scores), -1))

    for value in (lambda: float("nan"), iter(range(10**6)).__next__):
        spoilt = Spoilt(value)
        monkeypatch.setattr(supply_control, "rule_of", lambda *_, spoilt=spoilt: spoilt)
        assert broken(honest, instances=1) == {"joule prices"}


@pytest.mark.parametrize(
    ("part", "law"), [("joules", "joule prices"), ("options", "index"), ("rates", "hands off")]
)
def test_picks_at_a_site_that_are_wrong_are_found(monkeypatch, part, law):
    """A pick that promises twice, one that differs from the scan, one that changes its rates."""
    kept = supply_laws.pick

    def pick(fleet, state, row):
        option, replica = kept(fleet, state, row)
        if part == "joules" and replica >= 0:
            state.joules.position[PROMISED_J] *= 2.0
        if part == "rates":
            state.rates[:] += 1.0
        return (option + (part == "options"), replica)

    monkeypatch.setattr(supply_laws, "pick", pick)
    assert law in broken(POLICIES["lyapunov"], instances=2)
