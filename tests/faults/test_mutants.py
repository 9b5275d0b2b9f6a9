"""The fault simulator finds what it is there for: a machine that is wrong in one way breaks a law
within a few worlds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from tests.faults import world as world_module
from tests.faults.world import World

from baseload.gateway import core as core_module
from baseload.gateway import events, handover
from baseload.gateway.core import Core
from baseload.gateway.life import QUEUED, Life
from baseload.gateway.replica_health import ReplicaHealth
from baseload.gateway.replicas import Replicas
from baseload.gateway.waiting import FairQueue, Wheel
from baseload.routing.fleet_state import close_replica

MOST_SEEDS = 120

Patch = Callable[[pytest.MonkeyPatch], None]
MUTANTS: dict[str, Patch] = {}


def mutant(make: Patch) -> Patch:
    """Register a way to be wrong."""
    MUTANTS[make.__name__] = make
    return make


@mutant
def joules_of_a_leaving_client_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    def left(core: Core, event: events.Left) -> None:
        life = core.lives.get(event.request)
        if life is None:
            return
        if life.running:
            core._out.append(events.Cancel(request=life.request, attempt=life.attempt))
        else:
            core._unqueue(life)
        core._close(life, "cancelled", status=499)

    patch.setattr(Core, "_left", left)


@mutant
def tried_again_after_something_was_handed_on(patch: pytest.MonkeyPatch) -> None:
    fail = Core._fail

    def wrong(core: Core, life: Life, *rest: Any) -> None:
        life.handed = False
        fail(core, life, *rest)

    patch.setattr(Core, "_fail", wrong)


@mutant
def a_timed_out_attempt_is_not_cancelled(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Core, "_give_up", lambda core, life, cause: core._fail(life, cause, 0, 0.0))


@mutant
def one_try_more_than_allowed(patch: pytest.MonkeyPatch) -> None:
    fail = Core._fail

    def wrong(core: Core, life: Life, *rest: Any) -> None:
        life.tries -= 1
        fail(core, life, *rest)

    patch.setattr(Core, "_fail", wrong)


@mutant
def events_of_old_attempts_count(patch: pytest.MonkeyPatch) -> None:
    def present(core: Core, request: int, attempt: int) -> Life | None:
        life = core.lives.get(request)
        return life if life is not None and life.running else None

    patch.setattr(Core, "_present", present)


@mutant
def breakers_never_open(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ReplicaHealth, "failed", lambda *_, **__: None)


@mutant
def two_requests_may_be_on_trial(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ReplicaHealth, "sent", lambda *_: None)


@mutant
def a_trial_that_was_given_up_stays(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ReplicaHealth, "gave_up", lambda *_: None)


@mutant
def probes_that_fail_do_not_matter(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ReplicaHealth, "healthy", lambda *_: True)
    patch.setattr(
        ReplicaHealth,
        "able",
        lambda one, _, now_ns: one.awake and one.trial < 0 and now_ns >= one.until_ns,
    )


@mutant
def who_sleeps_is_sent_requests(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Replicas, "_asleep", lambda *_: None)


@mutant
def time_outs_come_late(patch: pytest.MonkeyPatch) -> None:
    put = Wheel.set
    patch.setattr(Wheel, "set", lambda wheel, key, due: put(wheel, key, due + 300_000_000))


@mutant
def time_outs_come_early(patch: pytest.MonkeyPatch) -> None:
    class Hasty(Core):
        def _overdue(self, life: Life) -> None:
            if life.running:
                self._give_up(life, "idle")
            else:
                super()._overdue(life)

    patch.setattr(world_module, "Core", Hasty)


@mutant
def who_waits_is_never_told(patch: pytest.MonkeyPatch) -> None:
    overdue = Core._overdue

    def wrong(core: Core, life: Life) -> None:
        if life.stage != QUEUED:
            overdue(core, life)

    patch.setattr(Core, "_overdue", wrong)


@mutant
def the_count_of_who_waits_drifts(patch: pytest.MonkeyPatch) -> None:
    refuse = Core._refuse_full

    def wrong(core: Core, life: Life) -> None:
        core.waiting[life.tier] += 1
        refuse(core, life)

    patch.setattr(Core, "_refuse_full", wrong)


@mutant
def a_queue_forgets_who_left(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FairQueue, "remove", lambda *_, **__: None)


@mutant
def drained_but_still_waiting(patch: pytest.MonkeyPatch) -> None:
    def drained(core: Core, _: events.Drain) -> None:
        core.draining = True

    patch.setattr(Core, "_drained", drained)


@mutant
def receipts_are_a_thousandth_too_high(patch: pytest.MonkeyPatch) -> None:
    leave = Replicas.leave
    patch.setattr(Replicas, "leave", lambda *given, **named: 1.001 * leave(*given, **named))


@mutant
def engines_are_believed_whatever_they_say(patch: pytest.MonkeyPatch) -> None:
    def believed(_: Replicas, life: Life, event: events.Ended) -> tuple[float, float]:
        life.written = event.output_tokens
        return float(event.input_tokens), float(event.cached_tokens)

    patch.setattr(Replicas, "believed", believed)


@mutant
def a_reload_counts_joules_twice(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(handover, "_own_j", lambda *_: 0.0)


@mutant
def a_reload_forgets_who_waits(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Core, "_go_on", lambda *_: None)


@mutant
def refused_without_a_time_to_come_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(core_module, "_MOST_RETRY_S", math.nan)


@mutant
def closed_without_a_word_to_the_client(patch: pytest.MonkeyPatch) -> None:
    def silent(core: Core, life: Life, cause: events.Cause) -> None:
        core._close(life, "upstream", status=502)

    patch.setattr(Core, "_end_failed", silent)


@mutant
def who_may_be_tried_again_waits_for_the_tick(patch: pytest.MonkeyPatch) -> None:
    why_not = Replicas.why_not

    def wrong(one: Replicas, *given: Any) -> events.Reason:
        before = one.state.open.copy()
        reason = why_not(one, *given)
        for replica in (one.state.open > before).nonzero()[0]:
            close_replica(one.state, replica)
        return reason

    patch.setattr(Replicas, "why_not", wrong)


@mutant
def bulk_waits_for_the_cheapest_or_not_at_all(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(core_module, "_AT_ONCE_S", 0.0)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_machine_that_is_wrong_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS[name](monkeypatch)
    for seed in range(MOST_SEEDS):
        try:
            World(seed, requests=60, core_of=world_module.Core).run()
        except Exception:
            return
    pytest.fail(f"{MOST_SEEDS} worlds did not notice: {name}")
