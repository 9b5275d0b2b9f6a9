"""A live request, as the driver keeps it, and the ways to the fleet's engines."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from baseload.gateway.addresses import base_url
from baseload.gateway.answers import Usage
from baseload.gateway.bodies import Asked
from baseload.gateway.config import Endpoint
from baseload.gateway.events import Abort, Close, Refuse, Send
from baseload.gateway.live_fleet import LiveFleet, LiveOption, LiveReplica
from baseload.gateway.secret_names import upstream_headers
from baseload.gateway.upstream import Upstream
from baseload.gateway.wishes import Wishes

Message = MutableMapping[str, Any]
Say = Callable[[Message], Awaitable[None]]
Hear = Callable[[], Awaitable[Message]]
Headers = list[tuple[bytes, bytes]]

PATHS: Mapping[Endpoint, str] = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "responses": "/v1/responses",
    "embeddings": "/v1/embeddings",
}
"""Where engines, and the gateway, take requests."""


class LiveRequest:
    """One request between its arrival and its end.

    ``order`` is what the machine wants done next, ``target`` where a sending goes, ``closed`` its
    last word. ``words``: status, content type and body of an engine that refused the request
    itself. ``begun``: whether anything has been handed to the client. ``parts``: of the chosen
    candidate's price. ``applied``: what of effort was said to the engine.
    """

    __slots__ = (
        "answer_headers",
        "applied",
        "arrived_ns",
        "asked",
        "attempting",
        "begun",
        "body",
        "client",
        "closed",
        "exhausted",
        "first_ns",
        "given_up",
        "hear",
        "interrupted",
        "number",
        "option",
        "order",
        "parts",
        "replica",
        "request_id",
        "say",
        "status",
        "target",
        "task",
        "tier",
        "usage",
        "waker",
        "watcher",
        "wishes",
        "words",
    )

    def __init__(
        self,
        number: int,
        asked: Asked,
        body: bytes,
        *,
        wishes: Wishes,
        request_id: str,
        tier: str,
        client: str,
        say: Say,
        hear: Hear | None,
        arrived_ns: int,
        answer_headers: Headers,
    ) -> None:
        self.number = number
        self.asked = asked
        self.body = body
        self.wishes = wishes
        self.request_id = request_id
        self.tier = tier
        self.client = client
        self.say = say
        self.hear = hear
        self.arrived_ns = arrived_ns
        self.answer_headers = answer_headers
        self.task: asyncio.Task[Any] | None = None
        self.target: tuple[Way, LiveOption] | None = None
        self.order: Send | Refuse | Abort | None = None
        self.closed: Close | None = None
        self.waker: asyncio.Future[None] | None = None
        self.watcher: asyncio.Task[None] | None = None
        self.interrupted = False
        self.attempting = False
        self.given_up = False
        self.begun = False
        self.words: tuple[int, bytes, bytes] | None = None
        self.replica: LiveReplica | None = None
        self.option: LiveOption | None = None
        self.exhausted = False
        self.parts: Mapping[str, float] = {}
        self.applied: Mapping[str, str | int] = {}
        self.usage: Usage | None = None
        self.status = 0
        self.first_ns = 0

    def spent_tokens(self, prompt_tokens: int) -> int:
        """Tokens of prompt and answer, as the engine counted them where it did; ``prompt_tokens``
        is the estimate. 0 for a request that no engine has worked at.
        """
        closed, usage = self.closed, self.usage
        if closed is None or closed.attempts == 0:
            return 0
        if usage is None:
            return prompt_tokens + closed.output_tokens
        inputs = usage.input_tokens if usage.input_tokens >= 0 else prompt_tokens
        output = usage.output_tokens if usage.output_tokens >= 0 else closed.output_tokens
        return inputs + output

    def wake(self) -> None:
        """Let the request's own task look at what there is to do."""
        waker = self.waker
        if waker is not None and not waker.done():
            waker.set_result(None)

    def stopped(self) -> bool:
        """Whether the machine has given the present attempt up."""
        return self.interrupted

    def interrupt(self) -> None:
        """Break the present attempt off, wherever it waits; one that has not begun never does."""
        if not self.attempting and type(self.order) is Send:
            self.order = None
        if not self.attempting or self.interrupted:
            return
        self.interrupted = True
        task = self.task
        if task is not None and task is not asyncio.current_task():
            task.cancel()


class Way:
    """How a replica is reached: its URLs, the headers it wants, what answers say of it."""

    __slots__ = ("base", "headers", "names", "plain_headers", "replica", "upstream", "urls")

    def __init__(
        self, replica: LiveReplica, upstream: Upstream, environ: Mapping[str, str] = os.environ
    ) -> None:
        """Raises ``BadInputError`` for a secret that is not in ``environ``."""
        self.replica = replica
        self.upstream = upstream
        self.base = base_url(replica.url)
        self.urls: dict[Endpoint, str] = {name: self.base + path for name, path in PATHS.items()}
        self.headers: dict[str, str] = {
            "content-type": "application/json",
            "accept-encoding": "identity",
            "user-agent": "baseload",
        }
        self.headers.update(upstream_headers(replica.entry, environ))
        self.plain_headers = {k: v for k, v in self.headers.items() if k != "content-type"}
        self.names: dict[int, Headers] = {}

    def request_headers(self, live: LiveRequest) -> dict[str, str]:
        """Headers of a request to the replica: its own, and of the client's only those that trace;
        never what it logged in with.
        """
        headers = self.headers.copy()
        headers["x-request-id"] = live.request_id
        wishes = live.wishes
        if wishes.traceparent:
            headers["traceparent"] = wishes.traceparent
            if wishes.tracestate:
                headers["tracestate"] = wishes.tracestate
        return headers

    def name_headers(self, option: LiveOption, number: int) -> Headers:
        """What an answer says of who made it; ``number`` is the option's place."""
        found = self.names.get(number)
        if found is None:
            found = [
                (b"x-baseload-model", header_bytes(option.model.name)),
                (b"x-baseload-replica", header_bytes(self.replica.name)),
            ]
            self.names[number] = found
        return found


def header_bytes(value: str) -> bytes:
    """``value`` as a header may carry it: visible ASCII, short."""
    return "".join(char if " " <= char <= "~" else "?" for char in value[:200]).encode("ascii")


def ways_of(fleet: LiveFleet, upstreams: Callable[[LiveReplica], Upstream]) -> list[Way]:
    """The ways to the replicas of ``fleet``, by number."""
    return [Way(replica, upstreams(replica)) for replica in fleet.replicas]
