"""An emulated engine without sockets: a body comes in, a reply goes out, tokens flow between.

``engine_server`` puts it behind HTTP, ``upstream`` calls it in process; both speak to
``EmulatedEngine.post`` and ``get``.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from baseload.fleet.replica_type import ReplicaType
from baseload.gateway.emulated.answers import (
    Answer,
    ChatAnswer,
    CompletionAnswer,
    EmbeddingAnswer,
    Head,
    ReasoningField,
)
from baseload.gateway.emulated.emulator import CallLater, Meters, RunningReplica, Seat
from baseload.gateway.emulated.engine_page import EngineMetrics
from baseload.gateway.emulated.plan import Manner, Plan, Thinking, plans_of, thinking_of
from baseload.gateway.emulated.requests import Endpoint, RefusedError, Wanted, read_wanted
from baseload.gateway.emulated.responses import ResponsesAnswer

ENDPOINTS: Mapping[str, Endpoint] = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/v1/responses": "responses",
    "/v1/embeddings": "embeddings",
}
BLOCK_TOKENS = 16
"""Of KV cache in a block, as vLLM counts it; only told, never used."""
JSON = ((b"content-type", b"application/json"),)
EVENTS = ((b"content-type", b"text/event-stream; charset=utf-8"),)
PLAIN = ((b"content-type", b"text/plain; version=0.0.4; charset=utf-8"),)
GARBAGE = b"<html><body>\xff\xfe no engine ever said this \x00</body></html>\n\n"
_TYPES = {400: "BadRequestError", 404: "NotFoundError", 429: "RateLimitError"}
_GOOD_NUMBER = re.compile(r"[A-Za-z0-9._-]{1,64}")

Kind = Literal[
    "none", "hang", "slow", "die", "error500", "error429", "garbage", "half_close", "drop_after"
]


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What goes wrong from now on, for tests. ``count``: with so many requests (``None``: until it
    is taken back with ``none``). ``after_tokens``: of a stream that has begun; ``None``: at once.

    ``hang``: nothing more comes. ``slow``: everything takes ``factor`` times as long. ``die``: the
    engine is gone. ``error500``, ``error429``: it answers so. ``garbage``: what comes is no answer.
    ``half_close``: the stream ends in good order, the answer does not. ``drop_after``: the
    connection breaks.
    """

    kind: Kind
    count: int | None = None
    after_tokens: int | None = None
    factor: float = 10.0


class DroppedError(Exception):
    """The connection breaks without a word."""


