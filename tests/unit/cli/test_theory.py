"""The formulas on the command line: listed, explained, evaluated, swept."""

from __future__ import annotations

import json
import math
import shlex
import subprocess
import sys

import pytest

from baseload.cli.theory_inputs import read_inputs, read_value
from baseload.cli.theory_text import argument, example_command, input_fields
from baseload.theory import catalogue
from baseload.theory.symbols import result_unit, result_units
from baseload.theory.two_sided import two_sided_rates

RATE = ("theory", "two_sided_u", "theta=0.5", "var=4", "B=10")


def answer(outcome):
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert found["schema"] == "baseload-theory/1"
    return found


def test_the_list_names_every_formula_under_its_topic(cli):
    text = cli("theory").out
    for entry in catalogue.ENTRIES.values():
        assert f"\n  {entry.name} " in text
        assert entry.topic.upper() in text
    rows = answer(cli("theory", "--json", "-"))["formulas"]
    assert [row["name"] for row in rows] == list(catalogue.ENTRIES)
    assert all(row["section"] and row["standing"] for row in rows)


@pytest.mark.parametrize("name", catalogue.ENTRIES)
def test_every_formula_is_explained_and_its_example_runs(cli, name):
    entry = catalogue.ENTRIES[name]
    text = cli("theory", name).out
    assert entry.gives.split()[0] in text
    assert example_command(entry) in text
    assert len(entry.explanation) > 20
    for field in input_fields(entry):
        assert field["means"], f"{name}: what is {field['name']}? write it in theory/symbols.py"
    words = shlex.split(example_command(entry))[1:]
    found = answer(cli(*words, "--json", "-"))
    direct = entry.call(**entry.example)
    plain = json.loads(json.dumps(found["value"]))
    if isinstance(direct, dict):
        assert set(plain) == set(direct) == set(found["unit"])
    else:
        assert plain == pytest.approx(direct)
        assert found["unit"] == result_unit(entry)
    assert (found["ladder"] is not None) == (entry.validity is not None)


def test_a_rate_comes_with_rung_and_the_three_ratios(cli):
    text = cli(*RATE).out
    value = two_sided_rates(0.5, 4, 10).u_w
    assert f"two_sided_u = {value:.10g} W" in text
    assert "exact for the stated model" in text
    assert "diffusion" in text
    for words in ("noise of one slot", "overshoot of one request", "one correlated episode"):
        assert words in text
    ladder = answer(cli(*RATE, "--json", "-"))["ladder"]
    assert ladder["rung"] == "diffusion"
    assert ladder["storage_per_overshoot"] is None
    words = ("lam=1", "b=1.1", "B=20", "dist=logn s=1", "mean=1")
    ladder = answer(cli("theory", "exact_dam_u", *words, "--json", "-"))["ladder"]
    assert ladder["rung"] == "exact_dam"
    assert ladder["storage_per_overshoot"] == pytest.approx(60 / math.exp(2))


@pytest.mark.parametrize(
    ("word", "points"),
    [
        ("B=1,10,100", [1, 10, 100]),
        ("B=1:9:3", [1, 5, 9]),
        ("B=1:100:3:log", [1, 10, 100]),
    ],
)
def test_a_sweep_is_a_table(cli, word, points):
    rows = answer(cli("theory", "two_sided_u", "theta=0.1", "var=4", word, "--json", "-"))["rows"]
    assert [row["at"] for row in rows] == pytest.approx(points)
    for row in rows:
        assert row["value"] == pytest.approx(two_sided_rates(0.1, 4, row["at"]).u_w)
        assert row["ladder"]["rung"] == "diffusion"
    text = cli("theory", "two_sided_u", "theta=0.1", "var=4", word).out
    assert text.splitlines()[0].split() == ["B", "[J]", "two_sided_u", "[W]", "rung"]


def test_a_sweep_of_a_formula_with_several_results(cli):
    text = cli("theory", "two_sided_with_leak", "theta=0.5", "var=4", "kappa=0.1,0.2", "B=5").out
    assert "mean_level [J]" in text.splitlines()[0]
    assert len(text.splitlines()) == 4


