"""Words and JSON that only a seed and the request decide."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.gateway.emulated.text import (
    WORDS,
    Draws,
    Pieces,
    Prose,
    instance_of,
    json_pieces,
    stopped,
)


def test_the_same_names_draw_the_same_and_others_do_not():
    first, same, other = Draws(1, b"a"), Draws(1, b"a"), Draws(2, b"a")
    rows = [[draws.next() for _ in range(5)] for draws in (first, same, other)]
    assert rows[0] == rows[1] != rows[2]
    assert all(0 <= value < 2**64 for row in rows for value in row)


def test_lognormal_numbers_have_their_mean():
    draws = Draws("mean")
    numbers = [draws.lognormal(200.0, 0.8) for _ in range(20_000)]
    spread = 200.0 * math.sqrt(math.exp(0.64) - 1)
    assert sum(numbers) / 20_000 == pytest.approx(200.0, abs=4 * spread / math.sqrt(20_000))


@given(seed=st.integers(0, 1000), count=st.integers(0, 300))
def test_the_whole_is_its_pieces(seed, count):
    prose = Prose(Draws(seed))
    assert prose.whole(count) == b"".join(prose.piece(number) for number in range(count))
    if count >= len(WORDS):
        assert len({prose.piece(number) for number in range(1, len(WORDS) + 1)}) == len(set(WORDS))
    pieces = json_pieces({"seed": seed})
    assert pieces.whole(count) == b"".join(pieces.piece(number) for number in range(count))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(value=VALUES, more=st.integers(0, 5))
def test_pieces_of_json_are_that_json_inside_a_string(value, more):
    pieces = json_pieces(value)
    text = json.loads(b'"' + pieces.whole(len(pieces.pieces) + more) + b'"')
    assert json.loads(text) == value


def test_a_stop_word_cuts_the_text_before_it():
    text = Pieces([b"one", b" two", b" three", b" four"])
    cut = stopped(text, 4, ["o thr", "four"])
    assert cut is not None
    assert (cut[0].whole(cut[1]), cut[1]) == (b"one tw", 3)
    assert stopped(text, 3, ["four"]) is None
    assert stopped(text, 4, ["one"])[0].whole(1) == b""


def check(value, schema, root):
    """A small checker, of its own making, of what instances promise."""
    if "$ref" in schema:
        return check(value, root["$defs"][schema["$ref"].rsplit("/", 1)[-1]], root)
    if "const" in schema:
        return value == schema["const"]
    if "enum" in schema:
        return value in schema["enum"]
    if "anyOf" in schema:
        return any(check(value, choice, root) for choice in schema["anyOf"])
    kind = schema["type"]
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    if not isinstance(value, kinds.get(kind, int | float)):
        return False
    if kind == "object":
        known = schema.get("properties", {})
        return all(name in value for name in schema.get("required", [])) and all(
            check(value[name], known[name], root) for name in value if name in known
        )
    if kind == "array":
        size = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 99)
        return size and all(check(item, schema["items"], root) for item in value)
    if kind == "string":
        return schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 999)
    if kind in ("integer", "number"):
        wanted = int if kind == "integer" else int | float
        inside = schema.get("minimum", -math.inf) <= value <= schema.get("maximum", math.inf)
        return isinstance(value, wanted) and not isinstance(value, bool) and inside
    return True


LEAVES = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "minLength": 40},
        {"type": "string", "maxLength": 3},
        {"type": "integer", "minimum": 3, "maximum": 4},
        {"type": "integer", "maximum": -5},
        {"type": "number", "minimum": 0.25, "maximum": 0.5},
        {"type": "boolean"},
        {"type": "null"},
        {"enum": ["a", 2, None]},
        {"const": {"x": [1]}},
        {"$ref": "#/$defs/Node"},
    ]
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(
            lambda some, least: {"type": "array", "items": some, "minItems": least, "maxItems": 3},
            inner,
            st.integers(0, 3),
        )
        | st.dictionaries(st.sampled_from("abc"), inner, max_size=3).map(
            lambda some: {"type": "object", "properties": some, "required": list(some)[:2]}
        )
        | st.lists(inner, min_size=1, max_size=2).map(lambda some: {"anyOf": some})
    ),
    max_leaves=6,
)
NODE = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
    },
    "required": ["name", "next"],
}


@given(schema=SCHEMAS, seed=st.integers(0, 100))
def test_instances_satisfy_their_schema_even_one_that_holds_itself(schema, seed):
    root = {**schema, "$defs": {"Node": NODE}}
    value = instance_of(root, Draws(seed))
    assert check(value, root, root)
    assert instance_of(root, Draws(seed)) == value


@given(schema=VALUES)
def test_any_schema_gives_some_json(schema):
    json.dumps(instance_of(schema, Draws(0)))


def test_all_of_is_one_object():
    parts = [{"properties": {"a": {"type": "null"}}}, {"properties": {"b": {"const": 1}}}]
    assert instance_of({"allOf": parts}, Draws(0)) == {"a": None, "b": 1}


def test_schemas_that_would_never_end_are_answered_with_a_text():
    itself = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}
    boxes = {"type": "string"}
    for _ in range(4):
        boxes = {"type": "array", "items": boxes, "minItems": 100}
    deep = {"type": "null"}
    for _ in range(400):
        deep = {"type": "object", "properties": {"a": deep}, "required": ["a"]}
    endless = {"type": "number", "minimum": -1.7e308, "maximum": 1.7e308}
    for schema in (itself, boxes, deep, endless, {"$ref": "#"}):
        assert list(instance_of(schema, Draws(0))) in (["answer"], ["a"])
