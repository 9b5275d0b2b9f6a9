"""Tiers: what a kind of request is promised."""

from __future__ import annotations

import math

import msgspec

from baseload.base.errors import BadInputError


class Tier(msgspec.Struct, frozen=True, kw_only=True):
    """One promise: deadlines for the first token, for each further token and for the whole answer
    [s].

    A deadline of ``None`` is not promised. A request misses when it breaks any promised deadline;
    ``target_miss_frac`` is the share that may. ``priority`` orders the queue inside a replica, 0
    first. ``classes`` lists the request classes that belong to the tier. ``right_usd``: what a
    right answer is worth more than a wrong one [$]; ``miss_usd``: what a broken promise costs [$].
    ``right_floor``: no option may answer that is right less often; ``None``: any may.
    """

    name: str
    classes: tuple[str, ...]
    priority: int = 0
    ttft_s: float | None = None
    tpot_s: float | None = None
    e2e_s: float | None = None
    target_miss_frac: float = 0.01
    right_usd: float = 0.0
    miss_usd: float = 0.0
    right_floor: float | None = None

    def __post_init__(self) -> None:
        """Refuse deadlines that cannot be kept or compared."""
        for name in ("ttft_s", "tpot_s", "e2e_s"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise BadInputError(
                    f"tier {self.name!r}: {name}",
                    found=repr(value),
                    allowed="a positive number of seconds, or null",
                )
        if not 0 <= self.target_miss_frac <= 1:
            raise BadInputError(
                f"tier {self.name!r}: target_miss_frac",
                found=repr(self.target_miss_frac),
                allowed="0 to 1",
            )
        if self.right_floor is not None and not 0 <= self.right_floor <= 1:
            raise BadInputError(
                f"tier {self.name!r}: right_floor",
                found=repr(self.right_floor),
                allowed="0 to 1, or null for none",
            )
        for name in ("right_usd", "miss_usd"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise BadInputError(
                    f"tier {self.name!r}: {name}", found=repr(value), allowed="dollars, 0 or more"
                )
        if self.priority < 0:
            raise BadInputError(
                f"tier {self.name!r}: priority",
                found=repr(self.priority),
                allowed="an integer >= 0",
            )


# Defaults: 100 ms a token is DynamoLLM's limit (arXiv 2408.00741) and faster than people read; 2 s
# to the first token is its limit for long prompts. Ten minutes for a bulk answer is our own choice.
INTERACTIVE = Tier(
    name="interactive",
    classes=("chat", "rag", "reasoning"),
    priority=0,
    ttft_s=2.0,
    tpot_s=0.1,
    target_miss_frac=0.01,
)
BULK = Tier(name="bulk", classes=("batch",), priority=1, e2e_s=600.0, target_miss_frac=0.01)
DEFAULT_TIERS = (INTERACTIVE, BULK)
