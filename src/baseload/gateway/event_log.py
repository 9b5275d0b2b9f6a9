"""A log of what the state machine was told, from which its words can be had again.

Pure bytes: ``MAGIC``, then frames, each its length (4 bytes, little endian), its kind (1 byte), the
instant (8 bytes), a check (4 bytes) and msgpack. A frame of an event has the event, and the CRC-32
of the machine's commands as its check. A frame of a fleet has all that a machine is made of: the
configuration without secrets, and the numbers of its replica types; the first frame is one, and
each change of configuration adds another. So a log needs no other file, but what a site's
``supply`` section names.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from baseload.base.errors import BadInputError, OutputError
from baseload.base.version import VERSION
from baseload.fleet.replica_type import ReplicaType
from baseload.gateway.config import GatewayConfig
from baseload.gateway.core import Core
from baseload.gateway.events import AnyCommand, AnyEvent
from baseload.gateway.live_fleet import LiveFleet
from baseload.simulator.supplied import Supplied

MAGIC = b"baseload-events/1\n"
"""The first bytes of a log; its number is that of the format."""

FRAME_BYTES_MOST = 64 * 1024 * 1024
BUFFER_BYTES = 256 * 1024

_HEAD = struct.Struct("<IBqI")
_EVENT, _FLEET = 0, 1
_EMPTY_CHECK = zlib.crc32(b"\x90")  # of no commands, an empty list

SuppliedOf = Callable[[GatewayConfig], Supplied | None]


class FleetFrame(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine is made of, and how it was begun. ``version``: of the program that wrote it.
    ``supplied``: whether a site feeds the fleet.
    """

    version: str
    config: GatewayConfig
    kinds: tuple[ReplicaType, ...]
    supplied: bool
    kept: int
    leads: bool


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a log: ``event`` or ``fleet`` at ``now_ns``, and the CRC-32 of the commands that
    the machine answered.
    """

    now_ns: int
    check: int
    event: AnyEvent | None = None
    fleet: FleetFrame | None = None


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """The first event, counted from 0, to which the machine answered otherwise than it had."""

    number: int
    now_ns: int
    event: str
    commands: tuple[str, ...]


class Retraced(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a log when it was told again. ``events`` told, ``seconds`` that they span,
    ``torn``: its last entry was cut off.
    """

    events: int
    fleets: int
    seconds: float
    torn: bool
    version: str
    identical: bool
    first_difference: Difference | None = None


class EventLog:
    """Writes a log to ``path``, buffered; whole after ``close``. The machine that it is of was
    made of ``live`` at ``now_ns``, with the same ``kept`` and ``leads``.

    Raises ``OutputError`` where the file cannot be written.
    """

    def __init__(
        self, path: Path, live: LiveFleet, now_ns: int, *, kept: int = 4096, leads: bool = True
    ) -> None:
        self._encoder = msgspec.msgpack.Encoder()
        self._body = bytearray()
        self._kept, self._leads = kept, leads
        try:
            self._file = path.open("wb", buffering=BUFFER_BYTES)
        except OSError as error:
            raise OutputError(f"record events in {path}", found=str(error.strerror)) from error
        self._file.write(MAGIC)
        self.reconfigured(now_ns, live, ())

    def note(self, now_ns: int, event: AnyEvent, commands: Sequence[AnyCommand]) -> None:
        """Add an event that the machine was told at ``now_ns``, and what it answered."""
        encode, body = self._encoder.encode_into, self._body
        check = _EMPTY_CHECK
        if commands:
            encode(commands, body)
            check = zlib.crc32(body)
        encode(event, body)
        self._file.write(_HEAD.pack(len(body), _EVENT, now_ns, check) + body)

    def reconfigured(self, now_ns: int, live: LiveFleet, commands: Sequence[AnyCommand]) -> None:
        """Add a change of configuration, and what the machine answered."""
        frame = FleetFrame(
            version=VERSION,
            config=without_secrets(live.config),
            kinds=live.kinds,
            supplied=live.supplied is not None,
            kept=self._kept,
            leads=self._leads,
        )
        data = self._encoder.encode(frame)
        self._file.write(_HEAD.pack(len(data), _FLEET, now_ns, check_of(commands)) + data)

    def close(self) -> None:
        """Write what is left and close the file."""
        self._file.close()


def check_of(commands: Sequence[AnyCommand]) -> int:
    """The CRC-32 of commands as they are encoded."""
    return zlib.crc32(msgspec.msgpack.encode(list(commands)))


def without_secrets(config: GatewayConfig) -> GatewayConfig:
    """The configuration as far as decisions go: no keys, no headers, nothing to log in with."""
    replace = msgspec.structs.replace
    return replace(
        config,
        keys=(),
        replicas=tuple(replace(entry, api_key=None, headers={}) for entry in config.replicas),
        telemetry=replace(config.telemetry, otlp_endpoint=None),
    )


