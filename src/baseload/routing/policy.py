"""A policy: which parts of the price it uses, at which rates, and how a candidate is found. Data
first.

Three ways to write one, from the shortest to the freest:

* a ``Policy`` record (all built-in ones): rates for the parts of ``price``, and a rule;
* a ``Policy`` with its own compiled ``price`` function, for a price that the parts cannot say;
* any object with ``choose(request, fleet) -> replica number or None`` in plain Python.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

from baseload.base.draws import draws
from baseload.base.errors import BadInputError, nearest_names, unknown_name
from baseload.fleet.replica_type import ReplicaType
from baseload.routing import pick as rules
from baseload.routing.estimate import capacity_per_s
from baseload.routing.fleet_state import FleetState
from baseload.routing.position import joule_prices, no_joule_prices
from baseload.routing.price import BARRED, CARBON, FEE, KNOBS, PARTS, QUALITY, UNITS, plain_option
from baseload.routing.sizing import profile
from baseload.routing.slow import Slow
from baseload.workload.requests import Request

Rule = Literal["price", "random", "round_robin", "weighted_round_robin", "sample"]
_RULES: dict[Rule, int] = {
    "price": rules.PRICE,
    "random": rules.RANDOM,
    "round_robin": rules.ROUND_ROBIN,
    "weighted_round_robin": rules.WEIGHTED_ROUND_ROBIN,
    "sample": rules.SAMPLE,
}


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """One policy as data.

    ``summary``: one line for people. ``source``: who published it; "reconstruction" where a gap was
    filled by us. ``rule``: ``price`` takes the cheapest candidate, ``sample`` the cheapest of
    ``choices`` drawn ones, the others need no price. ``rates``: exchange rates of the price's
    parts, zero where absent. ``by_tokens``: the price depends on outstanding tokens, rising with
    them; else it depends on requests in flight. ``rising``: it never falls when requests in flight
    rise from one on, so only the two least loaded levels of a type need a look;
    ``rising_with_experts``: so too on a sparse model, whose joules a token fall with the batch.
    ``free_seats``: prefer replicas where the request would run at once. ``weight``: for weighted
    round robin, a replica's weight: its modelled capacity, or equal. ``price``: a
    compiled function with the signature of ``routing.price.price_usd`` less its first argument, in
    place of the sum of parts.

    ``knobs``: numbers that shape parts (``price.KNOBS``), where they differ from the default.
    ``flat``: with ``by_tokens``, the price does not change up to some backlog, and the
    lowest-numbered replica below it is taken. ``queue``: the order in which a replica admits what
    waits there: by arrival, or by least laxity. ``pending_unit``: prompt tokens that count as one
    more request in flight until the first token is out (0: prompts do not count).
    ``slow``: the controllers that change the policy's numbers between requests (``routing.slow``).
    """

    name: str
    summary: str
    source: str
    explanation: str = ""
    rule: Rule = "price"
    rates: dict[str, float] = {}
    knobs: dict[str, float] = {}
    slow: Slow = Slow()
    queue: Literal["fifo", "laxity"] = "fifo"
    flat: bool = False
    pending_unit: int = 0
    by_tokens: bool = False
    rising: bool = False
    rising_with_experts: bool = True
    free_seats: bool = False
    choices: int = 2
    weight: Literal["capacity", "equal"] = "capacity"
    price: Callable[..., float] | None = None

    def __post_init__(self) -> None:
        """Refuse rules and parts that do not exist, and rates that are not numbers."""
        if self.rule not in _RULES:
            raise unknown_name(f"rule of policy {self.name!r}", self.rule, _RULES)
        for part, rate in self.rates.items():
            if part not in PARTS:
                raise BadInputError(
                    f"policy {self.name!r}: unknown part of the price {part!r}",
                    found=part,
                    allowed=", ".join(PARTS),
                )
            if not math.isfinite(rate):
                raise BadInputError(
                    f"policy {self.name!r}: rate of {part}",
                    found=repr(rate),
                    allowed="a finite number",
                )
        for knob, value in self.knobs.items():
            if knob not in KNOBS:
                raise unknown_name(f"knob of policy {self.name!r}", knob, KNOBS)
            if math.isnan(value) or value < 0:
                raise BadInputError(
                    f"policy {self.name!r}: {knob}", found=repr(value), allowed="a number >= 0"
                )
        if not 1 <= self.choices <= 1024:
            raise BadInputError(
                f"policy {self.name!r}: choices", found=repr(self.choices), allowed="1 to 1024"
            )

    def parameters(self) -> dict[str, float | int | str | bool | None]:
        """What shapes the policy's decisions, by name, with units in the names of rates."""
        found: dict[str, float | int | str | bool | None] = {"rule": self.rule}
        units = dict(zip(PARTS, UNITS, strict=True))
        found |= {f"rate_{part} [{units[part]}]": rate for part, rate in self.rates.items()}
        found |= self.knobs
        found |= self.slow.parameters()
        if self.queue != "fifo":
            found["queue"] = self.queue
        if self.rule == "sample":
            found["choices"] = self.choices
        if self.rule == "weighted_round_robin":
            found["weight"] = self.weight
        if self.free_seats:
            found["free_seats"] = True
        if self.price is not None:
            found["price"] = getattr(self.price, "__name__", "compiled")
        return found

    def state(
        self,
        fleet: FleetState,
        *,
        seed: int,
        options: np.recarray[Any, Any] | None = None,
        tiers: int = 1,
        usd_per_j: float = 1.0,
        store_j: float | None = None,
    ) -> rules.PolicyState:
        """A fresh state of the policy for the pick; ``options`` as in ``routing.price``, by
        default one plain option; ``tiers``: how many the lateness is weighted for.

        ``usd_per_j``: what a joule costs where nothing is known of the supply; the rates that are
        in units of a joule's price are multiplied by it where the policy weighs dollars too.
        ``store_j``: capacity of the store whose level is known; a policy that looks at the supply
        gets tables of joule prices over it.
        """
        allowed = plain_option() if options is None else self._may_take(options)
        looks = store_j is not None and self.slow.supply != "none"
        settings = np.zeros(rules.SETTINGS, dtype=np.int64)
        settings[rules.RULE] = _RULES[self.rule]
        settings[rules.BY_TOKENS], settings[rules.RISING] = self.by_tokens, self.rising
        settings[rules.FREE_SEATS], settings[rules.CHOICES] = self.free_seats, self.choices
        settings[rules.FLAT] = self.flat
        fleet.pending_unit[0] = self.pending_unit
        fleet.limits.forecast_batch[:] = 0.0 if self.slow.working_set else -1.0
        if self.slow.working_set:  # its controller wakes a replica before it is sent anything
            fleet.limits.wake_s[:] = 0.0
        if self.rising and not bool((fleet.cost.expert_miss_frac == 1.0).all()):
            settings[rules.RISING] = self.rising_with_experts
        kinds = fleet.cost.shape[0]
        profile(fleet)
        weights = np.ones(kinds)
        if self.weight == "capacity":
            for kind in range(kinds):
                weights[kind] = capacity_per_s(
                    fleet.cost[kind], fleet.limits[kind], fleet.traffic[0]
                )
        return rules.PolicyState(
            settings=settings,
            rates=self._rates(usd_per_j),
            options=allowed,
            weights=weights,
            credit=np.zeros(kinds),
            turn=np.zeros(kinds + 1, dtype=np.int64),
            random=draws(seed, "policy", self.name),
            lateness_weight=np.full(tiers, self.slow.weight),
            promise_frac=np.ones(1),
            flat=np.zeros(kinds, dtype=np.int64),
            hold=np.zeros(tiers, dtype=np.uint8),
            joules=joule_prices(allowed.shape, store_j or 0.0) if looks else no_joule_prices(),
        )

    def _rates(self, usd_per_j: float) -> NDArray[np.float64]:
        """Rates of all parts [$], then the knobs."""
        rates = np.array([self.rates.get(part, 0.0) for part in PARTS])
        in_dollars = [QUALITY, FEE, CARBON]
        if rates[in_dollars].any():
            kept = rates[in_dollars]
            rates *= usd_per_j
            rates[in_dollars] = kept
        return np.append(rates, [self.knobs.get(knob, value) for knob, value in KNOBS.items()])

    def _may_take(self, options: np.recarray[Any, Any]) -> np.recarray[Any, Any]:
        """The options that the policy chooses among: all where it prices wrong answers, else the
        first that a class may have, the reference, because nothing would keep it from the least
        thinking there is.
        """
        if self.price is None and self.rule == "price" and self.rates.get("quality", 0.0) > 0:
            return options
        first = np.argmax(options.model != BARRED, axis=1)
        table = options[:, : int(first.max()) + 1].copy()
        table["model"][np.arange(table.shape[1]) != first[:, None]] = BARRED
        return table.view(np.recarray)

    def with_parameters(self, values: dict[str, str]) -> Policy:
        """This policy with some parameters replaced, from text: ``choices``, or ``rate_<part>``."""
        changes: dict[str, Any] = {}
        rates, knobs, slow = dict(self.rates), dict(self.knobs), self.slow
        allowed = ["choices", "weight", *(f"rate_{part}" for part in PARTS), *KNOBS]
        allowed += self.slow.settable()
        for name, text in values.items():
            if name in self.slow.settable():
                slow = slow.with_parameter(name, _number(self.name, name, text))
            elif name in KNOBS:
                knobs[name] = _number(self.name, name, text)
            elif name == "choices":
                changes["choices"] = _whole(self.name, name, text)
            elif name == "weight" and text in ("capacity", "equal"):
                changes["weight"] = text
            elif name.removeprefix("rate_") in PARTS and name.startswith("rate_"):
                rates[name.removeprefix("rate_")] = _number(self.name, name, text)
            else:
                raise BadInputError(
                    f"policy {self.name!r} has no parameter {name}={text}",
                    found=f"{name}={text}",
                    allowed=", ".join(nearest_names(name, allowed) or allowed),
                )
        return msgspec.structs.replace(self, rates=rates, knobs=knobs, slow=slow, **changes)


