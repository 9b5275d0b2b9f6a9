"""Workers of one loop at one board: each sees what the other has, and who leads is followed."""

from __future__ import annotations

import asyncio

import msgspec
from made_fleets import Told, config_of, fleet_of, one
from tests.fuzz.virtual_loop import VirtualLoop

from baseload.gateway import events
from baseload.gateway.core import Core
from baseload.gateway.worker_board import LEAD_EVERY, QUIET_S, BoardKeeper
from baseload.gateway.workers import Place

SOON_S = 2.0 * LEAD_EVERY * QUIET_S


class Worker(Told):
    """A machine at its place."""

    def __init__(self, number, folder, config=None):
        super().__init__(fleet_of(config or config_of()))
        if number:
            self.core = Core(self.live, 0, kept=16, leads=False)
        place = Place(worker=number, workers=2, port=1, folder=folder)
        self.keeper = BoardKeeper(place, self.core, self.tell)
        self.keeper.start()

    def in_flight(self):
        return self.core.replicas.state.in_flight.tolist()


def together(test):
    """Run a test of two workers where time is made up."""
    loop = VirtualLoop()
    try:
        loop.run_until_complete(test())
    finally:
        loop.close()


def test_each_counts_what_the_other_has(tmp_path):
    async def test():
        first, second = Worker(0, tmp_path), Worker(1, tmp_path)
        first.fill(3)
        second.fill(1)
        await asyncio.sleep(SOON_S)
        assert sum(first.in_flight()) == sum(second.in_flight()) == 4
        assert first.in_flight() == second.in_flight()
        assert one(second.arrive(), events.Send).replica == second.in_flight().index(
            min(second.in_flight())
        )
        first.end(1)
        await asyncio.sleep(SOON_S)
        assert sum(second.in_flight()) == 4
        second.keeper.close()
        await asyncio.sleep(SOON_S)
        assert sum(first.in_flight()) == 2
        first.keeper.close()

    together(test)


def test_who_leads_is_followed_and_counts_for_all(tmp_path):
    async def test():
        first, second = Worker(0, tmp_path), Worker(1, tmp_path)
        for _ in range(2):
            first.tell(events.Probed(replica=1, healthy=False))
        second.fill(1)
        await asyncio.sleep(SOON_S)
        assert not second.core.replicas.health[1].healthy(second.live.config.health)
        assert {one(second.arrive(), events.Send).replica for _ in range(3)} == {0}
        await asyncio.sleep(SOON_S)
        assert first.core.hands.counts()[0].sum() == 4
        first.tell(events.Probed(replica=1, healthy=True))
        await asyncio.sleep(SOON_S)
        assert second.core.replicas.health[1].healthy(second.live.config.health)
        for worker in (first, second):
            worker.keeper.close()

    together(test)


def test_another_configuration_is_another_board(tmp_path):
    async def test():
        first, second = Worker(0, tmp_path), Worker(1, tmp_path)
        first.fill(2)
        await asyncio.sleep(SOON_S)
        live = fleet_of(config_of(3))
        first.core.reconfigure(live, round(first.now_s * 1e9))
        first.keeper.configured()
        await asyncio.sleep(SOON_S)
        assert sum(second.in_flight()) == 0  # it is alone in the old one
        second.core.reconfigure(live, round(second.now_s * 1e9))
        second.keeper.configured()
        await asyncio.sleep(SOON_S)
        assert sum(second.in_flight()) == sum(first.in_flight()) == 2
        for worker in (first, second):
            worker.keeper.close()

    together(test)


def test_the_board_is_looked_at_less_often_while_nothing_happens(tmp_path):
    async def test():
        alone = Worker(0, tmp_path)
        loop = asyncio.get_running_loop()
        await asyncio.sleep(1.0)
        begun_s, looks = loop.time(), alone.keeper._looks
        await asyncio.sleep(1.0)
        quiet = alone.keeper._looks - looks
        assert abs(quiet - 1.0 / QUIET_S) <= 2
        assert loop.time() - begun_s == 1.0
        alone.keeper.close()
        await asyncio.sleep(1.0)
        assert alone.keeper._looks == looks + quiet

    together(test)


def test_a_configuration_is_the_same_in_all_processes():
    config = config_of()
    said = msgspec.json.encode(config)
    assert msgspec.json.encode(msgspec.json.decode(said, type=type(config))) == said
