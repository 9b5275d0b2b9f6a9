"""The models that Baseload knows: what of an architecture decides bytes, FLOPs and cache.

The numbers are those of the published configuration files (layers, heads, vocabulary, experts);
parameter counts are computed from them or taken from the model card. A model that is in no table
still gets an answer from its parameter counts by the rule in ``assumed_model``, marked assumed.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from baseload.base.errors import BadInputError, unknown_name
from baseload.fleet.model_spec import BYTES_PER_PARAM, Architecture, ModelSpec
from baseload.fleet.model_table import MODELS

__all__ = [
    "BYTES_PER_PARAM",
    "Architecture",
    "ModelSpec",
    "assumed_model",
    "find_model",
    "is_known_model",
    "model_names",
]

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


_BY_KEY: dict[str, ModelSpec] = {_key(spec.name): spec for spec in MODELS}
assert len(_BY_KEY) == len(MODELS), "two models share a key"


def model_names() -> list[str]:
    """Names of all known models, sorted; variants (-Instruct, -FP8, -Thinking-2507, ...)
    resolve to these.
    """
    return sorted(spec.name for spec in MODELS)


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
    if params_active_b > params_total_b:
        raise BadInputError(
            f"model {name!r}: more active than total parameters",
            found=f"{params_active_b:g} active of {params_total_b:g}",
            allowed="params_active_b <= params_total_b",
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
        params_active=active,
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
