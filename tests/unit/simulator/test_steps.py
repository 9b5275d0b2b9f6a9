from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.fleet.replica_type import PowerStates, ReplicaType, StepCosts
from baseload.simulator.results import POWER_STATES
from baseload.simulator.step_replica import ACTIVE, IDLE, OFF, PARKED, WAKING
from baseload.simulator.steps import StepRun, run_steps

COSTS = StepCosts(
    time_s_per_step=1.0,
    time_s_per_sequence=0.1,
    time_s_per_context_token=0.01,
    time_s_per_prefill_token=0.001,
    energy_j_per_step=10.0,
    energy_j_per_sequence=2.0,
    energy_j_per_context_token=0.1,
    energy_j_per_prefill_token=0.05,
)
POWER = PowerStates(
    power_w_active_static=5.0,
    power_w_cap=1000.0,
    power_w_idle=3.0,
    power_w_parked=1.0,
    power_w_off=0.0,
    wake_s_from_parked=4.0,
    wake_j_from_parked=7.0,
    wake_s_from_off=20.0,
    wake_j_from_off=50.0,
)


def kind(**changes: object) -> ReplicaType:
    fields: dict[str, object] = {
        "name": "toy",
        "device": "none",
        "model": "none",
        "costs": COSTS,
        "power": POWER,
        "max_batch": 4,
        "max_step_tokens": 100,
        "kv_tokens": 10_000,
        "max_context_tokens": 10_000,
    }
    return ReplicaType(**(fields | changes))  # type: ignore[arg-type]


class Alternate:
    """Requests go to the replicas in turn; some may be refused. Notes who left when."""

    def __init__(self, replicas: int = 1, refused: frozenset[int] = frozenset()) -> None:
        self.replicas = replicas
        self.refused = refused
        self.picked: list[tuple[float, int]] = []
        self.left: list[tuple[float, int, int]] = []

    def pick(self, index: int, now_s: float) -> int:
        self.picked.append((now_s, index))
        return -1 if index in self.refused else index % self.replicas

    def done(self, index: int, replica: int, now_s: float) -> None:
        self.left.append((now_s, index, replica))


def run(
    requests: list[tuple[float, int, int]],
    *,
    types: list[ReplicaType] | None = None,
    router: Alternate | None = None,
    priority: list[int] | None = None,
    park: float | None = None,
    off: float | None = None,
    horizon_s: float = 0.0,
) -> StepRun:
    types = types or [kind()]
    router = router or Alternate(len(types))
    return run_steps(
        types=types,
        type_of_replica=np.arange(len(types)),
        arrival_s=np.array([r[0] for r in requests], dtype=float),
        input_tokens=np.array([r[1] for r in requests], dtype=np.int64),
        output_tokens=np.array([r[2] for r in requests], dtype=np.int64),
        priority=np.array(priority or [0] * len(requests), dtype=np.int64),
        router=router,
        park_after_s=[park] * len(types),
        off_after_s=[off] * len(types),
        horizon_s=horizon_s,
    )


def seconds(sequences: int, context: int, prefill: int) -> float:
    return 1.0 + 0.1 * sequences + 0.01 * context + 0.001 * prefill


def joules(sequences: int, context: int, prefill: int) -> float:
    return 10.0 + 2.0 * sequences + 0.1 * context + 0.05 * prefill


def test_accounts_are_in_the_order_of_the_results() -> None:
    columns = dict(zip(POWER_STATES, range(5), strict=True))
    assert columns == {
        "active": ACTIVE,
        "idle": IDLE,
        "parked": PARKED,
        "off": OFF,
        "waking": WAKING,
    }


def test_one_request_by_hand() -> None:
    """10 prompt tokens, 3 answers: one prefill step and two decode steps that hold 10 and 11."""
    result = run([(2.0, 10, 3)], horizon_s=2.0)
    first = 2.0 + seconds(1, 0, 10)
    finish = first + seconds(1, 10, 0) + seconds(1, 11, 0)
    assert result.first_token_s[0] == pytest.approx(first, rel=1e-15)
    assert result.finish_s[0] == pytest.approx(finish, rel=1e-15)
    spent = joules(1, 0, 10) + joules(1, 10, 0) + joules(1, 11, 0)
    assert result.energy_j[0] == pytest.approx(spent, rel=1e-14)
    assert result.account_j[0, IDLE] == 2.0 * 3.0
    assert result.steps[0] == 3
    assert result.busy_s[0] == pytest.approx(finish - 2.0)
    assert result.batch_time[0] == pytest.approx(finish - 2.0)