def _whole(policy: str, name: str, text: str) -> int:
    """The whole number that ``text`` says."""
    value = _number(policy, name, text)
    if value != int(value):
        raise BadInputError(f"policy {policy!r}: {name}", found=text, allowed="a whole number")
    return int(value)


def _number(policy: str, name: str, text: str) -> float:
    """The finite number that ``text`` says."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadInputError(f"policy {policy!r}: {name}", found=text, allowed="a finite number")
    return value


class FleetView(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy in plain Python sees of the fleet: arrays over replicas that cannot be written
    to.

    ``type_of[r]`` indexes ``types``; ``in_flight[r]`` and ``tokens[r]`` as in ``FleetState``;
    ``max_in_flight[t]`` is where a replica of type ``t`` refuses; ``open[r]`` is 0 where a replica
    takes no requests, because it sleeps or is about to.
    """

    types: tuple[ReplicaType, ...]
    type_of: NDArray[np.int64]
    in_flight: NDArray[np.int64]
    tokens: NDArray[np.int64]
    max_in_flight: NDArray[np.int64]
    open: NDArray[np.uint8]
    cost: np.recarray[Any, Any]
    limits: np.recarray[Any, Any]
    traffic: np.recarray[Any, Any]


@runtime_checkable
class ChoosesInPython(Protocol):
    """A policy written as plain Python: ``choose`` gives the number of a replica, or ``None`` to
    refuse.
    """

    def choose(self, request: Request, fleet: FleetView) -> int | None:
        """The replica for ``request``; must not change anything."""
        ...


AnyPolicy = Policy | ChoosesInPython


def name_of(policy: AnyPolicy) -> str:
    """The name under which results list a policy."""
    return str(getattr(policy, "name", type(policy).__name__))


def parameters_of(policy: AnyPolicy) -> dict[str, float | int | str | bool | None]:
    """What results list as a policy's parameters."""
    return policy.parameters() if isinstance(policy, Policy) else {"rule": "python"}


def fleet_view(state: FleetState, types: Sequence[ReplicaType]) -> FleetView:
    """Read-only views of ``state``: they show its changes, and refuse to be written to."""

    def locked(array: Any) -> Any:
        view = array.view()
        view.flags.writeable = False
        return view

    return FleetView(
        types=tuple(types),
        type_of=locked(state.type_of),
        in_flight=locked(state.in_flight),
        tokens=locked(state.tokens),
        max_in_flight=locked(state.limits.max_in_flight),
        open=locked(state.open),
        cost=locked(state.cost),
        limits=locked(state.limits),
        traffic=locked(state.traffic),
    )
