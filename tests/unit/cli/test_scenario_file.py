"""Scenario files: each field checked where it stands."""

from __future__ import annotations

from pathlib import Path

import msgspec
import polars as pl
import pytest

from baseload.base.errors import BadInputError
from baseload.cli import scenario_file
from baseload.cli.scenario_file import FleetEntry, Overrides, load_scenario

HEAD = "t_us,input_tokens,output_tokens\n"
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
BURST = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
VIDUR = "arrived_at,num_prefill_tokens,num_decode_tokens\n"


def line(**moon):
    return msgspec.json.encode(moon).decode() + "\n"


def fleet(**fields):
    entry = {"device": "H100-SXM-80GB", "model": "Qwen/Qwen3-14B", "replicas": 2} | fields
    body = ", ".join(f"{name}: {value}" for name, value in entry.items() if value != "")
    return "fleet:\n  - {" + body + "}\n"


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("replicas", "0", ["fleet[0].replicas", "1 to 1,000,000"]),
        ("replicas", "-3", ["fleet[0].replicas"]),
        ("replicas", "1.5", ["fleet[0].replicas", "a whole number"]),
        ("replicas", '"four"', ["fleet[0].replicas", "'four'"]),
        ("replicas", ".nan", ["fleet[0].replicas"]),
        ("replicas", "1e12", ["fleet[0].replicas"]),
        ("replicas", "null", ["fleet[0].replicas", "nothing"]),
        ("device", "H-1000", ["fleet[0]", "unknown device 'H-1000'", "H100"]),
        ("device", "", ["fleet[0]", "no device"]),
        ("model", "Qwen/Qwen3-41B", ["unknown model", "Qwen/Qwen3-14B"]),
        ("model", "", ["fleet[0]", "no model"]),
        ("model", "meta-llama/Llama-3.1-70B", ["does not fit", "tensor_parallel: 2"]),
        ("tensor_parallel", "0", ["fleet[0].tensor_parallel"]),
        ("tensor_parallel", "5000", ["fleet[0].tensor_parallel", "1,024"]),
        ("precision", "int3", ["unknown precision 'int3'"]),
        ("precision", "4", ["fleet[0].precision", "in quotes"]),
        ("engine", "sglang", ["unknown engine 'sglang'", "vllm-0.11.1"]),
        ("max_batch", "0", ["fleet[0].max_batch"]),
        ("max_batch", "1e9", ["fleet[0].max_batch", "65,536"]),
        ("max_step_tokens", "0", ["fleet[0].max_step_tokens"]),
        ("max_step_tokens", "256", ["fleet[0].max_step_tokens", "max_batch"]),
        ("max_step_tokens", "1e19", ["fleet[0].max_step_tokens"]),
        ("max_context_tokens", "0", ["fleet[0].max_context_tokens"]),
        ("power_cap_w", "0", ["fleet[0]", "power cap"]),
        ("power_cap_w", ".nan", ["fleet[0]", "power cap"]),
        ("power_cap_w", "100", ["power cap of 100 W", "static power", "raise the cap"]),
        ("clock_frac", "0.2", ["fleet[0].clock_frac", "0.3 to 1"]),
        ("clock_frac", "1.2", ["fleet[0].clock_frac"]),
        ("clock_frac", ".nan", ["fleet[0].clock_frac"]),
        ("park_after_s", "-1", ["fleet[0].park_after_s", "null for never"]),
        ("park_after_s", ".inf", ["fleet[0].park_after_s"]),
        ("off_after_s", ".nan", ["fleet[0].off_after_s"]),
        ("replica", "replica.json", ["replica and device, model"]),
        ("parallel", "2", ["unknown field fleet[0].parallel", "nearest: tensor_parallel"]),
    ],
)
def test_a_fleet_that_cannot_be_is_refused(simulate, field, value, words):
    simulate(fleet=fleet(**{field: value})).refused(*words)


