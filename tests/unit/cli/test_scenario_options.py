"""The options of a scenario file."""

from __future__ import annotations

import json
import math
from pathlib import Path

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


def test_the_source_of_the_numbers_is_kept(folder):
    (folder / "o.yaml").write_text(
        HEAD + "  - {name: a, source: our own test}\n  - {name: b}\n", encoding="utf-8"
    )
    assert [choice.source for choice in load_scenario("o.yaml").choices] == [
        "our own test",
        "scenario file",
    ]


@pytest.fixture(scope="module")
def solar():
    """The options of solar-site by name."""
    return {choice.name: choice for choice in load_scenario("solar-site").choices}


@pytest.mark.parametrize("label", ["chat", "reasoning", "batch"])
@pytest.mark.parametrize("model", ["8b", "32b"])
def test_effort_of_the_solar_site_buys_right_answers_at_a_falling_rate(solar, model, label):
    """A brief answer lies on the line in log tokens from a direct one to a thinking one."""
    direct = (0.24, {"chat": 0.857, "reasoning": 0.598, "batch": 0.832}[label])
    if model == "8b":
        direct = (solar["8b-direct"].tokens(label), solar["8b-direct"].right(label))
    elif label != "reasoning":
        direct = (1.0, direct[1])  # the 32B without thinking: Qwen3 report, table 14
    brief, think = solar[f"{model}-brief"], solar[f"{model}-think"]
    assert brief.tokens(label) == pytest.approx(0.4 * think.tokens(label), rel=0.02)
    along = math.log(brief.tokens(label) / direct[0]) / math.log(think.tokens(label) / direct[0])
    line = direct[1] + along * (think.right(label) - direct[1])
    assert brief.right(label) == pytest.approx(line, abs=0.0015)


def test_the_page_of_the_options_says_what_the_scenario_and_the_study_say(solar):
    root = Path(__file__).parents[3]
    page = (root / "docs" / "reference" / "options.md").read_text(encoding="utf-8")
    study = json.loads((root / "bench" / "results" / "options.json").read_text(encoding="utf-8"))
    classes = ("chat", "reasoning", "batch")
    for name, choice in solar.items():
        tokens = ", ".join(
            f"{choice.tokens(label):.2f}"
            if label == "reasoning"
            else f"{choice.tokens(label):.1f}".removesuffix(".0")
            for label in classes
        )
        right = ", ".join(f"{choice.right(label):.3f}" for label in classes)
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}`"))
        assert row.endswith(f"| {tokens} | {right} |")
        assert choice.source != "scenario file"
    for one in study["options"]:
        cells = f"| `{one['option']}` | {one['j_per_request']:,.0f} | {one['right_frac']:.3f} |"
        assert cells in page
        assert f"| {one['site_w']:,.0f} |" in page
    for one in study["best_plans"]:
        named = " | ".join(f"`{one['plan'][label]}`" for label in classes)
        price = one["up_to_usd_per_kwh"]
        assert (
            f"| {named} | {one['site_w']:,.0f} | {'' if price is None else f'{price:.3f} '}|"
            in page
        )
