"""Who may call, and how much: keys and limits as the surface asks them."""

from __future__ import annotations

from typing import Any

import msgspec

from baseload.gateway.bodies import Asked
from baseload.gateway.config import GatewayConfig, Scope
from baseload.gateway.live_request import Headers


class Caller(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Who calls. ``name``: of the key, empty where no keys are asked for. ``models``: those it may
    ask for, ``None`` for all. ``fairness``: who shares a queue with it fairly.
    """

    name: str = ""
    scopes: tuple[Scope, ...] = ("infer", "energy", "admin")
    models: frozenset[str] | None = None
    tier: str | None = None
    fairness: int = 0
    key: Any = None


ANYBODY = Caller()


class Gate:
    """Checks of a configuration's keys and limits; without keys anybody may call."""

    def __init__(self, config: GatewayConfig) -> None:
        self.configured(config)

    def configured(self, config: GatewayConfig) -> None:
        """Check by another configuration from now on; what keys have used is kept."""

    def caller(self, authorization: bytes, scope: Scope) -> Caller:
        """Who calls. Raises ``RequestError`` 401 for no or an unknown key, 403 without ``scope``."""
        return ANYBODY

    def admit(self, caller: Caller, asked: Asked, tokens: float, headers: Headers) -> Any:
        """Let a request of about ``tokens`` in, and add what is left to ``headers``. Raises
        ``RequestError`` 429 over a limit. What it gives is handed to ``done``.
        """
        return None

    def done(self, admitted: Any, tokens: int) -> None:
        """A request has ended after ``tokens`` (-1: unknown)."""
