"""The abstract fleet of the JouleSched note (clawrxiv 2604.02034, section 2), simulated as is.

A device is a first-in-first-out queue of tokens that it works off at a constant ``mu`` tokens per
second; every token costs a constant ``eps`` joules. There is no batch, no prompt, no context, no
memory and no idle power. A request of ``t`` tokens that finds ``q`` tokens waiting is done after
``(q + t) / mu`` seconds; a scheduler sees ``q`` and an estimate of ``t``. Because queues are worked
off in order, the latency is known when the request is placed, so one pass over the arrivals
simulates everything. What the model leaves out is the subject of docs/explanation/joulesched.md;
the physics are in ``simulator.run``.

Where the note is silent the choice is ours and said so: of equal devices the one with the shortest
queue is taken, then the one that has been idle longest (``joulesched_first`` takes the first of the
list instead, as the note's listing does); ``lambda`` moves once per ``interval_s`` of arrivals.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from baseload.base.errors import unknown_name
from baseload.base.kernels import kernel
from baseload.simulator.joulesched_records import AbstractFleet, Control

RULES = ("round_robin", "least_loaded", "least_eta", "joulesched", "joulesched_first")
"""Schedulers: next in turn; fewest waiting tokens; earliest end; least ``eps t + lambda max(0, ETA
- D)``, ties to the shortest queue; the same, ties to the first device of the list.
"""

ROUND_ROBIN, LEAST_LOADED, LEAST_ETA, JOULESCHED, JOULESCHED_FIRST = range(len(RULES))
INTERACTIVE, BULK = 0, 1

BINS = 3600
_LEAST_S = 1e-4
_BINS_PER_E = 200.0  # a bin is 0.5 % wide: 0.1 ms to 6,500 s
_NORMAL_95 = 1.6448536269514722

DEVICE_GROUP = np.dtype([("first", "i8"), ("stop", "i8"), ("mu", "f8"), ("eps", "f8")])
CONTROL = np.dtype(
    [
        ("lam", "f8"),
        ("error_sum", "f8"),
        ("next_s", "f8"),
        ("seen", "i8"),
        ("missed", "i8"),
        ("kp", "f8"),
        ("ki", "f8"),
        ("target", "f8"),
        ("interval_s", "f8"),
        ("turn", "i8"),
    ]
)
TIER_TALLY = np.dtype(
    [("deadline_s", "f8"), ("requests", "i8"), ("missed", "i8"), ("latency_s", "f8")]
)


class Arrivals(msgspec.Struct, frozen=True, kw_only=True):
    """Requests in order of time: ``t_s`` [s], ``tokens``, their ``estimate``, ``tier`` (0
    interactive, 1 bulk), each of length n.
    """

    t_s: NDArray[np.float64]
    tokens: NDArray[np.float64]
    estimate: NDArray[np.float64]
    tier: NDArray[np.int64]


class QueueRun(msgspec.Struct, frozen=True, kw_only=True):
    """What one scheduler did with the arrivals.

    By group, in the order of the fleet: ``tokens`` placed, ``requests`` ``[groups, tiers]``,
    ``utilization_frac`` (time with work up to the last arrival). ``latency_s_mean`` and
    ``miss_frac`` are of all requests; ``histogram`` ``[tiers, BINS]`` counts latencies.
    ``energy_j`` is ``sum eps_n tokens_n``, ``idle_energy_j`` what idle power would add.
    """

    rule: str
    requests: NDArray[np.int64]
    tokens: NDArray[np.float64]
    utilization_frac: NDArray[np.float64]
    energy_j: float
    idle_energy_j: float
    miss_frac: float
    miss_frac_by_tier: tuple[float | None, float | None]
    latency_s_mean: float
    histogram: NDArray[np.int64]
    lambda_j_per_s: float
    span_s: float

    def latency_s(self, frac: float, *, tier: int | None = None) -> float:
        """The latency that ``frac`` of the requests (of one tier) stay at or below, to 0.3 %."""
        counts = self.histogram.sum(axis=0) if tier is None else self.histogram[tier]
        at = int(np.searchsorted(np.cumsum(counts), frac * counts.sum()))
        return _LEAST_S * math.exp((min(at, BINS - 1) + 0.5) / _BINS_PER_E)

    def bulk_share_frac(self, group: int) -> float | None:
        """Share of all bulk requests that ran on ``group``."""
        total = int(self.requests[:, BULK].sum())
        return float(self.requests[group, BULK]) / total if total else None


@kernel
def advance(control: Any) -> None:
    """End an interval of the PI rule: move ``lambda`` by what was missed, start the next."""
    if control.seen > 0:
        error = control.missed / control.seen - control.target
        if error > 0.0 or control.lam > 0.0:
            control.error_sum += error
        moved = control.lam + control.kp * error + control.ki * control.error_sum
        control.lam = max(0.0, moved)
    control.seen = 0
    control.missed = 0
    control.next_s += control.interval_s


@kernel
def shortest(free_s: NDArray[np.float64], first: int, stop: int) -> int:
    """The device of ``first .. stop - 1`` that is free first; the first of equals."""
    best = first
    best_s = free_s[first]
    for n in range(first + 1, stop):
        if free_s[n] < best_s:
            best_s = free_s[n]
            best = n
    return best


@kernel
def place(
    rule: int,
    groups: Any,
    free_s: NDArray[np.float64],
    heads: NDArray[np.int64],
    lam: float,
    now_s: float,
    tokens: float,
    deadline_s: float,
) -> tuple[int, int]:
    """The device that a rule other than round robin takes, and its group; ``heads`` [groups] is
    the ``shortest`` of each.
    """
    best, best_group = -1, -1
    best_cost = best_tie = np.inf
    for g in range(len(groups)):
        group = groups[g]
        n = heads[g]
        wait_s = max(0.0, free_s[n] - now_s)
        eta_s = wait_s + tokens / group.mu
        if rule == LEAST_LOADED:
            cost, tie = wait_s * group.mu, free_s[n]
        elif rule == LEAST_ETA:
            cost, tie = eta_s, free_s[n]
        else:
            cost, tie = group.eps * tokens + lam * max(0.0, eta_s - deadline_s), eta_s
        if cost < best_cost or (cost == best_cost and tie < best_tie):
            best, best_group, best_cost, best_tie = n, g, cost, tie
    return best, best_group


@kernel
def place_first(
    groups: Any,
    free_s: NDArray[np.float64],
    lam: float,
    now_s: float,
    tokens: float,
    deadline_s: float,
) -> tuple[int, int]:
    """The note's listing: the first device of the list with the least cost, and its group."""
    best, best_group = -1, -1
    best_cost = np.inf
    for g in range(len(groups)):
        group = groups[g]
        for n in range(group.first, group.stop):
            eta_s = max(0.0, free_s[n] - now_s) + tokens / group.mu
            cost = group.eps * tokens + lam * max(0.0, eta_s - deadline_s)
            if cost < best_cost:
                best, best_group, best_cost = n, g, cost
    return best, best_group


