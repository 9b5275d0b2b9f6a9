"""``baseload import litellm``: what has a counterpart is carried over, all else is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from baseload.base.errors import BadInputError
from baseload.cli.gateway_file import load_content
from baseload.cli.litellm_file import imported

HUSH = "sk-hush-hush-hush-hush"


def entry(name="fast", model="hosted_vllm/Qwen3-8B", base="http://h:8000/v1", **more):
    info = more.pop("info", None)
    params = {"model": model, **({"api_base": base} if base else {}), **more}
    return {"model_name": name, "litellm_params": params, **({"model_info": info} if info else {})}


def carried(*entries, environ=None, **sections):
    """The configuration that comes out, loaded, and the notes."""
    text = json.dumps({"model_list": list(entries), **sections})
    made = imported(text, where="litellm.yaml", environ=environ or {})
    assert HUSH not in made.text
    for note in made.notes:
        assert note in made.text
    out = yaml.safe_load(made.text)
    names = [one.get("api_key") for one in out["replicas"]]
    names += [one["value"] for one in out.get("keys", [])]
    values = {name.removeprefix("env:"): f"{name}-{'k' * 30}" for name in names if name}
    load_content(made.text.encode(), folder=Path(), where="imported", environ=values)
    return out, made.notes


def told(notes, *words):
    return any(all(word in note for word in words) for note in notes)


def test_entries_of_one_name_and_model_are_replicas_of_one_model():
    out, _ = carried(
        entry(api_key="os.environ/KEY"),
        entry(base="http://i:8000/v1", api_key="os.environ/KEY"),
        entry(base="http://j:8000", api_key="os.environ/OTHER"),
    )
    assert out["models"] == [{"name": "fast", "upstream_name": "Qwen3-8B"}]
    assert out["replicas"] == [
        {
            "model": "fast",
            "engine": "vllm",
            "urls": ["http://h:8000", "http://i:8000"],
            "api_key": "env:KEY",
        },
        {"model": "fast", "engine": "vllm", "urls": ["http://j:8000"], "api_key": "env:OTHER"},
    ]
    assert "aliases" not in out


def test_one_name_over_several_models_is_an_alias():
    out, _ = carried(entry("smart"), entry("smart", "ollama/llama3:70b", base=None))
    assert [model["name"] for model in out["models"]] == ["Qwen3-8B", "llama3:70b"]
    assert out["aliases"] == {"smart": ["Qwen3-8B", "llama3:70b"]}
    assert out["replicas"][1] == {
        "model": "llama3:70b",
        "engine": "ollama",
        "urls": ["http://127.0.0.1:11434"],
    }


def test_two_names_of_the_same_engines_are_one_model_and_an_alias():
    out, _ = carried(entry("gpt-4"), entry("gpt-3.5"))
    assert [model["name"] for model in out["models"]] == ["gpt-4"]
    assert out["aliases"] == {"gpt-3.5": ["gpt-4"]}
    assert len(out["replicas"]) == 1


def test_the_same_model_behind_different_engines_of_two_names_stays_apart():
    out, _ = carried(entry("fast"), entry("slow", base="http://slow:1/v1"))
    assert [(one["model"], one["urls"]) for one in out["replicas"]] == [
        ("fast", ["http://h:8000"]),
        ("slow", ["http://slow:1"]),
    ]


def test_several_models_at_one_url_are_a_server_of_several():
    out, notes = carried(entry("a", "hosted_vllm/A"), entry("b", "hosted_vllm/B"))
    assert [one["engine"] for one in out["replicas"]] == ["openai", "openai"]
    assert told(notes, "serves several models")


@pytest.mark.parametrize(
    ("model", "more", "engine", "upstream", "url"),
    [
        ("openai/gpt-4o", {}, "openai", "gpt-4o", "https://api.openai.com"),
        ("gpt-4o", {}, "openai", "gpt-4o", "https://api.openai.com"),
        ("vllm/x", {"api_base": "http://h"}, "vllm", "x", "http://h"),
        ("ollama_chat/x", {}, "ollama", "x", "http://127.0.0.1:11434"),
        ("llamafile/x", {}, "llama.cpp", "x", "http://127.0.0.1:8080"),
        ("openrouter/a/b", {}, "openai", "a/b", "https://openrouter.ai/api"),
        ("a/b", {"api_base": "http://h", "custom_llm_provider": "openai"}, "openai", "a/b", "http://h"),
        ("strange/x", {"api_base": "http://h"}, "openai", "strange/x", "http://h"),
    ],
)  # fmt: skip
def test_providers_are_engines(model, more, engine, upstream, url):
    out, _ = carried(entry("m", model, base=None, **more))
    (replicas,) = out["replicas"]
    assert (replicas["engine"], replicas["urls"]) == (engine, [url])
    assert out["models"][0]["upstream_name"] == upstream


@pytest.mark.parametrize(
    ("one", "word"),
    [
        (entry("x", "anthropic/claude-3", base=None), "does not speak"),
        (entry("x", "claude-3-opus", base=None), "does not speak"),
        (entry("x", "bedrock/y", base=None), "does not speak"),
        (entry("x", "strange/y", base=None), "not known"),
        (entry("x", "hosted_vllm/y", base=None), "no api_base"),
        (entry("x", "openai/*", base=None), "pattern"),
        (entry("*", "openai/y", base=None), "pattern"),
        (entry("x", base="http://u:hush@h"), "user name"),
        (entry("x", base="os.environ/WHERE"), "WHERE, which is not set"),
        (entry("x", base="ftp://h"), "ftp"),
        (entry("x", info={"mode": "image_generation"}), "mode image_generation"),
        ({"model_name": "x"}, "no model_name"),
        ("x", "no model_name"),
    ],
)
def test_what_cannot_be_carried_over_is_left_out_and_told(one, word):
    out, notes = carried(entry(), one)
    assert [model["name"] for model in out["models"]] == ["fast"]
    assert told(notes, "left out", word), notes


def test_where_nothing_is_left_there_is_no_file():
    with pytest.raises(BadInputError, match="does not speak"):
        carried(entry("x", "anthropic/claude-3", base=None))
    for text in ("", "a: 1", "model_list: 5", "- a"):
        with pytest.raises(BadInputError, match="model_list"):
            imported(text, where="f", environ={})


def test_an_address_in_the_environment_is_written_out():
    out, notes = carried(entry(base="os.environ/WHERE"), environ={"WHERE": "http://w:1/v1"})
    assert out["replicas"][0]["urls"] == ["http://w:1"]
    assert told(notes, "WHERE", "written out")


def test_a_secret_in_the_file_becomes_a_variable_and_is_never_written():
    out, notes = carried(entry(api_key=HUSH), general_settings={"master_key": HUSH})
    assert out["replicas"][0]["api_key"] == "env:FAST_API_KEY"
    assert out["keys"][0]["value"] == "env:BASELOAD_MASTER_KEY"
    assert told(notes, "FAST_API_KEY", "not written out")
    out, notes = carried(entry(api_key="EMPTY"))
    assert "api_key" not in out["replicas"][0]


def test_openais_own_key_is_read_as_litellm_does():
    out, notes = carried(entry("m", "openai/gpt-4o", base=None))
    assert out["replicas"][0]["api_key"] == "env:OPENAI_API_KEY"
    assert told(notes, "OPENAI_API_KEY")


def test_limits_of_engines_become_those_of_the_key_where_all_have_them():
    limited = (entry(rpm=60, tpm=1000), entry(base="http://i", rpm=40))
    out, notes = carried(*limited, general_settings={"master_key": "os.environ/MASTER"})
    (key,) = out["keys"]
    assert key["requests_per_min"] == 100
    assert "tokens_per_min" not in key
    assert told(notes, "model_list[0].tpm", "no counterpart")
    _, notes = carried(*limited)
    assert told(notes, "model_list[1].rpm", "no counterpart")
    assert told(notes, "no master_key")


def test_settings_with_a_counterpart_are_carried_over():
    out, _ = carried(
        entry(),
        router_settings={
            "routing_strategy": "latency-based-routing", "num_retries": 4, "retry_after": 3,
            "allowed_fails": 1, "cooldown_time": 90, "stream_timeout": 30,
            "model_group_alias": {"gpt-4": "fast", "gpt-5": {"model": "fast", "hidden": True}},
        },
        litellm_settings={"num_retries": 9, "request_timeout": 42, "callbacks": ["otel"],
                          "json_logs": True},
    )  # fmt: skip
    assert out["policy"] == "least_latency"
    assert out["retries"] == {"attempts": 4, "backoff_s": 3, "backoff_most_s": 3}
    assert out["breaker"] == {"failures": 2, "open_s": 90, "open_most_s": 90}
    assert out["limits"] == {"first_byte_s": 42, "idle_s": 30}
    assert out["telemetry"] == {"spans": True, "log": "json"}
    assert out["aliases"] == {"gpt-4": ["fast"], "gpt-5": ["fast"]}


def test_a_router_over_models_is_an_alias_over_them():
    router = entry(
        "auto", "auto_router/complexity_router", base=None,
        complexity_router_config={"tiers": {"SIMPLE": "fast", "REASONING": ["deep", "none"]}},
        complexity_router_default_model="fast",
    )  # fmt: skip
    out, notes = carried(
        entry(), entry("deep", "vllm/R1", "http://r"), entry("e", "vllm/E", "http://e"), router
    )
    assert out["aliases"] == {"auto": ["fast", "deep"]}
    assert told(notes, "auto", "an alias over fast, deep")


def test_what_models_can_do_is_carried_over():
    out, _ = carried(
        entry("words", info={"mode": "embedding", "supports_function_calling": False}),
        entry("eyes", "vllm/v", "http://v", info={"supports_vision": True}),
    )
    words, eyes = out["models"]
    assert (words["endpoints"], words["tools"]) == (["embeddings"], False)
    assert eyes["inputs"] == ["text", "image"]


def test_every_other_field_is_told_by_name():
    _, notes = carried(
        entry(weight=3, temperature=0.2, extra_headers={"X": HUSH}, info={"id": "x", "team": HUSH}),
        router_settings={"redis_host": HUSH, "fallbacks": [{"fast": ["deep"]}]},
        litellm_settings={"cache": True, "num_retries": "many", "drop_params": True},
        general_settings={"database_url": HUSH},
        environment_variables={"KEY": HUSH},
    )
    for field in (
        "weight", "temperature", "extra_headers", "model_info.team", "redis_host", "fallbacks",
        "cache", "num_retries", "drop_params", "database_url", "environment_variables",
    ):  # fmt: skip
        assert told(notes, field), field
    assert HUSH not in " ".join(notes)


def test_names_that_look_like_numbers_stay_names():
    out, _ = carried(entry("1e6", "vllm/010"), entry("true", "vllm/null", "http://n"))
    assert out["models"] == [
        {"name": "1e6", "upstream_name": "010"},
        {"name": "true", "upstream_name": "null"},
    ]


def test_the_command_writes_the_file_out_and_the_notes_beside_it(cli, folder):
    text = yaml.safe_dump({"model_list": [entry(), entry("x", "anthropic/y", base=None)]})
    (folder / "litellm.yaml").write_text(text, encoding="utf-8")
    done = cli("import", "litellm", "litellm.yaml")
    assert done.code == 0
    assert "note: model_list[1] (x): left out" in done.err
    (folder / "baseload.yaml").write_text(done.out, encoding="utf-8")
    assert cli("check", "baseload.yaml").code == 0
    cli("import", "litellm", "none.yaml").refused("none.yaml")
    (folder / "latin.yaml").write_bytes(b"\xff")
    cli("import", "litellm", "latin.yaml").refused("UTF-8")
