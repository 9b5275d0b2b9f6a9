"""Open-loop load: every request goes out at its instant, whatever has come back until then.

A closed loop waits for a slow server and so measures it less often when it is slow (coordinated
omission). Here all latencies count from the instant at which a request was due, and how late the
client itself was is measured beside them. Clock and transport are handed in.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Protocol

import msgspec

from baseload.gateway.load.answers import Reading
from baseload.gateway.load.bodies import Bodies
from baseload.gateway.load.plan import NO_TIER, LoadPlan, Planned

_LEAD_NS = 50_000_000
"""Between the start of the run and its instant 0."""


class Clock(Protocol):
    """Whose time it is."""

    def now_ns(self) -> int:
        """The instant, never going back."""

    async def sleep_until(self, instant_ns: int) -> None:
        """Come back at ``instant_ns``, or a little later."""


class Head(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Status and headers (names in lower case) of an answer."""

    status: int
    headers: Mapping[str, str]


class ExchangeError(Exception):
    """An exchange that broke: ``kind`` is one of ``connect``, ``timeout``, ``closed``, ``client``
    (the client's own machine refused, such as for too many open files).
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind, self.detail = kind, detail


class Transport(Protocol):
    """Carries requests to the server."""

    def exchange(self, body: bytes, headers: Mapping[str, str]) -> AsyncIterator[Head | bytes]:
        """Send a request; gives the ``Head`` of the answer, then its bytes as they come. Raises
        ``ExchangeError``.
        """


class Outcome(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What became of one request. Instants [ns] of the run's clock, from its instant 0; -1: never.

    ``kind``: empty for a whole answer, ``unfinished`` where the run was stopped before its end,
    else how it failed. Counts are the server's own, -1 where it gave none; ``pieces``: chunks with
    text.
    """

    number: int
    tier: str
    due_ns: int
    sent_ns: int
    first_ns: int = -1
    last_ns: int = -1
    end_ns: int = -1
    kind: str = ""
    detail: str = ""
    input_tokens: int = -1
    output_tokens: int = -1
    reasoning_tokens: int = -1
    pieces: int = 0
    asked_tokens: int = 0
    energy_j: float | None = None
    carbon_g: float | None = None
    energy_method: str | None = None
    model: str = ""
    effort: str = ""
    replica: str = ""


class Progress(msgspec.Struct, kw_only=True):
    """Where a run stands: counts so far."""

    planned: int
    sent: int = 0
    answered: int = 0
    failed: int = 0

    @property
    def in_flight(self) -> int:
        """Requests sent and not ended."""
        return self.sent - self.answered - self.failed


class OpenLoop:
    """One run of a plan. ``run`` gives the outcomes in the plan's order; ``stop`` ends it early.
    ``start_ns``: the run's instant 0 on its clock.
    """

    def __init__(
        self,
        plan: LoadPlan,
        bodies: Bodies,
        *,
        transport: Transport,
        clock: Clock,
        stream: bool = True,
        watch: Callable[[Progress], None] | None = None,
    ) -> None:
        self._plan, self._bodies = plan, bodies
        self._transport, self._clock, self._stream = transport, clock, stream
        self._watch = watch
        self._outcomes: dict[int, Outcome] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sender: asyncio.Task[None] | None = None
        self._bug: BaseException | None = None
        self.start_ns = 0
        self.progress = Progress(planned=len(plan.requests))
        self.stopped = False

    async def run(self) -> list[Outcome]:
        """Send everything, wait for all answers, and give what became of each request that was
        sent.
        """
        self.start_ns = self._clock.now_ns() + _LEAD_NS
        self._sender = asyncio.ensure_future(self._send_all())
        try:
            await asyncio.wait({self._sender})
            while self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            if not self._sender.done() or self._tasks:
                self.stop()
        if not self._sender.cancelled():
            self._sender.result()
        if self._bug is not None:
            raise self._bug
        return [self._outcomes[number] for number in sorted(self._outcomes)]

    def stop(self) -> None:
        """Send no more, and give up what has not been answered."""
        self.stopped = True
        if self._sender is not None:
            self._sender.cancel()
        for task in self._tasks:
            task.cancel()

    async def _send_all(self) -> None:
        """Start each request at its instant."""
        for request in self._plan.requests:
            due_ns = self.start_ns + request.due_ns
            if self._clock.now_ns() < due_ns:
                await self._clock.sleep_until(due_ns)
            task = asyncio.ensure_future(self._serve(request))
            self._tasks.add(task)
            task.add_done_callback(self._ended)
            self.progress.sent += 1
            self._tell()
            if request.number % 64 == 63:
                await asyncio.sleep(0)  # a late client still reads what comes back

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A request is over; a mistake of ours comes out loudly."""
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._bug = self._bug or error
            self.stop()

    async def _serve(self, request: Planned) -> None:
        """One request from its sending to its end."""
        reading = Reading(stream=self._stream)
        body, headers = self._bodies.body(request), _headers(request)
        sent_ns = self._clock.now_ns()
        end_ns = -1
        try:
            async for piece in self._transport.exchange(body, headers):
                if isinstance(piece, Head):
                    reading.head(piece.status, piece.headers)
                else:
                    reading.feed(piece, self._clock.now_ns())
            end_ns = self._clock.now_ns()
            reading.end(end_ns)
        except ExchangeError as error:
            end_ns = self._clock.now_ns()
            reading.fail(error.kind, error.detail)
        except asyncio.CancelledError:
            reading.kind = "unfinished"
            if not self.stopped:
                raise
        finally:
            made = self._outcome(request, reading, sent_ns, end_ns)
            self._outcomes[request.number] = made
            if made.kind:
                self.progress.failed += 1
            else:
                self.progress.answered += 1
            self._tell()

    def _tell(self) -> None:
        if self._watch is not None:
            self._watch(self.progress)

    def _outcome(self, request: Planned, reading: Reading, sent_ns: int, end_ns: int) -> Outcome:
        """What became of the request, with instants from the run's instant 0."""
        start_ns, usage, energy = self.start_ns, reading.usage, reading.energy
        details = None if usage is None else usage.completion_tokens_details

        def since(instant_ns: int) -> int:
            return -1 if instant_ns < 0 else instant_ns - start_ns

        return Outcome(
            number=request.number,
            tier=request.tier,
            due_ns=request.due_ns,
            sent_ns=sent_ns - start_ns,
            first_ns=since(reading.first_ns),
            last_ns=since(reading.last_ns),
            end_ns=since(end_ns),
            kind=reading.kind,
            detail=reading.detail,
            input_tokens=_count(None if usage is None else usage.prompt_tokens),
            output_tokens=_count(None if usage is None else usage.completion_tokens),
            reasoning_tokens=_count(None if details is None else details.reasoning_tokens),
            pieces=reading.pieces,
            asked_tokens=request.output_tokens,
            energy_j=None if energy is None else energy.energy_j,
            carbon_g=None if energy is None else energy.carbon_g_co2eq,
            energy_method=None if energy is None else energy.method,
            model=reading.headers.get("x-baseload-model", ""),
            effort=reading.headers.get("x-baseload-effort", ""),
            replica=reading.headers.get("x-baseload-replica", ""),
        )


def _count(value: int | None) -> int:
    return -1 if value is None else value


def _headers(request: Planned) -> dict[str, str]:
    """What a request says of itself beside its body."""
    headers = {}
    if request.tier != NO_TIER:
        headers["x-gateway-inference-objective"] = request.tier
    if request.session >= 0:
        headers["x-session-token"] = f"session-{request.session}"
    return headers
