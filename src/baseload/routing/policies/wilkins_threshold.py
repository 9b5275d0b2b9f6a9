"""Wilkins' threshold: short requests to the frugal device, all others to the strong ones."""

from baseload.routing.policy import Policy

POLICY = Policy(
    name="wilkins_threshold",
    summary="requests of at most 32 input tokens to the frugal device, others to the strong ones",
    source="Wilkins et al., Hybrid Heterogeneous Clusters (arXiv 2407.00010, e-Energy 2024)",
    rates={"size": 1e6, "requests": 1.0},
    rising=True,
    knobs={"short_input_tokens": 32.0},
    explanation="""\
A request with at most 32 input tokens (`short_input_tokens`; `short_output_tokens` for the
published variant by the forecast output) goes to the efficient device, every other one to the
performant ones; inside each set to the replica with the fewest requests in flight.

Reconstruction: the paper has one device of each kind, an M1 Pro and an A100; here the frugal device
is the type with the lowest power cap. On prompts of a thousand tokens nearly all go to the strong
devices, which is then all that the rule does.""",
)
