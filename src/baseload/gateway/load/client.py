"""The real clock and the real transport of a replay: aiohttp, one connection for each request in
flight.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from types import TracebackType

import aiohttp
import msgspec

from baseload.base.errors import ServiceError
from baseload.base.units import NS_PER_S
from baseload.gateway.load.run import ExchangeError, Head

_CONNECT_S = 10.0
_AWAKE_S = 0.001


class RealClock:
    """Time that does not go back, of this machine."""

    def now_ns(self) -> int:
        """Nanoseconds since some instant in the past."""
        return time.perf_counter_ns()

    async def sleep_until(self, instant_ns: int) -> None:
        """Come back when the instant has passed: loops count whole milliseconds, so the last one is
        waited out awake.
        """
        while (left_ns := instant_ns - time.perf_counter_ns()) > 0:
            await asyncio.sleep(max(0.0, left_ns / NS_PER_S - _AWAKE_S))


class HttpTransport:
    """Sends to ``base_url`` (with or without ``/v1``); use it as ``async with``. ``timeout_s``: how
    long a whole answer may take.
    """

    def __init__(self, base_url: str, *, key: str | None = None, timeout_s: float = 600.0) -> None:
        self._base = base_url.rstrip("/").removesuffix("/v1")
        self._target = self._base + "/v1/chat/completions"
        self._headers = {"content-type": "application/json", "accept": "*/*"}
        if key is not None:
            self._headers["authorization"] = f"Bearer {key}"
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> HttpTransport:
        """Open the pool of connections."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30.0, ttl_dns_cache=300),
            timeout=aiohttp.ClientTimeout(
                total=self._timeout_s, sock_connect=min(_CONNECT_S, self._timeout_s)
            ),
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close all connections."""
        assert self._session is not None
        await self._session.close()

    async def exchange(
        self, body: bytes, headers: Mapping[str, str]
    ) -> AsyncIterator[Head | bytes]:
        """As ``run.Transport``."""
        assert self._session is not None
        try:
            async with self._session.post(self._target, data=body, headers=headers) as answer:
                yield Head(
                    status=answer.status,
                    headers={name.lower(): value for name, value in answer.headers.items()},
                )
                async for data in answer.content.iter_any():
                    yield data
        except TimeoutError as error:
            raise ExchangeError("timeout", str(error) or f"{self._timeout_s:g} s") from error
        except aiohttp.ClientConnectorError as error:
            kind = "client" if error.errno in _OWN_FAULTS else "connect"
            raise ExchangeError(kind, _words(error)) from error
        except (aiohttp.ClientError, OSError) as error:
            raise ExchangeError("closed", _words(error)) from error

    async def check(self) -> tuple[str, ...]:
        """The models that the server lists, none where it has no list. Raises ``ServiceError``
        unless something answers at the address and takes the key.
        """
        assert self._session is not None
        try:
            async with self._session.get(
                self._base + "/v1/models", timeout=aiohttp.ClientTimeout(total=_CONNECT_S)
            ) as answer:
                status, page = answer.status, await answer.content.read(_LIST_BYTES)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ServiceError(
                f"load for {self._base}",
                found=_words(error),
                allowed="an OpenAI-compatible server that answers there",
                todo="start it (`baseload serve`), or correct --url",
            ) from None
        if status in (401, 403):
            raise ServiceError(
                f"load for {self._base}",
                found=f"status {status}: {page[:300].decode(errors='replace')}",
                todo="give its key: --key env:NAME",
                status=status,
            )
        return _models_of(page) if status == 200 else ()

    async def metrics(self) -> dict[str, float] | None:
        """Counters of joules at ``/metrics``, by name and summed over labels [J]; ``None`` where
        there are none.
        """
        assert self._session is not None
        try:
            async with self._session.get(
                self._base + "/metrics", timeout=aiohttp.ClientTimeout(total=_CONNECT_S)
            ) as answer:
                text = await answer.text(errors="replace") if answer.status == 200 else ""
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None
        return joules_of(text) or None


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


_LIST_BYTES = 1024 * 1024


def _models_of(page: bytes) -> tuple[str, ...]:
    """Names in OpenAI's list of models; none in anything else."""
    try:
        return tuple(one.id for one in msgspec.json.decode(page, type=_Models).data)
    except msgspec.DecodeError:
        return ()


_OWN_FAULTS = frozenset({24, 99})
"""Errors of the client's own machine: too many open files, no free port."""


def _words(error: BaseException) -> str:
    """What an error says, without the library's own terms where the system has words for it."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error.strerror or str(error.os_error)
    return str(error) or type(error).__name__


def joules_of(text: str) -> dict[str, float]:
    """Counters of energy in Prometheus text, by name and summed over their labels [J]: names that
    end in ``_joules_total``.
    """
    found: dict[str, float] = {}
    for line in text.splitlines():
        name = line.partition("{")[0].partition(" ")[0]
        if not name.endswith("_joules_total") or line.startswith("#"):
            continue
        sample = line.rpartition("}")[2].split() or [""]
        value = sample[0] if "{" in line else line.split()[1]
        try:
            found[name] = found.get(name, 0.0) + float(value)
        except ValueError:
            continue
    return found
