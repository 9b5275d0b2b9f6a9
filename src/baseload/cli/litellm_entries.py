"""One entry of a LiteLLM ``model_list``: which engine it means, at which address, with which key.

LiteLLM's words: ``model: PROVIDER/NAME``, ``api_base``, ``api_key: os.environ/NAME``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from baseload.gateway.addresses import base_url, url_fault
from baseload.gateway.config import Endpoint, Engine, Input

_ENVIRON = "os.environ/"
_FIELD = re.compile(r"^[A-Za-z][A-Za-z_]{0,47}$")
_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,199}$")

PROVIDERS: dict[str, tuple[Engine, str | None]] = {
    "hosted_vllm": ("vllm", None),
    "vllm": ("vllm", None),
    "ollama": ("ollama", "http://127.0.0.1:11434"),
    "ollama_chat": ("ollama", "http://127.0.0.1:11434"),
    "llamafile": ("llama.cpp", "http://127.0.0.1:8080"),
    "openai": ("openai", "https://api.openai.com"),
    "text-completion-openai": ("openai", "https://api.openai.com"),
    "custom_openai": ("openai", None),
    "openai_like": ("openai", None),
    "litellm_proxy": ("openai", None),
    "lm_studio": ("openai", None),
    "xinference": ("openai", None),
    "docker_model_runner": ("openai", None),
    "infinity": ("openai", None),
    "nvidia_nim": ("openai", "https://integrate.api.nvidia.com"),
    "deepseek": ("openai", "https://api.deepseek.com"),
    "groq": ("openai", "https://api.groq.com/openai"),
    "mistral": ("openai", "https://api.mistral.ai"),
    "codestral": ("openai", "https://codestral.mistral.ai"),
    "together_ai": ("openai", "https://api.together.xyz"),
    "fireworks_ai": ("openai", "https://api.fireworks.ai/inference"),
    "openrouter": ("openai", "https://openrouter.ai/api"),
    "xai": ("openai", "https://api.x.ai"),
    "cerebras": ("openai", "https://api.cerebras.ai"),
    "sambanova": ("openai", "https://api.sambanova.ai"),
}
"""Providers that speak OpenAI's protocol: the engine, and where it is unless ``api_base`` says."""

OTHER_PROTOCOLS = frozenset(
    (
        "anthropic", "azure", "azure_ai", "azure_text", "bedrock", "vertex_ai", "vertex_ai_beta",
        "gemini", "cohere", "cohere_chat", "huggingface", "replicate", "sagemaker", "watsonx",
        "databricks", "cloudflare", "perplexity", "deepinfra", "predibase", "triton", "github",
        "github_copilot", "voyage", "jina_ai", "snowflake", "oci", "ai21", "nlp_cloud", "petals",
    )
)  # fmt: skip
"""Providers whose end-points are not ``/v1/...`` of OpenAI."""

_MODES: dict[str, tuple[Endpoint, ...]] = {
    "chat": ("chat", "completions", "responses"),
    "completion": ("completions",),
    "embedding": ("embeddings",),
    "responses": ("responses",),
}
_HAS_KEY = ("openai", "text-completion-openai")
_NO_SECRET = frozenset(
    ("", "none", "empty", "dummy", "fake", "fake-key", "na", "n/a", "not-needed", "no-key", "null")
)

