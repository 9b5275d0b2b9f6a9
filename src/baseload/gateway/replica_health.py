"""Whether a replica may be sent requests: a circuit breaker and a health probe each, no clock.

A replica is **able** when its breaker lets requests through, its probes are answered, and it is
awake. A breaker opens after some failures in a row, lets one request through on trial when its time
is up, and stays open twice as long if that fails. It closes at the first sign of an answer to the
trial, but **on probation**: until an answer has come to its end, one more failure opens it again.
What was sent before it opened changes nothing: such requests say how the replica was.
"""

from __future__ import annotations

from baseload.gateway.config import BreakerEntry, HealthEntry
from baseload.gateway.waiting import NEVER_NS

_NS = 1_000_000_000


class ReplicaHealth:
    """One replica's breaker and probes. ``trial``: the request on trial; -1: none is."""

    __slots__ = (
        "awake",
        "failures",
        "heard_ns",
        "open_s",
        "opens",
        "probe_failures",
        "sampled_ns",
        "trial",
        "until_ns",
    )

    def __init__(self) -> None:
        self.failures = self.probe_failures = self.opens = 0
        self.until_ns = -1  # the breaker is open until then; -1: it is closed
        self.open_s = 0.0  # its last pause; 0: an answer has come to its end since
        self.trial = -1
        self.awake = True
        self.heard_ns = -1  # when it was last known to work
        self.sampled_ns = -1  # when its own metrics were last read

    def able(self, health: HealthEntry, now_ns: int) -> bool:
        """Whether it may be sent a request now."""
        if not self.awake or self.probe_failures >= health.failures or self.trial >= 0:
            return False
        return self.until_ns < 0 or now_ns >= self.until_ns

    def healthy(self, health: HealthEntry) -> bool:
        """Whether it answers its probes."""
        return self.probe_failures < health.failures

    @property
    def breaker(self) -> str:
        """``closed``, ``open`` or ``trial``."""
        if self.until_ns < 0:
            return "closed"
        return "trial" if self.trial >= 0 else "open"

    def sent(self, request: int) -> None:
        """A request goes to it: on trial, where the breaker has been open."""
        if self.until_ns >= 0:
            self.trial = request

    def heard(self, now_ns: int) -> None:
        """It has said something."""
        self.probe_failures = 0
        self.heard_ns = now_ns

    def began(self, request: int, now_ns: int) -> None:
        """Something of an answer has come."""
        self.heard(now_ns)
        if self.trial == request:
            self.until_ns = self.trial = -1

    def worked(self, request: int, now_ns: int) -> None:
        """An answer has come to its end."""
        self.began(request, now_ns)
        if self.until_ns < 0:
            self.failures, self.open_s = 0, 0.0

    def gave_up(self, request: int) -> None:
        """A request there ended without telling anything: if it was on trial, the next may try."""
        if self.trial == request:
            self.trial = -1

    def failed(
        self, request: int, breaker: BreakerEntry, now_ns: int, *, again_s: float = 0.0
    ) -> None:
        """A request there failed; the engine itself asked to be left alone for ``again_s``."""
        self.failures += 1
        if self.trial >= 0 and self.trial != request:
            return  # the one on trial will tell
        tried, self.trial = self.trial >= 0, -1
        if not tried and self.until_ns >= 0:
            return  # it broke along with what opened the breaker
        if not tried and self.failures < breaker.failures and not again_s > 0.0:
            return
        self.open_s = min(breaker.open_most_s, max(breaker.open_s, 2.0 * self.open_s))
        pause_s = max(self.open_s, min(again_s, breaker.open_most_s))
        self.until_ns = now_ns + int(pause_s * _NS)
        self.opens += 1

    def probed(self, healthy: bool, now_ns: int) -> None:
        """A probe came back."""
        if healthy:
            self.heard(now_ns)
        else:
            self.probe_failures += 1

    def next_ns(self, now_ns: int) -> int:
        """When its breaker will let a request through; ``NEVER_NS`` if it is closed or already
        does.
        """
        return self.until_ns if self.until_ns > now_ns else NEVER_NS
