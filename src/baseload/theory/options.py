"""Success and energy of an option where nothing was measured, and where the best option switches.

An option is a model at an effort. Its forecast comes from the chain of thought of
docs/explanation/scaling-laws.md (6.1, 6.2) and is always marked ``modelled``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
from numpy.typing import ArrayLike

from baseload.base.errors import ArgumentError
from baseload.theory.chains import chain_energy, cot_oracle_stopping, step_success
from baseload.theory.inputs import not_negative, number, numbers, positive, whole


class OptionModel(msgspec.Struct, frozen=True, kw_only=True):
    """What the chain model needs to know of an option.

    ``ability`` and ``kappa`` (steepness) of its step success, ``energy_j_per_token`` of thinking,
    ``prefill_j`` once per request, ``tokens_per_step`` of one attempt, ``skills`` that a task
    needs, ``cap_tokens`` (None: none) after which it is cut.
    """

    name: str
    ability: float
    kappa: float
    energy_j_per_token: float
    tokens_per_step: float
    skills: int = 1
    prefill_j: float = 0.0
    cap_tokens: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is no option."""
        number(f"{self.name}: ability", self.ability)
        not_negative(f"{self.name}: kappa", self.kappa)
        not_negative(f"{self.name}: energy_j_per_token", self.energy_j_per_token)
        not_negative(f"{self.name}: prefill_j", self.prefill_j)
        positive(f"{self.name}: tokens_per_step", self.tokens_per_step)
        whole(f"{self.name}: skills", self.skills, least=1)
        if self.cap_tokens is not None:
            not_negative(f"{self.name}: cap_tokens", self.cap_tokens, infinite=True)

    @property
    def cap_attempts(self) -> float | None:
        """Whole attempts that fit into the cap."""
        if self.cap_tokens is None or math.isinf(self.cap_tokens):
            return None
        return float(math.floor(self.cap_tokens / self.tokens_per_step + 1e-9))


class OptionForecast(msgspec.Struct, frozen=True, kw_only=True):
    """What the model says of an option at a difficulty: probability of success, mean [J] and second
    moment [J^2] of its energy, mean thinking tokens. ``says`` names the assumptions.
    """

    success_frac: float
    mean_j: float
    second_j2: float
    mean_tokens: float
    source: Literal["modelled"] = "modelled"
    says: str

    @property
    def energy_j_per_solved(self) -> float:
        """Mean energy over success: joules per solved task when failures are tried again;
        infinite without success.
        """
        return self.mean_j / self.success_frac if self.success_frac > 0 else math.inf


class Switch(msgspec.Struct, frozen=True, kw_only=True):
    """At ``difficulty`` the best option changes from ``below`` to ``above`` (None: none is
    admissible).
    """

    difficulty: float
    below: str | None
    above: str | None


class SwitchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Options over difficulty: ``energy_j_per_solved[name]`` at each of ``difficulties``, the
    ``best`` name there, and the ``switches`` in between.
    """

    difficulties: tuple[float, ...]
    energy_j_per_solved: dict[str, tuple[float, ...]]
    best: tuple[str | None, ...]
    switches: tuple[Switch, ...]
    source: Literal["modelled"] = "modelled"


def forecast_option(option: OptionModel, *, difficulty: float) -> OptionForecast:
    """Success, energy and tokens of ``option`` on a task of this ``difficulty``.

    Exact for the chain model (docs/explanation/scaling-laws.md, 6.2); that real models follow it is
    not verified. Without a cap a step success of 0 raises ArgumentError that asks for one.
    """
    a = step_success(difficulty=difficulty, ability=option.ability, kappa=option.kappa)
    chain = chain_energy(
        k=option.skills,
        a=a,
        n_max=option.cap_attempts,
        tokens_per_step=option.tokens_per_step,
        energy_j_per_token=option.energy_j_per_token,
        prefill_j=option.prefill_j,
    )
    cut = "no cap" if option.cap_attempts is None else f"cut after {option.cap_attempts:.0f} steps"
    return OptionForecast(
        success_frac=chain.success_frac,
        mean_j=chain.energy.mean_j,
        second_j2=chain.energy.second_j2,
        mean_tokens=chain.mean_tokens,
        says=(
            f"modelled, not measured: {option.skills} skills in a row, a step succeeds with "
            f"{a:.3g}, {cut}"
        ),
    )


def switch_points(
    options: Sequence[OptionModel],
    difficulties: ArrayLike,
    *,
    least_success_frac: float = 0.0,
) -> SwitchPlan:
    """Which of ``options`` solves a task with the least energy, by difficulty.

    ``difficulties`` rising, at least two; the switches between two neighbours are found by halving
    to 1e-9 of the range (one that goes there and back between two neighbours is missed: use a finer
    grid). Options whose success is below ``least_success_frac`` are out. Ties go to the less mean
    energy, then to list order. docs/explanation/scaling-laws.md, 6.4.
    """
    if not options:
        raise ArgumentError("options", found="none", allowed="at least one option")
    names = [option.name for option in options]
    if len(set(names)) < len(names):
        raise ArgumentError("options", found=", ".join(names), allowed="each name once")
    grid = [float(d) for d in numbers("difficulties", difficulties, shape=(-1,))]
    if len(grid) < 2 or any(b <= a for a, b in itertools.pairwise(grid)):
        raise ArgumentError(
            "difficulties", found=f"{len(grid)} values", allowed="two or more, rising"
        )
    floor = number("least_success_frac", least_success_frac, least=0.0, most=1.0)

    def best(difficulty: float) -> str | None:
        scores = [(*_score(option, difficulty, floor), at) for at, option in enumerate(options)]
        least = min(scores)
        return None if math.isinf(least[0]) else names[least[2]]

    chosen = [best(d) for d in grid]
    room = 1e-9 * (grid[-1] - grid[0])
    switches: list[Switch] = []
    for at in range(len(grid) - 1):
        _halve(best, grid[at], grid[at + 1], chosen[at], chosen[at + 1], room, switches)
    return SwitchPlan(
        difficulties=tuple(grid),
        energy_j_per_solved={
            option.name: tuple(_score(option, d, floor)[0] for d in grid) for option in options
        },
        best=tuple(chosen),
        switches=tuple(switches),
    )


def _score(option: OptionModel, difficulty: float, floor: float) -> tuple[float, float]:
    """Joules per solved task and per request; infinite where the option is not admissible."""
    a = step_success(difficulty=difficulty, ability=option.ability, kappa=option.kappa)
    if a < 1e-150:
        return math.inf, math.inf
    chance = cot_oracle_stopping(k=option.skills, a=a, n_max=option.cap_attempts).success_frac
    if chance < floor:
        return math.inf, math.inf
    forecast = forecast_option(option, difficulty=difficulty)
    return forecast.energy_j_per_solved, forecast.mean_j


def _halve(
    best: Callable[[float], str | None],
    low: float,
    high: float,
    below: str | None,
    above: str | None,
    room: float,
    found: list[Switch],
) -> None:
    """Append the switches in (low, high), where ``below`` and ``above`` are best at the ends."""
    if below == above:
        return
    middle = 0.5 * (low + high)
    if high - low <= room or not low < middle < high:
        found.append(Switch(difficulty=middle, below=below, above=above))
        return
    between = best(middle)
    _halve(best, low, middle, below, between, room, found)
    _halve(best, middle, high, between, above, room, found)
