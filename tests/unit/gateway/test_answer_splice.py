"""Energy goes into an answer; every other byte stays."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.gateway.answer_splice import energy_comment, with_energy, with_response_energy

ENERGY = b'{"energy_joules":1.5}'


def test_the_object_goes_beside_usage_and_nothing_else_moves() -> None:
    body = b'{ "usage" : {"x":1.50}, "y": [ 1 ] }\n'
    assert (
        with_energy(body, ENERGY) == b'{ "usage" : {"x":1.50}, "y": [ 1 ] ,"energy":%s}\n' % ENERGY
    )
    assert with_energy(b"{}", ENERGY) == b'{"energy":%s}' % ENERGY


def test_an_energy_that_is_there_is_replaced() -> None:
    """An engine behind another gateway may bring its own."""
    assert with_energy(b'{"energy":5,"a":1.50}', ENERGY) == b'{"energy":%s,"a":1.50}' % ENERGY


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"}", b"{x}", b"<html>", b'"{}"', b'{"a":NaN}'])
def test_what_is_no_object_comes_back(body: bytes) -> None:
    assert with_energy(body, ENERGY) is body
    assert with_response_energy(body, ENERGY) is body


def test_energy_of_a_response_inside_its_event() -> None:
    payload = b'{"type":"x", "response":{"usage":{"a":1}} ,"n":1}'
    told = b'{"type":"x", "response":{"usage":{"a":1},"energy":%s} ,"n":1}' % ENERGY
    assert with_response_energy(payload, ENERGY) == told
    assert with_response_energy(b'{"type":"x"}', ENERGY) == b'{"type":"x"}'


def test_a_comment_is_one_line() -> None:
    assert energy_comment(b'{"a":\n1}') == b': energy {"a": 1}\n\n'


@given(st.dictionaries(st.text(), st.integers(0, 9) | st.text(), max_size=5))
def test_all_else_is_as_it_was(body: dict[str, object]) -> None:
    read = msgspec.json.decode(with_energy(msgspec.json.encode(body), ENERGY))
    assert read == body | {"energy": {"energy_joules": 1.5}}
