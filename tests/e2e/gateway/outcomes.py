"""How a request ended as its client saw it, and whether the gateway tells the same."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

WHOLE = "answered"  # a complete answer
REFUSED = "refused"  # an error in OpenAI's shape
BROKEN = "broken"  # an answer that had begun ended with an error
LEFT = "left"  # the client went away
LOST = "lost"  # none of these: never to happen

REASONS: Mapping[str, frozenset[str]] = {
    WHOLE: frozenset({"answered"}),
    REFUSED: frozenset({"upstream", "saturated", "expired", "no_replica", "rejected", "too_long"}),
    BROKEN: frozenset({"upstream"}),
    LEFT: frozenset({"cancelled", "answered", "upstream", "saturated", "no_replica"}),
}
"""What the gateway may call an end that looks so to the client. Who leaves may have been answered,
or refused, in the same instant.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """A request: its id, its body, and when its client leaves (``None``: never)."""

    id: str
    body: Mapping[str, Any]
    leaves_after_s: float | None = None
    leaves_after_chunks: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What the client saw. ``why``: of what was lost, or an error's code."""

    id: str
    kind: str
    status: int = 0
    text: str = ""
    tokens: int = -1
    why: str = ""
    begun_s: float = 0.0
    ended_s: float = 0.0


async def asked(session: aiohttp.ClientSession, url: str, ask: Ask) -> Seen:
    """Send a request and see how it ends."""
    clock = asyncio.get_running_loop().time
    begun_s = clock()
    try:
        async with asyncio.timeout(ask.leaves_after_s):
            seen = await _whole(session, url, ask)
    except TimeoutError:
        seen = {"kind": LEFT}
    except (aiohttp.ClientError, OSError) as error:
        seen = {"kind": LOST, "why": f"{type(error).__name__}: {error}"}
    return Seen(id=ask.id, begun_s=begun_s, ended_s=clock(), **seen)


async def _whole(session: aiohttp.ClientSession, url: str, ask: Ask) -> dict[str, Any]:
    headers = {"x-request-id": ask.id}
    async with session.post(f"{url}/v1/chat/completions", json=ask.body, headers=headers) as answer:
        if answer.status != 200:
            return _refusal(answer.status, await answer.read())
        if ask.body.get("stream"):
            return await _stream(answer, ask)
        body = json.loads(await answer.read())
    (choice,) = body["choices"]
    tokens = body["usage"]["completion_tokens"]
    return {"kind": WHOLE, "status": 200, "text": choice["message"]["content"], "tokens": tokens}


def _refusal(status: int, body: bytes) -> dict[str, Any]:
    try:
        error = json.loads(body)["error"]
        if not (error["message"] and error["type"]):
            raise KeyError("message")
    except (ValueError, KeyError, TypeError):
        return {"kind": LOST, "status": status, "why": f"no error of OpenAI's: {body[:200]!r}"}
    return {"kind": REFUSED, "status": status, "why": str(error.get("code"))}


async def _stream(answer: aiohttp.ClientResponse, ask: Ask) -> dict[str, Any]:
    parts, tokens, chunks, done, finishes = [], -1, 0, 0, 0
    async for line in answer.content:
        if not line.startswith(b"data: "):
            continue
        if line.startswith(b"data: [DONE]"):
            done += 1
            continue
        if done:
            return {"kind": LOST, "why": "something came after the end"}
        chunk = json.loads(line[6:])
        if "error" in chunk:
            rest = await answer.read()
            if rest.strip():
                return {"kind": LOST, "why": f"after the error came {rest[:100]!r}"}
            return {"kind": BROKEN, "status": 200, "why": str(chunk["error"].get("code"))}
        for choice in chunk["choices"]:
            parts.append(choice["delta"].get("content") or "")
            finishes += choice.get("finish_reason") is not None
        if chunk.get("usage"):
            tokens = chunk["usage"]["completion_tokens"]
        chunks += 1
        if ask.leaves_after_chunks is not None and chunks >= ask.leaves_after_chunks:
            answer.close()
            return {"kind": LEFT, "status": 200}
    if (done, finishes) != (1, 1):
        return {"kind": LOST, "why": f"ended {done} times, finished {finishes} times"}
    return {"kind": WHOLE, "status": 200, "text": "".join(parts), "tokens": tokens}


@dataclass(kw_only=True)
class Verdict:
    """What is wrong: nothing, if all is well."""

    faults: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def hold(self, good: bool, said: str) -> None:
        """Note a fault unless it is good."""
        if not good and len(self.faults) < 40:
            self.faults.append(said)


def verdict(seen: Sequence[Seen], log: Sequence[Mapping[str, Any]]) -> Verdict:
    """Hold what clients saw against the gateway's log: each request has one end, and both tell of
    the same.
    """
    found = Verdict()
    lines: dict[str, Mapping[str, Any]] = {}
    for line in log:
        found.hold(line["id"] not in lines, f"{line['id']} ended twice")
        lines[line["id"]] = line
        found.reasons[line["reason"]] += 1
    for one in seen:
        found.kinds[one.kind] += 1
        found.hold(one.kind != LOST, f"{one.id} is lost: {one.why}")
        line = lines.pop(one.id, None)
        if line is None:
            # who leaves while his request is on its way has not been heard of
            found.hold(one.kind == LEFT, f"{one.id} has no end in the log, its client: {one.kind}")
        elif one.kind != LOST:
            agreed = line["reason"] in REASONS[one.kind]
            found.hold(agreed, f"{one.id}: client {one.kind}, gateway {line['reason']}")
    found.hold(not lines, f"the log has requests that nobody sent: {list(lines)[:5]}")
    return found


def same_words(seen: Sequence[Seen], words_of: Mapping[str, str]) -> list[str]:
    """Faults of answers that say something else than another to the same question did: a piece
    twice, a piece missing, or somebody else's. ``words_of``: the question by request id.
    """
    said: dict[str, str] = {}
    faults = []
    for one in seen:
        if one.kind == WHOLE:
            first = said.setdefault(words_of[one.id], one.text)
            if one.text != first:
                faults.append(f"{one.id}: {one.text[:60]!r} is not {first[:60]!r}")
    return faults