def test_two_overlapping_requests_by_hand() -> None:
    """The second comes while the first decodes, waits for the boundary and lengthens that step."""
    result = run([(0.0, 10, 4), (1.5, 20, 2)])
    ends = [seconds(1, 0, 10)]  # 1.11: first's first token
    ends.append(ends[-1] + seconds(1, 10, 0))  # the second arrives in here
    ends.append(ends[-1] + seconds(2, 11, 20))  # it is prefilled beside a decoder that holds 11
    ends.append(ends[-1] + seconds(2, 12 + 20, 0))
    assert result.first_token_s.tolist() == pytest.approx([ends[0], ends[2]])
    assert result.finish_s.tolist() == pytest.approx([ends[3], ends[3]])
    shared = 10.0 / 2
    second = (2 + 20 * 0.05 + shared) + (2 + 20 * 0.1 + shared)
    assert result.energy_j[1] == pytest.approx(second)


def test_a_request_at_an_idle_replica_starts_alone() -> None:
    """Both arrive at 0: the first starts a step at once, the second waits for its end."""
    result = run([(0.0, 10, 1), (0.0, 10, 1)])
    first = seconds(1, 0, 10)
    assert result.finish_s.tolist() == pytest.approx([first, 2 * first])


def test_a_long_prompt_goes_in_chunks_and_reads_what_is_processed() -> None:
    result = run([(0.0, 250, 1)])
    expected = seconds(1, 0, 100) + seconds(1, 100, 100) + seconds(1, 200, 50)
    assert result.first_token_s[0] == pytest.approx(expected)
    assert result.finish_s[0] == result.first_token_s[0]


def test_a_chunk_is_shortened_by_decoders_and_fills_with_the_next_prompt() -> None:
    """One decoder leaves 99 tokens: 60 of the second request, 39 of the third, then 11."""
    result = run([(0.0, 10, 9), (0.5, 60, 1), (0.6, 50, 1)])
    first = seconds(1, 0, 10)
    both = first + seconds(3, 10, 99)
    rest = both + seconds(2, 11 + 39, 11)
    assert result.first_token_s.tolist() == pytest.approx([first, both, rest])


def test_a_prefilling_request_without_tokens_reads_no_context() -> None:
    """Budget 10 a step:

    the second prompt was admitted by the first's leftover budget, then waits.
    """
    small = kind(max_step_tokens=10, max_batch=4)
    result = run([(0.0, 1, 2), (0.0, 8, 1), (0.0, 12, 1), (0.0, 3, 1)], types=[small])
    ends = [seconds(1, 0, 1)]
    ends.append(ends[-1] + seconds(3, 1, 9))  # 9 left: 8 of request 1 and 1 of request 2
    ends.append(ends[-1] + seconds(1, 1, 10))  # alone: 11 to do, 10 fit, nobody else is admitted
    ends.append(ends[-1] + seconds(2, 11, 1 + 3))  # 1 left of it, budget 9 admits request 3
    assert result.finish_s.tolist() == pytest.approx([ends[1], ends[1], ends[3], ends[3]])


def test_max_batch_makes_the_queue_wait() -> None:
    one = kind(max_batch=1)
    result = run([(0.0, 10, 2), (0.1, 10, 1)], types=[one])
    first = seconds(1, 0, 10) + seconds(1, 10, 0)
    assert result.finish_s.tolist() == pytest.approx([first, first + seconds(1, 0, 10)])


def test_priority_orders_the_queue() -> None:
    one = kind(max_batch=1)
    result = run([(0.0, 10, 1), (0.1, 10, 1), (0.2, 10, 1)], types=[one], priority=[0, 1, 0])
    assert result.finish_s[2] < result.finish_s[1]


def test_preemption_by_hand() -> None:
    """KV of 30: two prompts of 10 grow until 30 tokens are not enough; the later one is dropped.

    The victim waits at the front, though there is room at the boundary that preempts, and
    processes its prompt and its emitted tokens again.
    """
    small = kind(kv_tokens=30, max_context_tokens=30)
    result = run([(0.0, 10, 8), (0.1, 10, 8)], types=[small])
    now = seconds(1, 0, 10)
    first_token = now
    now += seconds(2, 10, 10)  # request 0: 2 emitted, holds 11; request 1: 1 emitted, holds 10
    second_token = now
    held = [11, 10]
    emitted = [2, 1]
    while sum(held) + 2 <= 30:
        now += seconds(2, sum(held), 0)
        held = [h + 1 for h in held]
        emitted = [e + 1 for e in emitted]
    assert emitted == [6, 5]
    now += seconds(1, held[0], 0)  # preempted: request 0 goes on alone; 7 emitted, holds 16
    # kv 16 + prompt 15 + 1 > 29: still not admitted
    now += seconds(1, held[0] + 1, 0)
    finish = [now]
    now += seconds(1, 0, 15)  # request 1 again: 10 + 5 tokens
    now += seconds(1, 15, 0)
    now += seconds(1, 16, 0)
    finish.append(now)
    assert result.preemptions.tolist() == [0, 1]
    assert result.first_token_s.tolist() == pytest.approx([first_token, second_token])
    assert result.finish_s.tolist() == pytest.approx(finish)


