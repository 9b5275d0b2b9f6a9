"""What the gateway says of a request's price: headers, the explained decision, sums."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from itertools import islice
from math import isfinite
from typing import Any

import msgspec

from baseload.gateway.events import Close, Reason
from baseload.gateway.live_request import Headers, LiveRequest

_TOTAL = "price_usd"


def price_headers(parts: Mapping[str, float]) -> Headers:
    """``x-baseload-price-usd``: the price of the chosen candidate; ``x-baseload-price-parts``: what
    it is made of, those that are not zero. Two headers, because each costs as much as a decision.
    """
    total = parts.get(_TOTAL)
    if total is None or not isfinite(total):
        return []
    said = ", ".join(
        [
            f"{name}={value:.6g}"
            for name, value in parts.items()
            if value and name != _TOTAL and isfinite(value)
        ]
    )
    found: Headers = [(b"x-baseload-price-usd", b"%.6g" % total)]
    if said:
        found.append((b"x-baseload-price-parts", said.encode("ascii")))
    return found


class Receipt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is kept of a request that has ended. Nothing of its text."""

    request_id: str
    client: str
    model_asked: str
    tier: str
    stream: bool
    model: str
    effort: str
    replica: str
    close: Close

    def said(self, decisions: Any) -> dict[str, Any]:
        """As ``/v1/energy/decisions/{id}`` answers; ``decisions``: as the machine explains them,
        attempt by attempt.
        """
        close = msgspec.structs.asdict(self.close)
        del close["request"]
        return {
            "object": "energy.decision",
            "request_id": self.request_id,
            "asked": {"model": self.model_asked, "tier": self.tier, "stream": self.stream},
            "chosen": {"model": self.model, "effort": self.effort, "replica": self.replica},
            "outcome": close,
            "method": "modelled",
            "decisions": decisions,
        }


class Receipts:
    """The last ``kept`` receipts by number, and sums over all requests since the start."""

    def __init__(self, kept: int) -> None:
        self.kept = kept
        self.reasons: dict[Reason, int] = {}
        self.energy_j = self.wasted_j = 0.0
        self.output_tokens = self.missed = self.retried = 0
        self.by_model: dict[str, list[float]] = {}
        self._kept: OrderedDict[int, Receipt] = OrderedDict()

    def add(self, live: LiveRequest, close: Close) -> None:
        """Count a request that has ended, and keep its receipt."""
        self.reasons[close.reason] = self.reasons.get(close.reason, 0) + 1
        self.energy_j += close.energy_j
        self.wasted_j += close.wasted_j
        self.output_tokens += close.output_tokens
        self.missed += close.missed
        self.retried += close.attempts > 1
        model, effort, replica = "", "", ""
        if live.option is not None and live.replica is not None:
            model, effort = live.option.model.name, live.option.effort or ""
            replica = live.replica.name
            sums = self.by_model.get(model)
            if sums is None:
                sums = self.by_model[model] = [0.0, 0.0, 0.0]
            sums[0] += 1
            sums[1] += close.energy_j
            sums[2] += close.output_tokens
        if self.kept <= 0:
            return
        self._kept[close.request] = Receipt(
            request_id=live.request_id,
            client=live.client,
            model_asked=live.asked.model,
            tier=live.tier,
            stream=live.asked.stream,
            model=model,
            effort=effort,
            replica=replica,
            close=close,
        )
        while len(self._kept) > self.kept:
            self._kept.popitem(last=False)

    def get(self, number: int) -> Receipt | None:
        """The receipt of a request, if it is still kept."""
        return self._kept.get(number)

    def last(self, most: int, *, client: str | None = None) -> list[Receipt]:
        """The last receipts, the newest first; ``client``: of one key only."""
        newest = reversed(self._kept.values())
        mine = (one for one in newest if client is None or one.client == client)
        return list(islice(mine, most))

    def summary(self) -> dict[str, Any]:
        """Sums since the start: requests by reason, modelled joules, tokens, by model."""
        requests = sum(self.reasons.values())
        return {
            "requests": requests,
            "reasons": dict(self.reasons),
            "energy_joules": self.energy_j,
            "wasted_joules": self.wasted_j,
            "output_tokens": self.output_tokens,
            "joules_per_output_token": (
                self.energy_j / self.output_tokens if self.output_tokens else None
            ),
            "deadline_misses": self.missed,
            "retried": self.retried,
            "models": {
                name: {"requests": int(n), "energy_joules": j, "output_tokens": int(tokens)}
                for name, (n, j, tokens) in sorted(self.by_model.items())
            },
            "method": "modelled",
        }
