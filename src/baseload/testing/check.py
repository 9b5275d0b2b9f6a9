"""``check_policy``: hold a policy against the laws every policy must keep, without a simulator."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from baseload.routing.pick import pick, pick_scan
from baseload.routing.policy import AnyPolicy, Policy, name_of
from baseload.testing.environment import environment
from baseload.testing.fakes import FakeFleet
from baseload.testing.fleets import Fleet
from baseload.testing.instances import CLASSES, TIERS, Instance, Step, instance
from baseload.testing.price_laws import (
    Priced,
    check_prices,
    copied,
    fields_that_differ,
    in_one_line,
    row_of,
)
from baseload.testing.report import Findings, PolicyReport
from baseload.testing.slow_laws import check_slow
from baseload.testing.supply_laws import check_supply

_clock_s = (
    time.perf_counter
)  # taken now: ``environment`` replaces the clocks that a policy could look at

Choose = Callable[[FakeFleet, Step], Any]
"""Asks the policy for one request: a replica number or ``None``, whatever it gives."""


def check_policy(
    policy: AnyPolicy | type,
    *,
    seed: int = 0,
    instances: int | Sequence[int] = 40,
    slow_s: float = 1e-3,
) -> PolicyReport:
    """Hold ``policy`` against every law of ``testing.report.LAWS`` on small random fleets; raises
    nothing.

    ``policy``: a ``Policy`` record, an object with ``choose(request, fleet)``, or a class of such
    objects (made anew for each run). ``instances``: how many instances of ``seed`` to try, or the
    numbers of those to replay. ``slow_s``: seconds a pick may take before the report says so (as a
    note: speed is never judged). An object is copied for each run, so state that it keeps in itself
    is its own business; what it keeps elsewhere is found.
    """
    numbers = range(instances) if isinstance(instances, int) else list(instances)
    check = _Check(policy, seed)
    for number in numbers:
        check.instance(instance(seed, number))
    check.once_more([instance(seed, number) for number in numbers[:4]])
    return check.report(len(numbers), slow_s)


_OF_JOULES = ("energy", "carbon", "average")
"""The parts of the price that are a rate times joules."""


class _Check:
    """One check of one policy: what has been found so far, and the parts that find more."""

    def __init__(self, policy: AnyPolicy | type, seed: int) -> None:
        self.policy = policy
        self.seed = seed
        self.built_in = isinstance(policy, Policy) and policy.price is None
        self.found = Findings()
        self.pick_s: list[float] = []
        self.first_picks: dict[int, list[Any]] = {}

    def report(self, instances: int, slow_s: float) -> PolicyReport:
        """Everything that was found."""
        timing = None
        notes = []
        if self.pick_s:
            median, slowest = (float(np.quantile(self.pick_s, frac)) for frac in (0.5, 0.99))
            timing = (median, slowest)
            if median > slow_s:
                notes.append(
                    f"a pick takes {median * 1e3:.3g} ms (median); a day has millions of picks"
                )
        if not isinstance(self.policy, Policy) or self.policy.price is not None:
            notes.append(
                "exchange consistency is checked only for policies made of the price's parts"
            )
        return PolicyReport(
            policy=name_of(self.policy)
            if not isinstance(self.policy, type)
            else self.policy.__name__,
            seed=self.seed,
            instances=instances,
            picks=len(self.pick_s),
            findings=self.found.all(),
            notes=tuple(notes),
            seconds_per_pick=timing,
        )

    # --- runs -------------------------------------------------------------------------------------

    def instance(self, case: Instance) -> None:
        """All checks on one instance."""
        with environment(1):
            picks = self.first_picks[case.number] = self.run(case, judge=True)
        with environment(1):
            again = self.run(case, judge=False)
        if again != picks:
            self.differs("forgets", "a second run in the same process", picks, again, case)
        else:
            with environment(2):
                elsewhere = self.run(case, judge=False)
            if elsewhere != picks:
                what = "a run at another time of day, with other global random numbers,"
                self.differs("repeatable", what, picks, elsewhere, case)
        if isinstance(self.policy, Policy):
            self.record(self.policy, case, picks)

    def once_more(self, cases: Sequence[Instance]) -> None:
        """The first instances again, after all the others: what a policy kept from those would
        show.
        """
        for case in cases:
            with environment(1):
                picks = self.run(case, judge=False)
            if picks != self.first_picks[case.number]:
                self.differs(
                    "forgets", "a run after other runs", self.first_picks[case.number], picks, case
                )

    def differs(self, law: str, when: str, one: list[Any], two: list[Any], case: Instance) -> None:
        """Two runs that should be one are not."""
        at = next(
            (i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b),
            min(len(one), len(two)),
        )
        first, second = (picks[at] if at < len(picks) else "nothing" for picks in (one, two))
        self.found.add(
            law,
            f"{when} picked {second} for request {at}, the first run {first}",
            instance=case.number,
        )

    def run(
        self, case: Instance, *, judge: bool, fleet: Fleet | None = None, policy: Any = None
    ) -> list[Any]:
        """One run over an instance: what was picked. With ``judge`` each pick is held against the
        laws.
        """
        fake = FakeFleet(fleet or case.fleet, classes=len(CLASSES), max_queue=case.max_queue)
        try:
            choose = self.chooser(policy or self.policy, fake)
        except Exception as error:  # the policy's own code: whatever it raises is a finding
            self.found.add(
                "answers", f"could not be started: {in_one_line(error)}", instance=case.number
            )
            return []
        picks: list[Any] = []
        running = _Running(fake)
        for at, step in enumerate(case.steps):
            running.until(at)
            set_doors(fake, step)
            try:
                chosen = self.asked(choose, fake, step, case, judge=judge)
            except Exception as error:
                if judge:
                    self.found.add(
                        "answers",
                        f"request {at} made it raise {in_one_line(error)}",
                        instance=case.number,
                    )
                return [*picks, f"{type(error).__name__}"]
            picks.append(chosen)
            if _is_replica(chosen, fake) and chosen in fake.free_for(step.request):
                running.send(step, int(chosen), at)
        return picks

    def asked(
        self, choose: Choose, fake: FakeFleet, step: Step, case: Instance, *, judge: bool
    ) -> Any:
        """One pick. The state and the request are compared with copies made before, and put back:
        the index would write out of bounds after a change that it does not know of.
        """
        if self.built_in and not judge:
            return choose(fake, step)
        before, request = copied(fake.state), copy.deepcopy(step.request)
        began_s = _clock_s()
        chosen = choose(fake, step)
        took_s = _clock_s() - began_s
        changed = fields_that_differ(before, fake.state)
        if changed:
            what = f"changed {', '.join(changed)} of the fleet"
            self.found.add("hands off", what, instance=case.number)
            for name in changed:
                getattr(fake.state, name)[...] = getattr(before, name)
        if step.request != request:
            self.found.add("hands off", "changed the request", instance=case.number)
            for name in request.__struct_fields__:
                msgspec.structs.force_setattr(step.request, name, getattr(request, name))
        if judge:
            self.pick_s.append(took_s)
            self.judge(chosen, fake, step, case)
        return _plain_int(chosen)

    def judge(self, chosen: Any, fake: FakeFleet, step: Step, case: Instance) -> None:
        """Whether a pick is one."""
        free = fake.free_for(step.request)
        asked = step.request.model or "any"
        said = f"a request of {step.request.input_tokens} tokens for model {asked}"
        if chosen is None:
            if free:
                self.found.add(
                    "serves",
                    f"refused {said} that replica {free[0]} could take",
                    instance=case.number,
                )
        elif not _is_replica(chosen, fake):
            most = len(fake.state.type_of) - 1
            self.found.add(
                "answers",
                f"gave {chosen!r} for {said}; allowed: None or 0 to {most}",
                instance=case.number,
            )
        elif not fake.state.open[chosen]:
            self.found.add(
                "open",
                f"gave replica {chosen} for {said}, which is closed; {_some(free)}",
                instance=case.number,
            )
        elif free and chosen not in free:
            self.found.add(
                "room",
                f"gave replica {chosen} for {said}, which it cannot take; {free[0]} could",
                instance=case.number,
            )

    # --- how each kind of policy is asked ---------------------------------------------------------

    def chooser(self, policy: AnyPolicy | type, fake: FakeFleet) -> Choose:
        """A fresh run of the policy, as a function."""
        if isinstance(policy, Policy):
            state = policy.state(fake.state, seed=self.seed, tiers=len(TIERS))
            if policy.price is None:
                return lambda fake, step: _none_if_nobody(
                    pick(fake.state, state, row_of(fake, step, state))[1]
                )
            return Priced(policy.price, state)
        made = policy() if isinstance(policy, type) else copy.deepcopy(policy)
        return lambda fake, step: made.choose(step.request, fake.view)

    # --- checks of records ------------------------------------------------------------------------

    def record(self, policy: Policy, case: Instance, picks: list[Any]) -> None:
        """The checks that only a ``Policy`` record allows."""
        if policy.price is None:
            self.index(policy, case)
            self.exchange(policy, case, picks)
        check_prices(policy, case, self.found, seed=self.seed)
        check_slow(policy, case, self.found, seed=self.seed)
        check_supply(policy, case, self.found, seed=self.seed)

    def index(self, policy: Policy, case: Instance) -> None:
        """The same run with the plain scan beside the index."""
        fake = FakeFleet(case.fleet, classes=len(CLASSES), max_queue=case.max_queue)
        state = policy.state(fake.state, seed=self.seed, tiers=len(TIERS))
        running = _Running(fake)
        for at, step in enumerate(case.steps):
            running.until(at)
            set_doors(fake, step)
            twin = copied(state)
            row = row_of(fake, step, state)
            fast, slow = pick(fake.state, state, row), pick_scan(fake.state, twin, row)
            if fast != slow:
                self.found.add(
                    "index",
                    f"request {at}: the index picks {_pair(fast)}, the scan {_pair(slow)}",
                    instance=case.number,
                )
            if slow[1] >= 0:
                running.send(step, slow[1], at)

    def exchange(self, policy: Policy, case: Instance, picks: list[Any]) -> None:
        """Law 7: joules doubled, their prices halved."""
        if not any(policy.rates.get(part) for part in _OF_JOULES):
            return
        halved = {
            part: rate / 2 if part in _OF_JOULES else rate for part, rate in policy.rates.items()
        }
        doubled = Fleet(
            types=tuple(_with_double_joules(kind) for kind in case.fleet.types),
            replicas=case.fleet.replicas,
        )
        other = self.run(
            case, judge=False, fleet=doubled, policy=msgspec.structs.replace(policy, rates=halved)
        )
        if other != picks:
            self.differs(
                "exchange", "with all joules doubled and their price halved it", picks, other, case
            )


class _Running:
    """The requests that a fake fleet holds: at each arrival some have their first token out, some
    end.
    """

    def __init__(self, fake: FakeFleet) -> None:
        self._fake = fake
        self._here: list[tuple[int, int, int, Step]] = []  # (sent at, replica, tokens, step)

    def send(self, step: Step, replica: int, at: int) -> None:
        """The request of arrival ``at`` goes to ``replica``."""
        self._here.append((at, replica, self._fake.send(step.request, replica), step))

    def until(self, at: int) -> None:
        """What happens before arrival ``at``."""
        staying = []
        for entry in self._here:
            sent_at, replica, tokens, step = entry
            prompt = step.request.input_tokens
            if at >= sent_at + step.stays:
                self._fake.finish(
                    replica,
                    tokens,
                    input_tokens=prompt,
                    output_tokens=step.output_tokens,
                    class_code=step.class_code,
                )
                continue
            staying.append(entry)
            if at == sent_at + step.answers:
                self._fake.first_token(replica, input_tokens=prompt)
        self._here = staying


def set_doors(fake: FakeFleet, step: Step) -> None:
    """Close and open what the step says."""
    for replica in step.closes:
        fake.close(replica)
    for replica in step.opens:
        fake.open(replica)


def _some(free: list[int]) -> str:
    """Which replica could have been taken, in words."""
    return f"{free[0]} could take it" if free else "nobody could take it"


def _with_double_joules(kind: Any) -> Any:
    """The replica type in a world where everything takes twice the energy (a power of two: exact in
    floating point).
    """
    costs = {
        name: getattr(kind.costs, name) * 2
        for name in kind.costs.__struct_fields__
        if name.startswith("energy_j")
    }
    power = {
        name: getattr(kind.power, name) * 2
        for name in kind.power.__struct_fields__
        if name.startswith(("power_w", "wake_j"))
    }
    return msgspec.structs.replace(
        kind,
        costs=msgspec.structs.replace(kind.costs, **costs),
        power=msgspec.structs.replace(kind.power, **power),
    )


def _is_replica(chosen: Any, fake: FakeFleet) -> bool:
    """Whether a choice is the number of a replica."""
    if isinstance(chosen, bool | np.bool_) or not isinstance(chosen, int | np.integer):
        return False
    return 0 <= int(chosen) < len(fake.state.type_of)


def _plain_int(chosen: Any) -> Any:
    """A numpy integer as Python's."""
    return int(chosen) if isinstance(chosen, np.integer) else chosen


def _none_if_nobody(replica: int) -> int | None:
    """The pick's -1 as ``None``."""
    return None if replica < 0 else int(replica)


def _pair(found: tuple[int, int]) -> str:
    """An (option, replica) in words."""
    return "nobody" if found[1] < 0 else f"replica {found[1]} (option {found[0]})"
