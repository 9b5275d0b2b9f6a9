"""The page at ``/``: what the fleet does now, drawn by the browser from ``/v1/energy/summary``.

One file without outside parts, which the browser is told: its policy allows this script and this
style by their hashes, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources

PAGE_TYPE = b"text/html; charset=utf-8"


@cache
def page() -> bytes:
    """The page."""
    return resources.files("baseload.gateway").joinpath("page.html").read_bytes()


@cache
def page_headers() -> list[tuple[bytes, bytes]]:
    """Headers beside the content type: what the page may do, and that it is not kept."""
    script, style = (_hash(page(), name) for name in (b"script", b"style"))
    policy = (
        b"default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        b"frame-ancestors 'none'; script-src '%s'; style-src '%s'" % (script, style)
    )
    return [
        (b"content-security-policy", policy),
        (b"cache-control", b"no-cache"),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
    ]


def _hash(text: bytes, name: bytes) -> bytes:
    """The hash of the text inside an element, as a policy names it."""
    inside = text.partition(b"<%s>" % name)[2].partition(b"</%s>" % name)[0]
    return b"sha256-" + base64.b64encode(hashlib.sha256(inside).digest())
