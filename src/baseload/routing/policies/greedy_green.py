"""The cheapest option while the battery is low, else the ablest."""

from baseload.routing.policies.variance_aware import supply_policy

POLICY = supply_policy(
    "greedy_green",
    "greedy_green",
    summary="the cheapest option while the battery is low, else the ablest",
    source="common practice",
    explanation="""\
Below `low_frac` of the store every class is answered by its most frugal option worth having, above
it by its ablest.""",
)
