"""Mistakes are collected, each with its place, and told together."""

from __future__ import annotations

import pytest

from baseload.base.errors import BadInputError, unknown_name
from baseload.gateway.faults import MOST_SHOWN, ConfigError, Fault, Faults, shown


def test_an_error_tells_of_all_mistakes_and_keeps_the_first_in_its_fields():
    faults = [Fault(path=f"a[{n}]", found=str(n), allowed="less", todo="mend") for n in range(3)]
    error = ConfigError("file x", faults)
    assert isinstance(error, BadInputError)
    assert error.faults == tuple(faults)
    assert (error.asked, error.found, error.todo) == ("file x: a[0]", "0", "mend")
    assert str(error).count("file x: a[") == 3
    assert "file x: a[2]\n  found:   2\n  allowed: less\n  to do:   mend" in str(error)


def test_a_long_list_is_cut():
    error = ConfigError("f", [Fault(path=f"a[{n}]", found="x") for n in range(MOST_SHOWN + 5)])
    assert str(error).count("f: a[") == MOST_SHOWN
    assert str(error).endswith("and at least 5 more")
    assert len(error.faults) == MOST_SHOWN + 5


@pytest.mark.parametrize(
    ("value", "above", "good"),
    [
        (None, False, True), (0, False, True), (0, True, False), (5, True, True),
        (10, False, True), (10.01, False, False), (-1, False, False),
        (float("nan"), False, False), (float("inf"), False, False),
    ],
)  # fmt: skip
def test_numbers_have_a_range(value, above, good):
    faults = Faults()
    faults.number("x", value, low=0, high=10, above=above)
    assert bool(faults.found) != good


@pytest.mark.parametrize("name", ["", " a", "a\n", "é", "x" * 201, "\x00"])
def test_names_can_stand_in_headers(name):
    faults = Faults()
    assert not faults.name("n", name)
    assert faults.found[0].path == "n"
    assert faults.name("n", "Qwen/Qwen3 8B:latest")


def test_an_unknown_name_lists_the_nearest():
    faults = Faults()
    assert faults.known("m", "small", ["small"], "model")
    assert not faults.known("m", "smal", ["small", "zebra"], "model")
    assert not faults.known("m", "x", [], "model")
    assert faults.found[0].allowed == "nearest: small"
    assert faults.found[1].allowed == "none is there"


def test_what_stands_twice_is_told_once():
    faults = Faults()
    faults.once("l", ["a", "b"])
    assert not faults.found
    faults.once("l", ["a", "b", "a", "a"])
    assert faults.found[0].found == "'a' more than once"


def test_an_error_from_below_gets_its_place():
    faults = Faults()
    with faults.within("policy"):
        raise unknown_name("policy", "x", ["y"])
    with faults.within("replicas[0]."):
        raise BadInputError("device: unknown device 'x'", found="x", allowed="y", todo="z")
    policy, device = faults.found
    assert (policy.path, policy.says) == ("policy", "unknown policy 'x'")
    assert device == Fault(
        path="replicas[0].device", says="unknown device 'x'", found="x", allowed="y", todo="z"
    )


def test_long_values_are_cut():
    assert shown("x" * 500).endswith("...")
    assert shown(5) == "5"