def test_the_watermark_keeps_one_in_a_hundred_free() -> None:
    """Of 1000 tokens 990 may be filled by an admission, exactly."""
    for prompt, alone in ((980 - 1, False), (980, True)):
        wide = kind(kv_tokens=1000, max_step_tokens=2000)
        result = run([(0.0, 10, 30), (0.1, prompt, 1)], types=[wide])
        waits = result.finish_s[1] > result.finish_s[0]
        assert waits == alone


def test_an_answer_is_cut_at_the_longest_context() -> None:
    small = kind(max_context_tokens=12)
    result = run([(0.0, 10, 100), (1000.0, 12, 100)], types=[small])
    assert result.output_tokens.tolist() == [3, 1]
    assert result.cut_short == 2


def test_a_request_that_is_too_long_is_the_routers_bug() -> None:
    with pytest.raises(ValueError, match="takes 12"):
        run([(0.0, 13, 1)], types=[kind(max_context_tokens=12)])


def test_the_cap_stretches_a_step_to_exactly_its_power() -> None:
    """30 W at 1.11 s: 12.5 J + ... the dynamic energy stays, static power runs on."""
    capped = kind(
        power=PowerStates(
            power_w_active_static=5.0, power_w_cap=10.0, power_w_idle=3.0, power_w_parked=1.0
        )
    )
    result = run([(0.0, 10, 1)], types=[capped])
    dynamic = joules(1, 0, 10) - 5.0 * seconds(1, 0, 10)
    stretched = dynamic / (10.0 - 5.0)
    assert result.finish_s[0] == pytest.approx(stretched)
    assert result.energy_j[0] == pytest.approx(10.0 * stretched)
    assert result.peak_power_w[0] == pytest.approx(10.0)


def test_a_parked_replica_wakes_first() -> None:
    """Idle 0 to 5 s, parked 5 to 8 s; wakes 8 to 12 s while a second request joins the queue."""
    result = run([(8.0, 10, 1), (9.0, 20, 1)], park=5.0, off=30.0, horizon_s=9.0)
    end = 12.0 + seconds(2, 0, 30)
    assert result.finish_s.tolist() == pytest.approx([end, end])
    assert result.account_j[0].tolist() == pytest.approx([joules(2, 0, 30), 15.0, 3.0, 0.0, 7.0])


def test_a_replica_that_is_off_wakes_slower_and_rest_is_clipped_to_the_horizon() -> None:
    result = run([(40.0, 10, 1)], types=[kind(), kind()], park=5.0, off=30.0, horizon_s=40.0)
    assert result.finish_s[0] == pytest.approx(60.0 + seconds(1, 0, 10))
    assert result.account_j[0].tolist() == pytest.approx([joules(1, 0, 10), 15.0, 25.0, 0.0, 50.0])
    assert result.account_j[1].tolist() == pytest.approx([0.0, 15.0, 25.0, 0.0, 0.0])


def test_rest_after_the_last_step_is_measured_from_its_end() -> None:
    result = run([(0.0, 10, 1)], park=5.0, horizon_s=20.0)
    end = seconds(1, 0, 10)
    assert result.account_j[0, IDLE] == pytest.approx(5.0 * 3.0)
    assert result.account_j[0, PARKED] == pytest.approx(20.0 - end - 5.0)


def test_a_step_that_ends_at_an_arrival_comes_first_and_equal_ends_go_by_replica() -> None:
    end = seconds(1, 0, 10)
    router = Alternate(2)
    run([(0.0, 10, 1), (0.0, 10, 1), (end, 10, 1)], types=[kind(), kind()], router=router)
    assert router.left[:2] == [(end, 0, 0), (end, 1, 1)]
    seen: list[str] = []

    class Order(Alternate):
        def pick(self, index: int, now_s: float) -> int:
            seen.append(f"pick {index}")
            return 0

        def done(self, index: int, replica: int, now_s: float) -> None:
            seen.append(f"done {index}")

    run([(0.0, 10, 1), (end, 10, 1)], router=Order())
    assert seen == ["pick 0", "done 0", "pick 1", "done 1"]


