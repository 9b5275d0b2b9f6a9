"""The demand that a plan makes of a scenario with options."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from baseload.cli.plan_options import answered_by, serving
from baseload.cli.scenario_file import load_scenario
from baseload.simulator.choices import Choice
from baseload.sources import builtin_trace
from baseload.workload.chunks import source_of


def test_the_trace_has_the_tokens_of_the_option():
    source = source_of(builtin_trace("azure-chat"))
    half = answered_by(Choice(name="half", tokens_factor={"chat": 0.5}), source)
    plain = np.concatenate([piece.output_tokens for piece in source.chunks()])
    made = np.concatenate([piece.output_tokens for piece in half.chunks()])
    assert made.min() >= 1
    assert made.sum() == pytest.approx(0.5 * plain.sum(), rel=0.01)
    assert np.array_equal(made, np.concatenate([one.output_tokens for one in half.chunks()]))


def test_replicas_of_other_models_only_wait():
    groups = load_scenario("solar-site").groups
    small = Choice(name="small", model="Qwen/Qwen3-8B")
    busy, rest_w = serving(small, groups, parking=False)
    assert [(kind.model, count) for kind, count in busy] == [("Qwen/Qwen3-8B", 1)]
    large = groups[0].kind.power
    assert rest_w == large.power_w_parked
    awake = tuple(msgspec.structs.replace(group, park_after_s=None) for group in groups)
    assert serving(small, awake, parking=False)[1] == large.power_w_idle
    every, nothing_w = serving(Choice(name="any"), groups, parking=False)
    assert (len(every), nothing_w) == (2, 0.0)
