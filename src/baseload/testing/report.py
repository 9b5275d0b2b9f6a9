"""What ``check_policy`` found, as a record and in plain words."""

from __future__ import annotations

import msgspec

LAWS: dict[str, str] = {
    "answers": "gives the number of a replica, or None, for every request",
    "hands off": "changes neither the fleet, nor the request, nor the numbers it is shown",
    "open": "picks no closed replica: one that sleeps, or is about to",
    "room": "picks no replica that cannot take the request while another one can",
    "serves": "refuses no request that a replica with room can take",
    "repeatable": "the same run gives the same picks at any time, with any global random numbers",
    "forgets": "a run leaves nothing behind that changes the next one",
    "finite price": "every price is a finite number",
    "rising": "where it says rising=True, the price never falls from one request in flight on",
    "by tokens": "where it says by_tokens=True, the price follows tokens alone, rising with them",
    "flat": "where it says flat=True, the price does not change up to the backlog that is free",
    "joule prices": "its prices of joules at a site are finite, the same twice, and counted",
    "orders": "its slow controllers want nothing that cannot be, and close no model altogether",
    "index": "the fast pick by index is the pick of the plain scan over all replicas",
    "exchange": "doubling all joules and halving the prices of joules and grams changes no pick",
    "twin": "the compiled price is the price that the same Python code gives",
}
"""What a policy has to keep, by name, as findings quote it."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One law that a policy breaks: the first case in words, how many cases, and the instance that
    shows it.
    """

    law: str
    what: str
    instance: int
    times: int = 1


class PolicyReport(msgspec.Struct, frozen=True, kw_only=True):
    """What ``check_policy`` saw.

    ``seconds_per_pick``: (median, 99th percentile) as called from Python [s], compiled policies
    included, whose picks take microseconds inside the engine; ``None`` when nothing was picked. It
    is reported, never judged.
    """

    policy: str
    seed: int
    instances: int
    picks: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    seconds_per_pick: tuple[float, float] | None = None

    @property
    def ok(self) -> bool:
        """Whether no law was broken."""
        return not self.findings

    def __str__(self) -> str:
        """The report for people: what holds, what is broken, where, and how to see it again."""
        lines = [f"policy {self.policy!r}: {self._verdict()}"]
        for finding in self.findings:
            more = f" ({finding.times} times)" if finding.times > 1 else ""
            lines += [
                f"- {finding.law}: {finding.what}{more}",
                f"    law:    {LAWS[finding.law]}",
                f"    replay: check_policy(..., seed={self.seed}, instances=[{finding.instance}])",
            ]
        lines += [f"- note: {note}" for note in self.notes]
        return "\n".join(lines)

    def _verdict(self) -> str:
        """One line: broken or not, over how much."""
        amount = f"{self.instances} instances, {self.picks} picks"
        if self.ok:
            return f"no law broken in {amount}"
        laws = "1 law" if len(self.findings) == 1 else f"{len(self.findings)} laws"
        return f"breaks {laws} in {amount}"

    def raise_if_broken(self) -> None:
        """Raise ``AssertionError`` with the report as its message if a law was broken."""
        if not self.ok:
            raise AssertionError(str(self))


class Findings:
    """Collects findings, one a law: the first case stays, the others are counted."""

    def __init__(self) -> None:
        self._by_law: dict[str, Finding] = {}

    def add(self, law: str, what: str, *, instance: int) -> None:
        """A case in which ``law`` is broken."""
        assert law in LAWS, law
        first = self._by_law.get(law)
        self._by_law[law] = (
            Finding(law=law, what=what, instance=instance)
            if first is None
            else msgspec.structs.replace(first, times=first.times + 1)
        )

    def has(self, law: str) -> bool:
        """Whether a case of ``law`` is known."""
        return law in self._by_law

    def all(self) -> tuple[Finding, ...]:
        """The findings in the order of ``LAWS``."""
        return tuple(self._by_law[law] for law in LAWS if law in self._by_law)
