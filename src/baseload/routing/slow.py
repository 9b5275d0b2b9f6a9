"""Slow control: what changes a policy's numbers between requests, in plain Python.

Every few seconds a controller is shown ``Signals``, counts and times that a gateway has too, and
answers with ``Orders``: lambda of each tier, how many replicas of each type are open, which
requests wait, how fast the clocks run. The simulator and the gateway carry the orders out.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from baseload.base.errors import BadInputError
from baseload.routing.fleet_state import PRIOR_INPUT_TOKENS, PRIOR_OUTPUT_TOKENS

Lambda = Literal["fixed", "pi", "log"]

SupplyRule = Literal[
    "none",
    "full_jump",
    "taylor",
    "mean_only",
    "static",
    "battery_threshold",
    "lyapunov",
    "greedy_green",
]
"""How the price of a joule follows the state of the supply: ``routing.supply_rules``."""

SUPPLY_KNOBS: dict[SupplyRule, dict[str, float]] = {
    "full_jump": {"day_states": 1.0, "stop_rule": 0.0},
    "taylor": {"stop_rule": 0.0},
    "mean_only": {"stop_rule": 0.0},
    "static": {"price_frac": -1.0, "stop_rule": 0.0},
    "battery_threshold": {"low_frac": 0.1, "high_frac": 0.9},
    "greedy_green": {"low_frac": 0.3},
    "lyapunov": {"v_frac": 1.0, "stop_rule": 0.0},
}
"""Numbers of supply rules, with their defaults: ``day_states`` 0 prices as if all hours were alike;
``stop_rule`` 1 caps answers, each hour, where one token more is not worth its joules;
``price_frac``: a constant price of joules as a share of that of auxiliary energy (below 0: the best
static routing is solved for); ``low_frac``, ``high_frac``: levels of the store; ``v_frac``: weight
of cost against the store's drift.
"""


_SWITCHES = ("day_states", "stop_rule")


class Slow(msgspec.Struct, frozen=True, kw_only=True):
    """Which slow controllers a policy has, as data.

    ``weight``: lambda at the start, in units of the price per second of lateness. ``rule``: how it
    changes: not at all, by JouleSched's PI rule, or by ours on a log scale
    (``routing.lateness_rules``). ``kp``, ``ki``: gains of the PI rule; ``anti_windup`` stops its
    sum while lambda rests at zero. ``working_set``: keeps only as many replicas open as the
    deadlines need, asleep or not. ``holds_bulk``: lets requests of bulk tiers wait for
    quiet minutes. ``clocks``: lowers clocks where that saves joules within the deadlines.
    ``supply``: the rule by which the price of a joule follows the level of the store;
    ``supply_knobs``: its numbers, where they differ from ``SUPPLY_KNOBS``.
    """

    weight: float = 1.0
    rule: Lambda = "fixed"
    kp: float = 100.0
    ki: float = 10.0
    anti_windup: bool = False
    period_s: float = 5.0
    working_set: bool = False
    holds_bulk: bool = False
    clocks: bool = False
    supply: SupplyRule = "none"
    supply_knobs: dict[str, float] = {}

    def __post_init__(self) -> None:
        """Refuse numbers under which nothing would be controlled."""
        for name in ("weight", "kp", "ki"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise BadInputError(
                    f"slow control: {name}", found=repr(value), allowed="a finite number >= 0"
                )
        if not 0.1 <= self.period_s <= 3600:
            raise BadInputError(
                "slow control: period_s", found=repr(self.period_s), allowed="0.1 to 3600 seconds"
            )

    @property
    def acts(self) -> bool:
        """Whether anything changes by what the fleet does; the supply is a matter of its own."""
        return self.rule != "fixed" or self.working_set or self.holds_bulk or self.clocks

    def parameters(self) -> dict[str, float | int | str | bool | None]:
        """What differs from no slow control, for results."""
        found: dict[str, float | int | str | bool | None] = {}
        if self.weight != 1.0:
            found["weight"] = self.weight
        if self.rule != "fixed":
            found["lambda_rule"] = self.rule
        if self.rule == "pi":
            found |= {"kp": self.kp, "ki": self.ki, "anti_windup": self.anti_windup}
        found |= {
            name: True for name in ("working_set", "holds_bulk", "clocks") if getattr(self, name)
        }
        if self.supply != "none":
            found |= {"supply": self.supply, **self.supply_parameters()}
        return found

    def supply_parameters(self) -> dict[str, float]:
        """All numbers of the supply rule."""
        return SUPPLY_KNOBS.get(self.supply, {}) | self.supply_knobs

    def settable(self) -> list[str]:
        """Names of the numbers that a user may set."""
        if self.rule == "pi":
            return ["kp", "ki", "anti_windup"]
        switches = ["working_set", "holds_bulk", "clocks"] if self.working_set else []
        if self.supply != "none":
            switches += ["supply", *SUPPLY_KNOBS.get(self.supply, {})]
        return [*(["log_lambda"] if self.rule == "log" else []), *switches]

    def with_parameter(self, name: str, value: float) -> Slow:
        """The same with one number changed; switches take 0 or 1. ``log_lambda=0`` fixes lambda,
        ``supply=0`` looks away from the supply.
        """
        if name in ("kp", "ki"):
            return msgspec.structs.replace(self, **{name: value})
        if name in SUPPLY_KNOBS.get(self.supply, {}) and not (
            name in _SWITCHES and value not in (0.0, 1.0)
        ):
            return msgspec.structs.replace(self, supply_knobs=self.supply_knobs | {name: value})
        if value not in (0.0, 1.0):
            raise BadInputError(f"slow control: {name}", found=repr(value), allowed="0 or 1")
        if name == "supply":
            return self if value else msgspec.structs.replace(self, supply="none", supply_knobs={})
        if name == "log_lambda":
            return msgspec.structs.replace(self, rule="log" if value else "fixed")
        return msgspec.structs.replace(self, **{name: bool(value)})


class Signals(msgspec.Struct, kw_only=True):
    """What a controller is shown at ``now_s``: counts since its last look, ``window_s`` ago, and
    the present.

    Per tier ``[tiers]``: ``arrived``, ``prompt_tokens`` (of the arrived), ``completed``, ``missed``
    (of the completed), ``refused``, ``input_tokens`` and ``output_tokens`` (of the completed),
    ``held`` (waiting outside the fleet now). Per type ``[types]``: ``in_flight`` requests, ``open``
    replicas, ``waking`` replicas that will be open soon. ``oldest_due_s``: when
    the first held request must go at the latest.
    """

    now_s: float
    window_s: float
    arrived: NDArray[np.float64]
    prompt_tokens: NDArray[np.float64]
    completed: NDArray[np.float64]
    missed: NDArray[np.float64]
    refused: NDArray[np.float64]
    input_tokens: NDArray[np.float64]
    output_tokens: NDArray[np.float64]
    held: NDArray[np.int64]
    in_flight: NDArray[np.int64]
    open: NDArray[np.int64]
    waking: NDArray[np.int64]
    oldest_due_s: float = math.inf

    def late_frac(self) -> float:
        """Share of missed requests among those that ended or were refused."""
        ended = float(self.completed.sum() + self.refused.sum())
        return float(self.missed.sum() + self.refused.sum()) / max(1.0, ended)

    def lengths(self) -> tuple[float, float]:
        """Mean input and output tokens of the requests that ended; the prior when none did."""
        count = float(self.completed.sum())
        if count < 1.0:
            return PRIOR_INPUT_TOKENS, PRIOR_OUTPUT_TOKENS
        outputs = max(1.0, float(self.output_tokens.sum()) / count)
        return float(self.input_tokens.sum()) / count, outputs


class Orders(msgspec.Struct, kw_only=True):
    """What a controller wants; ``None`` leaves a thing as it is.

    ``weight`` [tiers]: lambda. ``promise_frac``: share of each promise that the price may use up,
    the rest being kept for what the estimates do not see. ``open`` [types]: replicas that should
    work; ``reserve`` [types]: others that should stay awake for a burst; ``forecast_batch``
    [types]: requests that each open replica is about to run. ``hold`` [tiers]: 1 where arriving
    requests wait outside; ``release``: how many held requests may go now. ``level`` [types]: row of
    the clock ladder.
    """

    weight: NDArray[np.float64] | None = None
    promise_frac: float | None = None
    open: NDArray[np.int64] | None = None
    reserve: NDArray[np.int64] | None = None
    forecast_batch: NDArray[np.float64] | None = None
    hold: NDArray[np.uint8] | None = None
    release: int = 0
    level: NDArray[np.int64] | None = None


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """A tier as a controller knows it: its deadlines [s] (inf: none), its target, whether it may
    wait (bulk).
    """

    name: str
    ttft_s: float
    tpot_s: float
    e2e_s: float
    target_miss_frac: float
    bulk: bool


class FleetFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a controller knows of the fleet: ``replicas`` [types], rows of ``fleet.step.COST`` and
    of ``fleet_state.LIMITS``, one a type, at full clock. ``rungs[t]``: the rows of ``all_cost``
    that type ``t`` may run by, highest clock first; one where there is no choice.
    """

    replicas: NDArray[np.int64]
    cost: np.recarray[Any, Any]
    limits: np.recarray[Any, Any]
    all_cost: np.recarray[Any, Any] | None = None
    rungs: tuple[tuple[int, ...], ...] = ()
