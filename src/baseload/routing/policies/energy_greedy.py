"""Energy greedy: the cheapest marginal joules among replicas with a free seat, whatever the
latency.
"""

from baseload.routing.policy import Policy

POLICY = Policy(
    name="energy_greedy",
    summary="the fewest marginal joules among replicas with a free seat, no look at latency",
    source="greedy consolidation: the energy part of the price alone; our own baseline",
    rates={"energy": 1.0},
    free_seats=True,
    explanation="""\
The price is the energy the fleet draws with the request minus without it. Beside running sequences
that is a tenth of the average; on an idle replica it is the whole weight stream: so requests pile
up where requests are, until a replica's seats (its batch limit, or what its KV cache holds of mean
requests) are taken. When no replica has a free seat the cheapest one queues it. It shows how few
joules a fleet could draw, and what that does to the time per token: a full batch is slow, and
slowed further by every prompt that joins it.""",
)
