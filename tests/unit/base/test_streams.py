from __future__ import annotations

import subprocess
import sys

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.base.streams import stream, stream_key


def test_equal_names_give_equal_numbers():
    assert (
        stream(7, "arrivals", "chat").random(9) == stream(7, "arrivals", "chat").random(9)
    ).all()


def test_a_further_stream_shifts_nobody():
    """Common random numbers: drawing from one stream does not move another."""
    expected = stream(7, "lengths").random(9)
    stream(7, "somebody", "new").random(1000)
    assert (stream(7, "lengths").random(9) == expected).all()


@given(
    one=st.tuples(st.integers(0, 2**32), st.lists(st.sampled_from("abc"), max_size=3)),
    two=st.tuples(st.integers(0, 2**32), st.lists(st.sampled_from("abc"), max_size=3)),
)
@settings(max_examples=100, deadline=None)
def test_keys_are_equal_only_for_equal_names(one, two):
    (seed, names), (other_seed, other_names) = one, two
    equal = stream_key(seed, *names) == stream_key(other_seed, *other_names)
    assert equal == (one == two)
    assert 0 <= stream_key(seed, *names) < 2**128


def test_the_key_is_the_same_in_another_process():
    """No hash that depends on the process goes into it."""
    code = "from baseload.base.streams import stream_key; print(stream_key(3, 'policy', 'random'))"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert int(found) == stream_key(3, "policy", "random")


def test_streams_look_independent():
    numbers = np.array([stream(0, "s", index).random(2000) for index in range(8)])
    correlation = np.corrcoef(numbers)
    assert np.abs(correlation - np.eye(8)).max() < 0.1
