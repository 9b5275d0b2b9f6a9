"""Caps on the tokens of an answer, as flag and as field."""

from __future__ import annotations

import json

import pytest

from baseload.base.errors import BadInputError
from baseload.cli.scenario_caps import caps_of_entry, caps_of_text

SITE = """
supply:
  slot_s: 1
  baseline: [{constant_kw: 0.1}]
  store: {capacity_kwh: 0.01}
  auxiliary: {price_usd_per_kwh: 0.3}
"""


def names(outcome):
    """The policies of a result."""
    return [row["policy"] for row in json.loads(outcome.out)["policies"]]


@pytest.mark.parametrize(
    ("text", "caps"),
    [
        ("4096", (4096,)),
        ("4096,8192,none", (4096, 8192, None)),
        (" none , 1 ", (None, 1)),
        ("NONE", (None,)),
        ("8192,4096", (8192, 4096)),
        ("1000000000", (1_000_000_000,)),
    ],
)
def test_lists_of_caps(text, caps):
    assert caps_of_text(text) == caps


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "''"), ("4096,", "''"), ("0", "0"), ("-5", "'-5'"), ("4.5", "'4.5'"),
        ("8k", "'8k'"), ("nan", "'nan'"), ("1e3", "'1e3'"), ("4_096", "'4_096'"),
        ("9" * 400, "999"), ("1000000001", "1000000001"), ("5,5", "5 twice"),
        ("none,5,none", "none twice"), ("5,05", "5 twice"),
    ],
)  # fmt: skip
def test_what_is_no_list_of_caps(text, word):
    with pytest.raises(BadInputError, match="--cap-tokens") as error:
        caps_of_text(text)
    assert word in str(error.value)


def test_the_field_takes_one_or_a_list():
    assert caps_of_entry(None) == ()
    assert caps_of_entry(512) == (512,)
    assert caps_of_entry("none") == (None,)
    assert caps_of_entry([512, "none"]) == (512, None)


def test_every_policy_runs_under_each_cap(simulate):
    outcome = simulate("-p", "round_robin", "--cap-tokens", "15,none,5", "--json", "-")
    assert outcome.code == 0
    assert names(outcome) == [
        "least_loaded cap 15", "least_loaded uncapped", "least_loaded cap 5",
        "round_robin cap 15", "round_robin uncapped", "round_robin cap 5",
    ]  # fmt: skip
    rows = json.loads(outcome.out)["policies"]
    assert [row["parameters"]["cap_tokens"] for row in rows[:3]] == [15, None, 5]
    assert [row["output_tokens"] for row in rows[:3]] == [15 + 15 + 10, 60, 15]
    assert [row["capped_frac"] for row in rows[:3]] == pytest.approx([2 / 3, 0, 1])
    assert [row["quality_frac"] for row in rows[:3]] == pytest.approx([1 / 3, 1, 0])
    assert rows[1]["demand_variance_j2_per_s"] > rows[2]["demand_variance_j2_per_s"] > 0


@pytest.mark.parametrize("rest", ["cap_tokens: 15\n", "cap_tokens: [15]\n"])
def test_the_field_of_the_file_and_the_flag_before_it(simulate, rest):
    assert names(simulate("--json", "-", rest=rest)) == ["least_loaded cap 15"]
    outcome = simulate("--cap-tokens", "none,7", "--json", "-", rest=rest)
    assert names(outcome) == ["least_loaded uncapped", "least_loaded cap 7"]
    nothing = simulate("--json", "-", rest="cap_tokens: null\n")
    assert names(nothing) == ["least_loaded"]
    assert "cap_tokens" not in json.loads(nothing.out)["policies"][0]["parameters"]


@pytest.mark.parametrize(
    "value", ["0", "-1", "[]", "[5, 5]", "4.5", "lots", "[none, none]", "{a: 1}", "true", "[[5]]"]
)
def test_fields_that_are_no_caps_are_refused(simulate, folder, value):
    (folder / "s.yaml").touch()
    simulate(rest=f"cap_tokens: {value}\n").refused("cap_tokens")


@pytest.mark.parametrize("text", ["0", "4096,,5", "lots"])
def test_flags_that_are_no_caps_are_refused(simulate, folder, text):
    (folder / "s.yaml").touch()
    simulate("--cap-tokens", text).refused("--cap-tokens", "4096,8192,none")


def test_the_table_shows_what_caps_do(simulate):
    outcome = simulate("--cap-tokens", "15,none", "--seeds", "2")
    assert outcome.code == 0
    for word in ("sigma2", "J2/s", "cut", "right", "least_loaded cap 15", "±"):
        assert word in outcome.out
    assert "bought" not in outcome.out
    assert "sigma2" not in simulate().out


def test_at_a_site_with_scales_and_a_report(simulate, folder):
    rows = "".join(f"{at * 400_000},100,{10 + at}\n" for at in range(20))
    (folder / "tiny.csv").write_text("t_us,input_tokens,output_tokens\n" + rows)
    outcome = simulate(
        "--cap-tokens", "15,none", "--supply-scale", "0.5,1", "--out", "report",
        "--json", "r.json", rest=SITE,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    rows = json.loads((folder / "r.json").read_text())["policies"]
    assert [len(row["supply"]) for row in rows] == [2, 2]
    assert rows[0]["total_cost_usd"] is not None
    assert "bought" in outcome.out
    page = (folder / "report" / "index.html").read_text()
    assert "Caps on the tokens of an answer" in page
    assert "least_loaded cap 15" in page


@pytest.mark.slow
def test_processes_give_the_same(simulate, folder):
    (folder / "mine.py").write_text(
        "class My:\n    def choose(self, request, fleet):\n        return 0\n"
    )
    flags = ("-p", "mine.py:My", "--cap-tokens", "15,none", "--seeds", "2", "--json", "-")
    one, two = (json.loads(simulate(*flags, "--jobs", n).out) for n in "12")
    for result in (one, two):
        for row in result["policies"]:
            for name in ("cpu_s", "requests_per_cpu_s"):
                row.pop(name)
    assert one == two
    assert names(simulate(*flags))[2:] == ["My cap 15", "My uncapped"]


def test_sweeps_and_plans_take_the_field(cli, simulate, folder):
    simulate(rest="cap_tokens: [15, none]\n")
    outcome = cli("sweep", "s.yaml", "-p", "least_loaded", "--load", "0.1,0.2", "-q", "--json", "-")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["policies"] == ["least_loaded cap 15", "least_loaded uncapped"]
    outcome = cli("plan", "s.yaml", "--price-auxiliary", "0.3", "-q", "--json", "-")
    assert outcome.code == 0, outcome.err
    assert any("cap_tokens caps runs only" in note for note in json.loads(outcome.out)["notes"])
