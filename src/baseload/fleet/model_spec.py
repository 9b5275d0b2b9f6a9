"""What of a model's architecture decides its energy: bytes, FLOPs and cache."""

from __future__ import annotations

from typing import Literal

import msgspec

from baseload.base.errors import BadInputError, unknown_name

Architecture = Literal["dense", "moe", "hybrid"]

BYTES_PER_PARAM: dict[str, float] = {
    "bf16": 2.0,
    "fp16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "mxfp4": 4.25 / 8,  # 4 bits and one 8-bit scale per 32 values
    "int4": 4.5 / 8,  # 4 bits, scale and zero point per group of 128 or less
}
"""Weight bytes per parameter [B] of a precision. Embeddings and the output head stay in bf16."""

CACHE_BYTES = 2.0
"""Bytes of one cached key or value [B]: engines keep the cache in bf16 unless told otherwise."""


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What of a model's architecture decides its energy.

    Counts are plain numbers (8.03e9), not billions.

    ``attention_layers`` attend to the whole context, ``window_layers`` to the last
    ``window_tokens``. ``latent_dim`` is the width of one compressed cache entry (multi-head
    latent attention); 0 for ordinary keys and values. ``params_experts`` are the routed experts
    of all layers together, of which each token reads ``top_k / experts``.
    ``state_values_per_sequence`` is the recurrent state of state-space layers, read and written
    by each step. ``method`` is ``assumed`` where the structure was guessed from parameter
    counts.
    """

    name: str
    architecture: Architecture
    params_total: float
    params_active: float
    layers: int
    hidden_size: int
    vocab_size: int
    attention_layers: int
    kv_heads: int
    head_dim: int
    max_context_tokens: int
    heads: int = 0
    window_layers: int = 0
    window_tokens: int = 0
    latent_dim: int = 0
    tied_embedding: bool = False
    experts: int = 1
    top_k: int = 1
    params_experts: float = 0.0
    state_values_per_sequence: float = 0.0
    precision: str = "bf16"
    method: Literal["published", "assumed"] = "published"

    def __post_init__(self) -> None:
        """Refuse counts that no model can have."""
        if not 0 < self.params_active <= self.params_total * 1.001:
            raise BadInputError(
                f"model {self.name!r}: active parameters",
                found=f"{self.params_active:g} active of {self.params_total:g}",
                allowed="0 < active <= total",
            )
        if self.precision not in BYTES_PER_PARAM:
            raise unknown_name("precision", self.precision, BYTES_PER_PARAM)

    @property
    def weight_class(self) -> str:
        """Kind of weight kernels, for which constants are fitted apart.

        ``fp8`` means scales per 128 x 128 block (Qwen, DeepSeek), ``fp8-channel`` scales per
        channel (Llama): the former pads the rows of each expert to 128.
        """
        if self.precision in ("fp8", "int8"):
            return "fp8-channel" if "llama" in self.name.casefold() else "fp8"
        return {"fp16": "bf16", "int4": "mxfp4"}.get(self.precision, self.precision)

    @property
    def params_embedding(self) -> float:
        """Parameters of the input embedding (and, as many again, of the output head)."""
        return float(self.vocab_size * self.hidden_size)

    @property
    def params_body(self) -> float:
        """Parameters that every token reads, without embedding, head and routed experts."""
        embeddings = self.params_embedding * (1 if self.tied_embedding else 2)
        return max(self.params_total - self.params_experts - embeddings, 0.0)

    @property
    def expert_hit_frac(self) -> float:
        """Share of the routed experts that one token reads, 0 for a dense model."""
        return self.top_k / self.experts if self.params_experts > 0 else 0.0

    @property
    def params_matmul(self) -> float:
        """Parameters that multiply each token: body, head and the experts it is sent to."""
        return self.params_body + self.params_embedding + self.params_experts * self.expert_hit_frac

    def weight_bytes_dense(self) -> float:
        """Bytes of weights that each step reads whatever its tokens: body and output head [B]."""
        quantised = not (self.precision == "mxfp4" and self.params_experts > 0)
        body_bytes = BYTES_PER_PARAM[self.precision] if quantised else BYTES_PER_PARAM["bf16"]
        return self.params_body * body_bytes + self.params_embedding * BYTES_PER_PARAM["bf16"]

    def weight_bytes_experts(self) -> float:
        """Bytes of all routed experts together [B]."""
        return self.params_experts * BYTES_PER_PARAM[self.precision]

    def weight_bytes_resident(self) -> float:
        """Bytes of weights that lie in GPU memory, all GPUs of one copy together [B]."""
        extra = 0.0 if self.tied_embedding else self.params_embedding * BYTES_PER_PARAM["bf16"]
        return self.weight_bytes_dense() + self.weight_bytes_experts() + extra

    def cache_bytes_per_layer(self) -> float:
        """Bytes that one token adds to the cache of one attention layer [B]."""
        values = self.latent_dim if self.latent_dim else 2 * self.kv_heads * self.head_dim
        return values * CACHE_BYTES

    def cache_bytes_per_token(self) -> float:
        """Bytes of cache per token of unbounded context, window layers left out [B]."""
        return self.attention_layers * self.cache_bytes_per_layer()

    def cache_bytes(self, context_tokens: float, spread_tokens: float = 0.0) -> float:
        """Bytes of cache that one sequence reads in a step [B], windows counted.

        Contexts are spread evenly over ``context_tokens`` plus and minus half of ``spread_tokens``.
        """
        windowed = self.window_layers * _mean_of_min(
            context_tokens, spread_tokens, float(self.window_tokens)
        )
        full = context_tokens * self.attention_layers
        return (full + windowed) * self.cache_bytes_per_layer()

    def state_bytes(self) -> float:
        """Bytes of recurrent state that one sequence moves in a step, read and written [B]."""
        return 2.0 * self.state_values_per_sequence * CACHE_BYTES


def _mean_of_min(mean: float, spread: float, bound: float) -> float:
    """Mean of min(x, bound) for x even on ``mean`` plus and minus half of ``spread``."""
    low, high = mean - spread / 2, mean + spread / 2
    if high <= bound or spread <= 0:
        return min(mean, bound)
    if low >= bound:
        return bound
    return ((bound * bound - low * low) / 2 + (high - bound) * bound) / spread
