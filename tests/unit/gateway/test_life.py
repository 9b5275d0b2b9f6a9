"""What a life keeps of an arrival."""

from __future__ import annotations

import math

from baseload.gateway.events import Arrived
from baseload.gateway.life import Life


def test_numbers_of_an_arrival_are_floats_whatever_a_client_sent():
    """A limit of 3 tokens is an int of JSON; given to the kernels as one, it had them compiled a
    second time, for four seconds, in the first request that had a limit.
    """
    arrived = Arrived(request=1, lane=0, input_tokens=7, cap_tokens=3)
    life = Life(arrived, 0, (math.nan, math.nan, math.nan), 0)
    assert type(life.input_tokens) is type(life.cap_tokens) is float
    assert (life.input_tokens, life.cap_tokens) == (7.0, 3.0)
