"""Asking a service over HTTP: secrets, time-outs, retries with back-off, one clear error.

Everything that touches the world is handed in as a ``Connection``: the fetch, the waiter and the
clock, so that tests and simulations bring their own.
"""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from pathlib import Path
from typing import IO

import msgspec

from baseload.base.errors import BadInputError, ServiceError
from baseload.base.units import ns_from_s, s_from_ns

Fetch = Callable[[str, Mapping[str, str], float], tuple[int, Mapping[str, str], bytes]]
"""``fetch(url, headers, timeout_s) -> (status, headers, body)``; raises ``OSError`` (time-outs are
one) when there is no answer. Any status is an answer."""

MOST_BYTES = 64 * 1024 * 1024
"""Answers longer than this are refused."""

_RETRY = (408, 425, 429, 500, 502, 503, 504)
_MEANING = {
    400: "the request was not understood",
    401: "the token was refused",
    403: "the token is not allowed to read this (plan, zone or region)",
    404: "no such address or zone",
    429: "too many requests",
    503: "the service is down for now",
}
_WHAT_TO_DO = {
    **dict.fromkeys((401, 403), "check the token and what its plan allows"),
    **dict.fromkeys((400, 404), "check the zone, and that the service has not moved"),
}


class _Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request failed; ``after_s``: seconds to wait before another, ``None``: in vain."""

    found: str
    status: int = 0
    after_s: float | None = None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nothing: a redirect would carry the token to another host."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: object,
        newurl: str,
    ) -> None:
        """Say no, which makes the redirect an answer of its own status."""


def fetch_url(
    url: str, headers: Mapping[str, str], timeout_s: float
) -> tuple[int, Mapping[str, str], bytes]:
    """Get ``url`` with the standard library, without following redirects.

    Raises ``OSError`` when there is no answer within ``timeout_s`` of silence, or one of more than
    64 MiB.
    """
    request = urllib.request.Request(url, headers=dict(headers))
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=timeout_s) as answer:
            return answer.status, dict(answer.headers), _limited(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), _limited(error)
    except HTTPException as error:
        raise OSError(f"broken answer ({type(error).__name__})") from None


def _limited(answer: IO[bytes]) -> bytes:
    """The body, if it is not too long."""
    body = answer.read(MOST_BYTES + 1)
    if len(body) > MOST_BYTES:
        raise OSError(f"an answer of more than {MOST_BYTES} bytes")
    return body


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """How a service is reached. All parts can be replaced.

    ``timeout_s`` for one request; ``tries`` in all, with pauses of ``back_off_s``, twice that, and
    so on, or what the service asks for (``Retry-After``), as long as one pause is at most
    ``most_wait_s``. ``cache_dir``: folder where values are kept between runs; ``None``: memory
    only.
    """

    fetch: Fetch = fetch_url
    wait: Callable[[float], None] = time.sleep
    clock_ns: Callable[[], int] = time.time_ns
    timeout_s: float = 10.0
    tries: int = 3
    back_off_s: float = 1.0
    most_wait_s: float = 10.0
    cache_dir: Path | None = None


class Secret:
    """A secret that lives in an environment variable; shows only the variable's name."""

    def __init__(self, spec: str, *, field: str) -> None:
        """``spec`` is ``env:NAME``. Raises ``BadInputError`` for anything else, without showing
        it.
        """
        if not spec.startswith("env:") or not spec[4:].strip():
            raise BadInputError(
                field,
                found="text that is not env:NAME (not shown: it may be a secret)",
                allowed="env:NAME",
                todo="put the secret into an environment variable and give its name",
            )
        self.name = spec[4:].strip()
        self._field = field

    def reveal(self) -> str:
        """The secret. Raises ``BadInputError`` that names the variable when it is not set."""
        value = os.environ.get(self.name, "").strip()
        if not value:
            raise BadInputError(
                self._field,
                found=f"environment variable {self.name} is not set",
                todo=f"export {self.name}=...",
            )
        return value

    def __repr__(self) -> str:
        return f"env:{self.name}"


