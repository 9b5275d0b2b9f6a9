"""The models that Baseload knows: what of an architecture decides bytes, FLOPs and cache.

The numbers are those of the published configuration files (layers, heads, vocabulary, experts);
parameter counts are computed from them or taken from the model card. A model that is in no table
still gets an answer from its parameter counts by the rule in ``assumed_model``, marked assumed.
"""

from __future__ import annotations

import re
from functools import lru_cache
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


def _gqa(
    name: str,
    total_b: float,
    layers: int,
    hidden: int,
    heads: tuple[int, int, int],
    vocab: int,
    context: int,
    *,
    tied: bool = False,
    window: tuple[int, int] = (0, 0),
) -> ModelSpec:
    """A dense model; ``heads`` = (query, key-value, width), ``window`` = (layers, tokens)."""
    return ModelSpec(
        name=name,
        architecture="dense",
        params_total=total_b * 1e9,
        params_active=total_b * 1e9,
        layers=layers,
        hidden_size=hidden,
        vocab_size=vocab,
        attention_layers=layers - window[0],
        heads=heads[0],
        kv_heads=heads[1],
        head_dim=heads[2],
        max_context_tokens=context,
        window_layers=window[0],
        window_tokens=window[1],
        tied_embedding=tied,
    )


def _moe(
    name: str,
    total_active_b: tuple[float, float],
    layers: int,
    hidden: int,
    heads: tuple[int, int, int],
    vocab: int,
    context: int,
    *,
    experts: tuple[int, int, int, int],
    window: tuple[int, int] = (0, 0),
    latent: int = 0,
    precision: str = "bf16",
) -> ModelSpec:
    """A mixture of experts; ``experts`` = (count, top-k, width, layers that have them)."""
    count, top_k, width, sparse_layers = experts
    return ModelSpec(
        name=name,
        architecture="moe",
        params_total=total_active_b[0] * 1e9,
        params_active=total_active_b[1] * 1e9,
        layers=layers,
        hidden_size=hidden,
        vocab_size=vocab,
        attention_layers=layers - window[0],
        heads=heads[0],
        kv_heads=heads[1],
        head_dim=heads[2],
        max_context_tokens=context,
        window_layers=window[0],
        window_tokens=window[1],
        latent_dim=latent,
        experts=count,
        top_k=top_k,
        params_experts=float(sparse_layers * count * 3 * hidden * width),
        precision=precision,
    )


def _hybrid(
    name: str,
    total_b: float,
    layers: int,
    hidden: int,
    heads: tuple[int, int, int],
    vocab: int,
    context: int,
    *,
    attention_layers: int,
    state: tuple[int, int],
) -> ModelSpec:
    """Attention and state-space layers; ``state`` = (state-space layers, values per layer and
    sequence).
    """
    return ModelSpec(
        name=name,
        architecture="hybrid",
        params_total=total_b * 1e9,
        params_active=total_b * 1e9,
        layers=layers,
        hidden_size=hidden,
        vocab_size=vocab,
        attention_layers=attention_layers,
        heads=heads[0],
        kv_heads=heads[1],
        head_dim=heads[2],
        max_context_tokens=context,
        state_values_per_sequence=float(state[0] * state[1]),
    )


_Q3 = 151_936  # vocabulary of Qwen3
_Q25 = 152_064  # vocabulary of Qwen2.5
_L3 = 128_256  # vocabulary of Llama 3
_G3 = 262_208  # vocabulary of Gemma 3
_DS = 129_280  # vocabulary of DeepSeek V3

