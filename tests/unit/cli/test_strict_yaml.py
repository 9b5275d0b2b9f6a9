"""YAML as people mean it."""

from __future__ import annotations

import math

import msgspec
import pytest

from baseload.base.errors import BadInputError
from baseload.cli.strict_yaml import decode_yaml, load_yaml


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    count: int = 0
    label: str | None = None


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    value: float | int | str | bool | None = None
    inner: Inner | None = None
    rows: list[Inner] = []
    shares: dict[str, float] = {}


def value_of(text):
    return decode_yaml(f"value: {text}\n", type=Outer, where="test").value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e6", 1_000_000),
        ("2.5e-3", 0.0025),
        ("20_000_000", 20_000_000),
        ("010", 10),
        ("-7", -7),
        ("+0.5", 0.5),
        (".5", 0.5),
        ("4.", 4.0),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("1e300", 1e300),
        ("true", True),
        ("on", "on"),
        ("no", "no"),
        ("1:30", "1:30"),
        ("0x10", "0x10"),
        ("2020-01-01", "2020-01-01"),
        ("'1e6'", "1e6"),
        ("~", None),
        ("", None),
        ("1.2.3", "1.2.3"),
        (r'"\ud83d\ude00 \u00e9"', "\U0001f600 \u00e9"),
    ],
)
def test_scalars_follow_yaml_1_2(text, value):
    """Once, ``requests: 1e6`` was refused as text, and ``replicas: 010`` were eight."""
    found = value_of(text)
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_is_a_number():
    assert math.isnan(value_of(".nan"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("value: 1\nvalue: 2\n", ["'value' stands here twice", "line 2, column 1"]),
        ("value: [1\n", ["line"]),
        ("value:\n\t- a\n", ["line 2, column 1"]),
        ("value: 1\n---\nvalue: 2\n", ["another document", "line 2"]),
        ("value: !!python/name:os.system x\n", ["could not determine a constructor"]),
        ("\0", ["special characters"]),
        (r'value: "\ud83d"', ["half of a pair", "line 1"]),
        ("[" * 3000 + "]" * 3000, ["recursion"]),
        ("", ["an empty file", "fields: value, inner, rows, shares"]),
        ("# only a comment\n", ["an empty file"]),
        ("- 1\n- 2\n", ["a list of 2"]),
        ("just words\n", ["the text 'just words'"]),
        ("x" * 500, ["..."]),
        ("1: 2\n", ["names of fields"]),
        ("bogus: 1\n", ["unknown field bogus"]),
        ("valeu: 1\n", ["unknown field valeu", "nearest: value"]),
        ("rows: [{}, {cuont: 1}]\n", ["unknown field rows[1].cuont", "nearest: count"]),
        ("inner: {count: many}\n", ["field inner.count", "the text 'many'", "a whole number"]),
        ("inner: {count: 1.5}\n", ["field inner.count", "1.5", "a whole number"]),
        ("inner: {count: true}\n", ["field inner.count", "true"]),
        ("inner: {label: 5}\n", ["field inner.label", "text or null", "in quotes"]),
        ("inner: [1]\n", ["field inner", "a list of 1", "fields with values"]),
        ("rows: {}\n", ["field rows", "no fields", "a list"]),
        ("shares: {chat: lots}\n", ["field shares.chat", "a number"]),
    ],
)
def test_a_mistake_is_named_with_its_place(text, words):
    with pytest.raises(BadInputError) as error:
        decode_yaml(text, type=Outer, where="test")
    for word in words:
        assert word in str(error.value), str(error.value)


def test_a_missing_field_is_named():
    class Needs(msgspec.Struct):
        rows: list[Inner]
        name: str

    with pytest.raises(BadInputError, match=r"missing field name\n.*only rows"):
        decode_yaml("rows: []\n", type=Needs, where="test")


def test_anchors_and_merges_work():
    text = "inner: &a {count: 1}\nrows: [{<<: *a, label: x}, *a]\n"
    found = decode_yaml(text, type=Outer, where="test")
    assert found.rows == [Inner(count=1, label="x"), Inner(count=1)]


def test_a_field_that_stands_nearer_replaces_a_merged_one_wherever_the_mapping_is_used_again():
    """A mapping that was merged elsewhere before its own turn was said to have a field twice."""
    merged = "&a {<<: *b, count: 1}"
    assert load_yaml(f"b: &b {{count: 0, label: x}}\nx: {{<<: {merged}}}\ny: *a\n", where="t") == {
        "b": {"count": 0, "label": "x"},
        "x": {"count": 1, "label": "x"},
        "y": {"count": 1, "label": "x"},
    }
    deep = f"b: &b {{count: 0}}\ndeep: {{in: {{a: {merged}}}}}\nc: {{<<: [*a, *b], z: 1}}\n"
    assert load_yaml(deep, where="t")["c"] == {"count": 1, "z": 1}


def test_merged_mappings_that_merge_others_do_not_grow_without_bounds():
    rows = ["x0: &a0 {k0: 0}"]
    for n in range(1, 60):
        rows.append(f"x{n}: &a{n} {{<<: [{', '.join(3 * [f'*a{n - 1}'])}], k{n}: {n}}}")
    assert len(load_yaml("\n".join(rows), where="t")["x59"]) == 60
