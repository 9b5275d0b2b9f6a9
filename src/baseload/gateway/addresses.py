"""URLs of engines and hosts to listen on: what may stand in a configuration, and when two of them
are the same place.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

EMULATED = "emulated"
_HOST = re.compile(r"^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?$")
_EMULATED_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
_PLAIN = re.compile(r"^[\x21-\x7e]{1,2000}$")
_PORT_OF = {"http": 80, "https": 443}


def url_fault(url: str) -> tuple[str, str] | None:
    """What is wrong with the URL of an engine: what was found (in words that repeat no secret) and
    what is allowed; ``None`` for a good one.
    """
    allowed = "http://HOST:PORT, https://HOST or emulated://NAME"
    if not _PLAIN.match(url) or "\\" in url:
        return "a URL with spaces or characters that are not plain ASCII, or none at all", allowed
    try:
        parts = urlsplit(url)
        host, port, user = parts.hostname, parts.port, parts.username
    except ValueError:
        return "a URL whose host or port cannot be read", allowed
    if user is not None or "@" in parts.netloc:
        return (
            "a URL with a user name or a password in it (not shown)",
            "the bare URL; put the secret into api_key or headers as env:NAME",
        )
    if "?" in url or "#" in url:
        return "a URL with a query or a fragment (not shown)", "a URL that ends before `?` and `#`"
    if parts.scheme == EMULATED:
        if _EMULATED_NAME.match(url.partition("://")[2]):
            return None
        return repr(_short(url)), "emulated://NAME, a name of letters, digits, '.', '_' and '-'"
    if parts.scheme not in _PORT_OF:
        return repr(_short(url)), allowed
    if port == 0 or not host or not _is_host(host, parts):
        return repr(_short(url)), allowed
    return None


def _short(url: str) -> str:
    return url if len(url) <= 80 else url[:80] + "..."


def _is_host(host: str, parts: SplitResult) -> bool:
    """Whether a name or address can be one."""
    if "[" in parts.netloc:
        try:
            ipaddress.IPv6Address(host.partition("%")[0])
        except ValueError:
            return False
        return True
    return bool(_HOST.match(host)) and ".." not in host


def base_url(url: str) -> str:
    """The URL that ``/v1/...``, ``/health`` and ``/metrics`` are put after: host in lower case, no
    default port, no slash and no ``/v1`` at the end. Two URLs of one place have the same.
    """
    scheme, _, rest = url.strip().partition("://")
    host, slash, path = rest.partition("/")
    scheme = scheme.lower()
    if scheme == EMULATED:
        return f"{EMULATED}://{rest}"
    host = host.lower().removesuffix(f":{_PORT_OF.get(scheme, '')}")
    path = (slash + path).rstrip("/")
    return f"{scheme}://{host}{path.removesuffix('/v1').rstrip('/')}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on ``host``."""
    if host.casefold() in ("localhost", "ip6-localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return False