@kernel
def serve(
    rule: int,
    groups: Any,
    free_s: NDArray[np.float64],
    heads: NDArray[np.int64],
    controls: Any,
    tiers: Any,
    placed: NDArray[np.float64],
    counts: NDArray[np.int64],
    histogram: NDArray[np.int64],
    t_s: NDArray[np.float64],
    tokens: NDArray[np.float64],
    estimate: NDArray[np.float64],
    tier_of: NDArray[np.int64],
) -> None:
    """Place a piece of arrivals and add up what becomes of them, in place.

    ``free_s`` [n]: when each device has worked off its queue; that instant does not move until
    the device gets more, so only the group that got a request is searched for its next ``heads``
    [groups]. ``placed`` [groups] tokens,
    ``counts`` [groups, tiers] requests, ``histogram`` [tiers, BINS].
    """
    control = controls[0]
    devices = len(free_s)
    for i in range(len(t_s)):
        now_s = t_s[i]
        while now_s >= control.next_s:
            advance(control)
        tier = tiers[tier_of[i]]
        if rule == ROUND_ROBIN:
            n = control.turn
            control.turn = (n + 1) % devices
            g = 0
            while n >= groups[g].stop:
                g += 1
        elif rule == JOULESCHED_FIRST:
            n, g = place_first(groups, free_s, control.lam, now_s, estimate[i], tier.deadline_s)
        else:
            lam, deadline_s = control.lam, tier.deadline_s
            n, g = place(rule, groups, free_s, heads, lam, now_s, estimate[i], deadline_s)
        free_s[n] = max(free_s[n], now_s) + tokens[i] / groups[g].mu
        if rule != ROUND_ROBIN and rule != JOULESCHED_FIRST:
            heads[g] = shortest(free_s, groups[g].first, groups[g].stop)
        latency_s = free_s[n] - now_s
        placed[g] += tokens[i]
        counts[g, tier_of[i]] += 1
        tier.requests += 1
        tier.latency_s += latency_s
        control.seen += 1
        if latency_s > tier.deadline_s:
            tier.missed += 1
            control.missed += 1
        at = int(math.log(latency_s / _LEAST_S) * _BINS_PER_E)
        histogram[tier_of[i], min(max(at, 0), BINS - 1)] += 1


