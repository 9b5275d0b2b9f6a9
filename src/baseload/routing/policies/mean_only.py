"""The price of the average day, without the price of variance."""

from baseload.routing.policies.variance_aware import supply_policy

POLICY = supply_policy(
    "mean_only",
    "mean_only",
    summary="the price of the average day, without the price of variance",
    source="ablation",
    explanation="""\
The price of a joule by the level of the store for the average of a day, times the mean joules of
the answer. Variance has no price, and the hour of the day is not looked at: an ablation, often
worse than a static routing in small stores.""",
)
