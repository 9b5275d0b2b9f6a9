"""Rungs of a ladder, the clock that meets a cap, and the clock with the fewest joules."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.base.errors import BadInputError
from baseload.base.kernels import plain
from baseload.fleet.ladder import (
    CLOCK_FRACS,
    clock_for_cap,
    clock_ladder,
    least_energy_clock,
    least_energy_row,
)
from baseload.fleet.physics import replica_type
from baseload.fleet.replica_type import ReplicaType
from baseload.fleet.step import cost_table, free_step, step
from baseload.testing import fleets, strategies

LADDER = clock_ladder("Llama-3.1-8B", "H100")
SPARSE = clock_ladder("gpt-oss-20b", "H100")
BATCHES = st.floats(min_value=1, max_value=256)
CONTEXTS = st.floats(min_value=1, max_value=4000)
PREFILL = st.floats(min_value=0, max_value=8192)


def cost(kind: ReplicaType, batch: float, context: float, prefill: float) -> tuple[float, float]:
    """Seconds and joules of a step under the type's cap."""
    time_s, energy_j = step(cost_table([kind])[0], batch, context, prefill)
    return float(time_s), float(energy_j)


def test_a_ladder_starts_with_the_type_at_full_clock() -> None:
    assert LADDER[0] == replica_type(model="Llama-3.1-8B", device="H100")
    assert [kind.name[-4:] for kind in LADDER[1:]] == ["@90%", "@80%", "@70%", "@60%", "@50%"]
    named = clock_ladder("Qwen3-32B", "H100", fracs=(1.0, 0.5), name="a", tensor_parallel=2)
    assert [kind.name for kind in named] == ["a", "a@50%"]
    assert [kind.num_gpus for kind in named] == [2, 2]


@pytest.mark.parametrize("fracs", [(), (0.5, 0.6), (1.0, 1.0), (1.0, math.nan)])
def test_ladders_that_do_not_fall_are_refused(fracs: tuple[float, ...]) -> None:
    with pytest.raises(BadInputError):
        clock_ladder("Llama-3.1-8B", "H100", fracs=fracs)


@settings(max_examples=60)
@given(st.sampled_from((LADDER, SPARSE)), BATCHES, CONTEXTS, PREFILL)
def test_down_the_ladder_power_falls_and_a_free_step_takes_longer(
    ladder: tuple[ReplicaType, ...], batch: float, context: float, prefill: float
) -> None:
    table = cost_table(ladder)
    steps = [free_step(row, batch, batch * context, prefill) for row in table]
    times = [time_s for time_s, _ in steps]
    powers = [energy_j / time_s for time_s, energy_j in steps]
    assert times == sorted(times)
    assert powers == sorted(powers, reverse=True)


@settings(max_examples=40)
@given(BATCHES, CONTEXTS, st.floats(min_value=0, max_value=2000),
       st.floats(min_value=300, max_value=685))  # fmt: skip
def test_the_clock_for_a_cap_meets_it(
    batch: float, context: float, prefill: float, cap_w: float
) -> None:
    work = (batch, batch * context, prefill)
    try:
        frac = clock_for_cap(
            "Llama-3.1-8B", "H100",
            power_cap_w=cap_w, sequences=work[0], context=work[1], prefill=work[2],
        )  # fmt: skip
    except BadInputError:
        lowest = replica_type(model="Llama-3.1-8B", device="H100", clock_frac=0.3)
        time_s, energy_j = free_step(cost_table([lowest])[0], *work)
        assert energy_j / time_s > cap_w
        return
    slow = replica_type(model="Llama-3.1-8B", device="H100", clock_frac=frac, power_cap_w=cap_w)
    time_s, energy_j = free_step(cost_table([slow])[0], *work)
    assert energy_j / time_s <= cap_w
    if frac < 1:
        assert energy_j / time_s == pytest.approx(cap_w, rel=1e-6)
        stretched = replica_type(model="Llama-3.1-8B", device="H100", power_cap_w=cap_w)
        assert cost(slow, *work)[1] < cost(stretched, *work)[1]
    assert cost(slow, *work) == pytest.approx((time_s, energy_j))  # the cap itself does not stretch


