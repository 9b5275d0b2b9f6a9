"""Reads the bodies of requests, bounded in size and time."""

from __future__ import annotations

import asyncio
from typing import Any

from baseload.gateway.errors import RequestError
from baseload.gateway.live_request import Hear

SWEEP_S = 0.5


class ClientLeftError(Exception):
    """The client has gone before its request was here."""


class BodyReader:
    """Reads bodies. One clock watches all that are being read: nearly all are here at once, and a
    timer for each would cost more than reading them. Make it inside a running loop.
    """

    def __init__(self, *, sweep_s: float = SWEEP_S) -> None:
        self._loop = asyncio.get_running_loop()
        self._sweep_s = sweep_s
        self._reading: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def read(self, hear: Hear, *, announced: int, most_bytes: int, within_s: float) -> bytes:
        """The body of a request whose head announced so many bytes (-1: did not say).

        Raises ``RequestError`` 413 beyond ``most_bytes``, 408 after ``within_s``;
        ``ClientLeftError``.
        """
        if announced > most_bytes:
            raise _too_large(most_bytes)
        task = asyncio.current_task(self._loop)
        assert task is not None
        self._reading[task] = self._loop.time() + within_s
        if self._timer is None:
            self._timer = self._loop.call_later(self._sweep_s, self._sweep)
        try:
            return await _read(hear, most_bytes)
        except asyncio.CancelledError:
            if task not in self._late:
                raise
            self._late.discard(task)
            task.uncancel()
            raise RequestError(
                408, f"the body did not come within {within_s:g} s", headers=_CLOSE
            ) from None
        finally:
            self._reading.pop(task, None)

    def _sweep(self) -> None:
        """Break off those who take too long."""
        now_s = self._loop.time()
        for task, due_s in self._reading.items():
            if now_s >= due_s and task not in self._late:
                self._late.add(task)
                task.cancel()
        more = bool(self._reading)
        self._timer = self._loop.call_later(self._sweep_s, self._sweep) if more else None

    def close(self) -> None:
        """Stop the clock."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def _read(hear: Hear, most_bytes: int) -> bytes:
    message = await hear()
    if message["type"] == "http.disconnect":
        raise ClientLeftError
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        if len(body) > most_bytes:
            raise _too_large(most_bytes)
        return body
    parts = [body]
    size = len(body)
    while message.get("more_body", False):
        if size > most_bytes:
            raise _too_large(most_bytes)
        message = await hear()
        if message["type"] == "http.disconnect":
            raise ClientLeftError
        parts.append(message.get("body", b""))
        size += len(parts[-1])
    if size > most_bytes:
        raise _too_large(most_bytes)
    return b"".join(parts)


_CLOSE = ((b"connection", b"close"),)


def _too_large(most_bytes: int) -> RequestError:
    """413; the connection ends with it, as the rest of the body is not read."""
    return RequestError(413, f"a body of more than {most_bytes} bytes", headers=_CLOSE)
