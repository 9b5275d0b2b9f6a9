"""Random: each request to a replica drawn at random."""

from baseload.routing.policy import Policy

POLICY = Policy(
    name="random",
    summary="a replica drawn uniformly at random",
    source="folklore; the memoryless baseline of every load-balancing study",
    rule="random",
    explanation="""\
Each request goes to a replica drawn uniformly from those that can take it (the draw is repeated up
to eight times past full replicas, then the next free one in order is taken). It ignores load,
hardware and energy. Equal replicas get equal work on average, with the fluctuation of a coin;
unequal ones get equal work too, so the slow ones queue first.""",
)
