"""Drift plus penalty: a joule costs what the store lacks."""

from baseload.routing.policies.variance_aware import supply_policy

POLICY = supply_policy(
    "lyapunov",
    "lyapunov",
    summary="drift plus penalty: a joule costs what the store lacks",
    source="textbook: M. J. Neely, Stochastic Network Optimization, 2010",
    explanation="""\
The price of a joule is what the store lacks of its target, over V: the drift of the squared lack
plus V times the cost is least. With `v_frac` 1 the price falls evenly from that of auxiliary energy
at an empty store to that of waste at a full one. It needs no knowledge of supply or demand.""",
)