def test_a_replica_file_that_is_none_is_refused(simulate, folder):
    (folder / "r.json").write_text("{}")
    simulate(fleet="fleet: [{replica: r.json, replicas: 1}]\n").refused("fleet[0].replica")
    simulate(fleet="fleet: [{replica: no.json, replicas: 1}]\n").refused("fleet[0].replica")
    extra = "fleet: [{replica: r.json, replicas: 1, max_batch: 3}]\n"
    simulate(fleet=extra).refused("replica and max_batch", "take them out")
    clocked = "fleet: [{replica: r.json, replicas: 1, clock_frac: 0.8}]\n"
    simulate(fleet=clocked).refused("replica and clock_frac", "do not tell bytes from arithmetic")


def test_a_lower_clock_is_taken_and_noted(folder):
    from baseload.cli.scenario_file import load_scenario

    (folder / "slow.yaml").write_text(
        "trace: {file: tiny.csv}\n"
        "fleet: [{device: H100, model: Qwen/Qwen3-14B, replicas: 2, clock_frac: 0.8}]\n"
    )
    scenario = load_scenario("slow.yaml")
    kind = scenario.groups[0].kind
    assert kind.name.endswith("@80%")
    assert kind.method == "assumed"
    assert any("80 % of the highest core clock assumed" in note for note in scenario.notes)


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("carbon_g_per_kwh: .nan", ["carbon_g_per_kwh", "nan"]),
        ("carbon_g_per_kwh: -1", ["carbon_g_per_kwh"]),
        ("carbon_g_per_kwh: 1e308", ["carbon_g_per_kwh"]),
        ("max_queue: -1", ["max_queue", "0 to 1,000,000"]),
        ("max_queue: 1e12", ["max_queue"]),
        ("max_queue: 1.5", ["max_queue", "a whole number"]),
        ("parking: some", ["parking", "'some'"]),
        ("parking: true", ["parking"]),
        ("forecast: oracle", ["forecast", "'oracle'", "class_quantile"]),
        ("forecast: 5", ["forecast", "in quotes"]),
        ("forecast: perfect:error=9", ["forecast", "0 to 1.5"]),
        ("policies: least_loaded", ["field policies", "a list"]),
        ("policies: [1]", ["field policies[0]", "in quotes"]),
        ('name: "a\\nb"', ["field name", "one line"]),
        ("bogus: 1", ["unknown field bogus"]),
        ("tiers: []", ["tiers", "default tiers"]),
        ("tiers: [{name: a}]", ["missing field tiers[0].classes"]),
        ("tiers: [{name: '', classes: [chat]}]", ["tiers[0].name"]),
        ("tiers: [{name: a, classes: []}]", ["tiers[0].classes"]),
        ("tiers: [{name: a, classes: [chat], e2e: 1}]", ["unknown field tiers[0].e2e", "e2e_s"]),
        ("tiers: [{name: a, classes: [chat], ttft_s: 0}]", ["tiers[0]", "ttft_s", "0.0"]),
        ("tiers: [{name: a, classes: [chat], tpot_s: .nan}]", ["tiers[0]", "tpot_s", "nan"]),
        ("tiers: [{name: a, classes: [chat], e2e_s: .inf}]", ["tiers[0]", "e2e_s", "inf"]),
        ("tiers: [{name: a, classes: [chat], priority: -1}]", ["tiers[0]", "priority"]),
        ("tiers: [{name: a, classes: [chat], target_miss_frac: 2}]", ["tiers[0]", "0 to 1"]),
        ("tiers: [{name: a, classes: [x]}]", ["request class 'chat'", "no tier lists it"]),
        (
            "tiers: [{name: a, classes: [chat]}, {name: a, classes: [batch]}]",
            ["tiers[1].name", "each name once"],
        ),
        (
            "tiers: [{name: a, classes: [chat]}, {name: b, classes: [rag, chat]}]",
            ["tiers[1].classes", "'chat'", "take it out of 'b' or of 'a'"],
        ),
        (
            "tiers: [{name: t, classes: [chat]}, "
            + ", ".join(f"{{name: t{i}, classes: [c{i}], priority: {i}}}" for i in range(1, 9))
            + "]",
            ["too many priorities", "9"],
        ),
    ],
)
def test_what_holds_for_the_whole_scenario_is_checked(simulate, rest, words):
    policy = None if rest.startswith("policies") else "least_loaded"
    simulate(rest=rest + "\n", policy=policy).refused(*words)