_HINTS = {
    **dict.fromkeys(
        ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "default_fallbacks"),
        "no counterpart: an alias over several models lets each request go to any of them",
    ),
    **dict.fromkeys(("weight", "order"), "no counterpart: the price of each answer decides"),
    "database_url": "no counterpart: keys in a database are not read; put their hashes into keys",
    "environment_variables": "not read: set them where the gateway starts",
    "extra_headers": "left out, as they may hold secrets: replicas have headers",
    "include": "not followed: import each file",
}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What one entry means. ``public``: its ``model_name``. ``place``: of it in the file."""

    place: str
    public: str
    upstream: str
    engine: Engine
    url: str
    key: str | None
    endpoints: tuple[Endpoint, ...]
    inputs: tuple[Input, ...]
    tools: bool
    rpm: int | None = None
    tpm: int | None = None


class Left(Exception):
    """An entry that cannot be carried over; says why."""


def variable_of(value: object) -> str | None:
    """The variable that ``os.environ/NAME`` names; ``None`` for another value."""
    if not (isinstance(value, str) and value.startswith(_ENVIRON)):
        return None
    name = value.removeprefix(_ENVIRON)
    return name if _NAME.match(name) else None


def placeholder_of(text: str, suffix: str) -> str:
    """A name for the variable that is to hold a secret."""
    word = re.sub(r"[^A-Z0-9]+", "_", text.upper()).strip("_")[:60] or "UPSTREAM"
    return f"{word if not word[0].isdigit() else '_' + word}_{suffix}"


def secret_of(value: object, placeholder: str, place: str, notes: list[str]) -> str | None:
    """``env:NAME`` for a secret of the file, which itself goes nowhere. ``None``: no secret."""
    if value is None:
        return None
    name = variable_of(value)
    if name is not None:
        return f"env:{name}"
    if not isinstance(value, str) or value.strip().lower() in _NO_SECRET:
        notes.append(f"{place}: a value that stands for no key is left out")
        return None
    notes.append(
        f"{place}: the file holds the secret itself, which is not written out: put it into the "
        f"environment variable {placeholder}"
    )
    return f"env:{placeholder}"


def entry_of(
    raw: Mapping[Any, Any], place: str, notes: list[str], environ: Mapping[str, str]
) -> Entry:
    """What an entry of ``model_list`` means; what of it cannot be carried over goes to ``notes``.

    Raises ``Left`` with the reason for one that cannot be carried over at all.
    """
    public, params = raw["model_name"], dict(raw["litellm_params"])
    provider, upstream = _provider(params, place, notes)
    engine, known = PROVIDERS.get(provider, ("openai", None))
    mode, inputs, tools = _info(raw, place, notes)
    url = _url(params, known, place, notes, environ)
    key = params.pop("api_key", None)
    if key is None and provider in _HAS_KEY and url.startswith("https://api.openai.com"):
        key = "os.environ/OPENAI_API_KEY"
        notes.append(f"{place}: no api_key, so OPENAI_API_KEY is read, as LiteLLM does")
    made = Entry(
        place=place,
        public=public,
        upstream=upstream,
        engine=engine,
        url=url,
        key=secret_of(key, placeholder_of(public, "API_KEY"), f"{place}.api_key", notes),
        endpoints=("completions",) if provider == "text-completion-openai" else _MODES[mode],
        inputs=inputs,
        tools=tools,
        rpm=_count(params.pop("rpm", None)),
        tpm=_count(params.pop("tpm", None)),
    )
    rest(params, f"{place}.litellm_params", notes)
    rest(
        {key: raw[key] for key in raw if key not in ("model_name", "litellm_params", "model_info")},
        place,
        notes,
    )
    return made


def rest(fields: Mapping[Any, Any], place: str, notes: list[str]) -> None:
    """Note the fields that nobody has read, by name."""
    for name in fields:
        hint = _HINTS.get(str(name), "has no counterpart here")
        notes.append(f"{place}.{shown_name(name)}: {hint}")


def shown_name(name: object) -> str:
    """A field's name as a note may show it. What reads like no name is not shown: a secret ends up
    there where a colon is missing.
    """
    text = str(name)
    return text if text in _HINTS or _FIELD.match(text) else "(a name that is none, not shown)"


def _count(value: object) -> int | None:
    """A limit a minute; ``None`` for what is none."""
    whole = isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value <= 1e9
    return int(value) if whole else None  # type: ignore[call-overload]


def _provider(params: dict[Any, Any], place: str, notes: list[str]) -> tuple[str, str]:
    """Who serves the model, and what it is called there."""
    model = params.pop("model")
    asked = params.pop("custom_llm_provider", None)
    prefix, slash, name = model.partition("/")
    if "*" in model:
        raise Left("a pattern: each model has to be named")
    if isinstance(asked, str) and asked:
        if asked in OTHER_PROTOCOLS:
            raise Left(f"{asked} does not speak OpenAI's protocol")
        return asked, name if prefix == asked and name else model
    if slash and prefix in PROVIDERS and name:
        return prefix, name
    if prefix in OTHER_PROTOCOLS or model.startswith(("claude-", "gemini-", "command-")):
        raise Left(f"{prefix if slash else model[:80]} does not speak OpenAI's protocol")
    if params.get("api_base") is None:
        if slash:
            raise Left(f"the provider {prefix[:80]} is not known, and there is no api_base")
        return "openai", model
    notes.append(f"{place}: taken for an OpenAI-compatible server of {model[:80]}")
    return "custom_openai", model


def _url(
    params: dict[Any, Any],
    known: str | None,
    place: str,
    notes: list[str],
    environ: Mapping[str, str],
) -> str:
    """The address of the engine."""
    given = params.pop("api_base", None) or params.pop("base_url", None)
    params.pop("base_url", None)
    name = variable_of(given)
    if name is not None:
        given = environ.get(name, "")
        if not given:
            raise Left(f"its api_base is in {name}, which is not set: set it and import again")
        notes.append(f"{place}: the address in {name} is written out, as it is now")
    if given is None:
        if known is None:
            raise Left("no api_base")
        return known
    if not isinstance(given, str):
        raise Left("an api_base that is no text")
    text = given.strip()
    wrong = url_fault(text)
    if wrong is not None or not text.lower().startswith("http"):
        raise Left(f"its api_base is {wrong[0] if wrong else 'no http URL'}")
    base = base_url(text)
    if base.count("/") > 2 and not text.rstrip("/").endswith("/v1"):
        notes.append(f"{place}: requests go to {base}/v1/..., check that the engine is there")
    return base


def _info(
    raw: Mapping[Any, Any], place: str, notes: list[str]
) -> tuple[str, tuple[Input, ...], bool]:
    """Mode, inputs and tools of ``model_info``."""
    given = raw.get("model_info")
    info = dict(given) if isinstance(given, dict) else {}
    mode = info.pop("mode", None) or "chat"
    if not (isinstance(mode, str) and mode in _MODES):
        raise Left(f"mode {str(mode)[:40]}: only {', '.join(_MODES)} can be served")
    inputs: list[Input] = ["text"]
    if info.pop("supports_vision", False) is True:
        inputs.append("image")
    if info.pop("supports_audio_input", False) is True:
        inputs.append("audio")
    tools = info.pop("supports_function_calling", True) is not False
    info.pop("id", None)
    rest(info, f"{place}.model_info", notes)
    return mode, tuple(inputs), tools