_SPECS: tuple[ModelSpec, ...] = (
    # Llama and its distillations
    _gqa("meta-llama/Llama-3.1-8B", 8.03, 32, 4096, (32, 8, 128), _L3, 131_072),
    _gqa("meta-llama/Llama-3.1-70B", 70.55, 80, 8192, (64, 8, 128), _L3, 131_072),
    _gqa("meta-llama/Llama-3.3-70B", 70.55, 80, 8192, (64, 8, 128), _L3, 131_072),
    _gqa("meta-llama/Llama-3.1-405B", 405.85, 126, 16_384, (128, 8, 128), _L3, 131_072),
    _gqa("meta-llama/Llama-3.2-1B", 1.24, 16, 2048, (32, 8, 64), _L3, 131_072, tied=True),
    _gqa("meta-llama/Llama-3.2-3B", 3.21, 28, 3072, (24, 8, 128), _L3, 131_072, tied=True),
    _gqa("meta-llama/Llama-2-7b", 6.74, 32, 4096, (32, 32, 128), 32_000, 4096),
    _gqa("meta-llama/Llama-2-13b", 13.02, 40, 5120, (40, 40, 128), 32_000, 4096),
    _gqa("meta-llama/Llama-2-70b", 68.98, 80, 8192, (64, 8, 128), 32_000, 4096),
    _moe(
        "meta-llama/Llama-4-Scout-17B-16E",
        (108.6, 17.2),
        48,
        5120,
        (40, 8, 128),
        202_048,
        10_485_760,
        experts=(16, 1, 8192, 48),
        window=(36, 8192),
    ),
    _moe(
        "meta-llama/Llama-4-Maverick-17B-128E",
        (400.7, 17.2),
        48,
        5120,
        (40, 8, 128),
        202_048,
        1_048_576,
        experts=(128, 1, 8192, 24),
        window=(36, 8192),
    ),
    _gqa("codellama/CodeLlama-7b", 6.74, 32, 4096, (32, 32, 128), 32_016, 16_384),
    _gqa("codellama/CodeLlama-13b", 13.02, 40, 5120, (40, 40, 128), 32_016, 16_384),
    _gqa("codellama/CodeLlama-34b", 33.74, 48, 8192, (64, 8, 128), 32_000, 16_384),
    _gqa("codellama/CodeLlama-70b", 68.98, 80, 8192, (64, 8, 128), 32_016, 16_384),
    # Qwen
    _gqa("Qwen/Qwen3-0.6B", 0.596, 28, 1024, (16, 8, 128), _Q3, 40_960, tied=True),
    _gqa("Qwen/Qwen3-1.7B", 1.72, 28, 2048, (16, 8, 128), _Q3, 40_960, tied=True),
    _gqa("Qwen/Qwen3-4B", 4.02, 36, 2560, (32, 8, 128), _Q3, 40_960, tied=True),
    _gqa("Qwen/Qwen3-8B", 8.19, 36, 4096, (32, 8, 128), _Q3, 40_960),
    _gqa("Qwen/Qwen3-14B", 14.77, 40, 5120, (40, 8, 128), _Q3, 40_960),
    _gqa("Qwen/Qwen3-32B", 32.76, 64, 5120, (64, 8, 128), _Q3, 40_960),
    _gqa("Qwen/QwQ-32B", 32.76, 64, 5120, (40, 8, 128), _Q25, 131_072),
    _gqa("Qwen/Qwen2.5-7B", 7.62, 28, 3584, (28, 4, 128), _Q25, 32_768),
    _gqa("Qwen/Qwen2.5-14B", 14.77, 48, 5120, (40, 8, 128), _Q25, 32_768),
    _gqa("Qwen/Qwen2.5-32B", 32.76, 64, 5120, (40, 8, 128), _Q25, 32_768),
    _gqa("Qwen/Qwen2.5-72B", 72.71, 80, 8192, (64, 8, 128), _Q25, 32_768),
    _moe(
        "Qwen/Qwen3-30B-A3B",
        (30.53, 3.35),
        48,
        2048,
        (32, 4, 128),
        _Q3,
        40_960,
        experts=(128, 8, 768, 48),
    ),
    _moe(
        "Qwen/Qwen3-Coder-30B-A3B",
        (30.53, 3.35),
        48,
        2048,
        (32, 4, 128),
        _Q3,
        262_144,
        experts=(128, 8, 768, 48),
    ),
    _moe(
        "Qwen/Qwen3-235B-A22B",
        (235.09, 22.19),
        94,
        4096,
        (64, 4, 128),
        _Q3,
        40_960,
        experts=(128, 8, 1536, 94),
    ),
    _moe(
        "Qwen/Qwen3-Coder-480B-A35B",
        (480.15, 35.5),
        62,
        6144,
        (96, 8, 128),
        _Q3,
        262_144,
        experts=(160, 8, 2560, 62),
    ),
    # gpt-oss: every second layer attends to the last 128 tokens only
    _moe(
        "openai/gpt-oss-20b",
        (20.91, 3.61),
        24,
        2880,
        (64, 8, 64),
        201_088,
        131_072,
        experts=(32, 4, 2880, 24),
        window=(12, 128),
        precision="mxfp4",
    ),
    _moe(
        "openai/gpt-oss-120b",
        (116.83, 5.13),
        36,
        2880,
        (64, 8, 64),
        201_088,
        131_072,
        experts=(128, 4, 2880, 36),
        window=(18, 128),
        precision="mxfp4",
    ),
    # DeepSeek and Kimi: latent attention, 512 + 64 values a layer
    _moe(
        "deepseek-ai/DeepSeek-V3",
        (671.0, 37.6),
        61,
        7168,
        (128, 1, 576),
        _DS,
        163_840,
        experts=(256, 8, 2048, 58),
        latent=576,
        precision="fp8",
    ),
    _moe(
        "deepseek-ai/DeepSeek-V3.1",
        (671.0, 37.6),
        61,
        7168,
        (128, 1, 576),
        _DS,
        131_072,
        experts=(256, 8, 2048, 58),
        latent=576,
        precision="fp8",
    ),
    _moe(
        "deepseek-ai/DeepSeek-R1",
        (671.0, 37.6),
        61,
        7168,
        (128, 1, 576),
        _DS,
        163_840,
        experts=(256, 8, 2048, 58),
        latent=576,
        precision="fp8",
    ),
    _moe(
        "moonshotai/Kimi-K2",
        (1026.4, 32.9),
        61,
        7168,
        (64, 1, 576),
        163_840,
        131_072,
        experts=(384, 8, 2048, 60),
        latent=576,
        precision="fp8",
    ),
    _gqa(
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", 1.78, 28, 1536, (12, 2, 128), 151_936, 131_072
    ),
    _gqa("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", 7.62, 28, 3584, (28, 4, 128), _Q25, 131_072),
    _gqa("deepseek-ai/DeepSeek-R1-Distill-Qwen-14B", 14.77, 48, 5120, (40, 8, 128), _Q25, 131_072),
    _gqa("deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", 32.76, 64, 5120, (40, 8, 128), _Q25, 131_072),
    _gqa("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", 8.03, 32, 4096, (32, 8, 128), _L3, 131_072),
    _gqa("deepseek-ai/DeepSeek-R1-Distill-Llama-70B", 70.55, 80, 8192, (64, 8, 128), _L3, 131_072),
    _moe(
        "zai-org/GLM-4.5",
        (352.8, 32.0),
        92,
        5120,
        (96, 8, 128),
        151_552,
        131_072,
        experts=(160, 8, 1536, 89),
    ),
    _moe(
        "zai-org/GLM-4.5-Air",
        (106.9, 12.0),
        46,
        4096,
        (96, 8, 128),
        151_552,
        131_072,
        experts=(128, 8, 1408, 45),
    ),
    # Gemma 3: five of six layers attend to the last 1,024 tokens; Gemma 2: every second to 4,096
    _gqa(
        "google/gemma-3-4b", 3.88, 34, 2560, (8, 4, 256), _G3, 131_072, tied=True, window=(29, 1024)
    ),
    _gqa(
        "google/gemma-3-12b",
        11.77,
        48,
        3840,
        (16, 8, 256),
        _G3,
        131_072,
        tied=True,
        window=(40, 1024),
    ),
    _gqa(
        "google/gemma-3-27b",
        27.01,
        62,
        5376,
        (32, 16, 128),
        _G3,
        131_072,
        tied=True,
        window=(52, 1024),
    ),
    _gqa(
        "google/gemma-2-2b",
        2.61,
        26,
        2304,
        (8, 4, 256),
        256_000,
        8192,
        tied=True,
        window=(13, 4096),
    ),
    _gqa(
        "google/gemma-2-9b",
        9.24,
        42,
        3584,
        (16, 8, 256),
        256_000,
        8192,
        tied=True,
        window=(21, 4096),
    ),
    _gqa(
        "google/gemma-2-27b",
        27.23,
        46,
        4608,
        (32, 16, 128),
        256_000,
        8192,
        tied=True,
        window=(23, 4096),
    ),
    _gqa("google/codegemma-1.1-2b", 2.51, 18, 2048, (8, 1, 256), 256_000, 8192, tied=True),
    _gqa("google/codegemma-7b", 8.54, 28, 3072, (16, 16, 256), 256_000, 8192, tied=True),
    # Mistral
    _gqa("mistralai/Mistral-7B", 7.25, 32, 4096, (32, 8, 128), 32_768, 32_768),
    _gqa("mistralai/Mistral-Nemo", 12.25, 40, 5120, (32, 8, 128), 131_072, 131_072),
    _gqa("mistralai/Mistral-Large", 122.61, 88, 12_288, (96, 8, 128), 32_768, 131_072),
    _gqa("mistralai/Mistral-Small-24B", 23.57, 40, 5120, (32, 8, 128), 131_072, 32_768),
    _moe(
        "mistralai/Mixtral-8x7B",
        (46.7, 12.9),
        32,
        4096,
        (32, 8, 128),
        32_000,
        32_768,
        experts=(8, 2, 14_336, 32),
    ),
    _moe(
        "mistralai/Mixtral-8x22B",
        (140.63, 39.15),
        56,
        6144,
        (48, 8, 128),
        32_768,
        65_536,
        experts=(8, 2, 16_384, 56),
    ),
    # Phi and StarCoder
    _gqa("microsoft/Phi-3-mini-4k", 3.82, 32, 3072, (32, 32, 96), 32_064, 4096),
    _gqa("microsoft/Phi-3-small-8k", 7.39, 32, 4096, (32, 8, 128), 100_352, 8192, tied=True),
    _gqa("microsoft/Phi-3-medium-4k", 13.96, 40, 5120, (40, 10, 128), 32_064, 4096),
    _gqa("microsoft/phi-4", 14.66, 40, 5120, (40, 10, 128), 100_352, 16_384),
    _gqa("microsoft/Phi-4-reasoning", 14.66, 40, 5120, (40, 10, 128), 100_352, 32_768),
    _gqa("bigcode/starcoder2-3b", 3.03, 30, 3072, (24, 2, 128), 49_152, 16_384, tied=True),
    _gqa("bigcode/starcoder2-7b", 7.17, 32, 4608, (36, 4, 128), 49_152, 16_384, tied=True),
    _gqa("bigcode/starcoder2-15b", 15.96, 40, 6144, (48, 4, 128), 49_152, 16_384, tied=True),
    # Nemotron: state-space layers carry 128 heads x 80 x 128 values a sequence
    _hybrid(
        "nvidia/NVIDIA-Nemotron-Nano-12B-v2",
        12.31,
        62,
        5120,
        (40, 8, 128),
        131_072,
        131_072,
        attention_layers=6,
        state=(28, 128 * 80 * 128),
    ),
    _hybrid(
        "nvidia/NVIDIA-Nemotron-Nano-9B-v2",
        8.89,
        56,
        4480,
        (40, 8, 128),
        131_072,
        131_072,
        attention_layers=4,
        state=(27, 128 * 80 * 128),
    ),
)

