"""The laws of a run, as checks: they run in every test of the simulator and behind ``--check``.

Each check raises ``AssertionError`` with the law's name and the numbers that break it: a broken law
is our bug, never the user's. Laws as in docs/explanation/energy-accounting.md.
"""

from __future__ import annotations

import numpy as np

from baseload.routing.fleet_state import LEVELS, TOKENS, FleetState, fleet_state, keep_index
from baseload.simulator.measure import Totals
from baseload.simulator.plant import ladder_rows
from baseload.simulator.records import ACTIVE, TTFT, Engine
from baseload.simulator.scenario import Scenario

_ROUND_OFF = 1e-9


def check_run(scenario: Scenario, run: Totals, state: Engine, fleet: FleetState) -> None:
    """All laws that one finished run can be held against."""
    receipts_and_accounts_sum(run)
    every_request_ends_once(run, state)
    power_within_bounds(scenario, state)
    time_is_accounted(run, state)
    bins_hold_everything(run, state)
    index_is_true(scenario, fleet)


def receipts_and_accounts_sum(run: Totals) -> None:
    """Law 2: what requests were charged is what replicas drew while active, to round-off."""
    active_j = float(run.account_j[:, ACTIVE].sum())
    assert abs(run.residual_j) <= _ROUND_OFF * max(1.0, active_j), (
        f"receipts do not sum to the active energy: residual {run.residual_j} J of {active_j} J"
    )
    assert (run.account_j >= 0).all(), f"negative energy in an account: {run.account_j.min()} J"


def every_request_ends_once(run: Totals, state: Engine) -> None:
    """Law 4: requests = completed + refused; nobody is left in flight; each has one TTFT."""
    completed, refused = int(run.tally.completed.sum()), int(run.refused.sum())
    assert completed + refused == run.requests, (
        f"{run.requests} requests came, {completed} were answered, {refused} refused"
    )
    assert state.total[0].held == 0, f"{state.total[0].held} requests still wait outside"
    assert state.total[0].in_flight == 0, f"{state.total[0].in_flight} requests never ended"
    assert int(run.histogram[TTFT].sum()) == completed, (
        "a request without its first token, or with two"
    )
    assert (state.replicas.kv == 0).all(), "KV cache still held after the last answer"
    assert (state.replicas.context == 0).all(), "context still read after the last answer"


def power_within_bounds(scenario: Scenario, state: Engine) -> None:
    """Law 3: active power lies between static power and cap, and the fleet's energy under the
    all-cap ceiling. Of a type with several clocks, the highest cap and the highest idle power.
    """
    rungs = [list(rows) for rows in ladder_rows(scenario)[1]]
    kind_of = state.replicas.kind
    cap_w = np.array([state.cost.power_w_cap[rows].max() for rows in rungs])[kind_of]
    idle_w = np.array([state.cost.power_w_idle[rows].max() for rows in rungs])[kind_of]
    active_j, busy_s = state.replicas.account_j[:, ACTIVE], state.replicas.busy_s
    slack = _ROUND_OFF * np.maximum(1.0, active_j)
    assert (active_j <= cap_w * busy_s + slack).all(), "a replica drew more than its cap"
    assert (active_j >= 0).all(), "a replica drew negative power"
    still_j = state.replicas.account_j[:, 1:4].sum(axis=1)
    ceiling_j = idle_w * state.replicas.still_s
    assert (still_j <= ceiling_j * (1 + _ROUND_OFF) + 1e-9).all(), (
        "a still replica drew more than idle power"
    )


def time_is_accounted(run: Totals, state: Engine) -> None:
    """Every replica is busy or still at every instant up to the end of the trace or of its own
    last step, and never both.
    """
    seconds = state.replicas.busy_s + state.replicas.still_s + state.replicas.after_s
    expected = np.maximum(run.span_s, state.replicas.idle_from_s)
    worst = int(np.argmax(np.abs(seconds - expected)))
    assert abs(seconds[worst] - expected[worst]) <= _ROUND_OFF * max(1.0, expected[worst]), (
        f"replica {worst} accounts for {seconds[worst]} s of {expected[worst]} s"
    )


def bins_hold_everything(run: Totals, state: Engine) -> None:
    """The time series sums to the accounts, and its replica-seconds to the busy and the still."""
    binned = state.power_j.sum(axis=0)
    assert np.allclose(binned, run.account_j, rtol=1e-7, atol=1e-6), "the time series lost energy"
    state_s = state.state_s.sum(axis=0)
    for name, binned_s, seconds in (
        ("busy", state_s[ACTIVE], run.busy_s.sum()),
        ("still", state_s[ACTIVE + 1 :].sum(), run.still_s.sum()),
    ):
        assert abs(binned_s - seconds) <= 1e-7 * max(1.0, seconds), (
            f"the time series has {binned_s} {name} replica-seconds of {seconds}"
        )


def index_is_true(scenario: Scenario, fleet: FleetState) -> None:
    """After the last answer routing's state is that of an idle fleet with the same replicas open,
    its index included.
    """
    fresh = fleet_state(
        [group.kind for group in scenario.groups],
        [group.replicas for group in scenario.groups],
        max_queue=scenario.max_queue,
    )
    fresh.open[:] = fleet.open
    fresh.open_count[:] = np.add.reduceat(fleet.open, fleet.first[:-1])
    keep_index(fresh, levels=bool(fleet.indexed[LEVELS]), tokens=bool(fleet.indexed[TOKENS]))
    kept = ["level_count", "level_range", "bits"] if fleet.indexed[LEVELS] else []
    fresh.level_range[fleet.open_count == 0] = fleet.level_range[fleet.open_count == 0]
    kept += ["tree"] if fleet.indexed[TOKENS] else []
    for name in ["in_flight", "tokens", "pending", "level", "open_count", *kept]:
        assert (getattr(fleet, name) == getattr(fresh, name)).all(), (
            f"routing's {name} did not come back to idle"
        )
