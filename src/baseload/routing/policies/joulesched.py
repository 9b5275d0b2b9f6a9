"""JouleSched: profiled joules a token plus lambda x seconds past the deadline, lambda by a PI
rule.
"""

from baseload.routing.policy import Policy
from baseload.routing.slow import Slow

POLICY = Policy(
    name="joulesched",
    summary="profiled joules a token x tokens + lambda x lateness of the token queue; PI rule",
    source="JouleSched (clawrxiv 2604.02034, 2026); gains, interval and profile: reconstruction",
    rates={"average": 1.0, "backlog": 1.0},
    by_tokens=True,
    flat=True,
    slow=Slow(weight=10.0, rule="pi", kp=100.0, ki=10.0),
    explanation="""\
The cost of a device is its profiled joules per token times the tokens of the request, plus lambda
times the seconds by which (queued tokens + tokens of the request) / profiled tokens per second pass
the deadline; the first device of least cost wins. Lambda follows the miss rate by the published
rule, whose second term sums all past errors, clamped at zero. Joules per token are a constant of
the device, so the policy does not see that a fuller batch is cheaper, nor that an idle device draws
power; while nobody is late, all devices of the cheapest type cost the same and the lowest-numbered
takes the request. Tiers: a bulk request has a loose deadline, so it goes almost by energy alone.

Reconstruction: the gains and the interval (5 s) are not published; the deadline of a request with a
limit for its first token and for each later one is their sum over the forecast output; the profile
is taken with all seats filled by requests of 1,000 input and 250 output tokens. `anti_windup=1`
stops the sum while lambda rests at zero; `deadline_factor` below 1 aims earlier than the deadline,
which is how it is tuned to a miss rate that lambda alone does not reach (its queue in tokens does
not see the time per token).""",
)
