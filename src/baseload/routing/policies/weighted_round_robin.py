"""Weighted round robin: turns in proportion to what each replica can do."""

from baseload.routing.policy import Policy

POLICY = Policy(
    name="weighted_round_robin",
    summary="turns in proportion to each replica's modelled capacity",
    source="nginx's smooth weighted round robin, over replica types",
    rule="weighted_round_robin",
    explanation="""\
Each replica type gets a share of the requests in proportion to replicas x weight; inside a type
replicas take turns. The weight is the requests per second that a replica completes with all seats
taken by requests of 1,000 input and 250 output tokens, from its eight numbers (`weight=equal` gives
plain turns). The smooth form gives every type credit equal to its share at each request, takes the
one with the most credit, and charges it the sum of all shares, so that picks interleave evenly. It
knows the hardware but not the load of the moment.""",
)
