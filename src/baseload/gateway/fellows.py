"""Decisions that another worker process took: each answers the others over a socket of its own, in
the folder where the workers meet.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec

ASK_S = 2.0
"""So long another worker may take to answer."""

_LINE_BYTES = 32


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A decision: name of the key that asked for it, and the page (JSON) that explains it."""

    client: str
    page: msgspec.Raw


Tell = Callable[[int], Told | None]


def place_of(decision_id: str) -> tuple[str, int] | None:
    """The mark of the worker that took a decision, and the number of its request; ``None`` for what
    is no decision's id.
    """
    mark, _, number = decision_id.partition("-")
    if not 0 < len(number) <= 15 or not set(mark + number) <= set("0123456789abcdef"):
        return None
    return (mark, int(number, 16)) if len(mark) == 8 else None


class Fellows:
    """The other workers. ``mark``: this one's, as its decisions' ids have it; ``tell`` gives a
    decision of its own. ``start`` inside a running loop.
    """

    def __init__(self, folder: Path, mark: str, tell: Tell) -> None:
        self._folder, self._mark, self._tell = folder, mark, tell
        self._serving: asyncio.Task[asyncio.Server] | None = None

    def start(self) -> None:
        """Answer the others from now on. Raises ``OSError`` where there can be no socket."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(str(self._path(self._mark)))
        sock.listen()
        sock.setblocking(False)
        self._serving = asyncio.get_running_loop().create_task(
            asyncio.start_unix_server(self._answer, sock=sock, limit=_LINE_BYTES)
        )

    async def ask(self, mark: str, number: int) -> Told | None:
        """The decision ``number`` of the worker ``mark``; ``None`` where it is not kept, or its
        worker is gone or too busy.
        """
        path = self._path(mark)
        if mark == self._mark or not path.exists():
            return None
        with contextlib.suppress(OSError, msgspec.DecodeError):
            async with asyncio.timeout(ASK_S):
                reader, writer = await asyncio.open_unix_connection(path)
                try:
                    writer.write(b"%d\n" % number)
                    return msgspec.json.decode(await reader.read(), type=Told | None)
                finally:
                    writer.close()
        return None

    async def close(self) -> None:
        """Answer no more."""
        if self._serving is None:
            return
        with contextlib.suppress(OSError):
            (await self._serving).close()
        self._path(self._mark).unlink(missing_ok=True)

    def _path(self, mark: str) -> Path:
        return self._folder / f"decisions-{mark}"

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one question."""
        with contextlib.suppress(OSError, ValueError):
            async with asyncio.timeout(ASK_S):
                writer.write(msgspec.json.encode(self._tell(int(await reader.readline()))))
                await writer.drain()
        writer.close()
