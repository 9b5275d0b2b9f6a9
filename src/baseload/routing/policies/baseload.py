"""Baseload: marginal joules and expected lateness, over a working set that follows the load."""

from baseload.routing.policy import Policy
from baseload.routing.slow import Slow

POLICY = Policy(
    name="baseload",
    summary="marginal joules + lambda x expected lateness, over no more replicas than needed",
    source="this project",
    rates={"energy": 1.0, "lateness": 1.0},
    packs=True,
    slow=Slow(weight=100.0),
    explanation="""\
x""",
)
