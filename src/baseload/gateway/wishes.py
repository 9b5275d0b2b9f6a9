"""What the headers of a request wish for: promises, priority, session, ids. Pure.

Both generations of the Gateway API's inference headers are read (the newer spelling goes first), as
sent by clients of llm-d and its predecessors.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable

import msgspec

from baseload.gateway.errors import RequestError, bad_field

REQUEST_ID_BYTES = 128
TRACE_PARENT_BYTES = 55
SLO_MS_MOST = 1e9
SHOWN_BYTES = 512
_ID_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:/+=@-")
_TRACE_BYTES = frozenset(b"0123456789abcdef-")

_TTFT = (b"x-llm-d-slo-ttft-ms", b"x-slo-ttft-ms")
_TPOT = (b"x-llm-d-slo-tpot-ms", b"x-slo-tpot-ms")
_OBJECTIVE = (b"x-llm-d-inference-objective", b"x-gateway-inference-objective")
_FAIRNESS = (b"x-llm-d-inference-fairness-id", b"x-gateway-inference-fairness-id")
_READ = frozenset(
    (
        *_TTFT,
        *_TPOT,
        *_OBJECTIVE,
        *_FAIRNESS,
        b"authorization",
        b"api-key",
        b"x-api-key",
        b"content-length",
        b"x-request-id",
        b"traceparent",
        b"tracestate",
        b"x-session-token",
        b"x-session-id",
        b"x-omniroute-effort",
    )
)
HEADERS_MOST = 200


class Wishes(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What was read. ``ttft_s``, ``tpot_s``: promises [s], nan for none. ``objective``: name of a
    tier, as GIE says it in ``objective_header``. ``fairness`` and ``session``: stable hashes, 0 for
    none. ``request_id``: the client's where it is safe, else empty. ``body_bytes``: what it
    announces, -1 where it does not.
    """

    authorization: bytes | None = None
    api_key: bytes | None = None
    body_bytes: int = -1
    request_id: str = ""
    traceparent: str = ""
    tracestate: str = ""
    ttft_s: float = math.nan
    tpot_s: float = math.nan
    objective: str | None = None
    objective_header: str = ""
    fairness: int = 0
    session: int = 0
    effort_auto: bool = False


def read_wishes(headers: Iterable[tuple[bytes, bytes]], *, most_bytes: int) -> Wishes:
    """What ``headers`` (ASGI's, lower case) wish for.

    Raises ``RequestError``: 431 for more than ``most_bytes`` of them, 400 for a value that is
    nonsense, with the header's name.
    """
    found: dict[bytes, bytes] = {}
    size = count = 0
    for name, value in headers:
        size += len(name) + len(value) + 4
        count += 1
        if name in _READ:
            found[name] = value
    if size > most_bytes or count > HEADERS_MOST:
        raise RequestError(
            431, f"headers of {size} bytes; allowed: {most_bytes}, and {HEADERS_MOST} of them"
        )
    return _wishes(found)


def _wishes(found: dict[bytes, bytes]) -> Wishes:
    """The record, from the headers that matter."""
    get = found.get
    length = get(b"content-length")
    request_id = get(b"x-request-id")
    authorization = get(b"authorization")
    if len(found) <= 2 + (request_id is not None) and b"traceparent" not in found:
        rest = found.keys() - {b"content-length", b"authorization", b"x-request-id"}
        if not rest:  # what nearly all requests look like
            return Wishes(
                authorization=authorization,
                body_bytes=-1 if length is None else _length(length),
                request_id="" if request_id is None else _safe_id(request_id),
            )
    trace = _traceparent(get(b"traceparent", b""))
    return Wishes(
        authorization=authorization,
        api_key=get(b"x-api-key") or get(b"api-key"),
        body_bytes=-1 if length is None else _length(length),
        request_id="" if request_id is None else _safe_id(request_id),
        traceparent=trace,
        tracestate=_tracestate(get(b"tracestate", b"")) if trace else "",
        ttft_s=_promise(found, _TTFT),
        tpot_s=_promise(found, _TPOT),
        objective=_objective(found),
        objective_header=next((name.decode() for name in _OBJECTIVE if name in found), ""),
        fairness=stable_hash(_first(found, _FAIRNESS)),
        session=stable_hash(get(b"x-session-token") or get(b"x-session-id")),
        effort_auto=_effort_auto(get(b"x-omniroute-effort")),
    )


def stable_hash(value: bytes | None) -> int:
    """A hash that all processes agree on, above 0; 0 for nothing."""
    if not value:
        return 0
    return (zlib.crc32(value) << 31 | zlib.adler32(value) & 0x7FFFFFFF) or 1


def _first(found: dict[bytes, bytes], names: tuple[bytes, ...]) -> bytes | None:
    for name in names:
        if name in found:
            return found[name]
    return None


def _length(value: bytes) -> int:
    if not value.isdigit() or len(value) > 18:
        raise bad_field("content-length", found=_visible(value), allowed="a number of bytes")
    return int(value)


def _safe_id(value: bytes) -> str:
    """The client's id where it can stand in a log and a header; else nothing."""
    if 0 < len(value) <= REQUEST_ID_BYTES and _ID_BYTES.issuperset(value):
        return value.decode("ascii")
    return ""


def _traceparent(value: bytes) -> str:
    """A W3C trace parent of version 00 that is one; else nothing (a new trace begins then)."""
    if len(value) != TRACE_PARENT_BYTES or not _TRACE_BYTES.issuperset(value):
        return ""
    version, trace, span, flags = (value.split(b"-") + [b""] * 4)[:4]
    sizes = (len(version), len(trace), len(span), len(flags))
    if sizes != (2, 32, 16, 2) or version == b"ff" or not trace.strip(b"0"):
        return ""
    return value.decode("ascii") if span.strip(b"0") else ""


def _tracestate(value: bytes) -> str:
    """A trace state; nothing of one that is too long, for half of an entry is none."""
    return _visible(value) if len(value) <= SHOWN_BYTES else ""


def _visible(value: bytes) -> str:
    """Printable ASCII of a header, short."""
    return "".join(chr(byte) for byte in value[:SHOWN_BYTES] if 32 <= byte < 127)


def _promise(found: dict[bytes, bytes], names: tuple[bytes, ...]) -> float:
    """A promise in milliseconds as seconds, nan for none."""
    for name in names:
        value = found.get(name)
        if value is None:
            continue
        try:
            given_ms = float(value)
        except ValueError:
            given_ms = math.nan
        if not 0.0 < given_ms <= SLO_MS_MOST:
            raise bad_field(name.decode(), found=_visible(value), allowed="milliseconds above 0")
        return given_ms / 1000.0
    return math.nan


def _objective(found: dict[bytes, bytes]) -> str | None:
    value = _first(found, _OBJECTIVE)
    return _visible(value).strip() if value else None


def _effort_auto(value: bytes | None) -> bool:
    if value is None:
        return False
    if value.strip().lower() == b"auto":
        return True
    raise bad_field("x-omniroute-effort", found=_visible(value), allowed="auto")
