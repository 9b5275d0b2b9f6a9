"""The meter of a running fleet: in the end what the accounts say, before it never more."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from made_scenarios import groups_of, made_scenario, made_trace

from baseload.base.kernels import plain
from baseload.routing.policies import policy
from baseload.simulator import course, metered, run
from baseload.simulator.run import run_once


class Reader:
    """A hand that reads the meter every so often, by the kernel and by its plain twin."""

    def __init__(self, every_s, until_s):
        self._every_s, self._until_s = every_s, until_s
        self.seen = []

    @property
    def next_s(self):
        at_s = (len(self.seen) + 1) * self._every_s
        return at_s if at_s <= self._until_s else np.inf

    def act(self, machine):
        twin = plain(metered.drawn_j)(machine.engine, self.next_s)
        self.seen.append((self.next_s, machine.drawn_j(self.next_s), float(twin)))


@pytest.mark.parametrize("park_after_s", [None, 0.3])
def test_in_the_end_the_meter_shows_all_accounts(monkeypatch, park_after_s):
    groups = groups_of(1, 2, wake_s_from_parked=0.5)
    if park_after_s is not None:
        groups = tuple(msgspec.structs.replace(one, park_after_s=park_after_s) for one in groups)
    scenario = made_scenario(made_trace(80, gap_s=0.3), groups=groups)
    reader, last = Reader(0.37, 30.0), []
    monkeypatch.setattr(run, "hands_of", lambda *_args, **_more: [reader])
    settle = course.jump.settle

    def settled(engine, end_s):
        last.append(float(metered.drawn_j(engine, 1e9)))  # the run is over, its rest not booked
        settle(engine, end_s)

    monkeypatch.setattr(course.jump, "settle", settled)
    done = run_once(scenario, policy("least_loaded"), scenario.requests(0), check=True)
    whole_j = float(done.account_j.sum())
    assert last[-1] == pytest.approx(whole_j, rel=1e-12)
    at_s, drawn_j, twin_j = np.array(reader.seen).T
    assert len(at_s) > 40
    assert np.allclose(drawn_j, twin_j, rtol=1e-12)
    assert (np.diff(drawn_j) > 0).all()
    assert drawn_j[-1] <= whole_j * (1 + 1e-12)
    cap_w = sum(one.replicas * one.kind.power.power_w_cap for one in groups)
    wakes_j = 100.0 * 3  # a wake counts as a whole when it begins
    assert (np.diff(drawn_j) <= cap_w * 0.37 + wakes_j).all()
