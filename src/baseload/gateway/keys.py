"""Who calls: keys, hashed at rest, with what each may do.

A key is random and long (``baseload key``: 256 bits), so one SHA-256 without salt is enough: there
is nothing to guess. The ring keeps digests only; the key of a request is hashed, looked up and
forgotten (nothing of it is cached, for the hash takes less than a microsecond).

The look-up by digest may take a time that depends on the digest, but not on how much of a *key* was
guessed right: whoever sends a key cannot choose its digest. The one digest found is compared in
constant time all the same.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from hashlib import sha256

import msgspec

from baseload.base.errors import BadInputError
from baseload.gateway.config import GatewayConfig, KeyEntry, Scope
from baseload.gateway.errors import RequestError
from baseload.gateway.secret_names import secret_of

PREFIX = "sha256:"
AUTO = "auto"
MOST_KEY_BYTES = 1024
_ALL_SCOPES: tuple[Scope, ...] = ("infer", "energy", "admin")
_CHALLENGE = ((b"www-authenticate", b"Bearer"),)


class Caller(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Who sent a request. ``number``: place of the key in the file, -1 where there are no keys.
    ``models``: what it may ask for, models and aliases; ``None``: everything. ``tier``: the tier of
    all its requests; ``None``: as each request says.
    """

    name: str
    number: int
    scopes: tuple[Scope, ...]
    models: frozenset[str] | None = None
    tier: str | None = None

    def require(self, scope: Scope) -> None:
        """Raise ``RequestError`` 403 unless the key has ``scope``."""
        if scope not in self.scopes:
            raise RequestError(
                403,
                f"the key {self.name!r} has no scope {scope!r}; it has: {', '.join(self.scopes)}",
                code="insufficient_scope",
            )

    def require_model(self, model: str) -> None:
        """Raise ``RequestError`` 403 unless the key may ask for ``model`` (a model or an alias)."""
        if self.models is not None and model not in self.models:
            listed = ", ".join(sorted(self.models)[:40])
            raise RequestError(
                403,
                f"the key {self.name!r} may not ask for the model {model[:80]!r}; "
                f"it may ask for: {listed}",
                param="model",
                code="model_not_allowed",
            )


ANYBODY = Caller(name="", number=-1, scopes=_ALL_SCOPES)
"""The caller where no keys are configured: the gateway then listens on loopback only."""


class KeyRing:
    """The keys of a configuration: ``caller`` finds whose a request's key is."""

    def __init__(self, callers: Mapping[bytes, Caller]) -> None:
        """``callers`` by the SHA-256 digest of their keys; none: anybody may call."""
        self._by_digest = {digest: (digest, caller) for digest, caller in callers.items()}

    @property
    def open(self) -> bool:
        """Whether anybody may call, for there are no keys."""
        return not self._by_digest

    def caller(self, authorization: bytes | None, api_key: bytes | None = None) -> Caller:
        """Whose key came with a request, in the header ``authorization`` (``Bearer KEY``) or, bare,
        in ``api-key`` or ``x-api-key``.

        Raises ``RequestError`` 401 where there is no key, or one that nobody has.
        """
        if not self._by_digest:
            return ANYBODY
        if authorization is not None:
            scheme, _, key = authorization.partition(b" ")
            key = key.strip()
            if scheme.lower() != b"bearer" or not key:
                raise _refused("the header Authorization is not 'Bearer KEY'", "malformed_api_key")
        elif api_key is not None and api_key.strip():
            key = api_key.strip()
        else:
            raise _refused("no API key was sent", "missing_api_key")
        if len(key) <= MOST_KEY_BYTES:
            digest = sha256(key).digest()
            found = self._by_digest.get(digest)
            if found is not None and hmac.compare_digest(found[0], digest):
                return found[1]
        raise _refused("this API key is not one that is known here", "invalid_api_key")


def _refused(what: str, code: str) -> RequestError:
    """401, without a word of what was sent."""
    return RequestError(
        401,
        f"{what}; send one as 'Authorization: Bearer KEY'",
        code=code,
        headers=_CHALLENGE,
    )


def hash_of_key(key: str) -> str:
    """What stands in the file for a key: ``sha256:`` and 64 hex digits."""
    return PREFIX + sha256(key.encode()).hexdigest()


def key_ring(config: GatewayConfig, environ: Mapping[str, str]) -> KeyRing:
    """The ring of a configuration; keys that stand in the environment are hashed here.

    Raises ``BadInputError`` for a variable that is not set and for one key in two entries.
    """
    callers: dict[bytes, Caller] = {}
    for number, entry in enumerate(config.keys):
        digest = _digest_of(entry, number, environ)
        if digest in callers:
            raise BadInputError(
                f"keys[{number}]",
                found=f"the key of {callers[digest].name!r} once more",
                allowed="each key once",
            )
        callers[digest] = Caller(
            name=entry.name,
            number=number,
            scopes=entry.scopes,
            models=None if entry.models is None else _may_ask(entry.models, config),
            tier=entry.tier,
        )
    return KeyRing(callers)


def _digest_of(entry: KeyEntry, number: int, environ: Mapping[str, str]) -> bytes:
    """The digest of one entry's key."""
    if entry.hash is not None:
        return bytes.fromhex(entry.hash.removeprefix(PREFIX))
    if entry.value is None:
        raise BadInputError(f"keys[{number}]", found="no key", allowed="hash, or value: env:NAME")
    return sha256(secret_of(entry.value, environ).encode()).digest()


def _may_ask(named: Sequence[str], config: GatewayConfig) -> frozenset[str]:
    """The names that a key may say: those listed, and aliases over models that are all listed. An
    alias that is listed gives all its models under its own name, and no other.
    """
    chat = tuple(model.name for model in config.models if model.endpoints != ("embeddings",))
    aliases = {AUTO: chat, **config.aliases}
    allowed = set(named)
    over = {name for name, members in aliases.items() if members and allowed.issuperset(members)}
    return frozenset(allowed | over)
