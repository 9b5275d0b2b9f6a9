"""How much work a trace brings in its windows of time: what a fleet must be sized for."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from baseload.base.errors import BadInputError
from baseload.base.units import US_PER_S
from baseload.workload.chunks import source_of
from baseload.workload.trace import Trace, TraceSource


class TokenLoad(msgspec.Struct, frozen=True, kw_only=True):
    """A flow of work [1/s]."""

    requests_per_s: float
    input_tokens_per_s: float
    output_tokens_per_s: float


class WindowLoads(msgspec.Struct, frozen=True, kw_only=True):
    """Requests and tokens that arrive in each window of ``window_s`` seconds from time 0, empty
    windows included.

    The last window may reach beyond the end of the trace; its rates are then too low.
    """

    window_s: float
    requests: NDArray[np.int64]
    input_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]

    def busiest(self, frac: float = 1.0) -> TokenLoad:
        """The load that the fraction ``frac`` of windows does not exceed: 1 the busiest, 0.95 the
        95th percentile.

        Each flow is taken by itself, so the most input and the most output need not be of the same
        window. Raises ``BadInputError`` for a fraction outside 0 to 1.
        """
        if not 0 <= frac <= 1:
            raise BadInputError("fraction of windows", found=str(frac), allowed="0 to 1")
        return self._per_second(lambda counts: float(np.quantile(counts, frac)))

    def mean(self) -> TokenLoad:
        """The mean load over all windows."""
        return self._per_second(lambda counts: float(counts.mean()))

    def _per_second(self, statistic: Any) -> TokenLoad:
        return TokenLoad(
            requests_per_s=statistic(self.requests) / self.window_s,
            input_tokens_per_s=statistic(self.input_tokens) / self.window_s,
            output_tokens_per_s=statistic(self.output_tokens) / self.window_s,
        )


def tokens_per_second(trace: Trace | TraceSource, window_s: float = 60.0) -> WindowLoads:
    """The load of a trace in windows of ``window_s`` seconds (one minute by default); a source is
    read once.

    Raises ``BadInputError`` for a window that is not positive or for a trace without requests.
    """
    if not (math.isfinite(window_s) and window_s * US_PER_S >= 1):
        raise BadInputError(
            "window of the load", found=f"{window_s} s", allowed="a positive number of seconds"
        )
    window_us = round(window_s * US_PER_S)
    totals = np.zeros((3, 0), np.int64)
    source = source_of(trace) if isinstance(trace, Trace) else trace
    for piece in source.chunks():
        window = piece.t_us // window_us
        first, last = int(window[0]), int(window[-1])
        if last >= totals.shape[1]:
            totals = np.pad(totals, ((0, 0), (0, last + 1 - totals.shape[1])))
        size = last + 1 - first
        totals[0, first : last + 1] += np.bincount(window - first, minlength=size)
        for row, tokens in ((1, piece.input_tokens), (2, piece.output_tokens)):
            sums = np.bincount(window - first, weights=tokens, minlength=size)
            totals[row, first : last + 1] += np.rint(sums).astype(np.int64)
    if not totals.shape[1]:
        raise BadInputError(
            f"load of trace {trace.name!r}", found="no requests", allowed="one or more"
        )
    return WindowLoads(
        window_s=window_us / US_PER_S,
        requests=totals[0],
        input_tokens=totals[1],
        output_tokens=totals[2],
    )


def busiest_minutes(trace: Trace | TraceSource) -> TokenLoad:
    """The load of a trace's busiest minutes: the 95th percentile of its one-minute windows.

    A trace shorter than a minute is one window, of one second at least.
    """
    return tokens_per_second(trace, min(60.0, max(1.0, trace.span_s))).busiest(0.95)