def test_a_fleet_of_nobody_and_one_too_large_are_refused(simulate):
    simulate(fleet="fleet: []\n").refused("fleet", "no replicas")
    simulate(fleet="").refused("missing field fleet")
    simulate(fleet=fleet(replicas=900_000) + fleet(replicas=900_000)[7:]).refused("1800000")
    large = fleet(replicas=900_000)
    simulate(fleet=large, rest="max_queue: 1e6\n").refused("too large together", "lower max_queue")


@pytest.mark.parametrize(
    ("trace", "words"),
    [
        ("builtin: azure-cha", ["unknown built-in trace", "azure-chat"]),
        ("builtin: azure-chat, file: tiny.csv", ["builtin, file", "one of"]),
        ("format: csv", ["no source", "one of builtin, file, generate"]),
        ("file: no.csv", ["trace.file", "no.csv", "no such file"]),
        ("file: tiny.csv, format: bogus", ["unknown trace format 'bogus'", "burstgpt"]),
        ("file: tiny.csv, format: vidur", ["format vidur", "arrived_at"]),
        ("file: tiny.csv, class_name: poetry", ["request class 'poetry'", "no tier lists it"]),
        ("file: tiny.csv, start_s: -1", ["trace.start_s"]),
        ("file: tiny.csv, start_s: .nan", ["trace.start_s"]),
        ("file: tiny.csv, start_s: 5", ["no request arrives", "0.3"]),
        ("file: tiny.csv, start_s: 0.2, stop_s: 0.1", ["trace.stop_s", "above 0.2"]),
        ("file: tiny.csv, stop_s: 0", ["trace.stop_s"]),
        ("file: tiny.csv, multiply: 0", ["trace.multiply", "above 0"]),
        ("file: tiny.csv, multiply: -1", ["trace.multiply"]),
        ("file: tiny.csv, multiply: .nan", ["trace.multiply"]),
        ("file: tiny.csv, multiply: 1e12", ["trace.multiply"]),
        ("file: tiny.csv, multiply: 9e8", ["number of requests", "1,000,000,000"]),
        ("file: tiny.csv, multiply: 0.1", ["number of requests", "3 requests times 0.1"]),
        ("file: tiny.csv, multiply: 2, load_frac: 0.5", ["multiply and load_frac"]),
        ("file: tiny.csv, load_frac: 0", ["trace.load_frac"]),
        ("file: tiny.csv, load_frac: .nan", ["trace.load_frac"]),
        ("file: tiny.csv, load_frac: 1e9", ["trace.load_frac", "below 100"]),
        ("file: tiny.csv, jitter_s: -1", ["trace.jitter_s"]),
        ("file: tiny.csv, jitter_s: 1e300", ["trace.jitter_s"]),
        ("builtin: azure-chat, format: csv", ["trace.format", "goes with file"]),
        ("builtin: azure-chat, sort: true", ["trace.sort", "goes with file"]),
        ("file: tiny.csv, zero_tokens: maybe", ["trace.zero_tokens"]),
        ("generate: {}", ["nothing that says it", "mean_rate_per_s"]),
        ("generate: 5", ["field trace.generate"]),
        ("generate: {requests: 0}", ["trace.generate"]),
        ("generate: {requests: .nan}", ["trace.generate"]),
        ("generate: {requests: 1e18}", ["number of requests"]),
        ("generate: {requests: 0.001}", ["number of requests"]),
        ("generate: {requests: 9, mean_rate_per_s: 3}", ["requests and mean_rate_per_s"]),
        ("generate: {requests: 9}, load_frac: 0.5", ["requests and load_frac"]),
        ("generate: {requests: 9, span_s: 0}", ["trace.generate.span_s"]),
        ("generate: {requests: 9, span_s: 1e12}", ["trace.generate.span_s"]),
        ("generate: {requests: 9, start_hour: .nan}", ["trace.generate.start_hour"]),
        ("generate: {requests: 9, mix: {}}", ["trace.generate", "mix"]),
        ("generate: {requests: 9, mix: {chat: -1}}", ["trace.generate", "mix"]),
        ("generate: {requests: 9, mix: {poetry: 1}}", ["trace.generate", "poetry", "chat"]),
        ("generate: {requests: 9, length: 3}", ["unknown field trace.generate.length"]),
        ("generate: {requests: 9}, start_s: 5", ["trace.start_s", "goes with file or builtin"]),
        ("generate: {requests: 9}, multiply: 0", ["trace.multiply"]),
    ],
)
def test_a_trace_entry_that_makes_no_trace_is_refused(simulate, trace, words):
    simulate(trace="trace: {" + trace + "}\n").refused(*words)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.csv", "", ["an empty file"]),
        ("t.csv", HEAD, ["no rows"]),
        ("t.csv", HEAD + "5,1,1\n3,1,1\n", ["data row 2", "sort: true"]),
        ("t.csv", HEAD + "0,1,1\n-3,1,1\n", ["t_us", "-3", "data row 2"]),
        ("t.csv", HEAD + "0,-1,1\n", ["input_tokens", "-1", "data row 1"]),
        ("t.csv", HEAD + "0,1,1\n1,,1\n", ["input_tokens", "missing", "data row 2"]),
        ("t.csv", HEAD + "0,1,nan\n", ["output_tokens", "nan", "data row 1"]),
        ("t.csv", HEAD + "0,1,1\n1,many,1\n", ["input_tokens", "'many'", "data row 2"]),
        ("t.csv", HEAD + "0,1.5,1\n", ["1.5", "data row 1"]),
        ("t.csv", HEAD + "0,0,1\n", ["0 tokens", "data row 1", "zero_tokens: drop"]),
        ("t.csv", "a,b\n1,2\n", ["columns a, b", "TIMESTAMP"]),
        ("t.csv", HEAD + "1700000000000000,1,1\n", ["longer than a year", "from 1970"]),
        ("t.csv", AZURE + "2023-11-16 18:15:46.6,1,1\nsoon,1,1\n", ["'soon'", "data row 2"]),
        ("t.csv", AZURE + "2023-11-16 18:15:46,x,1\n", ["ContextTokens", "data row 1"]),
        ("t.csv", BURST + "5,G,-1,1,1,x\n", ["Request tokens", "-1", "data row 1"]),
        ("t.csv", BURST + "5,G,1,1,1,x\n4,G,1,1,1,x\n", ["data row 2", "sort: true"]),
        ("t.csv", BURST + "5,G,1,0,1,x\n", ["none usable", "1 failed"]),
        ("t.csv", VIDUR + "nan,1,1\n", ["arrived_at", "nan", "data row 1"]),
        ("t.csv", VIDUR + "-0.5,1,1\n", ["arrived_at", "-0.5"]),
        ("t.jsonl", "", ["an empty file"]),
        ("t.jsonl", "[1]\n", ["mooncake"]),
        ("t.jsonl", line(timestamp=1, input_length=1, output_length=1) + "{\n", ["data row 2"]),
        ("t.jsonl", line(timestamp=1, input_length=1), ["output_length"]),
        ("t.jsonl", line(timestamp=-1, input_length=1, output_length=1), ["-1", "data row 1"]),
        ("t.parquet", "no Parquet at all", ["cannot be read"]),
        ("t.xlsx", "", [".xlsx", ".parquet"]),
    ],
)
def test_a_broken_trace_is_refused_with_its_row(simulate, folder, name, content, words):
    (folder / name).write_text(content, encoding="utf-8")
    simulate(trace=f"trace: {{file: {name}}}\n").refused("trace", *words)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"t_us": [1, 0]}, ["data row 2"]),
        ({"t_us": [0, None]}, ["missing", "data row 2"]),
        ({"t_us": [0.0, float("nan")]}, ["nan", "data row 2"]),
        ({"t_us": ["a", "b"]}, ["'a'", "data row 1"]),
        ({"t": [0, 1]}, ["columns t, input_tokens, output_tokens"]),
    ],
)
def test_a_broken_parquet_trace_is_refused_with_its_row(simulate, folder, columns, words):
    tokens = {"input_tokens": [1, 1], "output_tokens": [1, 1]}
    pl.DataFrame(columns | tokens).write_parquet(folder / "t.parquet")
    simulate(trace="trace: {file: t.parquet}\n").refused(*words)