def read_log(path: Path) -> Iterator[Frame]:
    """The entries of a log; one that was cut off (the process was killed) ends it with ``None`` in
    both ``event`` and ``fleet``.

    Raises ``BadInputError`` for a file that is no log, or is damaged.
    """
    event_of = msgspec.msgpack.Decoder(AnyEvent)
    fleet_of = msgspec.msgpack.Decoder(FleetFrame)
    try:
        file = path.open("rb")
    except OSError as error:
        raise BadInputError(f"log {path}", found=str(error.strerror)) from error
    with file:
        magic = file.read(len(MAGIC))
        if magic != MAGIC:
            raise BadInputError(
                f"log {path}",
                found="another kind of file" if magic else "an empty file",
                allowed="a file that baseload serve --record has written",
            )
        place = 0
        while head := file.read(_HEAD.size):
            size, kind, now_ns, check = (
                _HEAD.unpack(head) if len(head) == _HEAD.size else (0, _EVENT, 0, 0)
            )
            if kind not in (_EVENT, _FLEET) or size > FRAME_BYTES_MOST:
                raise _damaged(path, place, f"an entry of kind {kind} and {size} bytes")
            data = file.read(size)
            if len(head) < _HEAD.size or len(data) < size:
                yield Frame(now_ns=now_ns, check=0)
                return
            try:
                if kind == _EVENT:
                    yield Frame(now_ns=now_ns, check=check, event=event_of.decode(data))
                else:
                    yield Frame(now_ns=now_ns, check=check, fleet=fleet_of.decode(data))
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise _damaged(path, place, str(error)) from error
            place += 1


def _damaged(path: Path, place: int, found: str) -> BadInputError:
    """The error for an entry that cannot be read."""
    return BadInputError(
        f"log {path}, entry {place}", found=found, allowed="entries of this format"
    )


def retrace(path: Path, *, supplied_of: SuppliedOf | None = None) -> Retraced:
    """Tell a machine, made as the log says, all that is in it, and compare what it answers.

    ``supplied_of`` gives the site of a configuration with a ``supply``. Raises ``BadInputError``
    for a file that is no log or is damaged, and for a log of a fleet at a site without it.
    """
    core: Core | None = None
    fleets = events = begun_ns = last_ns = 0
    version, torn = "", False
    encode = msgspec.msgpack.Encoder().encode
    for frame in read_log(path):
        commands: Sequence[AnyCommand] = ()
        if frame.fleet is not None:
            live = _live(path, frame.fleet, supplied_of)
            if core is None:
                core = Core(live, frame.now_ns, kept=frame.fleet.kept, leads=frame.fleet.leads)
                begun_ns, version = frame.now_ns, frame.fleet.version
            else:
                commands = core.reconfigure(live, frame.now_ns)
            fleets += 1
        elif frame.event is not None:
            if core is None:
                raise _damaged(path, 0, "an event before the configuration")
            commands = _told(path, core, frame, events)
            events += 1
        else:
            torn = True
            break
        last_ns = frame.now_ns
        if zlib.crc32(encode(list(commands))) != frame.check:
            return Retraced(
                events=events,
                fleets=fleets,
                seconds=(last_ns - begun_ns) / 1e9,
                torn=False,
                version=version,
                identical=False,
                first_difference=_difference(frame, events, commands),
            )
    if core is None:
        raise _damaged(path, 0, "no configuration")
    return Retraced(
        events=events,
        fleets=fleets,
        seconds=(last_ns - begun_ns) / 1e9,
        torn=torn,
        version=version,
        identical=True,
    )


def _told(path: Path, core: Core, frame: Frame, number: int) -> Sequence[AnyCommand]:
    """What the machine answers to an event of a log; one that it could never have been told is
    damage.
    """
    assert frame.event is not None
    try:
        return core.handle(frame.event, frame.now_ns)
    except (AssertionError, IndexError, KeyError, ValueError, OverflowError) as error:
        kind = type(frame.event).__name__
        raise _damaged(path, number, f"{kind} that cannot be ({error!r})") from error


def _difference(frame: Frame, events: int, commands: Sequence[Any]) -> Difference:
    """Where a machine went another way."""
    said = repr(frame.event) if frame.event is not None else "a change of configuration"
    return Difference(
        number=events - 1,
        now_ns=frame.now_ns,
        event=said,
        commands=tuple(map(repr, commands)),
    )


def _live(path: Path, frame: FleetFrame, supplied_of: SuppliedOf | None) -> LiveFleet:
    """The fleet of a frame."""
    supplied = None
    if frame.supplied:
        supplied = None if supplied_of is None else supplied_of(frame.config)
        if supplied is None:
            raise BadInputError(
                f"log {path}",
                found="a fleet at a site, whose supply is not in the log",
                todo="give the folder of its files",
            )
    return LiveFleet(frame.config, frame.kinds, supplied=supplied)