class HttpClient:
    """Gets answers of one ``service``; every failure is one ``ServiceError`` without secrets."""

    def __init__(self, service: str, connection: Connection) -> None:
        self.service = service
        self.connection = connection
        self._not_before_ns = 0

    def get(
        self,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        secret_params: Mapping[str, str] | None = None,
        secrets: tuple[str, ...] = (),
        explain: Callable[[bytes], str] | None = None,
    ) -> bytes:
        """The body of a 200 answer.

        ``secret_params`` are added to the query, but never shown; ``secrets`` and their values are
        blanked out of whatever the service says. ``explain`` finds the reason in the body of an
        error. Raises ``ServiceError`` with the status, its meaning and what to do.
        """
        shown = url + ("?" + urllib.parse.urlencode(params) if params else "")
        hidden = dict(secret_params or {})
        blank = (*secrets, *hidden.values(), *map(urllib.parse.quote_plus, hidden.values()))
        if blank:
            self._check_scheme(url)
        full = url + _query({**(params or {}), **hidden})
        now_ns = self.connection.clock_ns()
        if now_ns < self._not_before_ns:
            pause_s = s_from_ns(self._not_before_ns - now_ns)
            raise self._error(shown, f"it asked not to be asked for another {pause_s:.0f} s")
        failed = _Failure(found="")
        for attempt in range(max(1, self.connection.tries)):
            if attempt:
                self.connection.wait(self._pause_s(attempt, failed.after_s or 0.0))
            answer = self._once(full, headers or {}, blank, explain)
            if isinstance(answer, bytes):
                return answer
            failed = answer
            if failed.after_s is None:
                break
            if failed.after_s > self.connection.most_wait_s:
                self._not_before_ns = self.connection.clock_ns() + ns_from_s(failed.after_s)
                break
        raise self._error(shown, failed.found, failed.status)

    def _once(
        self,
        full: str,
        headers: Mapping[str, str],
        blank: tuple[str, ...],
        explain: Callable[[bytes], str] | None,
    ) -> bytes | _Failure:
        """One request: the body of a good answer, or what went wrong."""
        try:
            status, answer_headers, body = self.connection.fetch(
                full, {"User-Agent": "baseload", **headers}, self.connection.timeout_s
            )
        except OSError as error:
            reason = getattr(error, "reason", None) or error
            if isinstance(reason, TimeoutError):
                found = f"no answer within {self.connection.timeout_s:g} s"
                return _Failure(found=found, after_s=0.0)
            found = f"no connection: {_blanked(str(reason), blank)}"
            return _Failure(found=found, after_s=0.0)
        if status == 200:
            return body
        said = _blanked((explain or _first_words)(body), blank)
        parts = [f"HTTP {status}"] + ([_MEANING[status]] if status in _MEANING else [])
        after_s = None
        if status in _RETRY:
            after_s = _retry_after_s(answer_headers, self.connection.clock_ns())
        found = ", ".join(parts) + (f": {said}" if said else "")
        return _Failure(found=found, status=status, after_s=after_s)

    def _pause_s(self, attempt: int, asked_s: float) -> float:
        """How long to wait before the next try."""
        doubled = self.connection.back_off_s * 2.0 ** (attempt - 1)
        return min(self.connection.most_wait_s, max(doubled, asked_s))

    def _check_scheme(self, url: str) -> None:
        """Refuse to send a secret in the clear, except to this machine."""
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
            raise BadInputError(
                f"{self.service}: address",
                found=f"{parts.scheme}://{parts.hostname}",
                allowed="https, so that the token is not sent in the clear",
            )

    def _error(self, shown: str, found: str, status: int = 0) -> ServiceError:
        """The one error of a request."""
        todo = _WHAT_TO_DO.get(status, "try again later")
        return ServiceError(f"{self.service}: {shown}", found=found, todo=todo, status=status)


def _query(params: Mapping[str, str]) -> str:
    """The query part of an address."""
    return "?" + urllib.parse.urlencode(params) if params else ""


def _blanked(text: str, blank: tuple[str, ...]) -> str:
    """The text without secrets."""
    for secret in blank:
        if secret:
            text = text.replace(secret, "***")
    return text


def _first_words(body: bytes) -> str:
    """The beginning of an error page, on one line."""
    return " ".join(body[:2000].decode("utf-8", "replace").split())[:200]


def _retry_after_s(headers: Mapping[str, str], now_ns: int) -> float:
    """What ``Retry-After`` asks for [s]; 0 when it says nothing."""
    text = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - s_from_ns(now_ns))
    except (ValueError, TypeError):
        return 0.0
