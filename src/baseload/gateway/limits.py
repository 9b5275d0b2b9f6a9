"""What each key may take: requests and tokens a minute, and streams at once.

A bucket holds at most what its key may take in a minute and fills evenly. It is counted in whole
units of 1/60e9 of a request or token, so nothing is lost to rounding: over any time a key takes no
more than its bucket and what has flowed in.

Tokens are not known beforehand: a request reserves an estimate (at most a whole bucket), and
``settle`` puts right what it really took. One that took more leaves a debt, and the key waits until
it has flowed in.
"""

from __future__ import annotations

from collections.abc import Sequence

from baseload.base.units import NS_PER_S
from baseload.gateway.config import KeyEntry
from baseload.gateway.errors import RequestError
from baseload.gateway.keys import Caller

_MINUTE_NS = 60 * NS_PER_S
Headers = list[tuple[bytes, bytes]]


class _Bucket:
    """``per_min`` a minute, at most a minute's worth at once. ``level`` in units of 1/60e9."""

    __slots__ = ("at_ns", "level", "per_min")

    def __init__(self, per_min: int) -> None:
        self.per_min = per_min
        self.level = per_min * _MINUTE_NS
        self.at_ns: int | None = None

    def flow(self, now_ns: int) -> None:
        """Let in what has come since the last look; a clock that steps back lets in nothing."""
        if self.at_ns is not None and now_ns > self.at_ns:
            full = self.per_min * _MINUTE_NS
            self.level = min(full, self.level + (now_ns - self.at_ns) * self.per_min)
        if self.at_ns is None or now_ns > self.at_ns:
            self.at_ns = now_ns

    def take(self, count: int) -> None:
        """Take ``count``, or give it back where negative; never above a full bucket."""
        self.level = min(self.per_min * _MINUTE_NS, self.level - count * _MINUTE_NS)

    def wait_ns(self, count: int) -> int:
        """Time until it holds ``count`` (a full bucket, where ``count`` is more) [ns]."""
        short = min(count, self.per_min) * _MINUTE_NS - self.level
        return max(0, -(-short // self.per_min))

    @property
    def remaining(self) -> int:
        """Whole ones left, 0 in debt."""
        return max(0, self.level // _MINUTE_NS)


class _Limits:
    """The state of one key; it outlives a change of the configuration."""

    __slots__ = ("max_streams", "requests", "streams", "tokens")

    def __init__(self) -> None:
        self.requests: _Bucket | None = None
        self.tokens: _Bucket | None = None
        self.max_streams: int | None = None
        self.streams = 0

    def set(self, entry: KeyEntry, workers: int) -> None:
        """Go by the numbers of ``entry`` from now on; what was taken stays taken, in proportion."""
        self.requests = _bucket(entry.requests_per_min, workers, self.requests)
        self.tokens = _bucket(entry.tokens_per_min, workers, self.tokens)
        self.max_streams = _share(entry.max_streams, workers)

    @property
    def free(self) -> bool:
        """Whether there is nothing to count."""
        return self.requests is None and self.tokens is None and self.max_streams is None


class Grant:
    """What one admitted request holds of its key's limits, until ``Limiter.settle``."""

    __slots__ = ("limits", "settled", "stream", "tokens")

    def __init__(self, limits: _Limits, tokens: int, stream: bool) -> None:
        self.limits, self.tokens, self.stream = limits, tokens, stream
        self.settled = False


def _share(limit: int | None, workers: int) -> int | None:
    return None if limit is None else max(1, limit // workers)


def _bucket(per_min: int | None, workers: int, before: _Bucket | None) -> _Bucket | None:
    share = _share(per_min, workers)
    if share is None:
        return None
    made = _Bucket(share)
    if before is not None:
        made.at_ns = before.at_ns
        made.level = before.level * share // before.per_min
    return made


class Limiter:
    """The limits of all keys. Keys without limits, and callers without keys, cost next to nothing.

    ``workers``: processes that share the load; each grants its part (at least 1).
    """

    def __init__(self, keys: Sequence[KeyEntry], *, workers: int = 1) -> None:
        self._workers = workers
        self._limits: list[_Limits] = []
        self._by_name: dict[str, _Limits] = {}
        self.reconfigure(keys)

    def reconfigure(self, keys: Sequence[KeyEntry]) -> None:
        """Go by new entries from now on. A key of the same name goes on where it was, and what was
        granted before is settled as ever.
        """
        self._by_name = {entry.name: self._by_name.get(entry.name) or _Limits() for entry in keys}
        self._limits = list(self._by_name.values())
        for entry, limits in zip(keys, self._limits, strict=True):
            limits.set(entry, self._workers)

    def admit(self, caller: Caller, *, tokens: int, stream: bool, now_ns: int) -> Grant | None:
        """Let a request of ``caller`` in that will take about ``tokens``; give what it got to
        ``settle`` when it has ended (``None``: the key has no limits).

        Raises ``RequestError`` 429 with the time after which there is room, and takes nothing then.
        """
        number = caller.number
        if number < 0 or self._limits[number].free:
            return None
        limits = self._limits[number]
        if stream and limits.max_streams is not None and limits.streams >= limits.max_streams:
            raise self._refused(
                caller, f"{limits.max_streams} streams at once", "max_streams", NS_PER_S, now_ns
            )
        for bucket, count, what in (
            (limits.requests, 1, "requests"),
            (limits.tokens, tokens, "tokens"),
        ):
            if bucket is None:
                continue
            bucket.flow(now_ns)
            wait_ns = bucket.wait_ns(count)
            if wait_ns:
                said = f"{bucket.per_min:,} {what} a minute"
                raise self._refused(caller, said, f"{what}_per_min", wait_ns, now_ns)
        reserved = 0
        if limits.requests is not None:
            limits.requests.take(1)
        if limits.tokens is not None:
            reserved = min(max(0, tokens), limits.tokens.per_min)
            limits.tokens.take(reserved)
        limits.streams += stream
        return Grant(limits, reserved, stream)

    def settle(self, grant: Grant | None, *, used_tokens: int, now_ns: int) -> None:
        """Put right what an ended request took: ``used_tokens`` in place of its estimate (0: it was
        never answered; -1: nobody knows, and the estimate stands). A second call does nothing.
        """
        if grant is None or grant.settled:
            return
        grant.settled = True
        limits = grant.limits
        limits.streams -= grant.stream
        if limits.tokens is not None and used_tokens >= 0:
            limits.tokens.flow(now_ns)
            limits.tokens.take(used_tokens - grant.tokens)

    def headers(self, caller: Caller, now_ns: int) -> Headers:
        """``x-ratelimit-{limit,remaining,reset}-{requests,tokens}`` of a key, as it is now; none
        for what has no limit. ``reset``: until the bucket is full.
        """
        number = caller.number
        if number < 0 or self._limits[number].free:
            return []
        limits = self._limits[number]
        made: Headers = []
        for bucket, what in ((limits.requests, b"requests"), (limits.tokens, b"tokens")):
            if bucket is None:
                continue
            bucket.flow(now_ns)
            made += (
                (b"x-ratelimit-limit-" + what, b"%d" % bucket.per_min),
                (b"x-ratelimit-remaining-" + what, b"%d" % bucket.remaining),
                (b"x-ratelimit-reset-" + what, span_text(bucket.wait_ns(bucket.per_min))),
            )
        return made

    def _refused(
        self, caller: Caller, limit: str, code: str, wait_ns: int, now_ns: int
    ) -> RequestError:
        """429 that says which limit, and when there will be room."""
        wait_s = wait_ns / NS_PER_S
        return RequestError(
            429,
            f"the key {caller.name!r} is at its limit of {limit}; try again in {wait_s:.3g} s",
            code=f"rate_limit_{code}",
            retry_after_s=wait_s,
            headers=self.headers(caller, now_ns),
        )


def span_text(span_ns: int) -> bytes:
    """A time as OpenAI writes it in ``x-ratelimit-reset-...``: ``0s``, ``20ms``, ``1.5s``,
    ``6m0s``; rounded up to whole milliseconds.
    """
    whole_ms = -(-span_ns // 1_000_000)
    if whole_ms == 0:
        return b"0s"
    if whole_ms < 1000:
        return b"%dms" % whole_ms
    minutes, rest = divmod(whole_ms, 60_000)
    seconds = f"{rest / 1000:.3f}".rstrip("0").rstrip(".")
    return f"{minutes}m{seconds}s".encode() if minutes else f"{seconds}s".encode()
