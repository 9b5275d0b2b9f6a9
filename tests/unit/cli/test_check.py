"""``baseload check``: says what a gateway's file describes, or what is wrong with it."""

from __future__ import annotations

import json

import pytest

GOOD = """
models:
  - {name: "qwen[3]", upstream_name: Qwen/Qwen3-8B}
replicas:
  - {model: "qwen[3]", urls: ["http://127.0.0.1:8000"], device: L40S}
keys:
  - {name: ci, value: "env:CI_KEY", tokens_per_min: 5000}
supply:
  baseline: [{constant_kw: 3}]
  store: {capacity_kwh: 2}
"""


@pytest.fixture
def good(folder, monkeypatch):
    monkeypatch.setenv("CI_KEY", "k" * 40)
    monkeypatch.setenv("COLUMNS", "160")
    (folder / "g.yaml").write_text(GOOD, encoding="utf-8")


def test_without_a_file_it_tells_of_the_built_in_one(cli):
    done = cli("check")
    assert done.code == 0
    for word in ("default is good", "small", "large", "emulated", "interactive", "J/token"):
        assert word in done.out


@pytest.mark.usefixtures("good")
def test_it_tells_what_a_file_describes(cli):
    done = cli("check", "g.yaml")
    assert (done.code, done.err) == (0, "")
    for word in ("g.yaml is good", "qwen[3]", "Qwen/Qwen3-8B", "assumed", "5,000", "Battery"):
        assert word in done.out, done.out
    assert "kkkk" not in done.out


@pytest.mark.usefixtures("good")
def test_json_says_the_same_to_scripts(cli):
    told = json.loads(cli("check", "g.yaml", "--json", "-").out)
    assert told["schema"] == "baseload-check/1"
    assert (told["good"], told["faults"]) == (True, [])
    (entry,) = told["replicas"]
    assert entry["method"] == "assumed"
    assert 0.05 < entry["energy_j_per_token"] < 5
    assert 0.001 < entry["tpot_s"] < 0.2
    assert told["keys"][0]["name"] == "ci"


def test_a_token_costs_what_predict_says_of_a_step(cli):
    """Two ways to the same joules: the eight numbers, and the fitted physics they come from."""
    told = json.loads(cli("check", "--json", "-").out)
    small = next(one for one in told["replicas"] if one["kind"] == "llama-3.1-8b/h100-sxm-80gb")
    predicted = json.loads(
        cli(
            "predict", "meta-llama/Llama-3.1-8B", "H100-SXM-80GB", "--context", "1000",
            "--method", "modelled", "--json", "-",
        ).out
    )  # fmt: skip
    assert small["energy_j_per_token"] == pytest.approx(predicted["energy_j_per_token"], rel=0.05)


def test_a_bad_file_is_refused_with_every_path(cli, folder):
    (folder / "bad.yaml").write_text("models: []\nreplicas: []\npolicy: x\n", encoding="utf-8")
    cli("check", "bad.yaml").refused("bad.yaml: models", "bad.yaml: replicas", "unknown policy")
    done = cli("check", "bad.yaml", "--json", "-")
    assert done.code == 2
    told = json.loads(done.out)
    assert told["good"] is False
    assert [fault["path"] for fault in told["faults"]] == ["models", "replicas", "policy"]


def test_a_file_that_is_none_is_refused(cli):
    cli("check", "none.yaml").refused("none.yaml", "No such file")


def test_the_built_in_file_can_be_copied(cli, folder):
    (folder / "mine.yaml").write_text(cli("check", "--show").out, encoding="utf-8")
    assert cli("check", "mine.yaml").code == 0
