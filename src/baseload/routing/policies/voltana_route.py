"""VoltanaLLM's EcoRoute without its clocks: fill a tile of the batch before another is begun."""

from baseload.routing.policy import Policy

POLICY = Policy(
    name="voltana_route",
    summary="fill begun tiles of the batch, then the fuller replica, within the time per token",
    source="VoltanaLLM, EcoRoute `fadr` (arXiv 2509.04827, 2025), clock-free part; reconstruction",
    rates={"tiles": 1.0},
    knobs={"tile_requests": 16.0, "margin_frac": 0.0},
    pending_unit=256,
    explanation="""\
EcoRoute prefers an instance whose clock would not have to rise, then one with a begun tile of its
batch, then the one with more load. With one clock the first rule says: whose predicted time per
token stays within the limit after the request is added. Among those a replica with a begun tile
comes before one where the request would open a tile, and the fuller before the emptier; when all
would break the limit, the one that breaks it least.

Reconstruction: the published code looks at decode instances of a prefill/decode split, ours do
both;
the tile is 16 requests (`tile_requests`), the margin on the limit is zero (`margin_frac`).""",
)
