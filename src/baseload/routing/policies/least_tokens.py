"""Least tokens: the replica with the fewest outstanding tokens."""

from baseload.routing.policy import Policy

POLICY = Policy(
    name="least_tokens",
    summary="the replica with the fewest outstanding tokens (input + forecast output)",
    source=(
        "token-weighted join-the-shortest-queue, as in splitwise-sim's token_jsq; forecast by "
        "the running mean of the class"
    ),
    rates={"tokens": 1.0},
    by_tokens=True,
    explanation="""\
The price is the number of tokens that the replica's requests in flight bring with them: their
inputs, and for each the mean output of ended requests of its class (a request's own output is not
known before its end). It evens out work where `least_loaded` evens out counts; it knows nothing of
how fast a replica is.""",
)
