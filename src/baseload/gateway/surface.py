"""The HTTP surface: one bare ASGI application. Routes, who may call, what a request is; answers are
the driver's.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from baseload.gateway.bodies import Asked, read_body
from baseload.gateway.body_reader import BodyReader, ClientLeftError
from baseload.gateway.config import Endpoint, GatewayConfig, LiveTierEntry, Scope
from baseload.gateway.driver import Driver, estimated_tokens, say_error
from baseload.gateway.errors import RequestError, bad_field, unknown_model
from baseload.gateway.fellows import Told, place_of
from baseload.gateway.gate import Gate
from baseload.gateway.keys import Caller
from baseload.gateway.live_request import PATHS, Headers, Hear, Message, Say
from baseload.gateway.page import PAGE_TYPE, page, page_headers
from baseload.gateway.summary import RecentDecision
from baseload.gateway.wishes import Wishes, read_wishes

_JSON = (b"content-type", b"application/json")
_DECISIONS = "/v1/energy/decisions/"
_MODELS = "/v1/models/"
_OWN_ERROR = RequestError(500, "the gateway failed; the request id finds it in its log")

SHOWN = 12
"""Decisions in a summary."""

Page = tuple[bytes, bytes]
"""Content type and body of a page."""

Make = Callable[[Caller | None, Message], Awaitable[Page]]
Elsewhere = Callable[[str, int], Awaitable[Told | None]]
"""Gives the decision of another worker, by the worker's mark and the request's number."""


async def _nowhere(_: str, __: int) -> Told | None:
    return None


class Surface:
    """The application. ``metrics`` gives the page of ``/metrics`` for an ``Accept`` header;
    ``summary`` what the fleet does, with the decisions it is given; ``explain`` the decisions about
    a request, ``elsewhere`` those that another worker took. ``refused`` is told of the status of
    every error that no request for an answer came to. Make it inside a running loop.
    """

    def __init__(
        self,
        driver: Driver,
        gate: Gate,
        *,
        ready: Callable[[], bool],
        metrics: Callable[[str], Page],
        explain: Callable[[int], Any] = lambda _: [],
        refused: Callable[[int], None] = lambda _: None,
        summary: Callable[[list[RecentDecision]], bytes] | None = None,
        elsewhere: Elsewhere = _nowhere,
    ) -> None:
        self.driver = driver
        self.gate = gate
        self._ready = ready
        self._metrics = metrics
        self._explain = explain
        self._refused = refused
        self._fleet_summary = summary
        self._elsewhere = elsewhere
        self._reader = BodyReader()
        self._mark = secrets.token_hex(6)
        self._count = 0
        self._infer: dict[str, Endpoint] = {path: name for name, path in PATHS.items()}
        self._pages: dict[str, tuple[Scope | None, Make]] = {
            "/": (None, self._front),
            "/health": (None, self._health),
            "/ready": (None, self._readiness),
            "/metrics": (None, self._metrics_page),
            "/v1/models": ("infer", self._models),
            "/v1/energy/summary": ("energy", self._summary),
        }
        self.configured(driver.config)

    def configured(self, config: GatewayConfig) -> None:
        """Serve by another configuration from the next request on."""
        self._limits = config.limits
        self._tier_of_objective = tiers_of_objectives(config.tiers)
        self._tier_of_service = {
            value: place for place, tier in enumerate(config.tiers) for value in tier.service_tiers
        }
        self._tier_of_name = {tier.name: place for place, tier in enumerate(config.tiers)}

    def close(self) -> None:
        """Stop the clocks."""
        self._reader.close()

    async def __call__(self, scope: Message, hear: Hear, say: Say) -> None:
        """Answer a request. Whatever goes wrong is answered too."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await say({"type": "websocket.close", "code": 1003})
            return
        headers: Headers = []
        try:
            wishes = read_wishes(scope["headers"], most_bytes=self._limits.header_bytes)
            request_id = wishes.request_id or self._new_id()
            headers.append((b"x-request-id", request_id.encode()))
            path: str = scope["path"]
            endpoint = self._infer.get(path)
            if endpoint is None:
                await self._other(scope, path, wishes, headers, say)
            elif scope["method"] != "POST":
                raise wrong_method(scope["method"], "POST")
            else:
                await self._request(endpoint, wishes, request_id, headers, hear, say)
        except RequestError as error:
            self._refused(error.status)
            await say_error(say, error, headers)
        except ClientLeftError:
            return
        except Exception as error:
            self.driver.trouble("surface", error)
            await say_error(say, _OWN_ERROR, headers)

    async def _request(
        self,
        endpoint: Endpoint,
        wishes: Wishes,
        request_id: str,
        headers: Headers,
        hear: Hear,
        say: Say,
    ) -> None:
        """A request for an answer of a model."""
        gate, ring = self.gate, self.gate.ring
        caller = gate.caller(wishes.authorization, wishes.api_key, "infer")
        limits = self._limits
        body = await self._reader.read(
            hear,
            announced=wishes.body_bytes,
            most_bytes=limits.body_bytes,
            within_s=limits.body_s,
        )
        if gate.ring is not ring:  # a reload while the body came: keys mean what they mean now
            caller = gate.caller(wishes.authorization, wishes.api_key, "infer")
        asked = read_body(endpoint, body)
        if wishes.effort_auto and asked.effort is None:
            asked = msgspec.structs.replace(asked, effort="auto")
        tier = self._tier(caller, wishes, asked)
        driver = self.driver
        if len(driver.lives) >= limits.concurrent_requests:
            raise too_many(limits.concurrent_requests)
        prompt_tokens = estimated_tokens(asked)
        admitted = gate.admit(caller, asked, prompt_tokens, headers)
        used_tokens = 0
        try:
            live = await driver.serve(
                asked,
                body,
                wishes=wishes,
                tier=tier,
                client=caller.name,
                request_id=request_id,
                answer_headers=headers,
                say=say,
                hear=hear,
                fairness=gate.fairness(caller),
            )
            used_tokens = live.spent_tokens(int(prompt_tokens))
        finally:
            gate.done(admitted, used_tokens)

    def _tier(self, caller: Caller, wishes: Wishes, asked: Asked) -> int:
        """The tier's place: what the key says, then the objective header, then ``service_tier``,
        else the first.
        """
        if caller.tier is not None:
            return self._tier_of_name[caller.tier]
        if wishes.objective is not None:
            place = self._tier_of_objective.get(wishes.objective)
            if place is None:
                raise bad_field(
                    wishes.objective_header,
                    found=wishes.objective,
                    allowed=", ".join(self._tier_of_objective),
                )
            return place
        if asked.service_tier is not None:
            return self._tier_of_service.get(asked.service_tier, 0)
        return 0

    async def _other(
        self, scope: Message, path: str, wishes: Wishes, headers: Headers, say: Say
    ) -> None:
        """Everything that is not for a model."""
        found = self._pages.get(path)
        if found is not None:
            scopes, make = found
        elif path.startswith(_DECISIONS):
            scopes, make = "energy", self._decision
        elif path.startswith(_MODELS):
            scopes, make = "infer", self._model
        else:
            raise RequestError(404, f"no such path here: {path[:200]}", code="unknown_url")
        method = scope["method"]
        if method not in ("GET", "HEAD"):
            raise wrong_method(method, "GET")
        caller = (
            None
            if scopes is None
            else self.gate.caller(wishes.authorization, wishes.api_key, scopes)
        )
        kind, body = await make(caller, scope)
        headers.append((b"content-type", kind))
        if path == "/":
            headers += page_headers()
        headers.append((b"content-length", b"%d" % len(body)))
        await say({"type": "http.response.start", "status": 200, "headers": headers})
        await say({"type": "http.response.body", "body": b"" if method == "HEAD" else body})

    def _new_id(self) -> str:
        """An id for a request that brought none."""
        self._count += 1
        return f"req-{self._mark}-{self._count:x}"

    # Pages

    async def _front(self, _: Caller | None, __: Message) -> Page:
        return PAGE_TYPE, page()

    async def _health(self, _: Caller | None, __: Message) -> Page:
        return _JSON[1], b'{"status":"ok"}'

    async def _readiness(self, _: Caller | None, __: Message) -> Page:
        if not self._ready():
            raise RequestError(
                503, "no replica is ready, or the gateway shuts down", retry_after_s=1.0
            )
        return _JSON[1], b'{"status":"ready"}'

    async def _metrics_page(self, _: Caller | None, scope: Message) -> Page:
        accept = b",".join(value for name, value in scope["headers"] if name == b"accept")
        return self._metrics(accept.decode("latin-1"))

    async def _models(self, caller: Caller | None, _: Message) -> Page:
        found = [_model(name) for name in self._names(caller)]
        return _JSON[1], msgspec.json.encode({"object": "list", "data": found})

    async def _model(self, caller: Caller | None, scope: Message) -> Page:
        name, names = scope["path"].removeprefix(_MODELS), self._names(caller)
        if name not in names:
            raise unknown_model(name, names)
        return _JSON[1], msgspec.json.encode(_model(name))

    def _names(self, caller: Caller | None) -> list[str]:
        """The models that a caller may ask for."""
        names = self.driver.fleet.names()
        allowed = None if caller is None else caller.models
        return names if allowed is None else [name for name in names if name in allowed]

    async def _summary(self, caller: Caller | None, _: Message) -> Page:
        if self._fleet_summary is not None:
            return _JSON[1], self._fleet_summary(self._last_decisions(caller))
        summary = {"object": "energy.summary", **self.driver.receipts.summary()}
        return _JSON[1], msgspec.json.encode(summary)

    def _last_decisions(self, caller: Caller | None) -> list[RecentDecision]:
        """The last requests that ended, of those whose decision the caller may see."""
        own = caller is not None and caller.name and "admin" not in caller.scopes
        client = caller.name if own and caller is not None else None
        return [
            RecentDecision(
                id=self.driver.decision_id(one.close.request).decode(),
                tier=one.tier,
                model=one.model or one.model_asked,
                effort=one.effort or None,
                replica=one.replica or None,
                reason=one.close.reason,
                total_s=one.close.total_s,
                output_tokens=one.close.output_tokens,
                energy_j=one.close.energy_j,
            )
            for one in self.driver.receipts.last(SHOWN, client=client)
        ]

    async def _decision(self, caller: Caller | None, scope: Message) -> Page:
        place = place_of(scope["path"].removeprefix(_DECISIONS))
        told = None
        if place is not None:
            mark, number = place
            ours = mark == self.driver.mark
            told = self.decision(number) if ours else await self._elsewhere(mark, number)
        anyone = caller is None or not caller.name or "admin" in caller.scopes
        if told is None or not (anyone or told.client == caller.name):  # type: ignore[union-attr]
            kept = self.driver.receipts.kept
            raise RequestError(
                404,
                f"no such decision; the last {kept} of each worker process are kept",
                code="unknown_decision",
            )
        return _JSON[1], bytes(told.page)

    def decision(self, number: int) -> Told | None:
        """The decision about a request of this process, if it is still kept."""
        receipt = self.driver.receipts.get(number)
        if receipt is None:
            return None
        name = self.driver.decision_id(number).decode()
        page = msgspec.json.encode({"id": name, **receipt.said(self._explain(number))})
        return Told(client=receipt.client, page=msgspec.Raw(page))


def tiers_of_objectives(tiers: tuple[LiveTierEntry, ...]) -> dict[str, int]:
    """Places of tiers by the names that GIE's objective header may give."""
    found = {tier.name: place for place, tier in enumerate(tiers)}
    for place, tier in enumerate(tiers):
        for name in tier.objectives:
            found.setdefault(name, place)
    return found


def wrong_method(method: str, allowed: str) -> RequestError:
    """405 with what is allowed."""
    return RequestError(
        405, f"{method[:20]} is not allowed here; allowed: {allowed}",
        headers=((b"allow", allowed.encode()),),
    )  # fmt: skip


def too_many(most: int) -> RequestError:
    """429 for a gateway that has as many requests as it takes."""
    return RequestError(
        429,
        f"the gateway has {most} requests under way, as many as it takes",
        code="saturated",
        retry_after_s=1.0,
        headers=((b"x-llm-d-request-dropped-reason", b"rejected-saturated"),),
    )


def _model(name: str) -> dict[str, Any]:
    """A model as OpenAI's list has it."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "baseload"}
