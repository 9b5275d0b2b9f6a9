"""A recorded log of events replays to the same commands, or says where it differs."""

from __future__ import annotations

import io
import math

import msgspec
import pytest
from fake_gateway import FakeCore, config_of

from baseload.base.errors import BadInputError
from baseload.gateway.config import KeyEntry, ReplicasEntry
from baseload.gateway.events import Arrived, Broke, Ended, Left, Progressed
from baseload.gateway.recorder import Configured, Recorder, Told, read_events, replay

EVENTS = [
    Arrived(request=1, lane=0, input_tokens=3.0),
    Broke(request=1, attempt=0, cause="connect"),
    Progressed(request=1, attempt=1, tokens=2),
    Ended(request=1, attempt=1, output_tokens=2),
    Arrived(request=2, lane=0, input_tokens=3.0, ttft_s=0.5),
    Left(request=2),
]


def recorded(path, events=EVENTS, core=None):
    core = core or FakeCore()
    recorder = Recorder(path.open("wb"), config_of(), now_ns=5)
    for number, event in enumerate(events):
        recorder.told(event, core.handle(event, number), now_ns=number)
    recorder.close()
    return path


def test_what_was_told_comes_back(tmp_path):
    frames = list(read_events(recorded(tmp_path / "e")))
    assert isinstance(frames[0], Configured)
    assert frames[0].config == config_of()
    told = frames[1:]
    assert [frame.now_ns for frame in told] == list(range(len(EVENTS)))
    for frame, event in zip(told, EVENTS, strict=True):
        assert isinstance(frame, Told)
        for name in event.__struct_fields__:
            mine, theirs = getattr(frame.event, name), getattr(event, name)
            assert mine == theirs or (math.isnan(mine) and math.isnan(theirs))


def test_the_same_machine_replays_to_the_same_commands(tmp_path):
    path = recorded(tmp_path / "e")
    assert replay(path, lambda config, now_ns: FakeCore()) == len(EVENTS)


def test_another_machine_is_found_out_at_its_first_difference(tmp_path):
    path = recorded(tmp_path / "e")
    with pytest.raises(BadInputError, match="event 1"):
        replay(path, lambda config, now_ns: FakeCore(tries=0))


def test_no_secret_is_written(tmp_path):
    entry = ReplicasEntry(
        model="m", urls=("http://a:1",), api_key="sesame", headers={"x": "sesame"}
    )
    config = config_of(replicas=(entry,), keys=(KeyEntry(name="k", hash="sha256:sesame"),))
    file = io.BytesIO()
    Recorder(file, config, now_ns=0)
    assert b"sesame" not in file.getvalue()
    assert b"http://a:1" in file.getvalue()


def test_a_log_that_was_cut_off_replays_as_far_as_it_goes(tmp_path):
    path = recorded(tmp_path / "e")
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    assert replay(path, lambda config, now_ns: FakeCore()) == len(EVENTS) - 1


@pytest.mark.parametrize("content", [b"", b"something else entirely", None])
def test_what_is_no_log_is_said_to_be_none(tmp_path, content):
    path = recorded(tmp_path / "e")
    if content is None:
        whole = bytearray(path.read_bytes())
        whole[25] ^= 0xFF
        content = bytes(whole)
    path.write_bytes(content)
    with pytest.raises(BadInputError, match="events"):
        replay(path, lambda config, now_ns: FakeCore())


def test_a_reload_is_another_configuration(tmp_path):
    path = tmp_path / "e"
    core = FakeCore()
    recorder = Recorder(path.open("wb"), config_of(), now_ns=0)
    other = config_of(seed=7)
    recorder.told(EVENTS[0], core.handle(EVENTS[0], 0), now_ns=0)
    recorder.configured(other, (), now_ns=1)
    recorder.close()
    seen = []

    def machine_of(config, now_ns):
        seen.append((config.seed, now_ns))
        return FakeCore()

    replay(path, machine_of)
    assert seen == [(0, 0), (7, 1)]
    assert msgspec.structs.asdict(other)["seed"] == 7
