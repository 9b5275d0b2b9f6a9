"""What a meter at the fleet would show now: every joule drawn up to this instant, also by what has
not ended.

The books of the jump engine are written when a segment, or a rest, ends. A controller that looks in
between is shown what the steps done so far drew, and of the step that runs its share of time.
"""

from __future__ import annotations

from baseload.base.kernels import kernel, outline_kernel
from baseload.fleet.step import Cost
from baseload.simulator.closed_forms import series_sum, steps_until
from baseload.simulator.records import Engine, Row


@kernel
def _segment_j(replica: Row, now_s: float) -> float:
    """Joules that a running segment has drawn."""
    since_s = now_s - replica.start_s
    ending = steps_until(replica.time_s, replica.time_rise_s, replica.steps, since_s)
    done = max(0, ending - 1)
    done_s = series_sum(replica.time_s, replica.time_rise_s, done)
    step_s = replica.time_s + done * replica.time_rise_s
    step_j = replica.energy_j + done * replica.energy_rise_j
    share = max(0.0, min(1.0, (since_s - done_s) / step_s))
    drawn: float = series_sum(replica.energy_j, replica.energy_rise_j, done) + share * step_j
    return drawn


@kernel
def _rest_j(cost: Cost, replica: Row, horizon_s: float, now_s: float) -> float:
    """Joules that an idle replica has drawn since its last booking."""
    start_s, end_s = replica.idle_from_s, min(now_s, horizon_s)
    if end_s <= start_s:
        return 0.0
    off_s = start_s + replica.off_after_s
    parked_s = min(start_s + replica.park_after_s, off_s)
    idle_end_s, parked_end_s = min(end_s, parked_s), min(end_s, off_s)
    drawn: float = cost.power_w_idle * (idle_end_s - start_s)
    if end_s > parked_s:
        drawn += cost.power_w_parked * (parked_end_s - idle_end_s)
    if end_s > off_s:
        drawn += cost.power_w_off * (end_s - parked_end_s)
    return drawn


@outline_kernel
def drawn_j(engine: Engine, now_s: float) -> float:
    """Joules that the fleet has drawn up to ``now_s``, to which the engine has run; a wake counts
    as a whole when it begins.
    """
    horizon_s = engine.total[0].horizon_s
    drawn = 0.0
    for number in range(engine.replicas.shape[0]):
        replica = engine.replicas[number]
        for account in range(replica.account_j.shape[0]):
            drawn += replica.account_j[account]
        if replica.idle:
            drawn += _rest_j(engine.cost[replica.cost], replica, horizon_s, now_s)
        elif replica.steps > 0:
            drawn += _segment_j(replica, now_s)
    return drawn
