"""FREESH's fast layer: least laxity first in each replica, the fastest replica for each request."""

from baseload.routing.policy import Policy

POLICY = Policy(
    name="freesh_llf",
    summary="the fastest expected answer; replicas admit who has the least time to spare",
    source="FREESH (arXiv 2511.00807, 2025), fast layer; routing part: reconstruction",
    rates={"seconds": 1.0},
    rising=True,
    queue="laxity",
    explanation="""\
What waits in a replica is admitted by least laxity: the deadline less the time that the answer will
take. It differs from the order of arrival only where requests wait for a seat.

Reconstruction: the published rule also takes running requests out of the batch for more urgent
ones, which an engine with continuous batching does not do; its slow layer (a mixed-integer program
for instances per site) and its clocks are left out, and requests go where the answer is expected
first. The deadline is the tier's, not 1.4 times the predicted latency.""",
)
