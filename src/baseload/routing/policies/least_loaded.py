"""Least loaded: the replica with the fewest requests in flight."""

from baseload.routing.policy import Policy

POLICY = Policy(
    name="least_loaded",
    summary="the replica with the fewest requests in flight",
    source=(
        "folklore (least connections, least outstanding requests); the second baseline of the "
        "JouleSched note"
    ),
    rates={"requests": 1.0},
    rising=True,
    explanation="""\
The price is the number of requests in flight, queued or running; the lowest-numbered replica wins a
tie. A slow replica finishes less often and so gets less, without any profile. At low load it
spreads requests one by one over the whole fleet: every GPU runs, at the small batches where a token
costs the most joules.""",
)