class TokenQueues:
    """A fleet under one rule, fed with arrivals piece by piece."""

    def __init__(self, fleet: AbstractFleet, rule: str) -> None:
        if rule not in RULES:
            raise unknown_name("scheduler of token queues", rule, RULES)
        self.fleet, self.rule = fleet, rule
        stops = np.cumsum([group.devices for group in fleet.groups])
        self.groups = np.zeros(len(fleet.groups), DEVICE_GROUP).view(np.recarray)
        self.groups.stop = stops
        self.groups.first = np.concatenate(([0], stops[:-1]))
        self.groups.mu = [group.tokens_per_s for group in fleet.groups]
        self.groups.eps = [group.energy_j_per_token for group in fleet.groups]
        self.controls = control_record(fleet.control)
        self.tiers = np.zeros(2, TIER_TALLY).view(np.recarray)
        self.tiers.deadline_s = fleet.deadline_s
        self.free_s = np.zeros(fleet.devices)
        self.heads = self.groups.first.copy()
        self.placed = np.zeros(len(fleet.groups))
        self.counts = np.zeros((len(fleet.groups), 2), np.int64)
        self.histogram = np.zeros((2, BINS), np.int64)
        self.last_s = 0.0

    def feed(self, arrivals: Arrivals) -> None:
        """Place the next arrivals; their times must not go back."""
        if not len(arrivals.t_s):
            return
        serve(
            RULES.index(self.rule),
            self.groups,
            self.free_s,
            self.heads,
            self.controls,
            self.tiers,
            self.placed,
            self.counts,
            self.histogram,
            arrivals.t_s,
            arrivals.tokens,
            arrivals.estimate,
            arrivals.tier,
        )
        self.last_s = float(arrivals.t_s[-1])

    def result(self) -> QueueRun:
        """What has become of the arrivals so far."""
        groups, tiers, span_s = self.fleet.groups, self.tiers, self.last_s
        late_s = [
            float(np.maximum(self.free_s[row.first : row.stop] - span_s, 0.0).sum())
            for row in self.groups
        ]
        available_s = np.array([group.devices * span_s for group in groups])
        speed = np.array([group.tokens_per_s for group in groups])
        busy_s = self.placed / speed - np.array(late_s)
        idle_w = np.array([group.power_w_idle for group in groups])
        requests = int(tiers.requests.sum())
        return QueueRun(
            rule=self.rule,
            requests=self.counts.copy(),
            tokens=self.placed.copy(),
            utilization_frac=busy_s / available_s if span_s > 0 else np.zeros(len(groups)),
            energy_j=float(np.dot(self.groups.eps, self.placed)),
            idle_energy_j=float(np.dot(idle_w, np.maximum(available_s - busy_s, 0.0))),
            miss_frac=float(tiers.missed.sum()) / requests if requests else 0.0,
            miss_frac_by_tier=(_share(tiers[0]), _share(tiers[1])),
            latency_s_mean=float(tiers.latency_s.sum()) / requests if requests else 0.0,
            histogram=self.histogram.copy(),
            lambda_j_per_s=float(self.controls[0].lam),
            span_s=span_s,
        )


def run_queues(fleet: AbstractFleet, rule: str, pieces: Iterable[Arrivals]) -> QueueRun:
    """All ``pieces`` under one of ``RULES``. Raises ``UnknownNameError`` for another rule."""
    queues = TokenQueues(fleet, rule)
    for piece in pieces:
        queues.feed(piece)
    return queues.result()


def control_record(control: Control) -> np.recarray[Any, Any]:
    """The state of the PI rule at the start, one row of ``CONTROL``."""
    row = np.zeros(1, CONTROL).view(np.recarray)
    row.lam = control.start_j_per_s
    row.kp, row.ki = control.kp_j_per_s, control.ki_j_per_s
    row.target, row.interval_s = control.target_miss_frac, control.interval_s
    row.next_s = control.interval_s
    return row


def forecast_sigma(mae_frac: float) -> float:
    """The log-deviation ``s`` of a forecast ``t exp(s (1.645 + z))``, ``z`` standard normal, whose
    mean absolute relative error is ``mae_frac``.

    Such a forecast is at or above the truth in 95 of 100 cases. Closed form of the error (the mean
    of ``|exp(X) - 1|`` for normal ``X``), solved by bisection.
    """
    low, high = 0.0, 2.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if forecast_mae(middle) < mae_frac else (low, middle)
    return (low + high) / 2


def forecast_mae(sigma: float) -> float:
    """Mean absolute relative error of the forecast of ``forecast_sigma``."""
    mean = math.exp(_NORMAL_95 * sigma + sigma**2 / 2)
    short = _normal(-_NORMAL_95) - mean * _normal(-_NORMAL_95 - sigma)
    return mean - 1 + 2 * short


def forecast(
    tokens: NDArray[np.float64], sigma: float, noise: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Token estimates of the forecaster of ``forecast_sigma``; ``noise`` is standard normal."""
    return np.asarray(tokens * np.exp(sigma * (_NORMAL_95 + noise)))


def _normal(z: float) -> float:
    """The standard normal distribution function."""
    return 0.5 * math.erfc(-z / math.sqrt(2))


def _share(tier: Any) -> float | None:
    """Missed over requests of a tier."""
    return float(tier.missed) / int(tier.requests) if tier.requests else None
