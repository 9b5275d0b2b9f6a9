"""What ``baseload replay`` refuses before it sends anything, and its table. A whole run is in
tests/e2e/test_replay.py.
"""

from __future__ import annotations

import inspect
import io
import re
import socket
from pathlib import Path

import msgspec
import polars as pl
import pytest
from rich.console import Console

from baseload.base.errors import BadInputError
from baseload.cli.replay import model_to_ask
from baseload.cli.replay_table import print_replay, write_requests
from baseload.gateway.load import figures
from baseload.gateway.load.figures import Asked, result_of
from baseload.gateway.load.plan import planned
from baseload.gateway.load.run import Outcome
from baseload.sources import builtin_trace
from baseload.workload.chunks import source_of
from baseload.workload.tiers import DEFAULT_TIERS

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "replay.md"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["azure-cht"], ["unknown trace", "azure-chat"]),
        (["nosuch.yaml"], ["unknown trace", "nosuch.yaml"]),
        (["azure-chat", "--url", "127.0.0.1:8080"], ["--url", "http://HOST:PORT"]),
        (["azure-chat", "--url", "ftp://x"], ["--url"]),
        (["azure-chat", "--key", "sk-1234"], ["--key", "env:NAME"]),
        (["azure-chat", "--key", "env:NO_SUCH_VARIABLE"], ["NO_SUCH_VARIABLE", "export"]),
        (["azure-chat", "--tier", "a=b"], ["no requests of class 'a'", "chat"]),
        (["azure-chat", "--tier", "a", "--tier", "b"], ["--tier", "CLASS=NAME"]),
        (["azure-chat", "--rate", "-1"], ["--rate"]),
        (["azure-chat", "--seconds", "0"], ["--seconds"]),
        (["azure-chat", "--start", "1e9"], ["from 1e+09 s on"]),
        (["azure-chat", "--max-requests", "0"], ["--max-requests"]),
        (["azure-chat", "--timeout", "0"], ["--timeout"]),
        (["azure-chat", "--seed", "-1"], ["--seed"]),
        (["azure-chat", "--json", "no/such/folder/x.json"], ["no/such/folder"]),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_message(cli, arguments, words):
    cli("replay", *arguments).refused(*words)


@pytest.fixture
def nobody():
    """An address where nobody can answer: bound, and not listening."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_a_server_that_is_not_there_is_told_before_the_run(cli, nobody):
    cli("replay", "azure-chat", "--url", nobody).refused(f"load for {nobody}", "--url")


@pytest.mark.parametrize(
    ("models", "asked"), [((), "auto"), (("a", "auto"), "auto"), (("only",), "only")]
)
def test_what_is_asked_for_where_nobody_said_it(models, asked):
    assert model_to_ask(models) == asked


def test_several_models_and_none_said():
    with pytest.raises(BadInputError) as caught:
        model_to_ask(("a", "b"))
    assert "a, b" in str(caught.value)
    assert "--model" in str(caught.value)


def test_a_key_is_never_shown(cli, monkeypatch, nobody):
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    outcome = cli("replay", "azure-chat", "--key", "env:SOME_KEY", "--url", nobody)
    assert outcome.code == 2
    assert "sk-secret" not in outcome.err
    assert "sk-literal" not in cli("replay", "azure-chat", "--key", "sk-literal").err


def outcome(number, **fields):
    usual = {"tier": "interactive", "due_ns": 0, "sent_ns": 0, "end_ns": 10**9, "asked_tokens": 5}
    return Outcome(number=number, **(usual | fields))


OUTCOMES = [
    outcome(0, first_ns=10**8, last_ns=9 * 10**8, output_tokens=5, energy_j=12.0, model="m"),
    outcome(1, tier="bulk", kind="status 503", detail="the fleet [is] full"),
    outcome(2, kind="unfinished", end_ns=-1),
]


def a_result(**more):
    plan = planned(source_of(builtin_trace()), tiers=DEFAULT_TIERS, seconds=30.0, most_requests=3)
    asked = Asked(
        url="http://127.0.0.1:8080",
        model="auto",
        effort="low",
        stream=True,
        fixed_lengths=True,
        rate_per_s=None,
        speed=1.0,
        start_s=0.0,
        duration_s=30.0,
        seed=0,
    )
    return result_of(OUTCOMES, plan, asked, cpu_s=0.1, metered_j={"x_joules_total": 5.0}, **more)


def test_the_table_shows_tiers_energy_failures_and_remarks():
    out = io.StringIO()
    print_replay(a_result(interrupted=True), console=Console(file=out, width=100))
    text = out.getvalue()
    for words in (
        "interactive",
        "bulk",
        "all",
        "Energy told in 1 answers: 12.0 J",
        "x_joules_total 5.00 J",
        "failed: status 503, 1 times; the first: the fleet [is] full",
        "note: interrupted",
        "Answered by: m",
    ):
        assert words in text


def test_each_request_is_a_row(tmp_path):
    write_requests(OUTCOMES, tmp_path / "requests.parquet")
    table = pl.read_parquet(tmp_path / "requests.parquet")
    assert table["number"].to_list() == [0, 1, 2]
    assert table["first_s"].to_list() == [0.1, None, None]
    assert table["output_tokens"].to_list() == [5, None, None]
    assert table["kind"].to_list() == ["", "status 503", "unfinished"]
    page = PAGE.read_text(encoding="utf-8").split("## requests.parquet", 1)[1].split("\n## ", 1)[0]
    named = {
        name
        for row in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert set(table.columns) == named


def records():
    """Every record of ``replay --json``."""
    for name, record in inspect.getmembers(figures, inspect.isclass):
        if issubclass(record, msgspec.Struct) and record.__module__ == figures.__name__:
            yield name, record


@pytest.mark.parametrize(("name", "record"), list(records()))
def test_the_page_names_every_field(name, record):
    text = PAGE.read_text(encoding="utf-8").split(f"\n### {name}\n", 1)[1].split("\n### ", 1)[0]
    text = text.split("\n## ", 1)[0]
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == list(record.__struct_fields__)