def test_a_sweep_is_drawn(cli, folder):
    outcome = cli("theory", "two_sided_u", "theta=0", "var=4", "B=1:1000:7:log", "--plot", "u.png")
    assert outcome.new == {"u.png"}
    assert (folder / "u.png").read_bytes()[:4] == b"\x89PNG"
    cli(*RATE, "--plot", "u.png").refused("--plot", "B=1:100:10")


def test_infinite_results_are_said(cli):
    words = ("theory", "mean_ride_through", "S0=3", "theta=5", "var=0.001", "B=5")
    assert "= inf s" in cli(*words).out
    assert answer(cli(*words, "--json", "-"))["value"] == "inf"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("two_side_u", "B=1"), ("two_sided_u",)),
        (("two_sided_u", "teta=1", "var=1", "B=1"), ("teta", "nearest: theta")),
        (("two_sided_u", "theta=1", "var=1"), ("missing input B",)),
        (("two_sided_u", "theta=abc", "var=1", "B=1"), ("theta", "'abc'", "a finite number")),
        (("two_sided_u", "theta=nan", "var=1", "B=1"), ("theta", "nan")),
        (("two_sided_u", "theta=1", "var=-1", "B=1"), ("var", "-1.0", "from 0")),
        (("two_sided_u", "theta"), ("'theta' is not an input", "NAME=VALUE")),
        (("two_sided_u", "B=1", "B=2"), ("B stands twice",)),
        (("two_sided_u", "B=1:2:1"), ("not a sweep", "FROM:TO:COUNT")),
        (("two_sided_u", "B=-1:2:5:log"), ("not a sweep",)),
        (("two_sided_u", "B=1:2:inf"), ("not a sweep",)),
        (("two_sided_u", "B=1,2", "var=1,2"), ("second sweep",)),
        (("newey_west", "x=[1,2"), ("x is no YAML",)),
        (("newey_west", "x=[1,oops]"), ("x", "numbers")),
        (("two_sided_u", "theta=[1,2]", "var=1", "B=1"), ("theta",)),
        (("two_sided_u", "theta={a: 1}", "var=1", "B=1"), ("theta",)),
        (("exact_dam_u", "lam=1", "b=1", "B=2", "dist=blob", "mean=1"), ("dist", "logn s=1")),
        (("query_flops", "N=1e300", "n_layer=1e9", "d_attn=1e9", "prompt=1e9", "output=1e9"),
         ("query_flops",)),
    ],
)  # fmt: skip
def test_misuse_says_what_is_wrong(cli, words, said):
    cli("theory", *words).refused(*said)


def test_values_are_read_as_people_write_them():
    read = {
        "1e6": 1e6, "inf": math.inf, "-.5": -0.5, "true": True, "False": False, "none": None,
        "[0.5, 0.3]": [0.5, 0.3], "[[1,2],[3,inf]]": [[1, 2], [3, math.inf]], "[1e3]": [1000],
        "logn s=1": "logn s=1", "'exp'": "exp", "1.5*sin(t)-0.1": "1.5*sin(t)-0.1",
    }  # fmt: skip
    for text, value in read.items():
        assert read_value("x", text) == value
        if isinstance(value, list | bool):
            assert read_value("x", argument(value)) == value
    assert read_inputs(["dist=logn s=1, cap=20"]).sweep is None
    assert read_inputs(["theta=min(t,1)"]).given == {"theta": "min(t,1)"}


def test_units_are_written_for_every_named_result():
    for entry in catalogue.ENTRIES.values():
        found = entry.call(**entry.example)
        if isinstance(found, dict):
            units = result_units(entry, found)
            assert all(isinstance(unit, str) for unit in units.values())
            assert set(units) == set(found)


def test_a_closed_form_answers_at_once():
    """In its own process: nothing that is slow to load may have been loaded."""
    code = (
        "import sys; from baseload.cli.main import main; "
        f"main({list(RATE)!r}); "
        "print(sorted({'numba', 'polars', 'matplotlib', 'scipy.optimize', 'scipy.stats'} "
        "& set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
