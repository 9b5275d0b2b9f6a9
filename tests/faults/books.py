"""The machine's own books against what they would be if they were kept anew: ``check_core``."""

from __future__ import annotations

import math

import numpy as np
from tests.faults.laws import Broken

from baseload.gateway.core import Core
from baseload.gateway.life import FLOWING, HELD, NEW, QUEUED, RETRYING, SENT
from baseload.gateway.replicas import Replicas
from baseload.gateway.waiting import NEVER_NS
from baseload.routing.fleet_state import LEVELS, TOKENS, _fill_index


def need(holds: object, said: str) -> None:
    """Raises ``Broken`` where something does not hold."""
    if not holds:
        raise Broken(said)


def check_core(core: Core) -> None:
    """Raises ``Broken`` where any of the machine's books is not what its requests make it."""
    _check_waiting(core)
    _check_replicas(core)
    check_index(core.replicas)


def _check_waiting(core: Core) -> None:
    """Queues, counts, timers."""
    waiting = [0] * len(core.live.tiers)
    queued: dict[int, list[int]] = {}
    held = set()
    timed = core._wheel._slot_of
    for request, life in core.lives.items():
        need(life.request == request, f"request {life.request} under {request}")
        need(life.stage != NEW, f"request {request} is nowhere")
        need(request in timed, f"request {request} (stage {life.stage}) has no timer")
        if life.stage == QUEUED:
            queued.setdefault(life.lane, []).append(request)
        elif life.stage == HELD:
            held.add(request)
        if life.stage in (QUEUED, HELD):
            waiting[life.tier] += 1
    need(set(timed) <= set(core.lives), "a timer of nobody")
    need(core.waiting == waiting, f"waiting {core.waiting}, really {waiting}")
    found = {lane: sorted(queue.requests()) for lane, queue in core.queues.items()}
    need(found == {lane: sorted(queued[lane]) for lane in queued}, f"queues {found}, {queued}")
    need(all(len(core.queues[lane]) == len(queued[lane]) for lane in queued), "length of a queue")
    need(held <= {request for _, request in core.held}, "a held request that nobody would release")
    need(len(core.held) <= 4 * len(held) + 64, f"{len(core.held)} entries for {len(held)} held")
    wheel = core._wheel
    by_slot = {key: slot for slot, keys in wheel._slots.items() for key in keys}
    need(by_slot == wheel._slot_of, "the wheel's two sides differ")
    need(set(wheel._slots) == set(wheel._order), "slots that nobody would find")


def _check_replicas(core: Core) -> None:
    """Counts of the replicas, and who may be sent requests."""
    replicas = core.replicas
    state, book, config = replicas.state, replicas.book, core.live.config
    count = len(state.in_flight)
    own, tokens, pending = [0] * count, [0] * count, [0] * count
    for life in core.lives.values():
        if life.stage in (SENT, FLOWING) and life.home is replicas:
            own[life.replica] += 1
            tokens[life.replica] += life.tokens
            pending[life.replica] += life.pending
        need(life.stage != RETRYING or life.lost_ns >= 0, "tries again, but nothing was lost")
    need(book.own.tolist() == own, f"own {book.own.tolist()}, really {own}")
    need(book.own_tokens.tolist() == tokens, f"tokens {book.own_tokens.tolist()}, {tokens}")
    need(state.pending.tolist() == pending, f"pending {state.pending.tolist()}, {pending}")
    all_of = book.own + replicas.others[0] + replicas.foreign
    need((state.in_flight == all_of).all(), f"in flight {state.in_flight}, {all_of}")
    need((state.tokens >= book.own_tokens).all(), "fewer tokens than its own")
    for number, health in enumerate(replicas.health):
        able = health.awake and health.healthy(config.health) and health.trial < 0
        if state.open[number]:
            need(able and replicas.wanted[number], f"replica {number} is open, but not able")
        elif able and replicas.wanted[number]:
            waits = any(one == number for _, one in replicas._trials)
            need(health.until_ns >= 0 and waits, f"replica {number} is able, but not open")
        need(health.trial < 0 or health.trial in core.lives, "a trial of nobody")
    need(np.isfinite(book.busy_j).all() and np.isfinite(book.idle_j).all(), "joules")
    need(((book.pace >= 0.5) & (book.pace <= 2.0)).all(), f"pace {book.pace}")
    need(np.isfinite(state.forecast["mean_tokens"]).all(), "a forecast that is no number")
    most = float(state.limits.kv_tokens.max())
    need(state.forecast["mean_tokens"].max() <= 40.0 * max(most, 1000.0), "an absurd forecast")


def check_index(replicas: Replicas) -> None:
    """Raises ``Broken`` where levels, bitmaps or trees are not what the counts make them."""
    state = replicas.state
    most = state.limits.max_in_flight[state.type_of]
    held = state.in_flight + state.pending
    level = np.minimum(held, np.where(state.in_flight >= most, most, most - 1))
    need((state.level == level).all(), f"level {state.level}, really {level}")
    opened = np.bincount(state.type_of[state.open > 0], minlength=len(state.first) - 1)
    need((state.open_count == opened).all(), f"open {state.open_count}, really {opened}")
    fresh = state._replace(
        **{
            name: getattr(state, name).copy()
            for name in ("bits", "level_count", "level_range", "tree")
        }
    )
    _fill_index(fresh)
    if state.indexed[LEVELS]:
        need((fresh.bits == state.bits).all(), "bitmaps of levels")
        need((fresh.level_count == state.level_count).all(), "counts of levels")
        for kind in range(len(state.first) - 1):
            here = slice(int(state.first[kind]), int(state.first[kind + 1]))
            levels = state.level[here][state.open[here] > 0]
            low, high = state.level_range[kind].tolist()
            need(
                levels.size == 0 or (low <= levels.min() and high >= levels.max()),
                f"levels {low} to {high}, really {levels}",
            )
    if state.indexed[TOKENS]:
        need((fresh.tree == state.tree).all(), "tree of tokens")


def check_idle(core: Core, energy_j: float, now_ns: int) -> None:
    """Raises ``Broken`` where something is left of requests that have all ended, or where their
    joules and those of idle replicas are not what was drawn.
    """
    check_core(core)
    replicas = core.replicas
    need(not core.lives, f"{len(core.lives)} requests are left")
    need(not core.queues and not any(core.waiting), "somebody still waits")
    need(core._wheel.next_ns() == NEVER_NS and not core._wheel._slot_of, "a timer is left")
    need(not replicas.book.own.any(), "in flight")
    need(not replicas.book.own_tokens.any(), "tokens in flight")
    drawn_j = replicas.drawn_j(now_ns)
    idle_j = replicas.idle_j(now_ns)
    total_j = energy_j + idle_j
    need(
        math.isclose(drawn_j, total_j, rel_tol=1e-9, abs_tol=1e-6),
        f"drawn {drawn_j} J, receipts {energy_j} J and idle {idle_j} J",
    )
