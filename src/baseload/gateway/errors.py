"""What a client is told when its request cannot be served: OpenAI's error shape.

``{"error": {"message", "type", "param", "code"}}`` with a status; clients of OpenAI turn the status
into their own exceptions (400 ``BadRequestError``, 429 ``RateLimitError`` ...).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import msgspec

from baseload.base.errors import nearest_names

TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    409: "conflict_error",
    411: "invalid_request_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    431: "invalid_request_error",
    500: "server_error",
    502: "upstream_error",
    503: "overloaded_error",
    504: "timeout_error",
}
"""``type`` of an error, by status, where none is given."""

SHOWN_CHARACTERS = 80
"""Most characters of a client's own value that an error shows back."""


def type_of(status: int) -> str:
    """OpenAI's word for errors of an HTTP ``status``."""
    return TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")


def error_body(
    message: str, *, kind: str, param: str | None = None, code: str | None = None
) -> bytes:
    """The JSON body of an error answer, as OpenAI's; any ``message`` can be said."""
    told = {"message": message, "type": kind, "param": param, "code": code}
    try:
        return msgspec.json.encode({"error": told})
    except UnicodeEncodeError:  # half a surrogate pair, from a client's own name
        clean = {
            key: value.encode("utf-8", "replace").decode("utf-8") if value else value
            for key, value in told.items()
        }
        return msgspec.json.encode({"error": clean})


class RequestError(Exception):
    """A request that is answered with an error.

    ``status``: of HTTP. ``type`` (given as ``kind``): OpenAI's word, by default the status's.
    ``param``: the offending field (``messages[0].content``). ``code``: a word that programs test
    (``model_not_found``). ``retry_after_s``: seconds after which another try may do; becomes the
    header ``retry-after``. ``headers``: further ones, lower case, as ASGI wants them.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str | None = None,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
        headers: Iterable[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type_of(status) if kind is None else kind
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s
        self.extra_headers = tuple(headers)

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Headers of the answer beside its content type: ``retry-after`` in whole seconds, at least
        1 (a retry is never asked for at once), then the further ones.
        """
        wait_s = self.retry_after_s
        if wait_s is None or not math.isfinite(wait_s):
            return self.extra_headers
        whole = str(max(1, math.ceil(wait_s))).encode()
        return ((b"retry-after", whole), *self.extra_headers)

    def body(self) -> bytes:
        """The JSON body of the answer."""
        return error_body(self.message, kind=self.type, param=self.param, code=self.code)

    def event(self) -> bytes:
        """The same as one event of a stream that has begun: OpenAI's clients raise it."""
        return b"data: " + self.body() + b"\n\n"


def shown(value: object) -> str:
    """A client's ``value`` as an error may show it back: short, on one line."""
    text = value if isinstance(value, str) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def bad_field(param: str, *, found: str, allowed: str, code: str | None = None) -> RequestError:
    """400 for a field: its name, what was found there, what is allowed."""
    message = f"{param}: found {shown(found)}; allowed: {allowed}"
    return RequestError(400, message, param=param, code=code)


def unknown_model(model: str, known: Iterable[str]) -> RequestError:
    """404 for a model that is not served, with the nearest names and the list."""
    names = sorted(known)
    near = nearest_names(model[:200], names)
    hint = f" Nearest: {', '.join(near)}." if near else ""
    listed = ", ".join(names[:40]) + (" ..." if len(names) > 40 else "")
    message = f"the model {shown(model)!r} is not served here.{hint} Served: {listed or 'none'}"
    return RequestError(404, message, param="model", code="model_not_found")
