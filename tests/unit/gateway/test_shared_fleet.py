"""Worker processes see each other's load, and follow the one that leads."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from baseload.fleet.physics import replica_type
from baseload.gateway.config import GatewayConfig
from baseload.gateway.core import Core
from baseload.gateway.events import Arrived, Ended, LaneAdded, Probed, Send
from baseload.gateway.live_fleet import LiveFleet
from baseload.gateway.shared_fleet import SharedFleet

_MS = 1_000_000


def _core(*, leads: bool) -> Core:
    said = {
        "models": [{"name": "m"}],
        "replicas": [{"model": "m", "urls": ["http://a:1", "http://b:1", "http://c:1"]}],
        "policy": "least_loaded",
    }
    kind = replica_type(device="L4-24GB", model="meta-llama/Llama-3.1-8B")
    core = Core(LiveFleet(msgspec.convert(said, GatewayConfig), [kind]), 0, leads=leads)
    asked: Any = SimpleNamespace(
        model="m", effort=None, endpoint="chat", images=0, audios=0, tools=False
    )
    core.live.lane(asked, 0)
    core.handle(LaneAdded(lane=0, tier=0, allowed=list(core.live.lanes[0].allowed)), 1)
    return core


@pytest.fixture
def pair(tmp_path: Path) -> tuple[list[Core], list[SharedFleet]]:
    cores = [_core(leads=True), _core(leads=False)]
    boards = [
        SharedFleet(tmp_path, "0" * 64, core, worker=number, workers=2)
        for number, core in enumerate(cores)
    ]
    return cores, boards


def _send(core: Core, request: int, now_ns: int) -> int:
    commands = core.handle(Arrived(request=request, lane=0, input_tokens=100.0), now_ns)
    return next(one.replica for one in commands if isinstance(one, Send))


def _sync(core: Core, board: SharedFleet, now_ns: int) -> None:
    board.tell(core)
    others = board.others(core)
    if others is not None:
        core.handle(others, now_ns)


def test_two_workers_spread_what_one_would(
    pair: tuple[list[Core], list[SharedFleet]],
) -> None:
    """Taking turns and telling each other, they load all replicas alike; alone each would send its
    first requests to the same ones.
    """
    cores, boards = pair
    for request in range(6):
        worker = request % 2
        _sync(cores[worker], boards[worker], request * _MS)
        _send(cores[worker], request, request * _MS)
        _sync(cores[worker], boards[worker], request * _MS)
    total = boards[0].board.in_flight.sum(axis=0)
    assert total.tolist() == [2, 2, 2]


def test_what_ends_in_one_is_seen_by_the_other_and_nothing_stays(
    pair: tuple[list[Core], list[SharedFleet]],
) -> None:
    cores, boards = pair
    replica = _send(cores[0], 1, _MS)
    _sync(cores[0], boards[0], _MS)
    _sync(cores[1], boards[1], 2 * _MS)
    assert cores[1].replicas.state.in_flight[replica] == 1
    assert cores[1].replicas.book.own.sum() == 0
    cores[0].handle(Ended(request=1, attempt=0, input_tokens=100, output_tokens=5), 3 * _MS)
    _sync(cores[0], boards[0], 3 * _MS)
    _sync(cores[1], boards[1], 4 * _MS)
    assert not cores[1].replicas.state.in_flight.any()
    assert not cores[1].replicas.state.tokens.any()


def test_the_joules_of_a_shared_replica_are_shared(
    pair: tuple[list[Core], list[SharedFleet]],
) -> None:
    """A worker books only the part of its own requests."""
    cores, boards = pair
    replica = _send(cores[0], 1, _MS)
    _sync(cores[0], boards[0], _MS)
    _sync(cores[1], boards[1], _MS)
    for core in cores:
        core.replicas.drawn_j(10_000 * _MS)
    assert cores[0].replicas.book.busy_j[replica] > 0.0
    assert cores[1].replicas.book.busy_j[replica] == 0.0


def test_followers_do_as_the_leader_says(pair: tuple[list[Core], list[SharedFleet]]) -> None:
    cores, boards = pair
    leader, follower = cores
    assert boards[1].led() is None, "the leader has not said anything yet"
    for _ in range(leader.live.config.health.failures):
        leader.handle(Probed(replica=1, healthy=False), 2 * _MS)
    leader.replicas.wanted[2] = False
    leader.replicas.bring_in_line(2, 2 * _MS)
    leader.replicas.policy.lateness_weight[:] = 7.0
    boards[0].lead(leader)
    told = boards[1].led()
    assert told is not None
    follower.handle(told, 3 * _MS)
    assert follower.replicas.state.open.tolist() == [1, 0, 0]
    assert np.all(follower.replicas.policy.lateness_weight == 7.0)
    assert boards[1].led() is None, "told once"


def test_a_worker_that_begins_again_has_nothing_in_flight(tmp_path: Path) -> None:
    core = _core(leads=True)
    board = SharedFleet(tmp_path, "f" * 64, core, worker=0, workers=2)
    _send(core, 1, _MS)
    board.tell(core)
    again = SharedFleet(tmp_path, "f" * 64, _core(leads=True), worker=0, workers=2)
    assert not again.board.in_flight.any()
    assert not board.board.in_flight.any(), "the same memory"
