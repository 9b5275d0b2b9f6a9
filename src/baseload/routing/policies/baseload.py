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
    slow=Slow(weight=100.0, working_set=True, holds_bulk=True),
    explanation="""\
x""",
)
