"""A log of events that can be replayed: what the state machine was told, and a digest of its words.

The file: ``MAGIC``, then frames, each a length (4 bytes, little endian) and msgpack. The first
holds the configuration without secrets; a reload writes another. After each event stands the CRC-32
of all commands so far, so that a replay finds the first that differs.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

from baseload.base.errors import BadInputError
from baseload.gateway.config import GatewayConfig
from baseload.gateway.events import AnyCommand, AnyEvent

MAGIC = b"baseload-events/1\n"
FRAME_BYTES_MOST = 64 * 1024 * 1024
_LENGTH = struct.Struct("<I")


class Configured(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The configuration from ``now_ns`` on, and the digest after the machine has taken it in."""

    now_ns: int
    config: GatewayConfig
    digest: int


class Told(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """An event, when it was told, and the digest of all commands up to its own."""

    now_ns: int
    event: AnyEvent
    digest: int


Frame = Configured | Told


class Machine(Protocol):
    """What of the state machine a replay needs."""

    def handle(self, event: AnyEvent, now_ns: int) -> Sequence[AnyCommand]:
        """Its commands."""


class Recorder:
    """Writes events to ``file``, which it owns: buffered, whole after ``close``."""

    def __init__(self, file: BinaryIO, config: GatewayConfig, *, now_ns: int) -> None:
        self._file = file
        self._encoder = msgspec.msgpack.Encoder()
        self._digest = 0
        file.write(MAGIC)
        self.configured(config, (), now_ns=now_ns)

    def told(self, event: AnyEvent, commands: Sequence[AnyCommand], *, now_ns: int) -> None:
        """Add an event and what the machine answered."""
        self._take_in(commands)
        self._write(Told(now_ns=now_ns, event=event, digest=self._digest))

    def configured(
        self, config: GatewayConfig, commands: Sequence[AnyCommand], *, now_ns: int
    ) -> None:
        """Add a new configuration and what the machine answered to it."""
        self._take_in(commands)
        self._write(Configured(now_ns=now_ns, config=without_secrets(config), digest=self._digest))

    def close(self) -> None:
        """Write what is left and close the file."""
        self._file.close()

    def _take_in(self, commands: Sequence[AnyCommand]) -> None:
        if commands:
            self._digest = zlib.crc32(self._encoder.encode(commands), self._digest)

    def _write(self, frame: Frame) -> None:
        data = self._encoder.encode(frame)
        self._file.write(_LENGTH.pack(len(data)) + data)


def without_secrets(config: GatewayConfig) -> GatewayConfig:
    """The configuration as far as decisions go: no keys, no headers, nothing to log in with."""
    replace = msgspec.structs.replace
    return replace(
        config,
        keys=(),
        replicas=tuple(replace(entry, api_key=None, headers={}) for entry in config.replicas),
        telemetry=replace(config.telemetry, otlp_endpoint=None),
    )


def read_events(path: Path) -> Iterator[Frame]:
    """The frames of a file. A last frame that was cut off (the process was killed) is left out.

    Raises ``BadInputError`` for a file that is none, or is damaged.
    """
    decoder = msgspec.msgpack.Decoder(Frame)
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise BadInputError(
                f"events {path}", found="another kind of file", allowed="a file of --record"
            )
        while len(head := file.read(_LENGTH.size)) == _LENGTH.size:
            size = _LENGTH.unpack(head)[0]
            data = file.read(size) if size <= FRAME_BYTES_MOST else None
            if data is not None and len(data) < size:
                return
            try:
                yield decoder.decode(data or b"")
            except msgspec.MsgspecError as error:
                raise BadInputError(f"events {path}", found=str(error)) from error


def replay(path: Path, machine_of: Callable[[GatewayConfig, int], Machine]) -> int:
    """Tell a fresh machine all events of a file; gives their number.

    ``machine_of(config, now_ns)`` makes it, or, once it is there, is called to take in another
    configuration: a file with a reload needs one that keeps the machine. Raises ``BadInputError``
    at the first event whose commands differ from the recorded ones.
    """
    encoder = msgspec.msgpack.Encoder()
    machine: Machine | None = None
    digest = count = 0
    for frame in read_events(path):
        if isinstance(frame, Configured):
            machine = machine_of(frame.config, frame.now_ns)
            digest = frame.digest
            continue
        if machine is None:
            raise BadInputError(f"events {path}", found="an event before the configuration")
        commands = machine.handle(frame.event, frame.now_ns)
        if commands:
            digest = zlib.crc32(encoder.encode(commands), digest)
        if digest != frame.digest:
            raise BadInputError(
                f"replay of {path}: event {count}",
                found=f"other commands to {type(frame.event).__name__} than recorded",
                allowed="the same commands, bit for bit",
            )
        count += 1
    return count
