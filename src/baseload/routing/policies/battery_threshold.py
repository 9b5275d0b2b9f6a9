"""The more the battery holds, the abler the option."""

from baseload.routing.policies.variance_aware import supply_policy

POLICY = supply_policy(
    "battery_threshold",
    "battery_threshold",
    summary="the more the battery holds, the abler the option",
    source="reconstruction after energy-aware dynamic neural inference, arXiv 2411.02471",
    explanation="""\
The state of charge picks the option of each class: the most frugal one worth having below
`low_frac` of the store, the ablest above `high_frac`, the others in even steps between. The paper
finds its thresholds by a Markov decision problem; even steps are ours.""",
)
