"""SLO packing: the replica with the least room left inside the promises."""

from baseload.routing.policy import Policy

POLICY = Policy(
    name="slo_packing",
    summary="the replica with the least predicted headroom that still keeps the promises",
    source="llm-d latency scorer, strategy `least`; AIBrix slo-pack-load (2026); see explanation",
    rates={"headroom": 1.0},
    knobs={"margin_frac": 0.1, "ttft_weight": 0.8},
    pending_unit=256,
    explanation="""\
Headroom is what is left of the limits when the request is added: 0.8 x the share of the first
token's limit + 0.2 x the share of the limit per token (llm-d's weights). Among the replicas that
keep both limits the fullest wins, so that others empty and can sleep; when none keeps them, the one
that breaks them least. Predictions are the same that Baseload's own policies use.

Reconstruction: `margin_frac` (the share of the limits that is kept free) stands for the safety that
operators set; the published 1 % of exploration among broken replicas is left out, as the prediction
here is a model that is not learned from such picks. A request without limits goes to the fullest
replica.""",
)
