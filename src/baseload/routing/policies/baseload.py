"""Baseload: marginal joules and expected lateness, over a working set that follows the load."""

from baseload.routing.policy import Policy
from baseload.routing.slow import Slow

POLICY = Policy(
    name="baseload",
    summary="marginal joules + lambda x expected lateness, over no more replicas than needed",
    source="this project",
    rates={"energy": 1.0, "lateness": 1.0},
    rising=True,
    rising_with_experts=False,
    pending_unit=256,
    slow=Slow(weight=300.0, rule="fixed", working_set=True, holds_bulk=True),
    explanation="""\
The price of a candidate is the energy that the fleet draws with the request minus without it, plus
lambda times the seconds past the promises that it is expected to cause: its own, and those of the
requests beside it that its prompt holds up. Prompts whose first token is not out count as load, so
that a replica that has just been opened is not drowned in prompts.

A slow controller keeps a working set: as many replicas as the forecast rate needs at a batch that
keeps the promises, the types that need the fewest joules per request first. Replicas beyond it
finish what they have. They then stay awake for a burst, which pays the opening price of a replica
when lateness makes it worth it, or sleep, where parking is on. How full the working set runs
follows the misses. Bulk requests wait for the minutes in which others come less than on average.
docs/explanation/the-price.md and docs/explanation/parking.md tell why.""",
)
