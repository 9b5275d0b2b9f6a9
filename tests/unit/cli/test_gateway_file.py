"""The gateway's file: what is good loads, what is not is told with the path of its field."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from baseload.base.errors import BadInputError
from baseload.cli.gateway_file import (
    checked_again,
    load_builtin,
    load_content,
    load_gateway,
    text_hash_of,
)
from baseload.gateway.config import ListenEntry
from baseload.gateway.faults import ConfigError

HASH = "sha256:" + "0" * 64
ENVIRON = {"KEY": "k" * 40, "EMPTY": " "}
PLAIN = {
    "models": [{"name": "a"}, {"name": "b", "efforts": ["low", "high"]}],
    "replicas": [
        {"model": "a", "urls": ["http://one:8000"]},
        {"model": "b", "engine": "emulated", "count": 2},
    ],
}


def load(data, folder=Path("nowhere")):
    text = data if isinstance(data, str) else yaml.safe_dump(data, sort_keys=False)
    return load_content(text.encode(), folder=folder, where="file", environ=ENVIRON)


def faults(data, folder=Path("nowhere")):
    with pytest.raises(ConfigError) as caught:
        load(data, folder)
    return caught.value.faults


def changed(path, value):
    """The plain configuration with one field set."""
    data = yaml.safe_load(yaml.safe_dump(PLAIN))
    node = data
    steps = [int(one) if one.isdigit() else one for one in path.split("/")]
    for step in steps[:-1]:
        node = node.setdefault(step, {}) if isinstance(node, dict) else node[step]
    node[steps[-1]] = value
    return data


def test_a_short_file_is_enough():
    loaded = load(PLAIN)
    assert [kind.method for kind in loaded.kinds] == ["assumed", "modelled"]
    assert loaded.supplied is None
    assert loaded.config.policy
    assert loaded.config.listen.host == "127.0.0.1"


TABLE = [
    # (place to change, value, path of the fault, a word of the message)
    ("models", [], "models", "one model or more"),
    ("models/0/name", "", "models[0].name", "printable"),
    ("models/0/name", "auto", "models[0].name", "auto stands for all"),
    ("models/1/name", "a", "models[1].name", "each name once"),
    ("models/0/nmae", 1, "models[0].nmae", "unknown field"),
    ("models/0/name", 5, "models[0].name", "in quotes"),
    ("models/0/upstream_name", " ", "models[0].upstream_name", "the engine knows"),
    ("models/0/efforts", ["lots"], "models[0].efforts[0]", "minimal, low, medium"),
    ("models/1/efforts", ["low", "low"], "models[1].efforts", "more than once"),
    ("models/1/default_effort", "max", "models[1].default_effort", "low, high"),
    ("models/0/default_effort", "low", "models[0].default_effort", "no efforts"),
    ("models/1/budgets", {"max": 5}, "models[1].budgets.max", "low, high"),
    ("models/1/budgets", {"lots": 5}, "models[1].budgets", "minimal, low"),
    ("models/1/budgets", {"low": "x"}, "models[1].budgets.low", "a whole number"),
    ("models/1/budgets", {"low": 0}, "models[1].budgets.low", "from 1"),
    ("models/1/budgets", {"low": 9, "high": 8}, "models[1].budgets.high", "below the 9 of low"),
    ("models/1/tokens_factor", {"mid": 1}, "models[1].tokens_factor.mid", "low, high, default"),
    ("models/1/tokens_factor", {"low": 0}, "models[1].tokens_factor.low", "above 0"),
    ("models/1/right_frac", {"low": 80}, "models[1].right_frac.low", "from 0 to 1"),
    ("models/0/inputs", [], "models[0].inputs", "one at least"),
    ("models/0/inputs", ["video"], "models[0].inputs[0]", "text, image, audio"),
    ("models/0/endpoints", ["chat", "chat"], "models[0].endpoints", "each once"),
    ("aliases", {"a": ["b"]}, "aliases.a", "a name of its own"),
    ("aliases", {"x": []}, "aliases.x", "one model or more"),
    ("aliases", {"x": ["c"]}, "aliases.x[0]", "no such model"),
    ("aliases", {"x": ["a", "a"]}, "aliases.x", "each once"),
    ("aliases", {"x": "a"}, "aliases.x", "a list"),
    ("aliases", {"x": ["a", 3]}, "aliases.x[1]", "text"),
    ("replicas", [], "replicas", "one entry or more"),
    ("replicas/0/model", "c", "replicas[0].model", "no such model"),
    ("replicas/0/model", "b", "models[0]", "no entry of replicas serves 'a'"),
    ("replicas/0/engine", "vlm", "replicas[0].engine", "vllm, sglang"),
    ("replicas/0/urls", [], "replicas[0].urls", "one URL or more"),
    ("replicas/0/urls", "http://x", "replicas[0].urls", "a list"),
    ("replicas/0/urls/0", "one:8000", "replicas[0].urls[0]", "http://HOST:PORT"),
    ("replicas/0/urls/0", "http://u:p@one", "replicas[0].urls[0]", "api_key or headers"),
    ("replicas/0/urls/0", "http://one?k=1", "replicas[0].urls[0]", "query"),
    ("replicas/0/urls/0", "emulated://x", "replicas[0].urls[0]", "engine: emulated"),
    ("replicas/0/urls", ["http://x", "http://X/v1/"], "replicas[0].urls[1]", "urls[0] too"),
    ("replicas/0/count", 2, "replicas[0].count", "count is for engine: emulated"),
    ("replicas/1/count", 0, "replicas[1].count", "from 1"),
    ("replicas/1/urls", ["emulated://x"], "replicas[1].count", "one of them"),
    ("replicas/0/max_queue", -1, "replicas[0].max_queue", "from 0"),
    ("replicas/0/max_batch", 0, "replicas[0].max_batch", "from 1"),
    ("replicas/0/api_key", "sk-hush", "replicas[0].api_key", "env:NAME"),
    ("replicas/0/api_key", 5, "replicas[0].api_key", "not shown"),
    ("replicas/0/api_key", "env:NOBODY", "replicas[0].api_key", "not set"),
    ("replicas/0/api_key", "env:EMPTY", "replicas[0].api_key", "empty"),
    ("replicas/0/headers", {"X-Api-Key": "hush"}, "replicas[0].headers.X-Api-Key", "env:NAME"),
    ("replicas/0/headers", {"X-A": "env:NOBODY"}, "replicas[0].headers.X-A", "not set"),
    ("replicas/0/headers", {"Host": "x"}, "replicas[0].headers.Host", "writes itself"),
    ("replicas/0/headers", {"X A": "x"}, "replicas[0].headers.X A", "the name of a header"),
    ("replicas/0/headers", {"X-A": "x\ny"}, "replicas[0].headers.X-A", "line breaks"),
    ("replicas/0/sleep", "yes", "replicas[0].sleep", "true or false"),
    ("replicas/0/device", "H1000", "replicas[0].device", "nearest: H100"),
    ("replicas/1/device", "h100", "replicas[1].weights", "replica:"),
    ("replicas/1/weights", "Qwen3-140B", "replicas[1].weights", "unknown model"),
    ("replicas/1/precision", "fp5", "replicas[1].precision", "fp8"),
    ("replicas/0/replica", "none.json", "replicas[0].replica", "baseload calibrate"),
    ("tiers", [], "tiers", "no field at all"),
    ("tiers", [{"name": "x"}, {"name": "x"}], "tiers[1].name", "each name once"),
    ("tiers", [{"name": "x", "ttft_s": 0}], "tiers[0].ttft_s", "above 0"),
    ("tiers", [{"name": "x", "ttft_s": 5, "e2e_s": 1}], "tiers[0].e2e_s", "no less than ttft_s"),
    ("tiers", [{"name": "x", "target_miss_frac": 2}], "tiers[0].target_miss_frac", "to 1"),
    ("tiers", [{"name": "x", "priority": -1}], "tiers[0].priority", "from 0"),
    ("tiers", [{"name": "x", "right_floor": 0.5}], "tiers[0].right_floor", "right_frac"),
    (
        "tiers",
        [{"name": "x", "objectives": ["o"]}, {"name": "y", "objectives": ["o"]}],
        "tiers[1].objectives[0]",
        "means 'x' already",
    ),
    (
        "tiers",
        [{"name": "x", "objectives": ["y"]}, {"name": "y"}],
        "tiers[0].objectives[0]",
        "another tier",
    ),
    (
        "tiers",
        [{"name": "x", "service_tiers": ["auto"]}, {"name": "y", "service_tiers": ["auto"]}],
        "tiers[1].service_tiers[0]",
        "each word once",
    ),
    ("keys", [{"name": "k"}], "keys[0]", "neither hash nor value"),
    ("keys", [{"name": "k", "hash": HASH, "value": "env:KEY"}], "keys[0]", "hash and value"),
    ("keys", [{"name": "k", "hash": "0" * 64}], "keys[0].hash", "64 digits"),
    ("keys", [{"name": "k", "hash": HASH.upper()}], "keys[0].hash", "64 digits"),
    ("keys", [{"name": "k", "value": "hush-hush"}], "keys[0].value", "literal secret"),
    ("keys", [{"name": "k", "value": "env:NOBODY"}], "keys[0].value", "not set"),
    ("keys", ["hush-hush"], "keys[0]", "not shown"),
    ("keys", [{"name": "k", "hash": HASH, "scopes": []}], "keys[0].scopes", "infer"),
    ("keys", [{"name": "k", "hash": HASH, "scopes": ["x"]}], "keys[0].scopes[0]", "infer, energy"),
    ("keys", [{"name": "k", "hash": HASH, "models": ["c"]}], "keys[0].models[0]", "no such"),
    ("keys", [{"name": "k", "hash": HASH, "models": []}], "keys[0].models", "no field at all"),
    ("keys", [{"name": "k", "hash": HASH, "tier": "x"}], "keys[0].tier", "no such tier"),
    (
        "keys",
        [{"name": "k", "hash": HASH, "requests_per_min": 0}],
        "keys[0].requests_per_min",
        "from 1",
    ),
    ("keys", [{"name": "k", "hash": HASH}] * 2, "keys[1].hash", "each key once"),
    ("listen/host", "0.0.0.0", "listen.host", "no keys"),
    ("listen/host", "gateway.example", "listen.host", "`baseload key`"),
    ("listen/host", "", "listen.host", "127.0.0.1"),
    ("listen/port", 70000, "listen.port", "65,535"),
    ("listen/tls_cert", "a.pem", "listen", "or neither"),
    ("listen", {"tls_cert": "a.pem", "tls_key": "b.pem"}, "listen.tls_cert", "can be read"),
    ("policy", "cheapest", "policy", "unknown policy"),
    ("policy", "baseload:zeal=3", "policy", "zeal"),
    ("limits/body_bytes", 10, "limits.body_bytes", "from 1,024"),
    ("limits", {"bodies": 10}, "limits.bodies", "unknown field"),
    ("health/path", "health", "health.path", "begins with /"),
    ("telemetry/log", "xml", "telemetry.log", "text, json, off"),
    ("supply", [], "supply", "fields with values"),
    ("supply", {}, "supply.baseline", "missing field"),
    ("supply", {"baseline": []}, "supply.baseline", "one source or more"),
    ("supply", {"baseline": [{"kw": 3}]}, "supply.baseline[0].kw", "unknown field"),
    ("supply", {"baseline": [{"constant_kw": -3}]}, "supply.baseline[0].constant_kw", "from 0"),
    (
        "supply",
        {"baseline": [{"constant_kw": 3}], "auxiliary": {"price": "file:none.csv"}},
        "supply.auxiliary.price",
        "none.csv",
    ),
]


@pytest.mark.parametrize(("place", "value", "path", "word"), TABLE)
def test_a_mistake_is_told_with_its_path(place, value, path, word):
    with pytest.raises(ConfigError) as caught:
        load(changed(place, value))
    found = {fault.path: fault for fault in caught.value.faults}
    assert path in found, str(caught.value)
    message = str(caught.value)
    assert word in message, message
    assert f"file: {path}" in message
    assert "hush" not in message
    assert found[path].found or found[path].allowed


def test_names_and_kinds_that_are_wrong_are_told_with_all_the_rest():
    """Only the first was."""
    data = PLAIN | {
        "modells": None,
        "listen": {"prt": 1},
        "limits": {"body_byte": 3, "idle_s": -1},
        "tiers": [{"name": "x", "ttft": 3}],
        "policy": "zz",
    }
    paths = [fault.path for fault in faults(data)]
    assert paths[:4] == ["modells", "listen.prt", "limits.body_byte", "tiers[0].ttft"]
    assert {"policy", "limits.idle_s"} <= set(paths[4:])


def test_what_follows_from_a_mistake_is_not_told():
    """A number of the wrong kind is taken out; that it is missing then is no second mistake."""
    data = PLAIN | {"replicas": [{"model": 3, "urls": ["http://one:8000"]}], "policy": "zz"}
    assert [fault.path for fault in faults(data)] == ["replicas[0].model"]
    data = PLAIN | {"limits": {"idle_s": "long", "body_s": "longer"}, "policy": "zz"}
    assert [fault.path for fault in faults(data)] == ["limits.idle_s", "limits.body_s"]
    assert [fault.path for fault in faults({"modells": []})] == ["modells", "models"]


def test_all_mistakes_are_told_at_once():
    data = changed("policy", "cheapest")
    data["listen"] = {"port": -1}
    data["replicas"][0]["urls"] = ["x", "y"]
    data["supply"] = {"baseline": []}
    assert [fault.path for fault in faults(data)] == [
        "replicas[0].urls[0]",
        "replicas[0].urls[1]",
        "listen.port",
        "policy",
        "supply.baseline",
    ]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "an empty file"),
        ("- a", "a list of 1"),
        ("models: [", "line 1"),
        ("models: 1\nmodels: 2", "stands here twice"),
        ("\0", "no YAML"),
    ],
)
def test_what_is_no_yaml_is_told_with_its_line(text, word):
    with pytest.raises(BadInputError, match=word) as caught:
        load(text)
    assert "scenario" not in str(caught.value)


def test_bytes_that_are_no_text_and_files_that_are_none(tmp_path):
    with pytest.raises(BadInputError, match="UTF-8"):
        load_content(b"\xff\xfe", folder=tmp_path, where="file")
    with pytest.raises(BadInputError, match="No such file"):
        load_gateway(tmp_path / "none.yaml")
    with pytest.raises(BadInputError, match="directory"):
        load_gateway(tmp_path)
    (tmp_path / "long.yaml").write_bytes(b"#" * (4 * 1024 * 1024 + 1))
    with pytest.raises(BadInputError, match="a longer file"):
        load_gateway(tmp_path / "long.yaml")


def test_an_engine_of_several_models_may_stand_twice_others_may_not():
    data = changed("replicas/1", {"model": "b", "urls": ["http://one:8000/v1"]})
    (fault,) = faults(data)
    assert fault.path == "replicas[1].urls[0]"
    assert "engine: openai" in fault.todo
    for entry in data["replicas"]:
        entry["engine"] = "openai"
    assert len(load(data).kinds) == 2


def test_urls_and_paths_have_one_spelling_when_loaded(tmp_path):
    data = changed("replicas/0/urls", ["HTTP://One:8000/v1/", "https://two:443"])
    urls = load(data).config.replicas[0].urls
    assert urls == ("http://one:8000", "https://two")


def test_the_hash_is_that_of_the_bytes(tmp_path):
    path = tmp_path / "gateway.yaml"
    path.write_text(yaml.safe_dump(PLAIN), encoding="utf-8")
    loaded = load_gateway(path)
    assert loaded.text_hash == text_hash_of(path.read_bytes())
    assert loaded.folder == tmp_path


def test_a_replica_file_beside_fields_that_it_says_itself_is_refused():
    data = changed("replicas/0/replica", "r.json")
    data["replicas"][0] |= {"device": "h100", "max_batch": 3}
    assert [fault.path for fault in faults(data)] == [
        "replicas[0].device",
        "replicas[0].max_batch",
    ]


def test_a_supply_is_read_with_the_scenarios_own_code():
    supplied = load(
        changed("supply", {"baseline": [{"constant_kw": 3}], "store": {"capacity_kwh": 2}})
    ).supplied
    assert supplied.site.baseline.value_w == 3000.0
    year = {"baseline": [{"pv": "shipped:pv/US-CAISO", "installed_kw": 2}], "slot_s": 3600}
    assert load(changed("supply", year)).supplied is not None


def certificate(folder):
    """A certificate and its key, made by openssl where there is one."""
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
        "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "1", "-subj", "/CN=localhost",
    ]  # fmt: skip
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no openssl")


def test_tls_files_are_read_and_must_belong_together(tmp_path):
    certificate(tmp_path)
    listen = {"tls_cert": "cert.pem", "tls_key": "key.pem"}
    loaded = load(changed("listen", listen), tmp_path)
    assert loaded.config.listen.tls_cert == str(tmp_path / "cert.pem")
    (tmp_path / "key.pem").write_text("no key", encoding="utf-8")
    (fault,) = faults(changed("listen", listen), tmp_path)
    assert fault.path == "listen.tls_cert"
    assert "without a password" in fault.allowed


def test_flags_are_held_against_the_rules_again():
    loaded = load(PLAIN)
    assert checked_again(loaded, listen=ListenEntry(port=9)).config.listen.port == 9
    with pytest.raises(ConfigError, match=r"listen\.host"):
        checked_again(loaded, listen=ListenEntry(host="0.0.0.0"))


@pytest.mark.parametrize("name", ["default", "local"])
def test_the_shipped_ones_are_good(name):
    loaded = load_builtin(name)
    assert loaded.config.listen.host == "127.0.0.1"
    assert len(loaded.kinds) == len(loaded.config.replicas)


def test_the_default_is_an_emulated_fleet_of_two_models_on_mixed_devices():
    loaded = load_builtin()
    assert {entry.engine for entry in loaded.config.replicas} == {"emulated"}
    assert 4 <= sum(entry.count for entry in loaded.config.replicas) <= 6
    assert len({kind.device for kind in loaded.kinds}) >= 3
    assert loaded.config.aliases["auto"] == ("small", "large")
    assert [bool(model.efforts) for model in loaded.config.models] == [False, True]


def test_loading_a_file_imports_no_tables_and_no_plots():
    code = (
        "import sys; from baseload.cli.gateway_file import load_builtin; load_builtin(); "
        "print([name for name in ('polars', 'matplotlib', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
