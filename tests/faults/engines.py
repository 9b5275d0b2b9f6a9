"""Engines that serve, and those that do not: what happens to one attempt at each."""

from __future__ import annotations

import math
import random

import msgspec

from baseload.gateway import events

_NS = 1_000_000_000

MODES = (
    "well", "slow", "hung", "dead", "failing", "limited", "garbage", "halved", "silent",
    "refusing", "lying", "mixed",
)  # fmt: skip
"""How an engine behaves: ``hung`` takes a request and says nothing, ``silent`` stops in the middle,
``dead`` takes no connection, ``halved`` ends an answer before it is whole, ``lying`` miscounts.
"""
_WEIGHTS = (30, 5, 3, 5, 4, 4, 2, 4, 3, 2, 5, 8)
_AGAIN_S = (math.nan, 0.0, 0.2, 3.0, -5.0, 1e9, math.inf)
_TOLD = (-1, -1, 0, 3, 10**6, 10**12, 2**62, -7, -(2**60))


class Engine:
    """The engine at a URL: its mode, and whether it sleeps (if ``mute``, it does not say so).
    ``count``: attempts it runs.
    """

    def __init__(self, url: str, draw: random.Random) -> None:
        self.url = url
        self.mode = "well"
        self.sleeps = False
        self.mute = draw.random() < 0.3
        self.count = 0
        self._draw = draw

    def turn(self) -> None:
        """Take on another mode."""
        self.mode = self._draw.choices(MODES, _WEIGHTS)[0]
        if self._draw.random() < 0.15:  # somebody else has put it to sleep, or woken it
            self.sleeps = not self.sleeps

    def probed(self, replica: int) -> events.Probed:
        """What a probe finds; now and then not what is."""
        draw = self._draw
        healthy = self.mode not in ("dead", "hung") if draw.random() < 0.9 else draw.random() < 0.5
        asleep = None if self.mute else healthy and self.sleeps
        return events.Probed(replica=replica, healthy=healthy, asleep=asleep)

    def sampled(self, replica: int) -> events.Sampled:
        """What its metrics say; now and then nonsense."""
        draw = self._draw
        if draw.random() < 0.1:
            said = draw.choice((-1.0, math.nan, math.inf, -math.inf, 1e18, 1e300, 5.5, 40.0))
            return events.Sampled(replica=replica, running=said, waiting=draw.choice((said, 0.0)))
        foreign = draw.choice((0, 0, 0, 3)) if self.mode == "mixed" else 0
        return events.Sampled(replica=replica, running=float(self.count + foreign), waiting=0.0)


class Script:
    """What an attempt will meet: pairs of seconds to wait and an event; at its end, where
    ``hangs``, nothing more ever comes.
    """

    __slots__ = ("hangs", "steps")

    def __init__(self, steps: list[tuple[float, events.AnyEvent]], *, hangs: bool = False) -> None:
        self.steps, self.hangs = steps, hangs


def script(draw: random.Random, engine: Engine, send: events.Send, stream: bool) -> Script:
    """What will happen to an attempt that is sent now."""
    mode = "hung" if engine.sleeps else engine.mode
    if mode == "mixed":
        mode = draw.choice(("well", "failing", "halved", "dead", "lying", "silent"))
    who = {"request": send.request, "attempt": send.attempt}
    if mode == "dead":
        return Script([(draw.choice((0.0, 0.001, 5.0)), events.Broke(**who, cause="connect"))])
    if mode == "failing":
        status = draw.choice((500, 502, 503))
        after = draw.expovariate(5.0)
        return Script([(after, events.Broke(**who, cause="status", status=status))])
    if mode == "limited":
        again_s = draw.choice(_AGAIN_S)
        broke = events.Broke(**who, cause="status", status=429, retry_after_s=again_s)
        return Script([(0.002, broke)])
    if mode == "refusing":
        return Script([(0.002, events.Broke(**who, cause="rejected", status=400))])
    if mode == "hung":
        return Script([], hangs=True)
    return _answer(draw, mode, who, stream)


def _answer(draw: random.Random, mode: str, who: dict[str, int], stream: bool) -> Script:
    """An answer that begins, whether it ends or not."""
    pace = 20.0 if mode == "slow" else 1.0
    first_s = pace * (0.02 + draw.expovariate(10.0))
    steps: list[tuple[float, events.AnyEvent]] = []
    tokens = 0
    chunks = draw.randrange(1, 6) if stream else 0
    if stream:
        steps.append((first_s, events.Began(**who)))
    for chunk in range(chunks):
        more = 0 if chunk == 0 and draw.random() < 0.2 else 1 + int(draw.expovariate(0.05))
        tokens += more
        sent = chunk > 0 or draw.random() < 0.7
        step = events.Progressed(**who, tokens=more, sent=sent)
        steps.append((0.0 if chunk == 0 else pace * draw.expovariate(4.0), step))
    last_s = 0.01 if stream else first_s + pace * draw.expovariate(2.0)
    if not stream:
        tokens = 1 + int(draw.expovariate(0.01))
    if mode in ("garbage", "halved"):
        cut = draw.randrange(len(steps) + 1)
        cause: events.Cause = "garbage" if mode == "garbage" else "closed"
        return Script([*steps[:cut], (0.01, events.Broke(**who, cause=cause, status=200))])
    if mode == "silent":
        return Script(steps[: draw.randrange(len(steps) + 1)], hangs=True)
    told = tokens if draw.random() < 0.9 else -1
    ended = events.Ended(
        **who, input_tokens=draw.choice((-1, 100)), output_tokens=told, finish="stop"
    )
    if mode == "lying":
        ended = msgspec.structs.replace(
            ended,
            input_tokens=draw.choice(_TOLD),
            output_tokens=draw.choice(_TOLD),
            reasoning_tokens=draw.choice(_TOLD),
            cached_tokens=draw.choice(_TOLD),
            finish=draw.choice(("stop", "length", "nonsense")),
            exhausted=draw.random() < 0.2,
        )
    return Script([*steps, (last_s, ended)])
