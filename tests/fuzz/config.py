"""Fuzz of the gateway's file and of the LiteLLM import: whatever a file holds, it is loaded or
refused with one clear error, never with a traceback, and no message shows a secret.

    python -m tests.fuzz.config --cases 10000 --seed 1

Case ``i`` of seed ``s`` is the same everywhere. A failing one is printed with the command that
replays it alone (``--only``).
"""

from __future__ import annotations

import copy
import json
import random
import re
import sys
from pathlib import Path

import yaml
from tests.fuzz.cases import run_all

from baseload.base.errors import BaseloadError
from baseload.cli.gateway_file import builtin_gateway, load_content
from baseload.cli.gateway_summary import summary_of
from baseload.cli.litellm_file import imported

SECRET = "sk-SECRETSECRETSECRET"
ENVIRON = {"GOOD_KEY": "k" * 32, "OTHER_KEY": "o" * 32}

GATEWAY = """
models:
  - {name: small, upstream_name: Qwen/Qwen3-8B, inputs: [text, image]}
  - name: large
    efforts: [none, low, high]
    default_effort: low
    budgets: {none: 0, low: 100, high: 1000}
    tokens_factor: {default: 1, low: 0.5}
    right_frac: {low: 0.8, high: 0.9}
replicas:
  - {model: small, urls: ["http://a:8000/v1", "https://b"], api_key: "env:GOOD_KEY"}
  - {model: large, engine: emulated, count: 3, device: h100, weights: Qwen3-32B, tensor_parallel: 2}
  - {model: large, engine: sglang, urls: ["http://c:1"], headers: {X-Team: ops}, sleep: true}
aliases: {auto: [small, large], fast: [small]}
tiers:
  - {name: people, ttft_s: 1.5, tpot_s: 0.08, objectives: [chat], service_tiers: [auto]}
  - {name: machines, priority: 1, bulk: true, e2e_s: 3600, right_floor: 0.5}
keys:
  - {name: ci, value: "env:OTHER_KEY", models: [small, auto], tier: machines, max_streams: 3}
  - {name: me, hash: "sha256:%s", scopes: [infer, admin], requests_per_min: 60}
listen: {host: 0.0.0.0, port: 9000}
policy: "baseload:rate_quality=1"
limits: {body_bytes: 100000, total_s: 100}
retries: {attempts: 3}
breaker: {failures: 2}
health: {path: /health}
telemetry: {log: json, otlp_endpoint: "http://otel:4318"}
carbon_g_per_kwh: 300
supply:
  baseline: [{constant_kw: 10}]
  store: {capacity_kwh: 5}
  auxiliary: {limit_kw: 20, price_usd_per_kwh: 0.1, carbon_g_per_kwh: 400}
seed: 7
""" % ("ab" * 32)

LITELLM = f"""
model_list:
  - model_name: fast
    litellm_params:
      {{model: vllm/Qwen3-8B, api_base: "http://h:8000/v1", api_key: os.environ/KEY, rpm: 60}}
    model_info: {{id: fast-1, mode: chat, supports_vision: true}}
  - model_name: fast
    litellm_params: {{model: openai/gpt-4o, api_key: {SECRET}, tpm: 1000}}
  - model_name: slow
    litellm_params: {{model: ollama/llama3, api_base: "http://o:11434", timeout: 3}}
  - model_name: words
    litellm_params: {{model: openai/text-embedding-3-small}}
    model_info: {{mode: embedding}}
  - model_name: auto
    litellm_params:
      model: auto_router/complexity_router
      complexity_router_config: {{tiers: {{SIMPLE: fast, REASONING: slow}}}}
router_settings:
  routing_strategy: least-busy
  num_retries: 2
  model_group_alias: {{gpt-4: fast}}
litellm_settings: {{callbacks: [prometheus, otel], request_timeout: 60, json_logs: true}}
general_settings: {{master_key: {SECRET}}}
"""

