"""One request on its way through the state machine."""

from __future__ import annotations

from math import isnan
from typing import Any

from baseload.gateway.events import Arrived

NEW, HELD, QUEUED, RETRYING, SENT, FLOWING = range(6)
"""Where a request is: just come; held back for quieter minutes; waiting for room; waiting to be
tried again; sent, nothing of the answer has come; its answer is coming.
"""

STAGES = ("new", "held", "queued", "retrying", "sent", "flowing")


class Life:
    """What the machine knows of a request. Instants [ns] of the machine's clock, promises [s]
    from its arrival (inf: none). ``handed``: something of the answer has reached the client.
    """

    __slots__ = (
        "arrived_ns",
        "attempt",
        "cap_tokens",
        "counted_j",
        "e2e_s",
        "energy_j",
        "excluded",
        "fairness",
        "first_ns",
        "first_steps",
        "handed",
        "home",
        "input_tokens",
        "lane",
        "last_ns",
        "lost_ns",
        "option",
        "own_j",
        "pending",
        "priority",
        "replica",
        "request",
        "sent_ns",
        "session",
        "shared_j",
        "slot",
        "stage",
        "stream",
        "tier",
        "tokens",
        "tpot_s",
        "tries",
        "ttft_s",
        "wasted_j",
        "written",
    )

    def __init__(self, event: Arrived, tier: int, promises: tuple[float, ...], now_ns: int):
        self.request, self.lane, self.tier = event.request, event.lane, tier
        # an int would have the kernels compiled anew, for seconds, in the middle of a request
        self.input_tokens, self.cap_tokens = float(event.input_tokens), float(event.cap_tokens)
        ttft_s, tpot_s, e2e_s = event.ttft_s, event.tpot_s, event.e2e_s
        self.ttft_s = promises[0] if isnan(ttft_s) else ttft_s
        self.tpot_s = promises[1] if isnan(tpot_s) else tpot_s
        self.e2e_s = promises[2] if isnan(e2e_s) else e2e_s
        self.session, self.fairness, self.priority = event.session, event.fairness, event.priority
        self.stream, self.arrived_ns = event.stream, now_ns
        self.stage, self.attempt, self.tries = NEW, -1, 0
        self.replica = self.option = -1
        self.tokens = self.pending = 0
        self.shared_j = self.own_j = self.first_steps = 0.0
        self.energy_j = self.wasted_j = self.counted_j = 0.0
        self.sent_ns = self.first_ns = self.last_ns = self.lost_ns = -1
        self.written = 0
        self.handed = False
        self.excluded: tuple[int, ...] = ()
        self.slot = -1
        self.home: Any = None  # the ``Replicas`` on whose books it is

    @property
    def running(self) -> bool:
        """Whether an attempt is at a replica."""
        return self.stage >= SENT

    def missed(self, ttft_s: float, total_s: float, now_ns: int) -> bool:
        """Whether an answer that ends now broke a promise; the first token of one that did not
        stream is not seen.
        """
        if total_s > self.e2e_s:
            return True
        if not self.stream or self.first_ns < 0:
            return False
        tpot_s = 1e-9 * (now_ns - self.first_ns) / max(1, self.written - 1)
        return ttft_s > self.ttft_s or (self.written > 1 and tpot_s > self.tpot_s)