_VARIANT = re.compile(
    r"^meta-|-(?:instruct|thinking|chat|base|it|hf|bf16|fp8|dynamic|mxfp4|awq|gptq|int4|int8"
    r"|w4a16|w8a8|2507|0528|0324|2407|2501|v0\.[123])(?=-|$)"
)
_PRECISION_OF_NAME = {
    "fp8": "fp8", "awq": "int4", "gptq": "int4", "int4": "int4", "w4a16": "int4",
    "int8": "int8", "w8a8": "int8",
    "mxfp4": "mxfp4", "bf16": "bf16",
}  # fmt: skip
_LONG_2507_TOKENS = 262_144


def _key(name: str) -> str:
    """The name without owner and variant:

    ``Qwen/Qwen3-235B-A22B-Thinking-2507-FP8`` gives ``qwen3-235b-a22b``.
    """
    short = name.strip().casefold().rsplit("/", 1)[-1].replace("_", "-")
    return _VARIANT.sub("", short)


_BY_KEY: dict[str, ModelSpec] = {_key(spec.name): spec for spec in _SPECS}
assert len(_BY_KEY) == len(_SPECS), "two models share a key"


def model_names() -> list[str]:
    """Names of all known models, sorted; variants (-Instruct, -FP8, -Thinking-2507, ...)
    resolve to these.
    """
    return sorted(spec.name for spec in _SPECS)