def test_refused_requests_have_no_end_and_no_energy() -> None:
    result = run([(0.0, 10, 1), (1.0, 10, 1)], router=Alternate(refused=frozenset({0})))
    assert result.refused.tolist() == [True, False]
    assert np.isnan(result.finish_s[0])
    assert result.energy_j[0] == 0.0
    assert result.replica.tolist() == [-1, 0]


REQUESTS = st.lists(
    st.tuples(st.floats(0.0, 5.0), st.integers(1, 60), st.integers(1, 40), st.integers(0, 1)),
    min_size=1,
    max_size=25,
)


@settings(deadline=None, max_examples=80)
@given(
    rows=REQUESTS,
    replicas=st.integers(1, 3),
    kv_tokens=st.integers(60, 300),
    max_batch=st.integers(1, 8),
    max_step_tokens=st.integers(9, 64),
    cap_w=st.floats(6.0, 60.0),
    sparse=st.booleans(),
)
def test_laws_hold_in_every_run(
    rows: list[tuple[float, int, int, int]],
    replicas: int,
    kv_tokens: int,
    max_batch: int,
    max_step_tokens: int,
    cap_w: float,
    sparse: bool,
) -> None:
    experts = {"time_s_all_experts": 0.5, "energy_j_all_experts": 6.0, "expert_hit_frac": 0.2}
    costs = StepCosts(
        **{f: getattr(COSTS, f) for f in COSTS.__struct_fields__} | (experts if sparse else {})
    )
    power = PowerStates(
        power_w_active_static=5.0, power_w_cap=cap_w, power_w_idle=3.0, power_w_parked=1.0
    )
    toy = kind(
        costs=costs,
        power=power,
        kv_tokens=kv_tokens,
        max_batch=max_batch,
        max_step_tokens=max_step_tokens,
    )
    gaps = np.cumsum([row[0] for row in rows])
    router = Alternate(replicas, refused=frozenset({3}))
    result = run(
        [(float(t), row[1], row[2]) for t, row in zip(gaps, rows, strict=True)],
        types=[toy] * replicas,
        router=router,
        priority=[row[3] for row in rows],
        park=3.0,
        off=8.0,
        horizon_s=float(gaps[-1]),
    )
    active_j = result.account_j[:, ACTIVE].sum()
    assert abs(result.ledger_residual_j) <= 1e-9 * max(active_j, 1.0)
    assert sorted(left[1] for left in router.left) == [i for i in range(len(rows)) if i != 3]
    taken = ~result.refused
    asked = np.array([row[2] for row in rows])
    inputs = np.array([row[1] for row in rows])
    assert (result.output_tokens[taken] == np.minimum(asked, kv_tokens - inputs + 1)[taken]).all()
    assert (gaps[taken] < result.first_token_s[taken]).all()
    assert (result.first_token_s[taken] <= result.finish_s[taken]).all()
    assert (result.finish_s[taken] <= gaps[-1] + 20 + 120 * 2 + result.busy_s.sum()).all()
    assert (result.peak_power_w <= cap_w * (1 + 1e-12)).all()
    assert (result.account_j >= 0).all()
    assert (result.batch_time <= result.busy_s * max_batch + 1e-9).all()
    rest_j = result.account_j[:, IDLE] + result.account_j[:, PARKED]
    assert (rest_j <= 3.0 * gaps[-1] + 1e-9).all()


@settings(deadline=None, max_examples=20)
@given(rows=REQUESTS)
def test_tokens_are_conserved(rows: list[tuple[float, int, int, int]]) -> None:
    """With only a cost per decoded context token and per prefill token, energy counts tokens
    exactly.
    """
    per_token = StepCosts(
        time_s_per_step=1.0,
        time_s_per_sequence=0.0,
        time_s_per_context_token=0.0,
        time_s_per_prefill_token=0.0,
        energy_j_per_step=0.0,
        energy_j_per_sequence=0.0,
        energy_j_per_context_token=0.0,
        energy_j_per_prefill_token=1.0,
    )
    gaps = np.cumsum([row[0] for row in rows])
    result = run(
        [(float(t), row[1], row[2]) for t, row in zip(gaps, rows, strict=True)],
        types=[
            kind(
                costs=per_token,
                power=PowerStates(
                    power_w_active_static=0.0, power_w_cap=1e9, power_w_idle=0.0, power_w_parked=0.0
                ),
            )
        ],
    )
    assert result.account_j[0, ACTIVE] == sum(row[1] for row in rows)
    decode_steps = result.finish_s - result.first_token_s
    assert decode_steps == pytest.approx([row[2] - 1 for row in rows])
