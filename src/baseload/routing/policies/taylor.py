"""The price of the average day, variance priced to second order."""

from baseload.routing.policies.variance_aware import supply_policy

POLICY = supply_policy(
    "taylor",
    "taylor",
    summary="the price of the average day, variance priced to second order",
    source="ablation",
    explanation="""\
The price of a joule by the level of the store for the average of a day, times the mean joules of
the answer, plus half the steepness of that price times their mean square. The hour of the day is
not looked at.""",
)
