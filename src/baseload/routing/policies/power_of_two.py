"""Power of two choices: the less loaded of two random replicas."""

from baseload.routing.policy import Policy

POLICY = Policy(
    name="power_of_two",
    summary="the less loaded of two replicas drawn at random",
    source="Mitzenmacher, The power of two choices in randomized load balancing, IEEE TPDS 2001",
    rule="sample",
    rates={"requests": 1.0},
    rising=True,
    explanation="""\
Two replicas (`choices=2`) are drawn at random and the one with fewer requests in flight is taken,
the first drawn on a tie. Two choices already give nearly the balance of `least_loaded` while
looking at two replicas only, and stay good with stale counts, where all senders of `least_loaded`
would rush to the same replica.""",
)
