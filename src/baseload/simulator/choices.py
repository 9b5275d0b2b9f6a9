"""What may answer a request: models and efforts, with the tokens they write and how often they are
right.

The table is what a policy is shown, and what the engine makes true: tokens are those of the trace
times a factor, right answers are counted by their probability.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from baseload.base.errors import BadInputError
from baseload.routing.price import BARRED, OPTION, plain_option
from baseload.workload.tiers import Tier


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One option: a ``model`` (as the fleet calls it; ``None``: any) at an effort.

    ``tokens_factor`` by class: output tokens over those of the trace; ``right_frac`` by class:
    probability that the answer is right; classes that are not named have that of ``""``.
    ``fee_usd``: what an answer costs beside energy. ``source``: where the numbers are from.
    """

    name: str
    model: str | None = None
    tokens_factor: Mapping[str, float] = {}
    right_frac: Mapping[str, float] = {}
    fee_usd: float = 0.0
    source: str = "assumed"

    def __post_init__(self) -> None:
        """Refuse numbers that are no factors and no probabilities."""
        for label, factor in self.tokens_factor.items():
            if not 0 < factor <= 1000:
                self._refuse(f"tokens_factor of {label or 'all'}", factor, "above 0, up to 1000")
        for label, share in self.right_frac.items():
            if not 0 <= share <= 1:
                self._refuse(f"right_frac of {label or 'all'}", share, "0 to 1")

    def _refuse(self, what: str, found: float, allowed: str) -> None:
        raise BadInputError(f"option {self.name!r}: {what}", found=repr(found), allowed=allowed)

    def tokens(self, label: str) -> float:
        """Factor on the tokens of a class."""
        return self.tokens_factor.get(label, self.tokens_factor.get("", 1.0))

    def right(self, label: str) -> float:
        """Probability that an answer to a request of the class is right."""
        return self.right_frac.get(label, self.right_frac.get("", 1.0))


def models_of(choices: Sequence[Choice], asked: Sequence[str]) -> tuple[str, ...]:
    """The models that have a code in a run: those that requests ask for, then those of choices."""
    wanted = [choice.model for choice in choices if choice.model is not None]
    return tuple(dict.fromkeys([*asked, *wanted]))


def option_table(
    choices: Sequence[Choice],
    classes: Sequence[str],
    asked: Sequence[str] = (),
    *,
    tiers: Sequence[Tier] = (),
    cap_tokens: float = math.inf,
) -> np.recarray[Any, Any]:
    """The choices as rows of ``price.OPTION``, ``[classes, options]``; a plain one for none.

    ``asked``: models that requests of the trace ask for; ``tiers``: of each class, with the value
    of a right answer (none or all 0: 1, so that a policy's rate is the value) and the floor below
    which an option is barred; ``cap_tokens``: where every answer is cut. Raises ``BadInputError``
    for a floor that no option reaches.
    """
    right_usd = [tier.right_usd for tier in tiers]
    if not choices:
        plain = np.tile(plain_option(), (max(1, len(classes)), 1)).view(np.recarray)
        return _valued(plain, right_usd, cap_tokens)
    table = np.zeros((len(classes), len(choices)), dtype=OPTION).view(np.recarray)
    code = {name: number for number, name in enumerate(models_of(choices, asked))}
    for row, label in zip(table, classes, strict=True):
        for option, choice in zip(row, choices, strict=True):
            option.model = -1 if choice.model is None else code[choice.model]
            option.fee_usd, option.joule_factor = choice.fee_usd, 1.0
            option.output_factor = choice.tokens(label)
            option.wrong_frac = 1.0 - choice.right(label)
    for row, label, tier in zip(table, classes, tiers, strict=bool(tiers)):
        _bar(row, choices, label, tier)
    return _valued(table, right_usd, cap_tokens)


def _bar(row: Any, choices: Sequence[Choice], label: str, tier: Tier) -> None:
    """Bar the options of a class that are right less often than its tier asks for."""
    if tier.right_floor is None:
        return
    right = [choice.right(label) for choice in choices]
    best = max(range(len(right)), key=right.__getitem__)
    if right[best] < tier.right_floor:
        raise BadInputError(
            f"tier {tier.name!r}: right_floor of {tier.right_floor:g}",
            found=f"class {label}: the best option, {choices[best].name}, is right in "
            f"{right[best]:g} of the answers",
            allowed="a floor that an option reaches in every class of the tier",
            todo="lower right_floor, add an option, or put the class into a tier of its own",
        )
    for option, share in zip(row, right, strict=True):
        if share < tier.right_floor:
            option.model = BARRED


def _valued(
    table: np.recarray[Any, Any], right_usd: Sequence[float], cap_tokens: float
) -> np.recarray[Any, Any]:
    """The table with the cap on every answer, and the value of right ones by class."""
    table.cap_tokens = cap_tokens
    table.right_usd = np.reshape(right_usd if any(right_usd) else 1.0, (-1, 1))
    return table