def test_reading_options_of_the_file_are_those_of_the_reader(folder):
    (folder / "t.csv").write_text(HEAD + "5,1,1\n3,0,1\n9,4,4\n")
    text = "fleet: [{device: H100, model: qwen3-14b, replicas: 1}]\ntrace: {file: t.csv"
    (folder / "s.yaml").write_text(f"{text}, sort: true, zero_tokens: drop}}\n")
    made = load_scenario("s.yaml")
    assert made.requests(0).requests == 2
    assert any("dropped" in note for note in made.notes)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("s.yaml", b"\x00\xff\x01", ["s.yaml", "byte 2", "UTF-8"]),
        ("s.yaml", b"", ["s.yaml", "an empty file"]),
        ("notes.txt", b"hello", ["notes.txt", "the text 'hello'"]),
        ("s.yaml", "name: café\n".encode("latin1"), ["UTF-8"]),
    ],
)
def test_a_file_that_is_no_scenario_is_refused(cli, folder, name, content, words):
    (folder / name).write_bytes(content)
    cli("simulate", name, "-q").refused(*words)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("azur-chat", ["unknown scenario 'azur-chat'", "nearest: azure-chat", "--list"]),
        ("", ["unknown scenario ''"]),
        ("no.yaml", ["scenario file no.yaml", "No such file"]),
        (".", ["a directory"]),
        ("x" * 5000, ["too long"]),
    ],
)
def test_a_name_that_is_no_scenario_is_refused(cli, name, words):
    cli("simulate", name, "-q").refused(*words)


