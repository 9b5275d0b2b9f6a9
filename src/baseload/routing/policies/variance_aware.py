"""Variance-aware: the one price with a joule priced by the state of the supply."""

from baseload.routing.policy import Policy
from baseload.routing.slow import Slow, SupplyRule


def supply_policy(
    name: str, rule: SupplyRule, *, summary: str, source: str, explanation: str
) -> Policy:
    """A policy that prices joules by a supply rule: all else is the same for all rules, so that
    what differs between them is the rule.
    """
    return Policy(
        name=name,
        summary=summary,
        source=source,
        explanation=explanation,
        rates={"energy": 1.0, "lateness": 1.0, "quality": 1.0, "fee": 1.0},
        rising=True,
        rising_with_experts=False,
        pending_unit=256,
        slow=Slow(weight=300.0, supply=rule),
    )


POLICY = supply_policy(
    "variance_aware",
    "full_jump",
    summary="marginal joules at the price of the store's state + lateness + wrong answers",
    source="this project",
    explanation="""\
The price of a candidate is what its joules are worth to the store now, plus lambda times the
seconds past the promises, plus the value of a right answer times the probability of a wrong one.
A joule costs as much as auxiliary energy when the store is empty, nothing or less when energy
would be thrown away, and between the two what it will save later.

The price is read at the energy position: the level of the store less what requests in flight will
still draw. Tables of it are solved off the request path from what the meters have shown so far;
where the day itself moves the store, each of its hours has a table of its own. Until a day has been
seen the price falls evenly with the level.
docs/explanation/variance-aware-routing.md tells why.""",
)
