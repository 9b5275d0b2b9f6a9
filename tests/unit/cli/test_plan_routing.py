"""``baseload plan --routing`` from end to end in this process, on a trace of some minutes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from baseload.planner.routing_records import SiteRouting

HEAD = "t_us,input_tokens,output_tokens,class\n"
TRACE = "trace: {file: minutes.csv}\n"
FLEET = """fleet:
  - {device: H100-SXM-80GB, model: Qwen/Qwen3-14B, replicas: 2}
  - {device: H100-SXM-80GB, model: Qwen/Qwen3-32B, tensor_parallel: 2, replicas: 1}
"""
OPTIONS = """options:
  - {name: think, model: Qwen/Qwen3-32B, right_frac: {chat: 0.9, batch: 0.95}}
  - {name: small, model: Qwen/Qwen3-14B, right_frac: {chat: 0.8, batch: 0.85}}
  - {name: brief, model: Qwen/Qwen3-14B, tokens_factor: 0.3, right_frac: {chat: 0.6, batch: 0.8}}
"""
STORE = ("--storage-kwh", "0.001")
RIGHT = ("--right-usd", "0.000005")


@pytest.fixture(autouse=True)
def _trace(folder):
    """Ten minutes of two classes of requests."""
    rng = np.random.default_rng(6)
    times = np.cumsum(rng.exponential(0.3e6, 2000)).astype(int)
    tokens = zip(times, rng.integers(50, 900, 2000), rng.integers(5, 900, 2000), strict=True)
    rows = "".join(
        f"{at},{prompt},{answer},{'batch' if place % 3 else 'chat'}\n"
        for place, (at, prompt, answer) in enumerate(tokens)
    )
    (folder / "minutes.csv").write_text(HEAD + rows, encoding="utf-8")


@pytest.fixture
def plan(folder, cli):
    """Plans a scenario of these texts, quietly; gives the outcome."""

    def run(*arguments, fleet=FLEET, options=OPTIONS):
        (folder / "s.yaml").write_text(TRACE + fleet + options, encoding="utf-8")
        return cli("plan", "s.yaml", "-q", *arguments)

    return run


@pytest.fixture
def routed(plan):
    """The routing of the plan as JSON."""

    def run(*arguments, **texts):
        outcome = plan("--routing", *arguments, "--json", "-", **texts)
        assert (outcome.code, outcome.err) == (0, ""), outcome.err
        return json.loads(outcome.out)["routing"]

    return run


def test_the_json_contract(routed):
    found = routed(*STORE, *RIGHT)
    assert set(found) == set(SiteRouting.__struct_fields__)
    assert found["options"] == ["think", "small", "brief"]
    assert sorted(found["classes"]) == ["batch", "chat"]
    assert found["store_j"] == pytest.approx(3600.0)
    assert found["right_usd"] == [0.000005, 0.000005]
    assert len(found["cells"]) == 6
    right = {(cell["class_name"], cell["option"]): cell["right_frac"] for cell in found["cells"]}
    assert right["chat", "brief"] == 0.6
    assert right["batch", "think"] == 0.95
    assert any("best one with this store" in note for note in found["notes"])
    price = found["shadow_price"]["usd_per_j"]
    assert price[0] * 3.6e6 == pytest.approx(0.30)
    assert price[-1] == pytest.approx(0.0, abs=1e-12)


def test_without_the_flag_there_is_none(plan):
    assert json.loads(plan(*STORE, "--json", "-").out)["routing"] is None


def test_dearer_wrong_answers_make_more_right_ones(routed):
    failing = [
        routed(*STORE, "--right-usd", usd)["static"]["failing_frac"]
        for usd in ("0.000001", "0.000005", "0.1")
    ]
    assert failing[0] > failing[1] > failing[2]
    floor = routed(*STORE, "--least-right", "0.85")
    kept = {(cell["class_name"], cell["option"]) for cell in floor["cells"] if cell["allowed"]}
    assert kept == {("chat", "think"), ("batch", "think"), ("batch", "small")}
    assert any("worth nothing here (--right-usd)" in note for note in floor["notes"])


def test_small_stores_go_by_the_lattice(routed):
    found = routed("--storage-kwh", "0.000003", *RIGHT)
    assert found["gain"]["store_jobs"] < 1
    assert found["gain"]["evaluated_by"] == "lattice"
    words = " ".join(found["statements"])
    assert "less than one" in words
    assert "exact optimum on a lattice" in words


def test_models_stand_for_options_where_there_are_none(routed):
    found = routed(*STORE, options="")
    assert found["options"] == ["Qwen/Qwen3-14B", "Qwen/Qwen3-32B"]
    assert any("models of the fleet stand for them" in note for note in found["notes"])
    one = routed(
        *STORE, options="", fleet=FLEET[: FLEET.index("  - {device", 10 + len("fleet:\n"))]
    )
    assert one["options"] == ["Qwen/Qwen3-14B"]
    assert any("nothing to choose" in note for note in one["notes"])
    assert one["statements"][0].startswith("Dynamic routing buys nothing here")


def test_the_tables_and_the_report(plan, folder):
    outcome = plan("--routing", *STORE, *RIGHT, "--json", "r.json", "--out", "report")
    assert outcome.code == 0, outcome.err
    for words in (
        "What routing by the store buys",
        "forecast of the optimality equation",
        "What a stored joule is worth",
        "a quarter full",
        "Mean and variance: the frontier",
        "Which option for which class",
        "of what chance costs",
    ):
        assert words in " ".join(outcome.out.split()), words
    assert json.loads((folder / "report" / "result.json").read_text()) == json.loads(
        (folder / "r.json").read_text()
    )
    drawn = {path.name for path in (folder / "report").glob("*.png")}
    assert {"frontier.png", "shadow-price.png", "dynamic-gain.png"} <= drawn
    assert "What a stored joule is worth" in (folder / "report" / "index.html").read_text()


def test_the_joules_of_an_option_do_not_depend_on_which_is_first(routed):
    """The first option is the routing of today; what each draws is its own."""
    lines = OPTIONS.splitlines(keepends=True)
    found = routed(*STORE, *RIGHT)
    turned = routed(*STORE, *RIGHT, options="".join([lines[0], *reversed(lines[1:])]))
    assert turned["options"] == found["options"][::-1]
    assert turned["base_w"] == pytest.approx(found["base_w"])

    def joules(plan):
        return {(cell["class_name"], cell["option"]): cell["mean_j"] for cell in plan["cells"]}

    assert joules(turned) == pytest.approx(joules(found))
    today = turned["frontier"]["present"]["mean_w"]
    brief = sum(
        rate * joules(turned)[name, "brief"]
        for name, rate in zip(turned["classes"], turned["requests_per_s"], strict=True)
    )
    assert today == pytest.approx(brief)


def test_the_overhead_of_a_site_is_always_drawn(routed, folder):
    site = (
        "supply:\n  start: 2022-06-01T00:00Z\n  pue: 1.2\n  overhead_kw: 0.1\n"
        "  baseline: [{constant_kw: 2.5}]\n  store: {capacity_kwh: 0.001}\n"
        "  auxiliary: {price_usd_per_kwh: 0.3}\n"
    )
    plain, found = routed(*STORE, *RIGHT), routed(*RIGHT, options=OPTIONS + site)
    assert found["base_w"] == pytest.approx(1.2 * plain["base_w"] + 100.0)
    assert found["baseline_w"] == 2500.0


def test_a_run_may_give_the_demand(routed):
    found = routed("--simulate", *STORE, *RIGHT)
    assert found["gain"] is not None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--right-usd", "1"], ["--right-usd", "without --routing", "add --routing"]),
        (["--least-right", "0.5"], ["--least-right", "without --routing"]),
        (["--routing", *STORE, "--right-usd=-1"], ["--right-usd", "from 0 up"]),
        (["--routing", *STORE, "--right-usd", "nan"], ["--right-usd", "nan"]),
        (["--routing", *STORE, "--least-right", "95"], ["--least-right", "0 to 1"]),
        (["--routing"], ["--routing", "without a store", "--storage-kwh"]),
        (
            ["--routing", *STORE, "--least-right", "0.93"],
            ["--least-right 0.93 for class chat", "think", "up to 0.9", "more able option"],
        ),
        (
            ["--routing", *STORE, "--price-waste=-0.5"],
            ["auxiliary energy", "wasted would pay", "--price-waste"],
        ),
    ],
)
def test_what_cannot_be_followed_is_refused(plan, folder, arguments, words):
    (folder / "s.yaml").touch()
    plan(*arguments).refused(*words)


@pytest.mark.parametrize("flag", ["--right-usd", "--least-right"])
def test_right_answers_need_options(plan, folder, flag):
    (folder / "s.yaml").touch()
    plan("--routing", *STORE, flag, "0.5", options="").refused(flag, "right_frac", "add options")


def test_the_help_has_an_example(cli):
    assert "--routing --storage-kwh" in cli("plan", "--help").out
