"""Remarks on promises that cannot be kept: from the eight numbers, checked against the engine."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.cli.scenario_notes import alone, scenario_notes
from baseload.fleet.physics import replica_type
from baseload.simulator.scenario import Group
from baseload.sources import builtin_trace
from baseload.testing.strategies import replica_types
from baseload.workload.tiers import Tier

H100 = Group(kind=replica_type(model="Qwen/Qwen3-14B", device="H100-SXM-80GB"), replicas=2)
L4 = Group(
    kind=replica_type(model="Qwen/Qwen3-14B", device="L4-24GB", tensor_parallel=2), replicas=2
)
TRACE = builtin_trace("azure-chat")


def notes(groups=(H100, L4), parking=False, **promises):
    tier = Tier(name="people", classes=("chat", "rag", "batch"), **promises)
    return scenario_notes(groups, (tier,), TRACE, parking=parking)


def test_a_promise_that_all_can_keep_needs_no_remark():
    assert notes(ttft_s=30, tpot_s=1, e2e_s=3600) == []


@pytest.mark.parametrize(
    ("promises", "words"),
    [
        (
            {"tpot_s": 0.05},
            ["a further token is promised within 50 ms", "l4", "even alone", "h100-sxm-80gb can."],
        ),
        ({"tpot_s": 0.001}, ["no replica can keep that", "fastest", "h100"]),
        (
            {"ttft_s": 0.01},
            ["the first token is promised within 10 ms", "no replica", "mean prompt"],
        ),
        ({"e2e_s": 0.5}, ["the whole answer is promised within 500 ms", "no replica"]),
        ({"ttft_s": 0.2}, ["% of the prompts have more than", "1.0 % may miss"]),
        ({}, ["promises nothing"]),
    ],
)
def test_a_promise_that_cannot_be_kept_is_told(promises, words):
    said = " ".join(notes(**promises))
    for word in words:
        assert word in said


def test_tiers_that_promise_the_same_share_a_remark():
    tiers = [
        Tier(name="a", classes=("chat",), tpot_s=0.001),
        Tier(name="b", classes=("rag",), tpot_s=0.001),
    ]
    half = msgspec.structs.replace(
        TRACE,
        classes=("chat", "rag"),
        class_code=(np.arange(len(TRACE)) % 2).astype(np.int16),
    )
    (said,) = scenario_notes((H100,), tiers, half, parking=False)
    assert said.startswith("a, b: a further token")


def test_a_tier_without_requests_is_not_judged():
    tiers = (
        Tier(name="people", classes=("chat",), tpot_s=1.0),
        Tier(name="machines", classes=("batch",), e2e_s=0.001),
    )
    assert scenario_notes((H100,), tiers, TRACE, parking=False) == []


def test_wakes_that_are_too_slow_are_told_where_replicas_sleep():
    assert notes(ttft_s=2.0) == []
    (said,) = notes(ttft_s=2.0, parking=True)
    assert "Waking takes longer than tier people may wait (2 s)" in said
    assert f"{H100.kind.power.wake_s_from_parked:.3g} s from sleep" in said
    assert notes(ttft_s=500.0, parking=True) == []
    timed = Group(kind=H100.kind, replicas=1, off_after_s=60.0)
    (said,) = notes((timed,), ttft_s=2.0)
    assert "from off" in said
    assert "sleep and" not in said


@given(replica_types(), st.integers(1, 20_000), st.integers(1, 3000), st.integers(1, 3000))
def test_a_longer_request_takes_no_less(kind, input_tokens, output_tokens, more):
    short, long = (alone(kind, n, output_tokens) for n in (input_tokens, input_tokens + more))
    assert short.ttft_s <= long.ttft_s * (1 + 1e-9)
    assert short.tpot_s <= long.tpot_s * (1 + 1e-9)
    assert short.e2e_s <= alone(kind, input_tokens, output_tokens + more).e2e_s * (1 + 1e-9)


def test_alone_is_what_the_engine_takes_for_one_request(simulate, folder):
    row = "t_us,input_tokens,output_tokens\n0,20000,500\n"
    (folder / "one.csv").write_text(row)
    outcome = simulate("--json", "-", trace="trace: {file: one.csv}\n")
    (policy,) = json.loads(outcome.out)["policies"]
    found = alone(H100.kind, 20_000, 500)
    for name in ("ttft_s", "tpot_s", "e2e_s"):
        assert policy[name]["p50"] == pytest.approx(getattr(found, name), rel=0.02)


def test_remarks_are_seen_in_table_json_and_page(simulate, folder):
    rest = "tiers: [{name: fast, classes: [chat], tpot_s: 0.001}]\n"
    outcome = simulate("--out", "report", "--json", "r.json", rest=rest)
    assert "no replica can keep that" in " ".join(outcome.out.split())
    (note,) = json.loads((folder / "r.json").read_text())["notes"]
    assert note.startswith("fast: a further token")
    assert "no replica can keep that" in (folder / "report" / "index.html").read_text()


def test_refusals_make_the_multiple_of_the_bound_too_low_and_that_is_said(simulate, cli, folder):
    rows = "".join(f"{at * 50_000},100,400\n" for at in range(600))
    (folder / "t.csv").write_text("t_us,input_tokens,output_tokens\n" + rows)
    fleet = "fleet:\n  - {device: L4-24GB, model: Qwen/Qwen3-8B, replicas: 1, max_batch: 4}\n"
    outcome = simulate(trace="trace: {file: t.csv}\n", fleet=fleet, rest="max_queue: 5\n")
    assert "multiple of the bound is too low: least_loaded" in " ".join(outcome.out.split())
    swept = cli("sweep", "s.yaml", "-q", "-p", "least_loaded", "--load", "20,60")
    words = " ".join(swept.out.split())
    assert "multiple of the bound is too low: load 20: least_loaded" in words
