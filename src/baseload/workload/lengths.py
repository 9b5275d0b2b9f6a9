"""What the output of a request will be, said at its arrival from what has ended before.

The forecast is causal: ``learn`` is called when a request ends, ``forecast`` when one arrives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from baseload.base.errors import BadInputError

# Mean output tokens of the sources of the default recipe (see docs/reference/traces.md).
PRIOR_TOKENS: Mapping[str, float] = {
    "chat": 211.0,
    "rag": 343.0,
    "batch": 291.0,
    "reasoning": 1527.0,
}
PRIOR_TOKENS_OTHER = 300.0


class LengthForecaster(Protocol):
    """Whoever forecasts output lengths by class."""

    def forecast(self, class_code: int) -> float:
        """Expected output tokens of a request of the class that arrives now."""

    def learn(self, class_code: int, output_tokens: int) -> None:
        """A request of the class has ended with so many output tokens."""


class MeanRule(msgspec.Struct, frozen=True, kw_only=True):
    """How fast a class mean moves.

    The prior counts as ``prior_requests``, memory is ``memory_requests`` long.
    """

    prior_requests: float = 20.0
    memory_requests: float = 2000.0

    def __post_init__(self) -> None:
        """Refuse a memory that is shorter than one request."""
        if self.prior_requests < 0 or not self.memory_requests >= 1:
            raise BadInputError(
                "rule of the length forecast",
                found=f"{self.prior_requests} and {self.memory_requests} requests",
                allowed="prior_requests >= 0, memory_requests >= 1",
            )


def learned_mean(
    mean_tokens: float,
    seen: float,
    output_tokens: float,
    *,
    prior_requests: float,
    memory_requests: float,
) -> float:
    """The mean after one more output, ``seen`` outputs having been learned before it.

    The gain is 1 / (prior + seen + 1), a plain average with the prior as so many requests, and
    never less than 1 / memory, an exponential mean that forgets.
    """
    return mean_tokens + (output_tokens - mean_tokens) / min(
        prior_requests + seen + 1.0, memory_requests
    )


def prior_tokens(classes: Sequence[str]) -> list[float]:
    """Prior mean output tokens of each class; 300 for a class that we know nothing of."""
    return [PRIOR_TOKENS.get(name, PRIOR_TOKENS_OTHER) for name in classes]


class OnlineClassMean:
    """A ``LengthForecaster``: the mean output of each class, learned as requests end."""

    def __init__(self, priors: Sequence[float], rule: MeanRule | None = None) -> None:
        self._rule = MeanRule() if rule is None else rule
        self._mean = [float(prior) for prior in priors]
        self._seen = [0] * len(self._mean)

    def forecast(self, class_code: int) -> float:
        """Expected output tokens of a request of the class that arrives now."""
        return self._mean[class_code]

    def learn(self, class_code: int, output_tokens: int) -> None:
        """A request of the class has ended with so many output tokens."""
        self._mean[class_code] = learned_mean(
            self._mean[class_code],
            self._seen[class_code],
            output_tokens,
            prior_requests=self._rule.prior_requests,
            memory_requests=self._rule.memory_requests,
        )
        self._seen[class_code] += 1
