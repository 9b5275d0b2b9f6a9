"""Round robin: each request to the next replica in turn."""

from baseload.routing.policy import Policy

POLICY = Policy(
    name="round_robin",
    summary="the next replica in turn",
    source=(
        "folklore; the baseline of the JouleSched note (clawrxiv 2604.02034) and the default of "
        "most balancers"
    ),
    rule="round_robin",
    explanation="""\
Replicas take turns, whatever they are and however loaded they are; one that is full or cannot serve
the request is passed over. Counts are even, work is not: lengths differ, and a slow GPU gets as
many requests as a fast one. It is a soft baseline: beating it says little.""",
)