def is_known_model(name: str) -> bool:
    """Whether ``find_model`` would know ``name``."""
    return _key(name) in _BY_KEY


@lru_cache(maxsize=1024)
def find_model(name: str, precision: str | None = None) -> ModelSpec:
    """The model called ``name``, by full or short name, any case, at ``precision``.

    Without ``precision`` it is the one that the name says (``-FP8``), else the one the model is
    published in. Raises ``UnknownNameError`` with the nearest names for an unknown model or
    precision.
    """
    spec = _BY_KEY.get(_key(name))
    if spec is None:
        raise unknown_name(
            "model",
            name,
            model_names(),
            todo="give a known name, or a table row with its parameter counts",
        )
    wanted = precision or _precision_of(name) or spec.precision
    if wanted not in BYTES_PER_PARAM:
        raise unknown_name("precision", wanted, BYTES_PER_PARAM)
    context = _LONG_2507_TOKENS if "-2507" in name else spec.max_context_tokens
    return msgspec.structs.replace(spec, precision=wanted, max_context_tokens=context)


def _precision_of(name: str) -> str | None:
    """The precision that a model name announces, if any."""
    parts = name.casefold().replace("_", "-").split("-")
    return next(
        (_PRECISION_OF_NAME[part] for part in reversed(parts) if part in _PRECISION_OF_NAME), None
    )


