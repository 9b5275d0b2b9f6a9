"""A log of events traces itself again, and nothing else does."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest
from tests.faults.world import World

from baseload.base.errors import BadInputError, BaseloadError, OutputError
from baseload.cli import main as cli
from baseload.gateway import event_log, events
from baseload.gateway.config import KeyEntry
from baseload.gateway.event_log import EventLog, read_log, retrace
from baseload.gateway.live_fleet import LiveFleet


def recorded(path: Path, seed: int, *, requests: int = 60) -> World:
    """A world of faults that was recorded."""
    logs: list[EventLog] = []

    def note(now_ns: int, event: events.AnyEvent, commands: list[events.AnyCommand]) -> None:
        logs[0].note(now_ns, event, commands)

    def noted(live: LiveFleet, now_ns: int, commands: list[events.AnyCommand]) -> None:
        logs[0].reconfigured(now_ns, live, commands)

    world = World(seed, requests=requests, note=note, noted=noted)
    logs.append(EventLog(path, world.live, world.start_ns, kept=world.core.kept))
    world.run()
    logs[0].close()
    return world


@pytest.mark.parametrize("seed", range(12))
def test_a_recorded_world_leads_to_the_same_commands(tmp_path: Path, seed: int) -> None:
    world = recorded(tmp_path / "log", seed)
    found = retrace(tmp_path / "log")
    assert found.identical
    assert found.events == world.told
    assert found.first_difference is None
    assert not found.torn


def test_worlds_with_reloads_are_among_them(tmp_path: Path) -> None:
    fleets = []
    for seed in range(12):
        recorded(tmp_path / "log", seed)
        fleets.append(retrace(tmp_path / "log").fleets)
    assert max(fleets) > 2


def test_an_event_that_was_changed_is_found(tmp_path: Path) -> None:
    recorded(tmp_path / "log", 3)
    frames = list(read_log(tmp_path / "log"))
    arrivals = [
        place
        for place, frame in enumerate(frames)
        if isinstance(frame.event, events.Arrived) and frame.check != event_log._EMPTY_CHECK
    ]
    changed = arrivals[-1]
    encoder = msgspec.msgpack.Encoder()
    with (tmp_path / "other").open("wb") as file:
        file.write(event_log.MAGIC)
        for place, frame in enumerate(frames):
            event, kind = frame.event or frame.fleet, 0 if frame.event else 1
            if place == changed:
                event = msgspec.structs.replace(frame.event, request=10**9)
            data = encoder.encode(event)
            file.write(event_log._HEAD.pack(len(data), kind, frame.now_ns, frame.check) + data)
    found = retrace(tmp_path / "other")
    assert not found.identical
    assert found.first_difference is not None
    assert found.first_difference.number == sum(f.event is not None for f in frames[:changed])
    assert "request=1000000000" in found.first_difference.event
    assert cli.main(["retrace", str(tmp_path / "other")]) == 1


def test_a_torn_tail_is_left_out_and_told(tmp_path: Path) -> None:
    recorded(tmp_path / "log", 5)
    whole = (tmp_path / "log").read_bytes()
    events_of = {}
    for cut in (1, 5, 20):
        (tmp_path / "log").write_bytes(whole[:-cut])
        found = retrace(tmp_path / "log")
        assert found.torn
        assert found.identical
        events_of[cut] = found.events
    assert events_of[1] >= events_of[20] > 0


@pytest.mark.parametrize(
    "content", [b"", b"hello", event_log.MAGIC, event_log.MAGIC + b"\xff" * 99]
)
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "log").write_bytes(content)
    with pytest.raises(BadInputError, match="log"):
        retrace(tmp_path / "log")
    assert cli.main(["retrace", str(tmp_path / "log")]) == 2


def test_a_damaged_byte_never_escapes_as_another_error(tmp_path: Path) -> None:
    """Whatever byte is turned: a difference, an error that says so, or, where it did not matter,
    the same commands.
    """
    recorded(tmp_path / "log", 8, requests=12)
    whole = (tmp_path / "log").read_bytes()
    start = len(whole) // 3
    outcomes = set()
    for place in range(start, len(whole), 61):
        turned = bytearray(whole)
        turned[place] ^= 0x15
        (tmp_path / "other").write_bytes(turned)
        try:
            outcomes.add(retrace(tmp_path / "other").identical)
        except BaseloadError:
            outcomes.add(None)
    assert {False, None} <= outcomes


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    world = World(0)
    with pytest.raises(OutputError, match="record events"):
        EventLog(tmp_path / "no" / "log", world.live, 0)
    with pytest.raises(BadInputError, match="No such file"):
        retrace(tmp_path / "none")


def test_no_secret_is_in_it(tmp_path: Path) -> None:
    live = World(0).live
    entries = tuple(
        msgspec.structs.replace(entry, api_key="env:KEY", headers={"x-a": "s3cret"})
        for entry in live.config.replicas
    )
    keys = (KeyEntry(name="me", hash="sha256:1234"),)
    config = msgspec.structs.replace(live.config, replicas=entries, keys=keys)
    EventLog(tmp_path / "log", LiveFleet(config, live.kinds), 0).close()
    written = (tmp_path / "log").read_bytes()
    assert not any(one in written for one in (b"s3cret", b"sha256", b"env:KEY"))
    assert retrace(tmp_path / "log").events == 0


def test_the_command_says_what_was_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = recorded(tmp_path / "log", 1)
    assert cli.main(["retrace", str(tmp_path / "log"), "--json", "-"]) == 0
    said = msgspec.json.decode(capsys.readouterr().out)
    assert said["schema"] == "baseload-retrace/1"
    assert (said["identical"], said["events"]) == (True, world.told)
    assert cli.main(["retrace", str(tmp_path / "log")]) == 0
    assert "identical" in capsys.readouterr().out


def test_an_event_costs_microseconds(tmp_path: Path) -> None:
    """Far above the 5 us it takes, so that a busy machine does not fail it."""
    log = EventLog(tmp_path / "log", World(0).live, 0)
    told = events.Progressed(request=1, attempt=0, tokens=3)
    said = [events.Send(request=1, attempt=0, replica=3, option=0)]
    begun_s = time.process_time()
    for now_ns in range(20_000):
        log.note(now_ns, told, said if now_ns % 4 == 0 else ())
    assert (time.process_time() - begun_s) / 20_000 < 50e-6
    log.close()