SCALARS = (
    None, True, False, 0, 1, -1, 7, 65536, 10**20, 10**400, -0.0, 0.5, 1e308, float("inf"),
    float("-inf"), float("nan"), "", " ", "a", "auto", "env:GOOD_KEY", "env:NO_KEY", "env:",
    "http://a:8000", "http://a:8000/v1/", "http://[::1", "http://h?x", "http://h:99999",
    "emulated://x", "ftp://x", "x" * 300, "\u2603", "a\tb", "é", "large", "small",
    "none", "high", "h100", "L4", "Qwen3-32B", "replica.json", "../x", "sha256:", "1e6", "010",
    "0x1", "2022-01-01", "baseload", "random", "baseload:", "baseload:x=1",
    "power_of_two:choices=99999999", "file:none.csv", "shipped:nothing", "constant:3",
    "\ud83d", "os.environ/KEY", "*", "openai/*",
)  # fmt: skip
SECRETS = (SECRET, [SECRET], {"x": SECRET}, f"env:{SECRET}", f"sha256:{SECRET}")
SECRET_FIELDS = {"api_key", "value", "hash", "headers", "X-Team", "keys", "master_key"}
SECRET_URLS = (f"http://u:{SECRET}@h", f"http://h/?key={SECRET}", f"http://h/#{SECRET}")
LETTERS = "\n :-[]{},'\"#&*!|>%@`\t0aA\x00\x7f\u00e9\u2028?~"


def data_of(text):
    return yaml.safe_load(text)


def places(node, path=()):
    """Every place in a document."""
    yield path
    if isinstance(node, dict):
        for key in node:
            yield from places(node[key], (*path, key))
    elif isinstance(node, list):
        for at, value in enumerate(node):
            yield from places(value, (*path, at))


def some(rng, depth=0):
    """A value of any kind."""
    kind = rng.random()
    if depth > 2 or kind < 0.7:
        return copy.deepcopy(rng.choice(SCALARS))
    if kind < 0.85:
        return [some(rng, depth + 1) for _ in range(rng.randrange(4))]
    names = ("name", "model", "urls", "count", "low", "x", 3, "hash", "value", "a.b[3]")
    return {rng.choice(names): some(rng, depth + 1) for _ in range(rng.randrange(4))}


def change(rng, data):
    """One change somewhere in a document."""
    path = rng.choice(list(places(data)))
    if not path:
        return some(rng) if rng.random() < 0.1 else data
    node = data
    for key in path[:-1]:
        node = node[key]
    key, kind = path[-1], rng.random()
    if kind < 0.3 and (key in SECRET_FIELDS or (path[0] == "keys" and len(path) == 2)):
        node[key] = copy.deepcopy(rng.choice(SECRETS))  # else cases would change one another
    elif kind < 0.3 and {"urls", "api_base"} & set(path):
        node[key] = rng.choice(SECRET_URLS)
    elif kind < 0.55:
        node[key] = some(rng)
    elif kind < 0.7:
        del node[key]
    elif isinstance(node, list):
        node.append(node[rng.randrange(len(node))])
    else:
        node[rng.choice(["bogus", "nmae", key, 5, "device", "replica", "sleep", "api_key"])] = some(
            rng
        )
    return data


def changed_text(rng, text):
    """A text with letters and lines changed, cut or doubled."""
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(text) + 1)
        kind = rng.random()
        if kind < 0.4:
            text = text[:at] + rng.choice(LETTERS) + text[at + rng.randrange(2) :]
        elif kind < 0.6:
            text = text[:at] + text[at + rng.randrange(40) :]
        elif kind < 0.7:
            text = text[:at]
        else:
            lines = text.splitlines(keepends=True) or [""]
            lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
            text = "".join(lines)
    return text