def assumed_model(
    name: str,
    params_total_b: float,
    params_active_b: float,
    *,
    architecture: Architecture = "dense",
    precision: str = "bf16",
) -> ModelSpec:
    """A model known by its parameter counts only [1e9], its structure assumed.

    Rule: layers = 32 (n / 8)^0.42 with n the geometric mean of total and active counts (8B: 32,
    70B: 80 as published); grouped attention with 8 key-value heads (4 for a mixture of experts)
    of width 128; vocabulary 150,000; a mixture has 128 experts a layer, and 8 % of the active
    parameters beside them.
    """
    for label, value in (("params_total_b", params_total_b), ("params_active_b", params_active_b)):
        if not (0 < value < 1e5):
            raise BadInputError(
                f"model {name!r}: {label}",
                found=repr(value),
                allowed="a number of 1e9 parameters > 0",
            )
    sparse = params_active_b < (1.0 if architecture == "moe" else 0.7) * params_total_b
    size_b = (params_total_b * params_active_b) ** 0.5
    layers = max(8, round(32 * (size_b / 8) ** 0.42))
    hidden = max(512, round((size_b * 1e9 / (12 * layers)) ** 0.5 / 128) * 128)
    total, active = params_total_b * 1e9, params_active_b * 1e9
    vocab = min(150_000, int(0.2 * active / hidden))
    dense = min(0.5 * active, 2.0 * vocab * hidden + 0.25 * active) if sparse else total
    hits = max((active - dense) / (total - dense), 1 / 128) if sparse else 1.0
    return ModelSpec(
        name=name,
        architecture=architecture,
        params_total=total,
        params_active=min(active, total),
        layers=layers,
        hidden_size=hidden,
        vocab_size=vocab,
        attention_layers=layers,
        heads=max(hidden // 128, 1),
        kv_heads=4 if sparse else 8,
        head_dim=128,
        max_context_tokens=131_072,
        experts=128 if sparse else 1,
        top_k=max(1, round(128 * hits)) if sparse else 1,
        params_experts=total - dense if sparse else 0.0,
        precision=precision,
        method="assumed",
    )
