"""The options of a scenario file."""

from __future__ import annotations

import json

import pytest

from baseload.base.errors import BadInputError
from baseload.cli.scenario_file import load_scenario

HEAD = """\
trace: {generate: {requests: 60, span_s: 600}}
fleet:
  - {device: H100-SXM-80GB, model: Qwen/Qwen3-14B, replicas: 1}
  - {device: H100-SXM-80GB, model: Qwen/Qwen3-32B, tensor_parallel: 2, replicas: 1}
options:
"""


def test_numbers_for_all_classes_or_by_class(folder):
    (folder / "o.yaml").write_text(
        HEAD
        + "  - {name: large, model: Qwen/Qwen3-32B, right_frac: 0.9}\n"
        + "  - {name: small, tokens_factor: {chat: 0.5}, right_frac: {chat: 0.7, rag: 0.6}}\n",
        encoding="utf-8",
    )
    large, small = load_scenario("o.yaml").choices
    assert (large.model, large.right("chat"), large.tokens("chat")) == ("Qwen/Qwen3-32B", 0.9, 1.0)
    assert (small.model, small.right("rag"), small.right("batch")) == (None, 0.6, 1.0)
    assert (small.tokens("chat"), small.tokens("rag")) == (0.5, 1.0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("  []\n", ["options", "one or more"]),
        ("  - {right_frac: 1}\n", ["options[0]", "name"]),
        ("  - {name: a}\n  - {name: a}\n", ["options[1].name", "each name once"]),
        ("  - {name: a, model: gpt-9}\n", ["options[0].model", "Qwen/Qwen3-32B"]),
        ("  - {name: a, right_frac: 95}\n", ["options[0]", "right_frac", "0 to 1"]),
        ("  - {name: a, tokens_factor: {chat: 0}}\n", ["options[0]", "tokens_factor of chat"]),
        ("  - {name: a, fee_usd: -1}\n", ["options[0].fee_usd"]),
        ("  - {name: a, effort: low}\n", ["options[0].effort"]),
    ],
)
def test_a_mistake_names_its_field(folder, options, words):
    (folder / "o.yaml").write_text(HEAD + options, encoding="utf-8")
    with pytest.raises(BadInputError) as caught:
        load_scenario("o.yaml")
    for word in words:
        assert word in str(caught.value), word


def test_a_price_of_being_wrong_buys_right_answers(cli, folder):
    (folder / "o.yaml").write_text(
        HEAD + "  - {name: think, right_frac: 0.9}\n"
        "  - {name: brief, tokens_factor: 0.2, right_frac: 0.6}\n",
        encoding="utf-8",
    )
    specs = ["-p", "energy_greedy", "-p", "energy_greedy:rate_quality=0.001"]
    made = cli("simulate", "o.yaml", *specs, "-q", "--json", "-")
    assert made.code == 0, made.err
    reference, cheap = json.loads(made.out)["policies"]
    assert reference["quality_frac"] == pytest.approx(0.9)
    assert cheap["quality_frac"] == pytest.approx(0.6)
    assert cheap["choice_frac"]["chat"] == {"think": 0.0, "brief": 1.0}
    shown = cli("simulate", "o.yaml", *specs, "-q").out
    assert "right" in shown
