"""A monitor of a site's net energy, in constant memory: drift, variance, regime, alarms.

It puts together docs/explanation/monitoring.md, 7.3 (batch means), 7.4 (charts of sums) and 7.5
(labels). Pure: it is fed with slots and knows no clock.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Literal

import msgspec
from scipy.special import ndtri

from baseload.theory.estimation import (
    LEAST_CORRELATION_TIMES,
    BatchMeans,
    MeanAndVariance,
)
from baseload.theory.inputs import not_negative, number, positive
from baseload.theory.monitoring import cusum_arl, regime_confidence
from baseload.theory.regime import RegimeLabel, label_of

Direction = Literal["surplus", "deficit"]

_KEPT_ALARMS = 100
_NO_SPREAD = 1e-300


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """The chart passed its threshold at ``time_s`` of the run; the drift left its target about
    ``since_s``. ``drift_w``: net power less target since then.
    """

    time_s: float
    since_s: float
    direction: Direction
    drift_w: float


class MonitorState(msgspec.Struct, frozen=True, kw_only=True):
    """What is known after the slots so far. None: not known yet.

    ``theta_w``: drift since the last detected change (``segment_s`` ago), ``sigma2`` [J^2/s] and
    where it comes from, ``y`` the criticality index; each with its interval. ``change_w`` of
    baseline supply brings the drift to its target. ``cusum_up`` and ``cusum_down`` in standard
    deviations of a block of ``block_slots``; None while the variance is not known.
    """

    time_s: float
    slots: int
    segment_s: float
    theta_w: float | None
    theta_w_low: float | None
    theta_w_high: float | None
    sigma2: float | None
    sigma2_low: float | None
    sigma2_high: float | None
    sigma2_source: Literal["measured", "before the change", "given", "not yet"]
    y: float | None
    y_low: float | None
    y_high: float | None
    regime: RegimeLabel | None
    confidence_frac: float | None
    cusum_up: float | None
    cusum_down: float | None
    block_slots: int | None
    alarms: int
    latest_alarms: tuple[Alarm, ...]
    change_w: float | None
    change_w_low: float | None
    change_w_high: float | None
    says: str


class _Side:
    """One chart: its height, and energy and time since it last stood at 0."""

    __slots__ = ("energy_j", "height", "sign", "time_s")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.clear()

    def clear(self) -> None:
        self.height = self.energy_j = self.time_s = 0.0

    def add(self, z: float, slack: float, energy_j: float, time_s: float) -> float:
        self.height += self.sign * z - slack
        if self.height <= 0:
            self.clear()
        else:
            self.energy_j += energy_j
            self.time_s += time_s
        return self.height


class Monitor:
    """Watches net energy (supply less demand) slot by slot; constant memory and time a slot.

    ``storage_j``: capacity of the storage (None: no index y). ``target_w``: the drift that is
    wanted, 0 at the critical point. ``var``: variance rate [J^2/s] if it is known beforehand;
    otherwise the charts start once batch means know it. ``block_slots``: length of a chart's block
    (None: ten correlation times). ``slack`` and ``threshold`` are k and h of ``cusum_arl``.
    After an alarm drift and variance are measured anew from the estimated time of the change.
    """

    def __init__(
        self,
        *,
        storage_j: float | None = None,
        target_w: float = 0.0,
        var: float | None = None,
        block_slots: int | None = None,
        slack: float = 0.25,
        threshold: float = 8.0,
        confidence: float = 0.95,
    ) -> None:
        self.storage_j = None if storage_j is None else positive("storage_j", storage_j)
        self.target_w = number("target_w", target_w)
        self.slack = not_negative("slack", slack)
        self.threshold = positive("threshold", threshold)
        self.confidence = number("confidence", confidence, least=0.5, most=1.0, open_most=True)
        self._given = None if var is None else positive("var", var)
        self._wanted_block = (
            None if block_slots is None else int(positive("block_slots", block_slots))
        )
        # silence that long after an alarm means that the drift is back at its target
        self._quiet_blocks = 3 * cusum_arl(mu=2 * slack, k=slack, h=threshold)
        self._batches = BatchMeans()
        self._time_s, self._slots = 0.0, 0
        self._segment_j = self._segment_s = 0.0
        self._block_j = self._block_s = 0.0
        self._block_count = 0
        self._block: int | None = None
        self._scale: float | None = None  # the variance rate that the charts use
        self._before: float | None = None  # the variance rate before the last change
        self._next_look = 32
        self._up, self._down = _Side(1), _Side(-1)
        self._leaning = 0
        self._quiet = 0
        self._alarms = 0
        self._kept: deque[Alarm] = deque(maxlen=_KEPT_ALARMS)
        if self._given is not None:
            self._scale, self._block = self._given, self._wanted_block or 1

    def update(self, duration_s: float, net_energy_j: float) -> Alarm | None:
        """Add a slot; gives the alarm that it raises, if any. Raises ArgumentError for what is not
        finite or a duration that is not above 0.
        """
        self._batches.update(net_energy_j, duration_s)
        self._time_s += duration_s
        self._slots += 1
        self._segment_j += net_energy_j
        self._segment_s += duration_s
        if self._block is None:
            if self._batches.slots >= self._next_look:
                self._learn_scale()
            return None
        self._block_j += net_energy_j
        self._block_s += duration_s
        self._block_count += 1
        return self._close_block() if self._block_count >= self._block else None

    def _learn_scale(self) -> None:
        """Start the charts when the batches are long and many enough."""
        found = self._batches.estimate()
        self._next_look = 2 * self._batches.slots
        if not found.enough or found.sigma2 is None or found.correlation_slots is None:
            return
        self._scale = max(found.sigma2, _NO_SPREAD)
        self._block = self._wanted_block or math.ceil(
            LEAST_CORRELATION_TIMES * found.correlation_slots
        )

    def _close_block(self) -> Alarm | None:
        """Feed both charts with the finished block."""
        assert self._scale is not None
        energy, time_s = self._block_j, self._block_s
        self._block_j = self._block_s = 0.0
        self._block_count = 0
        z = (energy - self.target_w * time_s) / math.sqrt(self._scale * time_s)
        up = self._up.add(z, self.slack, energy, time_s)
        down = self._down.add(z, self.slack, energy, time_s)
        if max(up, down) >= self.threshold:
            return self._raise_alarm(self._up if up >= down else self._down)
        self._quiet += 1
        if self._leaning and self._quiet > self._quiet_blocks:
            self._leaning = 0
            self._start_segment(0.0, 0.0)
        return None

    def _raise_alarm(self, side: _Side) -> Alarm:
        """Record the alarm; a new direction starts a new segment where its chart left 0."""
        alarm = Alarm(
            time_s=self._time_s,
            since_s=self._time_s - side.time_s,
            direction="surplus" if side.sign > 0 else "deficit",
            drift_w=side.energy_j / side.time_s - self.target_w,
        )
        self._alarms += 1
        self._kept.append(alarm)
        self._quiet = 0
        if self._leaning != side.sign:
            self._leaning = side.sign
            self._start_segment(side.energy_j, side.time_s)
        self._up.clear()
        self._down.clear()
        return alarm

    def _start_segment(self, energy_j: float, time_s: float) -> None:
        """Measure anew; what came before keeps its say on the variance until the new batches are
        enough.
        """
        found = self._batches.estimate()
        if found.enough and found.sigma2 is not None:
            self._before = found.sigma2
        self._batches = BatchMeans()
        self._segment_j, self._segment_s = energy_j, time_s

    @property
    def slots(self) -> int:
        """Slots so far."""
        return self._slots

    def state(self) -> MonitorState:
        """What is known now; intervals of ``BatchMeans`` and the delta method, asymptotic."""
        found = self._batches.estimate(confidence=self.confidence)
        sigma2, source, spread_of = self._variance(found)
        measured = source == "measured"
        theta = self._segment_j / self._segment_s if self._segment_s > 0 else None
        half = None
        if theta is not None and sigma2 is not None:
            half = self._z() * math.sqrt(sigma2 / self._segment_s)
            if measured and found.theta is not None and found.theta_high is not None:
                # Student's factor for an estimated variance
                normal = self._z() * math.sqrt(sigma2 / found.time_s)
                half *= (found.theta_high - found.theta) / normal if normal > 0 else 1.0
        y, y_sd = self._index(theta, sigma2, spread_of)
        change = None if theta is None else self.target_w - theta
        known = self._scale is not None
        return MonitorState(
            time_s=self._time_s,
            slots=self._slots,
            segment_s=self._segment_s,
            theta_w=theta,
            theta_w_low=_less(theta, half),
            theta_w_high=_more(theta, half),
            sigma2=sigma2,
            sigma2_low=found.sigma2_low if measured else None,
            sigma2_high=found.sigma2_high if measured else None,
            sigma2_source=source,
            y=y,
            y_low=_less(y, None if y_sd is None else self._z() * y_sd),
            y_high=_more(y, None if y_sd is None else self._z() * y_sd),
            regime=None if y is None else label_of(y),
            confidence_frac=None if y is None or y_sd is None else regime_confidence(y=y, sd=y_sd),
            cusum_up=self._up.height if known else None,
            cusum_down=self._down.height if known else None,
            block_slots=self._block,
            alarms=self._alarms,
            latest_alarms=tuple(self._kept),
            change_w=change,
            change_w_low=_less(change, half),
            change_w_high=_more(change, half),
            says=found.says if known else f"no charts yet: {found.says}",
        )

    def _z(self) -> float:
        return float(ndtri(0.5 + 0.5 * self.confidence))

    def _variance(
        self, found: MeanAndVariance
    ) -> tuple[float | None, Literal["measured", "before the change", "given", "not yet"], float]:
        """Variance rate, its source and its relative variance."""
        if found.enough and found.sigma2 is not None:
            return found.sigma2, "measured", 2 / (found.batches - 1)
        if self._before is not None:
            return self._before, "before the change", 2 / 31
        if self._given is not None:
            return self._given, "given", 0.0
        return None, "not yet", 0.0

    def _index(
        self, theta: float | None, sigma2: float | None, relative_variance: float
    ) -> tuple[float | None, float | None]:
        """y = 2 theta B / sigma2 and its standard deviation."""
        if theta is None or sigma2 is None or self.storage_j is None:
            return None, None
        if sigma2 == 0:
            return (math.copysign(math.inf, theta) if theta else 0.0), 0.0
        y = 2 * theta * self.storage_j / sigma2
        own = 4 * self.storage_j**2 / (sigma2 * self._segment_s)
        return y, math.sqrt(own + y * y * relative_variance)


def _less(value: float | None, half: float | None) -> float | None:
    return None if value is None or half is None else value - half


def _more(value: float | None, half: float | None) -> float | None:
    return None if value is None or half is None else value + half
