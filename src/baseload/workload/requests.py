"""A request as a policy sees it: everything that is known when it arrives, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from baseload.base.errors import BadInputError
from baseload.workload.tiers import Tier


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One arrival. There is no field for the true output length: only its end reveals that.

    ``arrival_s`` seconds of the run; ``output_tokens_forecast`` what is expected of the output;
    ``model`` the model it must have, ``None`` for any. Deadlines are durations from arrival [s]
    (``ttft`` first token, ``tpot`` each further token, ``e2e`` whole answer), ``None`` where
    nothing is promised.
    """

    arrival_s: float
    input_tokens: int
    class_name: str
    tier: str
    output_tokens_forecast: float
    model: str | None = None
    deadline_ttft_s: float | None = None
    deadline_tpot_s: float | None = None
    deadline_e2e_s: float | None = None


def tier_of(class_name: str, tiers: Sequence[Tier]) -> Tier:
    """The tier that lists ``class_name``.

    Raises ``BadInputError`` when none does, or more than one.
    """
    found = [tier for tier in tiers if class_name in tier.classes]
    if len(found) != 1:
        listed = "; ".join(f"{tier.name}: {', '.join(tier.classes)}" for tier in tiers)
        raise BadInputError(
            f"tier of request class {class_name!r}",
            found=", ".join(tier.name for tier in found) or "no tier lists it",
            allowed=f"one tier for each class ({listed})",
            todo=f"add {class_name!r} to the classes of one tier",
        )
    return found[0]


def describe(
    *,
    arrival_s: float,
    input_tokens: int,
    class_name: str,
    tier: Tier,
    output_tokens_forecast: float,
    model: str | None = None,
    deadline_e2e_s: float | None = None,
) -> Request:
    """The request with its tier's deadlines.

    Its own ``deadline_e2e_s`` [s] goes before the tier's.
    """
    return Request(
        arrival_s=arrival_s,
        input_tokens=input_tokens,
        class_name=class_name,
        tier=tier.name,
        output_tokens_forecast=output_tokens_forecast,
        model=model,
        deadline_ttft_s=tier.ttft_s,
        deadline_tpot_s=tier.tpot_s,
        deadline_e2e_s=tier.e2e_s if deadline_e2e_s is None else deadline_e2e_s,
    )