def test_a_cap_that_does_not_bind_leaves_the_clock() -> None:
    light = {"sequences": 8, "context": 4000}
    assert clock_for_cap("Llama-3.1-8B", "H100", power_cap_w=600, **light) == 1.0
    two = clock_for_cap("Qwen3-32B", "H100", power_cap_w=350, tensor_parallel=2, **light)
    kind = replica_type(model="Qwen3-32B", device="H100", tensor_parallel=2, clock_frac=two)
    time_s, energy_j = free_step(cost_table([kind])[0], 8.0, 4000.0, 0.0)
    assert energy_j / time_s == pytest.approx(700, rel=1e-6)  # the cap is per GPU


@pytest.mark.parametrize(
    ("given_work", "words"),
    [
        ({"power_cap_w": 130}, "% of the highest clock"),
        ({"power_cap_w": math.nan}, "power cap"),
        ({"sequences": -1}, "sequences"),
        ({"sequences": 0}, "no sequences"),
        ({"context": math.inf}, "context"),
        ({"clock_frac_min": 0.0}, "clock_frac"),
    ],
)
def test_caps_and_work_that_cannot_be_are_refused(given_work: dict[str, float], words: str) -> None:
    work = {"power_cap_w": 400.0, "sequences": 8.0, "context": 4000.0, **given_work}
    with pytest.raises(BadInputError, match=words):
        clock_for_cap("Llama-3.1-8B", "H100", **work)  # type: ignore[arg-type]


@settings(max_examples=100)
@given(
    st.lists(strategies.replica_types(name="x", model="m", most_batch=4), max_size=5),
    st.floats(min_value=1, max_value=64), st.floats(min_value=0, max_value=1e5), PREFILL,
    st.one_of(st.just(math.inf), st.floats(min_value=1e-4, max_value=1)),
    st.floats(min_value=0, max_value=500),
)  # fmt: skip
def test_the_kernel_is_its_plain_twin_and_finds_the_least(
    ladder: list[ReplicaType],
    batch: float,
    context: float,
    prefill: float,
    limit_s: float,
    rest_w: float,
) -> None:
    table = cost_table(ladder)
    found = least_energy_row(table, batch, context, prefill, limit_s, rest_w)
    assert found == plain(least_energy_row)(table, batch, context, prefill, limit_s, rest_w)
    steps = [cost(kind, batch, context, prefill) for kind in ladder]
    kept = [(j - rest_w * s, at) for at, (s, j) in enumerate(steps) if s <= limit_s]
    if kept:
        assert found == min(kept)[1]
    elif steps:
        assert found == steps.index(min(steps, key=lambda one: one[0]))
    else:
        assert found == -1
    if ladder:
        given_limit = {"power_w_rest": rest_w}
        assert found == least_energy_clock(ladder, batch, context, prefill, limit_s, **given_limit)


def test_a_tighter_limit_takes_a_higher_clock() -> None:
    times = [cost(kind, 64, 64_000, 0)[0] for kind in LADDER]
    rungs = [least_energy_clock(LADDER, 64, 64_000, 0, limit_s) for limit_s in times]
    assert rungs == list(range(len(CLOCK_FRACS)))
    assert least_energy_clock(LADDER, 64, 64_000, 0, times[0] / 2) == 0  # none keeps it: fastest
    equal = [fleets.replica_type("a"), fleets.replica_type("b")]
    assert least_energy_clock(equal, 2, 100, 0, 1.0) == 0


def test_counting_above_rest_never_takes_a_higher_clock() -> None:
    long = clock_ladder("Llama-3.1-8B", "H100", fracs=(1.0, 0.8, 0.6, 0.5, 0.4, 0.3))
    for batch in (1, 32, 128):
        work = (batch, 1000 * batch, 0, math.inf)
        all_of_it = least_energy_clock(long, *work)
        assert least_energy_clock(long, *work, power_w_rest=120.0) >= all_of_it


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ladder": []}, "without rungs"),
        ({"sequences": 0}, "no sequences"),
        ({"prefill_per_step": math.nan}, "prefill"),
        ({"step_s_limit": 0.0}, "limit of the step time"),
        ({"step_s_limit": math.nan}, "limit of the step time"),
        ({"power_w_rest": -1.0}, "power at rest"),
    ],
)
def test_questions_that_make_no_sense_are_refused(changes: dict[str, object], words: str) -> None:
    question = {
        "ladder": LADDER, "sequences": 8, "context": 800, "prefill_per_step": 0.0,
        "step_s_limit": 1.0, **changes,
    }  # fmt: skip
    with pytest.raises(BadInputError, match=words):
        least_energy_clock(**question)  # type: ignore[arg-type]
