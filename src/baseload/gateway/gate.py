"""Who may call, and how much: keys and limits as the surface asks them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

from baseload.gateway.bodies import Asked
from baseload.gateway.config import GatewayConfig, Scope
from baseload.gateway.keys import Caller, KeyRing, key_ring
from baseload.gateway.limits import Grant, Limiter
from baseload.gateway.live_request import Headers
from baseload.gateway.wishes import stable_hash

OUTPUT_TOKENS, OUTPUT_TOKENS_MOST = 256, 4096
"""What a request reserves for its answer: where it sets no limit, and at most."""

Pass = tuple[Limiter, Grant | None]
"""What lets a request in, and who gave it: a reload in between changes neither."""


class Gate:
    """Keys and limits of a configuration. ``workers``: processes that share the load. Raises
    ``BadInputError`` for a key whose environment variable is not set.
    """

    def __init__(
        self,
        config: GatewayConfig,
        *,
        workers: int = 1,
        environ: Mapping[str, str] = os.environ,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._environ, self._clock_ns = environ, clock_ns
        self._limiter = Limiter(config.keys, workers=workers)
        self._settle(config, self.ring_of(config))

    def ring_of(self, config: GatewayConfig) -> KeyRing:
        """The keys of a configuration that is yet to be taken over. Raises as above."""
        return key_ring(config, self._environ)

    def configured(self, config: GatewayConfig, ring: KeyRing) -> None:
        """Check by another configuration from now on; what keys have used up stays so."""
        self._limiter.reconfigure(config.keys)
        self._settle(config, ring)

    def _settle(self, config: GatewayConfig, ring: KeyRing) -> None:
        self.ring = ring
        self._fairness = {key.name: stable_hash(key.name.encode()) for key in config.keys}

    def caller(self, authorization: bytes | None, api_key: bytes | None, scope: Scope) -> Caller:
        """Who calls. Raises ``RequestError`` 401 for no or an unknown key, 403 for a scope."""
        caller = self.ring.caller(authorization, api_key)
        caller.require(scope)
        return caller

    def fairness(self, caller: Caller) -> int:
        """Who shares a queue fairly where the request does not say: the key."""
        return self._fairness.get(caller.name, 0)

    def admit(self, caller: Caller, asked: Asked, prompt_tokens: float, headers: Headers) -> Pass:
        """Let a request in, and add what is left to ``headers``. Raises ``RequestError`` 403 for a
        model that the key may not ask for, 429 over a limit. What it gives is for ``done``.
        """
        caller.require_model(asked.model)
        limiter = self._limiter
        if caller.number < 0:
            return limiter, None
        output = OUTPUT_TOKENS if asked.max_tokens is None else asked.max_tokens
        now_ns = self._clock_ns()
        grant = limiter.admit(
            caller,
            tokens=int(prompt_tokens) + min(output, OUTPUT_TOKENS_MOST),
            stream=asked.stream,
            now_ns=now_ns,
        )
        if grant is not None:
            headers += limiter.headers(caller, now_ns)
        return limiter, grant

    def done(self, admitted: Pass, used_tokens: int) -> None:
        """A request has ended after ``used_tokens``."""
        limiter, grant = admitted
        if grant is not None:
            limiter.settle(grant, used_tokens=used_tokens, now_ns=self._clock_ns())
