"""Random small instances on which the jump engine must equal the step engine; one by its seed:

    python tests/properties/engine_instances.py SEED [COUNT]

An instance is a fleet of one to four types (caps that bind, experts, tight memory), a policy
(built-in or a random mix of parts), timeouts for parking and switching off, two or three tiers of
different priority, and up to sixty requests. In one of five every time is a multiple of 1/64 s, so
that arrivals, step ends and timeouts fall on the same instants.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import numpy as np

from baseload.base.streams import stream
from baseload.fleet.replica_type import ReplicaType
from baseload.routing.policies import POLICIES
from baseload.routing.policy import Policy
from baseload.routing.price import PARTS
from baseload.simulator.choices import Choice
from baseload.simulator.measure import Totals
from baseload.simulator.oracle import replay_by_steps
from baseload.simulator.records import REFUSALS
from baseload.simulator.run import new_engine, run_once
from baseload.simulator.scenario import Group, Scenario
from baseload.simulator.steps import StepRun
from baseload.testing.fleets import replica_type
from baseload.testing.instances import random_type
from baseload.workload.chunks import source_of
from baseload.workload.tiers import Tier
from baseload.workload.trace import Trace

TOLERANCE = 1e-9
CLASSES = ("chat", "batch", "night")


class Case(NamedTuple):
    """One instance: a scenario, its trace and a policy."""

    seed: int
    scenario: Scenario
    trace: Trace
    policy: Policy


class Compared(NamedTuple):
    """What a comparison saw: worst relative errors by quantity, and how much happened."""

    errors: dict[str, float]
    requests: int
    preempted: int
    refused: int
    cut_short: int
    steps: int


def case(seed: int) -> Case:
    """The instance of a seed."""
    rng = stream(seed, "tests", "engines")
    dyadic = rng.random() < 0.2
    models = ["model-a", "model-b"] if rng.random() < 0.3 else ["model-a"]
    count = int(rng.integers(1, 5))
    types: list[ReplicaType] = []
    for index in range(count):
        model = str(rng.choice(models))
        if types and rng.random() < 0.2:
            types.append(msgspec.structs.replace(types[-1], name=f"t{index}", model=model))
        else:
            make = _dyadic_type if dyadic else random_type
            types.append(make(rng, name=f"t{index}", model=model))
    groups = tuple(
        Group(
            kind=kind,
            replicas=int(rng.integers(1, 4)),
            park_after_s=_timeout(rng, dyadic),
            off_after_s=_timeout(rng, dyadic),
        )
        for kind in types
    )
    trace = _trace(rng, tuple(models), dyadic=dyadic)
    scenario = Scenario(
        name=f"engines-{seed}",
        groups=groups,
        requests=lambda _seed: source_of(trace),
        tiers=_tiers(rng),
        max_queue=int(rng.choice([0, 1, 8, 1024])),
        grid_g_per_j=float(rng.choice([0.0, 400.0])) / 3.6e6,
    )
    policy = _policy(rng)
    choices = _choices(seed, models)
    if choices:
        scenario = msgspec.structs.replace(scenario, choices=choices)
        if policy.price is None:
            rates = policy.rates | {"quality": float(10 ** (seed % 5))}
            policy = msgspec.structs.replace(policy, rates=rates)
    return Case(seed, scenario, trace, policy)


def _choices(seed: int, models: list[str]) -> tuple[Choice, ...]:
    """No options in two of three instances; else one to three, of any model or of one."""
    rng = stream(seed, "tests", "engines", "choices")
    if seed % 3:
        return ()
    return tuple(
        Choice(
            name=f"option {number}",
            model=None if rng.random() < 0.6 else str(rng.choice(models)),
            tokens_factor={label: float(rng.choice([1.0, 0.3, 2.5])) for label in (*CLASSES, "")},
            right_frac={label: float(rng.uniform(0, 1)) for label in CLASSES},
        )
        for number in range(int(rng.integers(1, 4)))
    )


def _timeout(rng: np.random.Generator, dyadic: bool) -> float | None:
    """An idle timeout [s], or never."""
    if rng.random() < 0.5:
        return None
    return float(rng.integers(0, 64)) / 64 if dyadic else float(rng.uniform(0, 2))


def _dyadic_type(rng: np.random.Generator, *, name: str, model: str) -> ReplicaType:
    """A type whose steps last multiples of 1/64 s, under a cap that never binds."""

    def sixty_fourths(low: int, high: int) -> float:
        return float(rng.integers(low, high)) / 64

    max_batch = int(rng.integers(1, 8))
    return replica_type(
        name,
        model=model,
        time_s_per_step=sixty_fourths(1, 4),
        time_s_per_sequence=sixty_fourths(0, 3),
        time_s_per_context_token=sixty_fourths(0, 2),
        time_s_per_prefill_token=sixty_fourths(0, 2),
        power_w_cap=1e6,
        wake_s_from_parked=sixty_fourths(0, 64),
        wake_s_from_off=sixty_fourths(0, 256),
        max_batch=max_batch,
        max_step_tokens=max_batch + int(rng.integers(1, 60)),
        kv_tokens=int(rng.integers(30, 600)),
        max_context_tokens=int(rng.integers(20, 600)),
    )


def _trace(rng: np.random.Generator, models: tuple[str, ...], *, dyadic: bool) -> Trace:
    """Up to sixty requests; some traces have many at the same instant, some come all at once."""
    count = int(rng.integers(1, 61))
    t_s = np.cumsum(rng.exponential(rng.choice([0.0, 0.001, 0.05, 0.5]), count))
    if dyadic:
        t_s = np.round(t_s * 64) / 64
    elif rng.random() < 0.2:
        t_s = np.round(t_s, 1)
    longest_input, longest_output = (int(rng.choice(few)) for few in ([5, 50, 600], [3, 40, 300]))
    return Trace(
        name="engines",
        t_us=np.round(t_s * 1e6).astype(np.int64),
        input_tokens=rng.integers(1, longest_input, count, dtype=np.int32),
        output_tokens=rng.integers(1, longest_output, count, dtype=np.int32),
        class_code=rng.integers(0, len(CLASSES), count).astype(np.int16),
        classes=CLASSES,
        deadline_us=rng.integers(1, 5_000_000, count) if rng.random() < 0.3 else None,
        model_code=rng.integers(-1, len(models), count).astype(np.int16),
        models=models,
    )


def _tiers(rng: np.random.Generator) -> tuple[Tier, ...]:
    """Three tiers whose priorities may be equal."""
    one, two, three = (int(x) for x in rng.integers(0, 3, 3))
    return (
        Tier(name="interactive", classes=("chat",), priority=one, ttft_s=0.5, tpot_s=0.05),
        Tier(name="bulk", classes=("batch",), priority=two, e2e_s=20.0),
        Tier(name="later", classes=("night",), priority=three),
    )


def _policy(rng: np.random.Generator) -> Policy:
    """A built-in policy, or a random mix of parts."""
    if rng.random() < 0.7:
        return POLICIES[str(rng.choice(list(POLICIES)))]
    if rng.random() < 0.2:
        return _policy_by_tokens(rng)
    return Policy(
        name="mix",
        summary="a random mix",
        source="this test",
        rates={
            part: float(rng.choice([0.0, 1.0, rng.uniform(0, 2)]))
            for part in PARTS
            if part not in ("tokens", "backlog")
        },
        free_seats=bool(rng.random() < 0.5),
        pending_unit=int(rng.choice([0, 0, 16, 256])),
        queue=str(rng.choice(["fifo", "fifo", "laxity"])),
    )


def _policy_by_tokens(rng: np.random.Generator) -> Policy:
    """A mix of the parts that outstanding tokens shape; flat where it is so up to some backlog."""
    flat = bool(rng.random() < 0.5)
    return Policy(
        name="tokens mix",
        summary="a random mix",
        source="this test",
        rates={"average": 1.0, "backlog": 1.0, "tokens": 0.0 if flat else 1e-3},
        by_tokens=True,
        flat=flat,
        pending_unit=int(rng.choice([0, 64])),
        queue=str(rng.choice(["fifo", "laxity"])),
    )


def by_jumps(made: Case) -> tuple[Totals, np.recarray[Any, Any]]:
    """The run of the jump engine, held against all laws: its sums, and its log by arrival."""
    rows: list[np.recarray[Any, Any]] = []
    run = run_once(
        made.scenario,
        made.policy,
        source_of(made.trace),
        seed=made.seed,
        check=True,
        log=lambda _policy, _seed, ended: rows.append(ended),
    )
    log = (
        np.concatenate(rows).view(np.recarray)
        if rows
        else np.zeros(0, dtype=[("number", int)]).view(np.recarray)
    )
    return run, log[np.argsort(log.number)]


def by_steps(made: Case) -> StepRun:
    """The run of the step engine under the same policy, picked by scan."""
    return replay_by_steps(made.scenario, made.policy, made.trace, seed=made.seed)


def compare(made: Case) -> Compared:
    """Run both engines; raise ``AssertionError`` where a count or choice differs, give the errors
    of the rest.
    """
    run, log = by_jumps(made)
    steps = by_steps(made)
    ended = np.flatnonzero(~steps.refused)
    assert len(log) == len(ended), f"jump answered {len(log)}, step {len(ended)}"
    errors = {"account_j": 0.0}
    if len(ended):
        for field, value in (("number", ended), ("replica", steps.replica[ended])):
            assert (log[field] == value).all(), (
                f"{field} differs at {np.flatnonzero(log[field] != value)[:5]}"
            )
        assert (log.preemptions == steps.preemptions[ended]).all(), "preemptions differ"
        assert (log.output_tokens == steps.output_tokens[ended]).all(), "output lengths differ"
        errors |= {
            "finish_s": _worst(log.finish_s, steps.finish_s[ended]),
            "first_s": _worst(log.first_s, steps.first_token_s[ended]),
            "energy_j": _worst(log.energy_j, steps.energy_j[ended]),
        }
    kind_of = new_engine(made.scenario, source_of(made.trace))[0].type_of
    kinds = len(made.scenario.groups)
    accounts = np.zeros((kinds, steps.account_j.shape[1]))
    np.add.at(accounts, kind_of, steps.account_j)
    errors["account_j"] = _worst(run.account_j, accounts)
    errors["busy_s"] = _worst(run.busy_s, np.bincount(kind_of, steps.busy_s, kinds))
    errors["batch_s"] = _worst(run.batch_s, np.bincount(kind_of, steps.batch_time, kinds))
    assert int(run.refused.sum()) == int(steps.refused.sum()), "refusals differ"
    assert len(run.refused) == len(REFUSALS)
    assert run.cut_short == steps.cut_short, "cut answers differ"
    assert run.preempted == int(steps.preemptions.sum()), "preemptions differ in sum"
    return Compared(
        errors=errors,
        requests=len(steps.refused),
        preempted=run.preempted,
        refused=int(steps.refused.sum()),
        cut_short=run.cut_short,
        steps=int(steps.steps.sum()),
    )


def _worst(one: Any, two: Any) -> float:
    """The largest difference relative to the second, or to 1e-6 of its unit."""
    one, two = np.asarray(one), np.asarray(two)
    return float(np.max(np.abs(one - two) / np.maximum(1e-6, np.abs(two)), initial=0.0))


def compare_many(
    first: int,
    count: int,
    *,
    case: Callable[[int], Case] = case,
    compare: Callable[[Case], Compared] = compare,
    file: str = "engine_instances",
) -> dict[str, float]:
    """Compare the instances of ``count`` seeds from ``first`` on: worst errors and how much
    happened.

    Raises ``AssertionError`` with the seed and the command that replays it.
    """
    worst: dict[str, float] = {}
    for seed in range(first, first + count):
        made = case(seed)
        command = f"python tests/properties/{file}.py {seed}"
        replay = f"seed {seed}, policy {made.policy.name}; replay: {command}"
        try:
            seen = compare(made)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{replay}") from error
        for name, error in seen.errors.items():
            assert error <= TOLERANCE, f"{name} off by {error:.3g}\n{replay}"
            worst[name] = max(worst.get(name, 0.0), error)
        for name in ("requests", "preempted", "refused", "cut_short", "steps"):
            worst[name] = worst.get(name, 0.0) + getattr(seen, name)
    return worst


if __name__ == "__main__":
    print(compare_many(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1))  # noqa: T201
