"""The fields of request bodies that routing reads; everything else is skipped, not looked at.

A field with the wrong type makes the decoder raise; ``bodies`` turns that into a 400 that names it.
"""

from __future__ import annotations

import msgspec

ABSENT = msgspec.Raw()
"""A field that is not there (a field that is there holds at least one byte)."""

IMAGES = frozenset({"image_url", "input_image", "image", "video_url", "input_video", "video"})
"""Types of parts that need a model that sees; a video counts as one image."""

AUDIOS = frozenset({"input_audio", "audio_url", "audio"})
"""Types of parts that need a model that hears."""


class Part(msgspec.Struct, frozen=True, gc=False):
    """One part of a message: its type and its text, whatever the type is."""

    type: str = "text"
    text: str | None = None


Content = str | list[str | Part] | None


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message of a chat. Calls of tools are part of the prompt, by their bytes."""

    content: Content = None
    tool_calls: list[msgspec.Raw] | None = None


class Item(msgspec.Struct, frozen=True, gc=False):
    """One item of a Responses input: a message, a call of a tool (``arguments``), its result
    (``output``).
    """

    type: str = "message"
    content: Content = None
    arguments: str | None = None
    output: str | list[str | Part] | Part | None = None


class StreamOptions(msgspec.Struct, frozen=True, gc=False):
    """``stream_options``."""

    include_usage: bool | None = None


class Reasoning(msgspec.Struct, frozen=True, gc=False):
    """``reasoning``: OpenAI's on the Responses surface, OpenRouter's with all four fields."""

    effort: str | None = None
    max_tokens: int | None = None
    enabled: bool | None = None


class Thinking(msgspec.Struct, frozen=True, gc=False):
    """``thinking``, Anthropic's spelling: ``{"type": "enabled", "budget_tokens": n}``."""

    type: str | None = None
    budget_tokens: int | None = None


class TemplateArguments(msgspec.Struct, frozen=True, gc=False):
    """``chat_template_kwargs``: variables of the model's own chat template."""

    enable_thinking: bool | None = None
    thinking: bool | None = None
    thinking_budget: int | None = None
    reasoning_effort: str | None = None


class CustomParams(msgspec.Struct, frozen=True, gc=False):
    """``custom_params``: SGLang's arguments of strict thinking and of logit processors."""

    thinking_budget: int | None = None


class ThinkingFields(msgspec.Struct, frozen=True, gc=False):
    """Every spelling of effort, budget and switch that clients are known to send."""

    reasoning_effort: str | None = None
    reasoning: Reasoning | None = None
    thinking_token_budget: int | None = None
    thinking_budget_tokens: int | None = None
    reasoning_budget_tokens: int | None = None
    thinking_budget: int | None = None
    enable_thinking: bool | None = None
    think: bool | str | None = None
    thinking: Thinking | None = None
    chat_template_kwargs: TemplateArguments | None = None
    custom_params: CustomParams | None = None


class ChatBody(ThinkingFields, frozen=True, gc=False):
    """``/v1/chat/completions``."""

    model: str | None = None
    messages: list[Message] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    tools: list[msgspec.Raw] | None = None
    functions: list[msgspec.Raw] | None = None
    service_tier: str | None = None
    user: str | None = None


class ResponsesBody(ThinkingFields, frozen=True, gc=False):
    """``/v1/responses``."""

    model: str | None = None
    input: str | list[Item] | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    stream: bool | None = None
    max_output_tokens: int | None = None
    tools: list[msgspec.Raw] | None = None
    service_tier: str | None = None
    user: str | None = None


class CompletionsBody(msgspec.Struct, frozen=True, gc=False):
    """``/v1/completions``. The prompt is looked at apart: it may be millions of token ids."""

    model: str | None = None
    prompt: msgspec.Raw = ABSENT
    prompt_embeds: msgspec.Raw = ABSENT
    suffix: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    n: int | None = None
    best_of: int | None = None
    service_tier: str | None = None
    user: str | None = None


class EmbeddingsBody(msgspec.Struct, frozen=True, gc=False):
    """``/v1/embeddings``. ``messages`` in place of ``input``: vLLM's form for images."""

    model: str | None = None
    input: msgspec.Raw = ABSENT
    messages: list[Message] | None = None
    user: str | None = None
