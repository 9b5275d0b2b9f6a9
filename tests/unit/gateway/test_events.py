"""Events and commands can be kept and read back."""

from __future__ import annotations

import math

import msgspec

from baseload.gateway import events


def test_a_log_of_events_reads_back_as_it_was_written() -> None:
    written = [
        events.Arrived(request=1, lane=0, input_tokens=12.0),
        events.Broke(request=1, attempt=0, cause="connect"),
        events.Others(in_flight=[1, 2], tokens=[30, 40]),
        events.Timer(),
    ]
    decoder = msgspec.msgpack.Decoder(events.AnyEvent)
    read = [decoder.decode(msgspec.msgpack.encode(event)) for event in written]
    assert [type(event) for event in read] == [type(event) for event in written]
    first = read[0]
    assert isinstance(first, events.Arrived)
    assert first.cap_tokens == math.inf
    assert math.isnan(first.ttft_s)
    assert read[2] == written[2]
