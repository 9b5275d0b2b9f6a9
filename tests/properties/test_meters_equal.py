"""What a meter at the fleet would show at any instant is the same in both engines."""

from __future__ import annotations

import engine_instances as plain
import numpy as np
import pytest
import slow_instances

from baseload.base.streams import stream
from baseload.simulator import oracle, run
from baseload.simulator.hands import hands_of


class Reader:
    """A hand that reads the meter at random instants, and does nothing."""

    def __init__(self, seed, span_s):
        self._at = np.sort(stream(seed, "tests", "meter").uniform(0.0, 1.5 * span_s + 1.0, 40))
        self.seen = []

    @property
    def next_s(self):
        return float(self._at[len(self.seen)]) if len(self.seen) < len(self._at) else np.inf

    def act(self, machine):
        self.seen.append((machine.drawn_j(self.next_s), machine.in_flight()))


@pytest.fixture
def readers(monkeypatch):
    """A reader beside the controllers of every run. Gives those made."""
    made = []

    def hands(scenario, policy, fleet, state, *, span_s, seed):
        made.append(Reader(seed, span_s))
        others = hands_of(scenario, policy, fleet, state, span_s=span_s, seed=seed)
        return [made[-1], *others]

    monkeypatch.setattr(run, "hands_of", hands)
    monkeypatch.setattr(oracle, "hands_of", hands)
    return made


def held_against(made, readers):
    """Both engines' meters, and the accounts of the jump engine."""
    readers.clear()
    done, _ = plain.by_jumps(made)
    plain.by_steps(made)
    jumps, steps = (np.array(one.seen) for one in readers)
    assert len(jumps) == len(steps)
    if len(jumps):
        assert np.allclose(jumps[:, 0], steps[:, 0], rtol=1e-9, atol=1e-9), made.seed
        assert (jumps[:, 1] == steps[:, 1]).all()
        assert (np.diff(jumps[:, 0]) >= -1e-9 * done.account_j.sum()).all()
        assert jumps[-1, 0] <= done.account_j.sum() * (1.0 + 1e-9)
    return done, jumps


@pytest.mark.parametrize("part", range(4))
def test_both_engines_meter_the_same_at_random_instants(part, readers):
    seen = 0
    for seed in range(part * 25, part * 25 + 25):
        seen += len(held_against(plain.case(seed), readers)[1])
    assert seen > 500


@pytest.mark.parametrize("part", range(2))
def test_both_engines_meter_the_same_under_slow_control(part, readers):
    """Replicas that close, wake and change their clock between the readings."""
    for seed in range(1 + part * 30, 31 + part * 30, 2):
        made = slow_instances.case(seed)
        if made.policy.slow.clocks:  # the step engine rests at the first clock's idle power
            continue
        held_against(made, readers)