def merged_text(rng, text):
    """A document among mappings and lists that stand in one another, deep enough to explode."""
    fields = {json.dumps(key): json.dumps(value) for key, value in data_of(text).items()}
    rows = [f"x0: &a0 {json.dumps({'count': some(rng), 'name': 'a'})}"]
    for n in range(1, rng.randrange(2, 40)):
        used = ", ".join(f"*a{rng.randrange(max(0, n - 3), n)}" for _ in range(rng.randrange(1, 5)))
        kinds = (
            f"{{<<: [{used}], k{n}: 1}}",
            f"[{used}]",
            f"{{p: [{used}]}}",
            f"{{? [{used}] : 1}}",
        )
        rows.append(f"x{n}: &a{n} {rng.choices(kinds, (6, 2, 2, 0.1))[0]}")
        if rng.random() < 0.1:
            fields[rng.choice(list(fields))] = rng.choice((f"*a{n}", f"[*a{n}]", f"{{<<: *a{n}}}"))
    return "\n".join([*rows, *(f"{key}: {value}" for key, value in fields.items())])


def content_of(rng, text):
    """The bytes of a case."""
    if rng.random() < 0.1:
        return merged_text(rng, text).encode("utf-8", "surrogatepass")
    if rng.random() < 0.35:
        content = changed_text(rng, text).encode("utf-8", "surrogatepass")
        if rng.random() < 0.1:
            at = rng.randrange(len(content) + 1)
            content = content[:at] + bytes([rng.randrange(256)]) + content[at:]
        return content
    data = data_of(text)
    for _ in range(rng.randrange(1, 4)):
        data = change(rng, data)
    plain = rng.random() < 0.2
    dumped = yaml.safe_dump(data, sort_keys=False) if plain else json.dumps(data)
    return dumped.encode("utf-8", "replace")


TEXTS = (GATEWAY, GATEWAY, builtin_gateway("default"), builtin_gateway("local"))


def refused(error):
    """Hold an error against the rules of a good one."""
    message = str(error)
    assert SECRET not in message, f"a secret in the message:\n{message}"
    assert error.found or error.allowed, message
    assert len(message) < 40_000
    return "refused"


def gateway_case(content):
    """Load it; gives what became of it."""
    try:
        loaded = load_content(content, folder=Path("no-such-folder"), where="t", environ=ENVIRON)
    except BaseloadError as error:
        return refused(error)
    assert summary_of(loaded).models
    return "loaded"


def secret_name(content):
    """Whether a cut text has made the key a part of a model's name, which nobody can tell apart."""
    try:
        entries = yaml.safe_load(content)["model_list"]
        told = [[one.get("model_name"), one["litellm_params"].get("model")] for one in entries]
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError):
        return SECRET in re.sub(r"api_key:.*|master_key:.*", "", content.decode("utf-8", "replace"))
    return SECRET in str(told)


def litellm_case(content):
    """Import it; what comes out loads, once its variables are set."""
    try:
        made = imported(content.decode("utf-8", "replace"), where="t", environ={})
    except BaseloadError as error:
        return refused(error)
    if not secret_name(content):
        assert SECRET not in made.text, made.text
        assert SECRET not in "".join(made.notes)
    body = made.text[made.text.index("\nmodels:") :]
    environ = {name: "k" * 32 + name for name in re.findall(r'"env:(\w+)"', body)}
    load_content(made.text.encode(), folder=Path(), where="imported", environ=environ)
    return "imported"


def run_case(seed, case):
    """One case of a seed; raises what goes wrong. Gives what became of it."""
    rng = random.Random(f"{seed}/{case}")
    if rng.random() < 0.25:
        return [litellm_case(content_of(rng, LITELLM))]
    return [gateway_case(content_of(rng, rng.choice(TEXTS)))]


def main(arguments=None):
    """Run cases; 1 and the command that replays the failing one, if one does."""
    return run_all(arguments, module="tests.fuzz.config", about=__doc__, run_case=run_case)


if __name__ == "__main__":
    sys.exit(main())
