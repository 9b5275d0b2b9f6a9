"""Which clock each replica type should run at: the fewest joules within the promised time per
token.

Everything below full clock is assumed (docs/explanation/clocks.md), so no policy does this unless
it is asked to.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from baseload.fleet.ladder import least_energy_row
from baseload.routing.slow import FleetFacts, Promise, Signals

_FOLLOW = 0.2  # of the newest window in the smoothed share of misses
_ROOM_FRAC = 0.6  # of the promised time per token that a mean step may take


class ClockChoice:
    """Chooses a rung of each type's ladder at each tick: up as far as the load asks for, and one
    rung more while more than the target miss; down one rung at a time, while less than half of it
    do.
    """

    def __init__(self, facts: FleetFacts, promises: Sequence[Promise]) -> None:
        assert facts.all_cost is not None
        self._rungs = facts.rungs
        strict = [promise for promise in promises if not promise.bulk] or list(promises)
        self._tpot_s = min(promise.tpot_s for promise in strict)
        self._target = min(promise.target_miss_frac for promise in promises)
        self._share = 0.0
        self._place = np.zeros(len(facts.rungs), dtype=np.int64)
        self._tables = [facts.all_cost[list(rows)] for rows in facts.rungs]

    def rows(self, signals: Signals, batch: NDArray[np.float64]) -> NDArray[np.int64]:
        """The row of ``facts.all_cost`` for each type, ``[types]``. ``batch``: requests that each
        open replica of the type is about to run; the present mean where it is more.
        """
        present = signals.in_flight / np.maximum(1, signals.open)
        mean_input, mean_output = signals.lengths()
        self._share += _FOLLOW * (signals.late_frac() - self._share)
        hurry, late = self._share > self._target, self._share > 0.5 * self._target
        for kind, table in enumerate(self._tables):
            running = max(1.0, float(batch[kind]), float(present[kind]))
            wanted = least_energy_row(
                table,
                running,
                running * (mean_input + 0.5 * mean_output),
                running / mean_output * mean_input,
                _ROOM_FRAC * self._tpot_s,
                float(table[0].power_w_idle),
            )
            here = int(self._place[kind])
            lowest = max(0, here - 1) if hurry else here if late else here + 1
            self._place[kind] = min(wanted, lowest)
        return np.array([rows[place] for rows, place in zip(self._rungs, self._place, strict=True)])
