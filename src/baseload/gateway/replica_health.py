"""Whether a replica may be sent requests: a circuit breaker and a health probe each, no clock.

A replica is **able** when its breaker lets requests through, its probes are answered, and it is
awake. A breaker opens after some failures in a row, lets one request through on trial when its time
is up, and closes again if that goes well; else it stays open twice as long.
"""

from __future__ import annotations

from baseload.gateway.config import BreakerEntry, HealthEntry
from baseload.gateway.waiting import NEVER_NS

_NS = 1_000_000_000


class ReplicaHealth:
    """One replica's breaker and probes. ``trial``: its one request on trial is under way."""

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
        self.open_s = 0.0
        self.trial = False
        self.awake = True
        self.heard_ns = -1  # when it was last known to work
        self.sampled_ns = -1  # when its own metrics were last read

    def able(self, health: HealthEntry, now_ns: int) -> bool:
        """Whether it may be sent a request now."""
        if not self.awake or self.probe_failures >= health.failures or self.trial:
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
        return "trial" if self.trial else "open"

    def sent(self) -> None:
        """A request goes to it: on trial, where the breaker has been open."""
        if self.until_ns >= 0:
            self.trial = True

    def worked(self, now_ns: int) -> None:
        """An attempt there went well, so far or to its end."""
        self.failures = self.probe_failures = 0
        self.until_ns, self.open_s, self.trial = -1, 0.0, False
        self.heard_ns = now_ns

    def gave_up(self) -> None:
        """The request on trial ended without telling anything: the next may try."""
        self.trial = False

    def failed(self, breaker: BreakerEntry, now_ns: int, *, again_s: float = 0.0) -> None:
        """An attempt there failed; the engine itself asked to be left alone for ``again_s``."""
        self.failures += 1
        if self.trial or self.failures >= breaker.failures or again_s > 0.0:
            wanted = breaker.open_s if self.open_s == 0.0 else 2.0 * self.open_s
            self.open_s = min(breaker.open_most_s, wanted)
            self.until_ns = now_ns + int(max(self.open_s, min(again_s, breaker.open_most_s)) * _NS)
            self.trial = False
            self.opens += 1

    def probed(self, healthy: bool, now_ns: int) -> None:
        """A probe came back."""
        if healthy:
            self.probe_failures = 0
            self.heard_ns = now_ns
        else:
            self.probe_failures += 1

    def next_ns(self, now_ns: int) -> int:
        """When its breaker will let a request through; ``NEVER_NS`` if it is closed or already
        does.
        """
        return self.until_ns if self.until_ns > now_ns else NEVER_NS
