"""One attempt: the request to an engine, its answer to the client, the machine told of both.

Nothing of an answer is handed on before its first event is here, so that what fails before can be
tried elsewhere; after that, every chunk goes on at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import msgspec

from baseload.gateway.answers import StreamReader, Usage, read_answer, with_energy
from baseload.gateway.bodies import rewritten
from baseload.gateway.config import LimitsEntry
from baseload.gateway.effort import translated
from baseload.gateway.energy_object import energy_object
from baseload.gateway.errors import RequestError, error_body, type_of
from baseload.gateway.events import AnyEvent, Began, Broke, Cause, Close, Ended, Progressed, Send
from baseload.gateway.live_fleet import LiveOption
from baseload.gateway.live_request import Headers, LiveRequest, Way
from baseload.gateway.receipts import price_headers
from baseload.gateway.upstream import UpstreamError, UpstreamStream

TELL_EVERY_NS = 250_000_000
HELD_BYTES_MOST = 64 * 1024
WORDS_BYTES_MOST = 256 * 1024
JSON = b"application/json"

Tell = Callable[[AnyEvent], None]


class Relay:
    """Carries out attempts. ``tell`` gives the machine an event."""

    def __init__(
        self,
        tell: Tell,
        *,
        decision_id: Callable[[int], bytes],
        clock_ns: Callable[[], int] = time.monotonic_ns,
        broke: Callable[[LiveRequest, Cause], None] = lambda _, __: None,
    ) -> None:
        self._tell = tell
        self._decision_id = decision_id
        self._clock_ns = clock_ns
        self._on_broke = broke
        self.limits = LimitsEntry()
        self.carbon_g_per_kwh: float | None = None

    async def attempt(
        self, live: LiveRequest, order: Send, *, way: Way, option: LiveOption
    ) -> None:
        """Send a request to an engine and its answer to the client.

        Ends with the machine told ``Ended`` or ``Broke``, or not at all where the attempt was
        interrupted. What an engine says that refuses the request is left in ``live.words``.
        """
        live.replica, live.option, live.words = way.replica, option, None
        try:
            body = engine_body(live, way, option)
        except RequestError as error:
            live.words = (error.status, JSON, error.body())
            self._broke(live, order, UpstreamError("rejected"), error.status)
            return
        url, headers = way.urls[live.asked.endpoint], way.request_headers(live)
        try:
            if live.asked.stream:
                stream = await way.upstream.stream(url, body, headers, limits=self.limits)
                whole = False
                try:
                    whole = await self._stream(live, order, way, stream)
                finally:
                    if whole:
                        stream.leave()
                    else:
                        stream.close()
            else:
                status, found, answer = await way.upstream.post(
                    url, body, headers, limits=self.limits
                )
                await self._whole(live, order, way, status, found, answer)
        except UpstreamError as error:
            self._broke(live, order, error, live.status)

    async def _whole(
        self,
        live: LiveRequest,
        order: Send,
        way: Way,
        status: int,
        found: Mapping[str, str],
        answer: bytes,
    ) -> None:
        """Hand on an answer that is here whole."""
        live.status = status
        if status != 200:
            self._refused(live, order, status, found, answer)
            return
        if "content-encoding" in found:
            raise UpstreamError("garbage", "an encoded answer")
        read = read_answer(
            way.replica.engine,
            live.asked.endpoint,
            answer,
            content_type=found.get("content-type") or "",
        )
        if read.broken is not None:
            live.words = engine_words(read.error)
            raise UpstreamError(read.broken, read.detail)
        live.first_ns = self._clock_ns()
        self._ended(live, order, read.usage, read.finish, read.exhausted)
        if live.stopped():
            return
        headers = self._head(live, order, way)
        if live.closed is not None:
            answer = with_energy(answer, self._energy(live, live.closed))
        headers.append((b"content-length", b"%d" % len(answer)))
        headers.append((b"content-type", JSON))
        live.begun = True
        await live.say({"type": "http.response.start", "status": 200, "headers": headers})
        await live.say({"type": "http.response.body", "body": answer})

    async def _stream(
        self, live: LiveRequest, order: Send, way: Way, stream: UpstreamStream
    ) -> bool:
        """Hand on an answer as it comes; says whether all of it has come."""
        live.status = status = stream.status
        if status != 200:
            self._refused(live, order, status, stream.headers, await _words(stream))
            return False
        found = stream.headers
        if "event-stream" not in (found.get("content-type") or "") or "content-encoding" in found:
            raise UpstreamError("garbage", "not a stream of events")
        number, attempt, say, clock = live.number, order.attempt, live.say, self._clock_ns
        self._tell(Began(request=number, attempt=attempt))
        if live.stopped():
            return False
        reader = StreamReader(
            way.replica.engine,
            live.asked.endpoint,
            keep_usage=live.asked.include_usage,
            choices=live.asked.choices,
            line_bytes=self.limits.line_bytes,
        )
        feed = reader.feed
        held = b""
        untold = told_ns = 0
        async for chunk in stream:
            out, tokens = feed(chunk)
            if reader.broken is not None:
                live.words = engine_words(reader.error)
                raise UpstreamError(reader.broken, reader.detail)
            untold += tokens
            if not live.begun:
                held += out
                if b"data:" not in held and len(held) < HELD_BYTES_MOST:
                    if reader.done:
                        break
                    continue
                out, held = held, b""
                self._tell(Progressed(request=number, attempt=attempt, tokens=untold))
                if live.stopped():
                    return False
                told_ns = clock()
                if untold:
                    live.first_ns = told_ns
                untold = 0
                await self._begin(live, order, way)
            else:
                now_ns = clock()
                first = untold and not live.first_ns
                if first or now_ns - told_ns >= TELL_EVERY_NS:
                    if first:
                        live.first_ns = now_ns
                    told_ns = now_ns
                    self._tell(Progressed(request=number, attempt=attempt, tokens=untold))
                    untold = 0
                    if live.stopped():
                        return False
            if out:
                await say({"type": "http.response.body", "body": out, "more_body": True})
            if reader.done:
                break
        if untold:
            self._tell(Progressed(request=number, attempt=attempt, tokens=untold, sent=live.begun))
            if live.stopped():
                return False
        await self._finish(live, order, way, reader, held)
        return True

    async def _finish(
        self, live: LiveRequest, order: Send, way: Way, reader: StreamReader, held: bytes
    ) -> None:
        """All of a stream has come, or it has broken off."""
        reader.settle()
        if reader.broken is not None:
            live.words = engine_words(reader.error)
            raise UpstreamError(reader.broken, reader.detail)
        self._ended(live, order, reader.usage, reader.finish, reader.exhausted)
        tail = reader.end(None if live.closed is None else self._energy(live, live.closed))
        if not live.begun:
            await self._begin(live, order, way)
        await live.say({"type": "http.response.body", "body": held + tail})

    def _ended(
        self, live: LiveRequest, order: Send, usage: Usage, finish: str, exhausted: bool
    ) -> None:
        """Tell the machine that an answer is complete."""
        live.usage, live.exhausted = usage, exhausted
        self._tell(
            Ended(
                request=live.number,
                attempt=order.attempt,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                reasoning_tokens=usage.reasoning_tokens,
                cached_tokens=usage.cached_tokens,
                finish=finish,
                exhausted=exhausted,
            )
        )

    async def _begin(self, live: LiveRequest, order: Send, way: Way) -> None:
        """Send the head of a stream: from here on nothing can be tried again."""
        headers = self._head(live, order, way)
        headers += _STREAM_HEADERS
        live.begun = True
        await live.say({"type": "http.response.start", "status": 200, "headers": headers})

    def _head(self, live: LiveRequest, order: Send, way: Way) -> Headers:
        """Headers of a good answer."""
        option = live.option
        assert option is not None
        headers = live.answer_headers
        headers += way.name_headers(option, order.option)
        for name, value in live.applied.items():
            headers.append((b"x-baseload-" + name.replace("_", "-").encode(), str(value).encode()))
        headers.append((b"x-baseload-attempts", b"%d" % (order.attempt + 1)))
        headers.append((b"x-baseload-decision", self._decision_id(live.number)))
        headers += price_headers(live.parts)
        return headers

    def _energy(self, live: LiveRequest, close: Close) -> bytes:
        """The ``energy`` object of an answer: its part of what its batch takes."""
        effort, budget = live.applied.get("effort"), live.applied.get("budget_tokens")
        return energy_object(
            close.energy_j,
            duration_s=close.total_s,
            model="" if live.option is None else live.option.model.name,
            replica="" if live.replica is None else live.replica.name,
            request_id=live.request_id,
            effort=None if effort is None else str(effort),
            budget_tokens=None if budget is None else int(budget),
            exhausted=live.exhausted,
            wasted_j=close.wasted_j,
            carbon_g_per_kwh=self.carbon_g_per_kwh,
            attribution_method="prorated",
        )

    def _refused(
        self,
        live: LiveRequest,
        order: Send,
        status: int,
        found: Mapping[str, str],
        answer: bytes,
    ) -> None:
        """The engine answered, but not with 200."""
        if status < 400:
            raise UpstreamError("garbage", f"status {status}")
        if status in _NOT_THE_CLIENTS or status >= 500:
            self._broke(live, order, UpstreamError("status"), status, _retry_after_s(found))
            return
        words = refusal_of(status, answer) if len(answer) <= WORDS_BYTES_MOST else b""
        if words:
            live.words = (status, JSON, words)
        self._broke(live, order, UpstreamError("rejected"), status)

    def _broke(
        self,
        live: LiveRequest,
        order: Send,
        error: UpstreamError,
        status: int,
        retry_after_s: float = float("nan"),
    ) -> None:
        self._tell(
            Broke(
                request=live.number,
                attempt=order.attempt,
                cause=error.cause,
                status=status,
                retry_after_s=retry_after_s,
            )
        )
        self._on_broke(live, error.cause)


_NOT_THE_CLIENTS = (401, 402, 403, 407, 429)
"""An engine that is busy, or refuses who asks it: that is the gateway, never its client, whose key
no engine sees.
"""

_STREAM_HEADERS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


def engine_body(live: LiveRequest, way: Way, option: LiveOption) -> bytes:
    """The client's body as the engine wants it: the model's name there, the effort's fields, usage
    asked for in a stream; everything else byte for byte. Raises ``RequestError``.
    """
    asked = live.asked
    made = translated(way.replica.engine, option.model, option.effort, asked=asked)
    live.applied = made.applied
    name = option.model.upstream_name or option.model.name
    ask_usage = asked.stream and not asked.include_usage and asked.endpoint in _USAGE_ON_REQUEST
    if name == asked.model and not ask_usage and not made.changes and not made.removed:
        return live.body
    changes = dict(made.changes)
    if name != asked.model:
        changes["model"] = name
    if ask_usage:
        changes["stream_options"] = stream_options(live.body)
    return rewritten(live.body, changes, made.removed)


_USAGE_ON_REQUEST = ("chat", "completions")


class _StreamOptions(msgspec.Struct):
    stream_options: dict[str, msgspec.Raw] | None = None


def stream_options(body: bytes) -> dict[str, object]:
    """The body's own stream options, with the usage asked for."""
    if b'"stream_options"' not in body:
        return {"include_usage": True}
    own = msgspec.json.decode(body, type=_StreamOptions).stream_options
    return {**(own or {}), "include_usage": True}


