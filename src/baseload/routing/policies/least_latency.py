"""Least latency: the replica where the request should end first."""

from baseload.routing.policy import Policy

POLICY = Policy(
    name="least_latency",
    summary="the replica where the last token is expected first",
    source=(
        "predicted-latency routing (llm-d latency scorer, BLIS), reconstruction with the eight "
        "numbers of each replica type"
    ),
    rates={"seconds": 1.0},
    rising=True,
    explanation="""\
The price is the expected seconds to the last token: waiting for a seat when all are taken, the
prompt's own prefill, and the forecast output at the step time of the batch it would join, prompts
that join later included. Unlike `least_loaded` it knows that an H100 with twenty requests may
answer sooner than an idle L4. It pays any number of joules for a millisecond.""",
)