class Pipe:
    """Bytes from the engine to whoever reads the answer. ``leave``: nobody reads any more."""

    __slots__ = ("_closed", "_error", "_parts", "_waiter", "leave")

    def __init__(self, leave: Callable[[], None]) -> None:
        self.leave = leave
        self._parts: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self._error: Exception | None = None

    def put(self, part: bytes) -> None:
        """Hand ``part`` on."""
        self._parts.append(part)
        self._tell()

    def close(self, error: Exception | None = None) -> None:
        """That was all; with ``error`` the reader gets it once all is read."""
        if not self._closed:
            self._closed, self._error = True, error
            self._tell()

    def abandon(self) -> None:
        """Nobody reads any more, and nothing more is to come."""
        self.leave()
        self.close()

    async def get(self) -> bytes | None:
        """What has come since, never empty; ``None`` after the end."""
        while not self._parts:
            if self._closed:
                if self._error is not None:
                    raise self._error
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        parts, self._parts = self._parts, []
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _tell(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class Reply(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An answer: a body, or a pipe of chunks. ``cut``: the connection breaks within the body."""

    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = JSON
    body: bytes = b""
    pipe: Pipe | None = None
    cut: bool = False


class Exchange:
    """A request on its way through the engine: hears of the tokens of its seats."""

    def __init__(
        self,
        engine: EmulatedEngine,
        wanted: Wanted,
        plans: Sequence[Plan],
        answer: Answer,
        fault: Fault | None,
    ) -> None:
        self.pipe = Pipe(self.leave)
        self._engine, self._plans, self._answer = engine, plans, answer
        self._streams, self._fault, self._told = wanted.stream, fault, 0
        self.seats: list[Seat] = []
        for choice, plan in enumerate(plans):
            prompt_tokens = wanted.prompt_tokens[choice // wanted.choices]
            seat = Seat(self, input_tokens=prompt_tokens, output_tokens=plan.tokens)
            seat.index = choice
            self.seats.append(seat)
        self._open = len(self.seats)

    def token(self, seat: Seat, at_s: float) -> None:
        """As ``emulator.Listener`` says."""
        metrics, stretch = self._engine.metrics, self._engine.running.stretch
        if seat.emitted == 1:
            metrics.first_token_s.observe((at_s - seat.arrival_s) * stretch)
        else:
            metrics.next_token_s.observe((at_s - seat.last_s) * stretch)
        seat.last_s = at_s
        fault = self._fault
        if fault is not None and self._told >= (fault.after_tokens or 0) and self._spoil(fault):
            return
        self._told += 1
        if self._streams:
            chunk = self._answer.token(seat.index, seat.emitted)
            if chunk:
                self.pipe.put(chunk)
        if seat.done:
            self._engine.count(seat, self._plans[seat.index].finish, at_s)
            self._open -= 1
            if not self._open:
                self.pipe.put(self._answer.closing() if self._streams else self._answer.whole())
                self.pipe.close()
                self._end()

    def leave(self) -> None:
        """Nobody waits for the answer any more."""
        if self._open:
            self._open = 0
            for seat in self.seats:
                if not seat.done:
                    self._engine.running.leave(seat)
                    self._engine.metrics.ended["abort"] += 1
            self._end()

    def drop(self) -> None:
        """Break the connection."""
        self.pipe.close(DroppedError())
        self.leave()

    def _end(self) -> None:
        """Let go of what holds it, so that nothing waits for the garbage collector."""
        self._engine.forget(self)
        self.seats = []
        self.pipe.leave = _nothing

    def would_say(self) -> bytes:
        """The whole body of a reply that breaks off within it."""
        return self._answer.whole()

    def _spoil(self, fault: Fault) -> bool:
        """What is wrong with this answer comes to pass; whether its token is lost."""
        if fault.kind == "drop_after" or (fault.kind == "half_close" and not self._streams):
            self.drop()
        elif fault.kind == "half_close":
            self.pipe.close()
            self.leave()
        elif fault.kind == "garbage":
            self.pipe.put(GARBAGE)
            self.pipe.close()
            self.leave()
        return fault.kind in ("hang", "garbage", "half_close", "drop_after")


class EmulatedEngine:
    """One emulated replica behind vLLM's API.

    ``model_name``: as clients say it (default: the type's model). Engines with the same ``seed``
    answer the same request with the same words. ``thinking``: by the model's name unless given.
    ``clock``, ``call_later``, ``speed``, ``precise``: as ``RunningReplica`` says; ``wall_clock``
    [s since 1970] dates answers. ``faults``: whether ``/emulated/fault`` may be used; ``on_die``:
    called when the fault ``die`` is set.
    """

    def __init__(
        self,
        kind: ReplicaType,
        *,
        model_name: str | None = None,
        seed: int = 0,
        number: int = 0,
        thinking: Thinking | None = None,
        reasoning_field: ReasoningField = "reasoning_content",
        speed: float = 1.0,
        precise: bool = False,
        clock: Callable[[], float] = time.monotonic,
        call_later: CallLater | None = None,
        wall_clock: Callable[[], float] = time.time,
        faults: bool = False,
        on_die: Callable[[], None] | None = None,
    ) -> None:
        self.running = RunningReplica(
            kind, clock=clock, call_later=call_later, speed=speed, precise=precise
        )
        self.metrics = EngineMetrics()
        self.model_name = model_name or kind.model
        self.dead = False
        self._kind, self._seed, self._number = kind, seed, number
        self._manner = Manner(
            thinking=thinking_of(f"{kind.model} {self.model_name}")
            if thinking is None
            else thinking,
            seed=seed,
            longest_tokens=self.running.replica.longest_tokens,
        )
        self._reasoning_field: ReasoningField = reasoning_field
        self._wall_clock, self._created = wall_clock, int(wall_clock())
        self._faults, self._on_die, self._fault = faults, on_die, Fault(kind="none")
        self._requests = 0
        self._exchanges: set[Exchange] = set()
        label = msgspec.json.encode(self.model_name).decode()
        self._labels = f'model_name={label},engine="{number}"'

    def meters(self) -> Meters:
        """What the replica has done and drawn until now."""
        return self.running.meters()

    async def post(self, path: str, body: bytes, *, request_id: str | None = None) -> Reply:
        """The reply to a POST; of a streamed one when its head is due. Cancel it to leave. Raises
        ``DroppedError`` where a fault breaks the connection.
        """
        if path == "/emulated/fault":
            return self._take_fault(body)
        if self.dead:
            raise DroppedError
        try:
            endpoint = ENDPOINTS.get(path)
            if endpoint is not None:
                return await self._answer(endpoint, body, request_id)
            if path == "/sleep":
                self.running.sleep()
                return Reply()
            if path == "/wake_up":
                await self.running.wake()
                return Reply()
        except RefusedError as error:
            return error_reply(error.status, error.message, error.param)
        return error_reply(404, "Not Found")

    def get(self, path: str) -> Reply:
        """The reply to a GET. Raises ``DroppedError`` when the engine is gone."""
        if self.dead:
            raise DroppedError
        if path in ("/health", "/ping"):
            return Reply()
        if path == "/metrics":
            return Reply(headers=PLAIN, body=self._metrics_text().encode())
        if path == "/v1/models":
            return Reply(body=self._models())
        if path == "/version":
            version = self._kind.engine.rsplit("-", 1)[-1]
            return Reply(body=msgspec.json.encode({"version": f"{version}+emulated"}))
        if path == "/is_sleeping":
            return Reply(body=b'{"is_sleeping":%s}' % (b"true" if self._asleep() else b"false"))
        if path == "/emulated/meters":
            meters = self.meters()
            told = {**msgspec.structs.asdict(meters), "total_j": meters.total_j}
            return Reply(body=msgspec.json.encode(told))
        return error_reply(404, "Not Found")

    def close(self) -> None:
        """Stop: whoever still waits is dropped."""
        for exchange in list(self._exchanges):
            exchange.drop()
        self.running.close()

    def set_fault(self, fault: Fault) -> None:
        """From now on, this goes wrong."""
        self._fault = fault
        self.dead = fault.kind == "die"
        self.running.slow(fault.factor if fault.kind == "slow" else 1.0)
        if self.dead:
            for exchange in list(self._exchanges):
                exchange.drop()
            if self._on_die is not None:
                self._on_die()

    def forget(self, exchange: Exchange) -> None:
        """It has ended."""
        self._exchanges.discard(exchange)

    def count(self, seat: Seat, finish: str, at_s: float) -> None:
        """Count a sequence that has ended at ``at_s`` of the emulated clock."""
        metrics, stretch = self.metrics, self.running.stretch
        metrics.ended["length" if finish == "length" else "stop"] += 1
        metrics.whole_s.observe((at_s - seat.arrival_s) * stretch)
        metrics.queue_s.observe((seat.admitted_s - seat.arrival_s) * stretch)
        metrics.inference_s.observe((at_s - seat.admitted_s) * stretch)
        metrics.prefill_s.observe((seat.first_token_s - seat.admitted_s) * stretch)
        decode_s = (at_s - seat.first_token_s) * stretch
        metrics.decode_s.observe(decode_s)
        metrics.prompt_tokens.observe(seat.input_tokens)
        metrics.output_tokens.observe(seat.emitted)
        if seat.emitted > 1:
            metrics.output_token_s.observe(decode_s / (seat.emitted - 1))

    async def _answer(self, endpoint: Endpoint, body: bytes, request_id: str | None) -> Reply:
        fault = self._next_fault()
        if fault is not None and fault.kind == "error500":
            return error_reply(500, "the engine has failed, as it was told to")
        if fault is not None and fault.kind == "error429":
            return error_reply(429, "the engine is full, as it was told to be")
        wanted = read_wanted(endpoint, body)
        if wanted.model not in (None, self.model_name):
            message = f"The model `{wanted.model}` does not exist."
            raise RefusedError(404, message, param="model")
        plans = plans_of(wanted, self._manner)
        exchange = Exchange(self, wanted, plans, self._shape(wanted, plans, request_id), fault)
        self._exchanges.add(exchange)
        for seat in exchange.seats:
            self.running.submit(seat)
        pipe = exchange.pipe
        if wanted.stream:
            if fault is not None and fault.kind == "hang" and fault.after_tokens is None:
                await _silence(pipe)
            return Reply(headers=EVENTS, pipe=pipe)
        try:
            return Reply(body=await pipe.get() or b"")
        except DroppedError:
            if self.dead or fault is None or fault.kind == "die":
                raise
            return Reply(body=exchange.would_say(), cut=True)
        finally:
            pipe.leave()

    def _next_fault(self) -> Fault | None:
        """What goes wrong with the next request."""
        fault = self._fault
        if fault.kind in ("none", "slow"):
            return None
        if fault.count is not None:
            if fault.count <= 0:
                return None
            fault.count -= 1
        return fault

    def _shape(self, wanted: Wanted, plans: Sequence[Plan], request_id: str | None) -> Answer:
        """The answer in the spelling of its end-point."""
        self._requests += 1
        number = f"{self._number}-{self._requests:x}"
        if request_id is not None and _GOOD_NUMBER.fullmatch(request_id):
            number = request_id
        head = Head(
            number=number,
            created=int(self._wall_clock()),
            model=self.model_name,
            reasoning_field=self._reasoning_field,
        )
        if wanted.endpoint == "chat":
            return ChatAnswer(wanted, plans, head)
        if wanted.endpoint == "completions":
            return CompletionAnswer(wanted, plans, head)
        if wanted.endpoint == "responses":
            return ResponsesAnswer(wanted, plans[0], head)
        return EmbeddingAnswer(wanted, head, seed=self._seed)

    def _take_fault(self, body: bytes) -> Reply:
        if not self._faults:
            return error_reply(403, "faults are off: start the engine with --faults")
        try:
            fault = msgspec.json.decode(body, type=Fault)
        except msgspec.DecodeError as error:
            return error_reply(400, str(error))
        if not 1e-3 <= fault.factor <= 1e6:
            return error_reply(400, f"factor must be from 0.001 to 1e6, got {fault.factor:g}")
        self.set_fault(fault)
        return Reply(body=msgspec.json.encode(fault))

    def _asleep(self) -> bool:
        return self.running.replica.asleep

    def _metrics_text(self) -> str:
        meters, replica = self.meters(), self.running.replica
        gauges: dict[str, float] = {
            "vllm:num_requests_running": float(replica.running),
            "vllm:num_requests_waiting": float(replica.waiting),
            "vllm:kv_cache_usage_perc": float(replica.kv_frac),
            "vllm:engine_sleep_state": float(self._asleep()),
        }
        blocks = self._kind.kv_tokens // BLOCK_TOKENS
        cache = f'block_size="{BLOCK_TOKENS}",num_gpu_blocks="{blocks}"'
        return self.metrics.text(self._labels, gauges, meters, cache=cache)

    def _models(self) -> bytes:
        card: dict[str, Any] = {
            "id": self.model_name,
            "object": "model",
            "created": self._created,
            "owned_by": "baseload",
            "root": self._kind.model,
            "parent": None,
            "max_model_len": self._manner.longest_tokens,
        }
        return msgspec.json.encode({"object": "list", "data": [card]})


def _nothing() -> None:
    """Nobody is there to be told."""


async def _silence(pipe: Pipe) -> None:
    """Say nothing until whoever asks has gone or the engine ends."""
    try:
        while await pipe.get() is not None:
            pass
    finally:
        pipe.leave()


def error_reply(status: int, message: str, param: str | None = None) -> Reply:
    """An error in vLLM's shape."""
    kind = _TYPES.get(status, "InternalServerError" if status >= 500 else "BadRequestError")
    told = {"message": message, "type": kind, "param": param, "code": status}
    headers = (*JSON, (b"retry-after", b"1")) if status == 429 else JSON
    try:
        body = msgspec.json.encode({"error": told})
    except UnicodeEncodeError:  # half of a surrogate pair, from a client's own name
        told["message"] = message.encode("utf-8", "replace").decode()
        body = msgspec.json.encode({"error": told})
    return Reply(status=status, headers=headers, body=body)