def engine_words(error: bytes) -> tuple[int, bytes, bytes] | None:
    """What to pass on of an error that an engine sent under a good status."""
    return (400, JSON, b'{"error":' + error + b"}") if is_json_object(error) else None


def refusal_of(status: int, answer: bytes) -> bytes:
    """What an engine says that refuses a request, in OpenAI's shape: as it came where it has that
    shape, else its message; nothing of what is no JSON object.
    """
    try:
        said = msgspec.json.decode(answer)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return b""
    if not isinstance(said, dict):
        return b""
    if isinstance(said.get("error"), dict):
        return answer
    found = next((said[name] for name in ("message", "detail", "error") if said.get(name)), said)
    message = found if isinstance(found, str) else msgspec.json.encode(found).decode()
    return error_body(message, kind=type_of(status))


def is_json_object(body: bytes) -> bool:
    """Whether ``body`` is a JSON object to its last byte: clients read an error's words."""
    try:
        return isinstance(msgspec.json.decode(body), dict)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return False


async def _words(stream: UpstreamStream) -> bytes:
    """What an engine says instead of a stream, up to a limit."""
    found = b""
    async for chunk in stream:
        found += chunk
        if len(found) > WORDS_BYTES_MOST:
            break
    return found


def _retry_after_s(found: Mapping[str, str]) -> float:
    """The engine's ``Retry-After`` [s], nan where it says none (or a date)."""
    value = found.get("retry-after") or ""
    return float(value) if value.isdigit() and len(value) < 8 else float("nan")
