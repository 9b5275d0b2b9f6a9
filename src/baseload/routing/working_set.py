"""Which replicas are open: enough for the deadlines, no more, those that save the most joules
first.

The working set is sized from the rate that is forecast and from what a replica of each type carries
within the promises (``sizing.batch_within``), with a share of that kept free. The share, ``1 -
fill``, follows the misses. Sets grow at once and shrink only after the lower need has lasted as
long as a round of sleeping and waking takes to pay for itself (ski rental):
docs/explanation/parking.md.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from baseload.routing.fleet_state import PRIOR_INPUT_TOKENS, PRIOR_OUTPUT_TOKENS, TRAFFIC
from baseload.routing.sizing import (
    batch_at_rate,
    batch_within,
    rate_within,
    request_energy_j,
)
from baseload.routing.slow import FleetFacts, Orders, Promise, Signals

_FIRST_FILL, _LEAST_FILL, _MOST_FILL = 0.7, 0.3, 1.1
_FILL_UP_PER_S, _FILL_DOWN_PER_S = 0.001, 0.01
_AIM_FRAC = 1.0  # of the target miss rate that is aimed at
_MOST_ERROR = 1.5
_FILL_MEMORY_S = 60.0
_FEWEST_ENDED = 50.0  # of a tier, before its misses say anything
_SPREADS = 2.33  # 99 % of a normal
_RATE_MEMORY_S, _TREND_MEMORY_S = 10.0, 90.0
_LENGTH_MEMORY_S = 120.0
_RATE_SPREADS = 0.5
_PRIOR_REQUESTS = 1000.0
_SETTLE_S = 20.0  # before it closes anything
_BURST_SPREADS = 1.5
_HOLD_OPEN_S = 10.0  # a replica that drains runs on with a small batch: as dear as a wake


class RateForecast:
    """Requests per second ahead: a level and a trend (Holt's linear method), and how far off they
    were. Levels remember 10 s, trends 90 s: the slow modulation of real traffic is minutes long.
    """

    def __init__(self) -> None:
        self.level, self.trend, self.error_var = math.nan, 0.0, 0.0

    def learn(self, rate: float, window_s: float) -> None:
        """Take in the mean rate of the last ``window_s``."""
        if math.isnan(self.level):
            self.level = rate
            return
        ahead = self.level + self.trend * window_s
        error = rate - ahead
        follow = 1.0 - math.exp(-window_s / _RATE_MEMORY_S)
        turn = 1.0 - math.exp(-window_s / _TREND_MEMORY_S)
        before = self.level
        self.level = max(0.0, ahead + follow * error)
        self.trend += turn * ((self.level - before) / window_s - self.trend)
        self.error_var += turn * (error * error - self.error_var)

    def ahead(self, lead_s: float) -> float:
        """The rate in ``lead_s`` seconds: a rising trend goes on, and ``_RATE_SPREADS`` standard
        deviations of the error are added.
        """
        if math.isnan(self.level):
            return 0.0
        mean = max(0.0, self.level + max(0.0, self.trend) * lead_s)
        return mean + _RATE_SPREADS * math.sqrt(self.error_var)


class WorkingSet:
    """The controller: ``orders`` says how many replicas of each type should be open."""

    def __init__(
        self,
        facts: FleetFacts,
        promises: Sequence[Promise],
        *,
        sleep: bool,
        reserve: bool = False,
        waits: NDArray[np.bool_] | None = None,
    ) -> None:
        self._facts, self._promises = facts, promises
        self._kinds = list(zip(facts.cost, facts.limits, strict=True))
        self._sleep, self._reserve = sleep, reserve
        self._rest_w = np.array([_rest_power_w(cost, sleep=sleep) for cost in facts.cost])
        self._pays_s = np.array([_pays_after_s(cost, sleep=sleep) for cost in facts.cost])
        self._rates = [RateForecast() for _ in promises]
        none = np.zeros(len(promises), dtype=bool)
        self._at_once = ~(none if waits is None else waits)  # tiers that go as they come
        self._traffic = np.zeros(1, dtype=TRAFFIC).view(np.recarray)
        self._traffic[0] = (PRIOR_INPUT_TOKENS, PRIOR_OUTPUT_TOKENS)
        self._length_sums = _PRIOR_REQUESTS * np.array(
            [1.0, PRIOR_INPUT_TOKENS, PRIOR_OUTPUT_TOKENS]
        )
        self._wanted: deque[tuple[float, NDArray[np.int64]]] = deque()
        self._fill = _FIRST_FILL
        self._ended = np.zeros((2, len(promises)))
        self._target = np.array([max(1e-6, promise.target_miss_frac) for promise in promises])
        self._strict = np.array([not promise.bulk for promise in promises])
        if not self._strict.any():
            self._strict[:] = True
        self._ttft_s = np.array([promise.ttft_s for promise in promises])[self._strict]
        self._tpot_s = min(
            one.tpot_s for one, is_ in zip(promises, self._strict, strict=True) if is_
        )
        self._prompts = np.zeros((2, len(promises)))  # arrived requests, and their tokens

    @property
    def fill(self) -> float:
        """Share of what the promises allow that is used."""
        return self._fill

    @property
    def batch(self) -> NDArray[np.float64]:
        """Requests that an open replica of each type may run at once, ``[types]``."""
        return np.array(
            [
                float(
                    batch_within(
                        cost,
                        limits,
                        self._traffic[0],
                        self._first_token_s(float(cost.time_s_per_prefill_token)),
                        self._tpot_s * self._fill,
                        _SPREADS,
                    )
                )
                for cost, limits in self._kinds
            ]
        )

    def _first_token_s(self, token_s: float) -> float:
        """Seconds to the first token of a mean prompt that leave as much for waiting as the tier
        that a type with ``token_s`` per prompt token keeps most easily: where some tiers' prompts
        are too long for a type, it may serve the others.
        """
        counts, tokens = self._prompts[:, self._strict]
        mean = float(self._traffic[0].input_tokens)
        own = np.where(counts > 0.0, tokens / np.maximum(1e-9, counts), mean)
        slack_s = self._fill * self._ttft_s - (1.0 + _SPREADS) * token_s * own
        return float(slack_s.max()) + (1.0 + _SPREADS) * token_s * mean

    def learn(self, signals: Signals) -> None:
        """Take in the signals: rates, lengths, misses."""
        window_s = signals.window_s
        for rate, requests, tokens, at_once in zip(
            self._rates, signals.arrived, signals.prompt_tokens, self._at_once, strict=True
        ):
            if at_once:
                rate.learn(self._work(float(requests), float(tokens)) / window_s, window_s)
        keep = math.exp(-window_s / _LENGTH_MEMORY_S)
        self._prompts *= keep
        self._prompts += (signals.arrived, signals.prompt_tokens)
        self._length_sums *= keep
        self._length_sums += (
            signals.completed.sum(),
            signals.input_tokens.sum(),
            signals.output_tokens.sum(),
        )
        count, inputs, outputs = self._length_sums
        if count >= 1.0:
            self._traffic[0] = (inputs / count, outputs / count)
        keep = math.exp(-window_s / _FILL_MEMORY_S)
        self._ended *= keep
        self._ended += (signals.completed + signals.refused, signals.missed + signals.refused)
        self._move_fill(window_s)

    def _work(self, requests: float, prompt_tokens: float) -> float:
        """Arrivals in mean requests, half by their number and half by their prompts: prefill takes
        about half of a replica's time.
        """
        mean_tokens = max(1.0, float(self._traffic[0].input_tokens))
        return 0.5 * (requests + prompt_tokens / mean_tokens)

    def _move_fill(self, window_s: float) -> None:
        """Move the fill by a factor, against the logarithm of the miss rate over what is aimed at,
        in the tier that is worst off: down faster than up, because misses come late and in bursts.
        """
        ended, late = self._ended
        told = ended >= _FEWEST_ENDED
        if not told.any():
            return
        worst = float((late[told] / ended[told] / self._target[told]).max())
        ratio = (worst + 0.1) / _AIM_FRAC
        error = min(_MOST_ERROR, max(-1.0, math.log(ratio)))
        speed = _FILL_DOWN_PER_S if error > 0.0 else _FILL_UP_PER_S
        fill = self._fill * math.exp(-error * speed * window_s)
        self._fill = min(_MOST_FILL, max(_LEAST_FILL, fill))

    def need(
        self, request_per_s: float, batch: NDArray[np.float64] | None = None
    ) -> NDArray[np.int64]:
        """Replicas of each type for ``request_per_s``: the types in the order of joules above rest
        per request, each filled before the next is begun. At least one of each model is open.
        """
        facts, traffic = self._facts, self._traffic[0]
        batch = self.batch if batch is None else batch
        if not batch.any():
            return facts.replicas.copy()  # no type keeps the promise: all hands
        joules, rates = np.full(len(batch), np.inf), np.zeros(len(batch))
        for kind, ((cost, _), running) in enumerate(zip(self._kinds, batch, strict=True)):
            if running >= 1.0:
                joules[kind] = request_energy_j(cost, traffic, running, self._rest_w[kind])
                rates[kind] = rate_within(cost, traffic, running)
        wanted = np.zeros(len(batch), dtype=np.int64)
        left = request_per_s
        for kind in np.argsort(joules, kind="stable"):
            if rates[kind] == 0.0:
                continue
            wanted[kind] = min(facts.replicas[kind], math.ceil(left / rates[kind]))
            left -= wanted[kind] * rates[kind]
            if left <= 0.0:
                break
        if left > 0.0:  # beyond what keeps the promise: open the slow ones too
            wanted = facts.replicas.copy()
        for model in np.unique(facts.limits.model):  # requests for a model go nowhere else
            serve = np.flatnonzero((facts.limits.model == model) & (facts.replicas > 0))
            if len(serve) and not wanted[serve].any():
                wanted[serve[np.argmin(joules[serve])]] = 1
        return wanted

    def orders(self, signals: Signals, *, extra_per_s: float = 0.0) -> Orders:
        """What should be open from now on; ``extra_per_s``: planned work of the tiers that wait."""
        self.learn(signals)
        if signals.now_s < _SETTLE_S:
            return Orders()  # too little has ended to know what a request needs
        lead_s = signals.window_s + float(self._facts.cost.wake_s_from_parked.max())
        rate = sum(forecast.ahead(lead_s) for forecast in self._rates) + extra_per_s
        batch = self.batch
        wanted = self.need(rate, batch)
        self._wanted.append((signals.now_s, wanted))
        keep_s = _HOLD_OPEN_S + (float(self._pays_s.max()) if self._sleep else 0.0)
        while self._wanted[0][0] < signals.now_s - keep_s:
            self._wanted.popleft()
        opened = np.max([one for _, one in self._wanted], axis=0)
        carries = np.array(
            [
                rate_within(cost, self._traffic[0], running)
                for (cost, _), running in zip(self._kinds, batch, strict=True)
            ]
        )
        return Orders(
            open=opened,
            reserve=self._awake(opened, carries),
            forecast_batch=self._forecast_batch(opened, rate, carries),
        )

    def _awake(self, opened: NDArray[np.int64], carries: NDArray[np.float64]) -> NDArray[np.int64]:
        """Replicas of each type that stay awake beside the working ones: all that may not sleep;
        else what a burst of ``_BURST_SPREADS`` standard deviations needs, those first whose idling
        costs least for what they can carry.
        """
        spare = self._facts.replicas - opened
        if not self._sleep:
            return spare
        awake = np.zeros(len(spare), dtype=np.int64)
        if not self._reserve:
            return awake
        burst = _BURST_SPREADS * math.sqrt(sum(rate.error_var for rate in self._rates))
        idle_w = self._facts.cost.power_w_idle - self._rest_w
        order = sorted(range(len(spare)), key=lambda kind: idle_w[kind] / max(1e-9, carries[kind]))
        for kind in order:
            if carries[kind] > 0.0 and burst > 0.0:
                awake[kind] = min(spare[kind], math.ceil(burst / carries[kind]))
                burst -= awake[kind] * carries[kind]
        return awake

    def _forecast_batch(
        self, opened: NDArray[np.int64], rate: float, carries: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Requests that each working replica is about to run, the load spread by what they carry; 0
        for types of which none works: the first request there pays for opening it.
        """
        traffic = self._traffic[0]
        total = float((carries * opened).sum())
        found = np.zeros(len(opened))
        for kind in np.flatnonzero((opened > 0) & (carries > 0.0)):
            share = rate * carries[kind] / total
            cost, limits = self._kinds[kind]
            found[kind] = batch_at_rate(cost, limits, traffic, share)
        return found


def _rest_power_w(cost: object, *, sleep: bool) -> float:
    """What a replica of the type draws when it is closed [W]."""
    return float(cost.power_w_off if sleep else cost.power_w_idle)  # type: ignore[attr-defined]


def _pays_after_s(cost: object, *, sleep: bool) -> float:
    """Seconds of sleep after which its wake has paid for itself (ski rental)."""
    saved_w = float(cost.power_w_idle - cost.power_w_parked)  # type: ignore[attr-defined]
    if not sleep or saved_w <= 0.0:
        return 0.0
    return float(cost.wake_j_from_parked) / saved_w  # type: ignore[attr-defined]


def off_pays_after_s(cost: object) -> float:
    """Seconds parked after which the deeper sleep has paid for its dearer wake; inf when never."""
    saved_w = float(cost.power_w_parked - cost.power_w_off)  # type: ignore[attr-defined]
    dearer_j = float(cost.wake_j_from_off - cost.wake_j_from_parked)  # type: ignore[attr-defined]
    if saved_w <= 0.0:
        return math.inf
    return max(0.0, dearer_j) / saved_w