def test_a_file_that_may_not_be_read_is_refused(cli, folder, monkeypatch):
    (folder / "s.yaml").write_text("x")

    read_text = Path.read_text

    def refuse(path, *arguments, **options):
        if path.name == "s.yaml":
            raise PermissionError(13, "Permission denied")
        return read_text(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", refuse)
    cli("simulate", "s.yaml", "-q").refused("s.yaml", "Permission denied")


def test_paths_count_from_the_folder_of_the_file_whatever_it_is_called(folder, monkeypatch):
    inside = folder / "my scénarios ✓"
    inside.mkdir()
    (folder / "tiny.csv").rename(inside / "tiny.csv")
    (inside / "mine.py").write_text("class My:\n    def choose(self, request, fleet): return 0\n")
    text = "fleet: [{device: H100, model: qwen3-14b, replicas: 1}]\ntrace: {file: tiny.csv}\n"
    (inside / "s.yaml").write_text(text + "policies: ['mine.py:My', least_loaded]\n")
    made = load_scenario(str(inside / "s.yaml"))
    assert made.policies == (f"{inside / 'mine.py'}:My", "least_loaded")
    assert made.requests(0).requests == 3


def test_the_load_flag_goes_before_what_the_file_says(folder):
    text = "fleet: [{device: H100, model: qwen3-14b, replicas: 1}]\n"
    (folder / "a.yaml").write_text(text + "trace: {builtin: azure-chat, multiply: 3}\n")
    (folder / "b.yaml").write_text(text + "trace: {generate: {requests: 5, span_s: 600}}\n")
    full, half = (load_scenario("a.yaml", load_frac=load).requests(0).requests for load in (1, 0.5))
    assert full == pytest.approx(2 * half, abs=1)
    full, half = (load_scenario("b.yaml", load_frac=load).requests(0).requests for load in (1, 0.5))
    assert full > 50
    assert full == pytest.approx(2 * half, abs=1)
    with pytest.raises(BadInputError, match="--load"):
        load_scenario("a.yaml", load_frac=float("nan"))


def test_parking_and_forecast_are_fields_and_flags_go_before_them(folder):
    text = "fleet: [{device: H100, model: qwen3-14b, replicas: 1}]\ntrace: {file: tiny.csv}\n"
    (folder / "plain.yaml").write_text(text)
    (folder / "all.yaml").write_text(text + "parking: all\nforecast: perfect:error=0.5\n")
    plain, full = load_scenario("plain.yaml"), load_scenario("all.yaml")
    assert (plain.parking, plain.forecast.method) == (False, "online")
    assert (full.parking, full.forecast.method, full.forecast.error_frac) == (True, "error", 0.5)
    other = load_scenario("all.yaml", overrides=Overrides(parking="none", forecast="online"))
    assert (other.parking, other.forecast.method) == (False, "online")
    both = load_scenario("plain.yaml", load_frac=0.5, overrides=Overrides(parking="all"))
    assert both.parking
    assert both.requests(0).requests > 3


@pytest.mark.parametrize("command", ["simulate", "sweep"])
@pytest.mark.parametrize(
    ("flag", "value", "words"),
    [
        ("--parking", "some", ["--parking", "'some'", "all", "none"]),
        ("--parking", "", ["--parking"]),
        ("--forecast", "oracle", ["--forecast", "'oracle'", "class_quantile"]),
        ("--forecast", "perfect:error=9", ["error_frac", "0 to 1.5"]),
        ("--forecast", "", ["--forecast"]),
    ],
)
def test_flags_of_parking_and_forecast_that_make_no_sense(cli, folder, command, flag, value, words):
    text = "fleet: [{device: H100, model: qwen3-14b, replicas: 1}]\ntrace: {file: tiny.csv}\n"
    (folder / "s.yaml").write_text(text)
    cli(command, "s.yaml", "-q", flag, value).refused(*words)


def test_a_context_longer_than_the_model_holds_is_cut_and_told(folder):
    entry = fleet(max_context_tokens=10_000_000)
    (folder / "s.yaml").write_text("trace: {file: tiny.csv}\n" + entry)
    made = load_scenario("s.yaml")
    assert any("10,000,000 is more than model and cache hold" in note for note in made.notes)


@pytest.mark.parametrize("name", sorted(scenario_file.builtin_scenarios()))
def test_built_in_scenarios_load_and_tell_what_they_are(cli, name):
    shown = cli("simulate", name, "--show")
    assert shown.code == 0
    assert shown.out.startswith("# ")
    assert load_scenario(name).name == name
    listed = cli("simulate", "--list")
    assert name in listed.out


def test_show_wants_a_built_in_name(cli):
    cli("simulate", "tiny.csv", "--show").refused("unknown built-in scenario", "--list")


def test_json_is_yaml_too(folder):
    entry = FleetEntry(device="H100", model="qwen3-14b", replicas=1)
    content = {"fleet": [msgspec.to_builtins(entry)], "trace": {"file": "tiny.csv"}}
    (folder / "s.json").write_bytes(msgspec.json.encode(content))
    assert load_scenario("s.json").name == "s"
