"""One option a class, the best that does not look at the store."""

from baseload.routing.policies.variance_aware import supply_policy

POLICY = supply_policy(
    "best_static",
    "static",
    summary="one option a class, the best that does not look at the store",
    source="textbook: the static program of docs/explanation/variance-aware-routing.md",
    explanation="""\
The routing of least expected cost among those that do not look at the store, by Frank-Wolfe on the
diffusion of the average day; what it mixes, it takes in turn. It is solved again when supply,
demand, their variance or prices move by more than a tenth. With `price_frac` it is a constant
price of joules instead, as a share of that of auxiliary energy.""",
)
