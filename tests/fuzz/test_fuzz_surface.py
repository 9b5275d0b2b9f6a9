"""Some hundred cases of the fuzz of the whole surface; more by ``python -m tests.fuzz.surface``."""

from __future__ import annotations

import asyncio

import pytest
from tests.fuzz import surface
from tests.fuzz.virtual_loop import HungError, VirtualLoop

from baseload.gateway.core import Core
from baseload.gateway.events import Close


def test_some_hundred_cases_are_well(capsys):
    assert surface.main(["--cases", "600", "--seed", "7"]) == 0
    said = capsys.readouterr().out
    assert "600 cases of seed 7: all well" in said
    for met in ("status 200", "status 400", "status 401", "end answered", "end upstream"):
        assert met in said


def test_a_failing_case_prints_how_to_replay_it(monkeypatch, capsys):
    close = Core._close

    def forgets(core, life, reason, *, status):
        close(core, life, reason, status=status)
        if reason == "upstream":
            core._out = [one for one in core._out if not isinstance(one, Close)]

    monkeypatch.setattr(Core, "_close", forgets)
    assert surface.main(["--cases", "200", "--seed", "3"]) == 1
    assert "python -m tests.fuzz.surface --seed 3 --only" in capsys.readouterr().out


def test_time_that_is_made_up_leaps_and_a_hang_is_noticed():
    loop = VirtualLoop()
    begun_s = loop.time()
    loop.run_until_complete(asyncio.sleep(3600.0))
    assert loop.time() - begun_s == pytest.approx(3600.0)
    with pytest.raises(HungError):
        loop.run_until_complete(asyncio.Event().wait())
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
