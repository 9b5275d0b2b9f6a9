"""A client's connection that is not there."""

from __future__ import annotations

import asyncio


class FakeTransport(asyncio.Transport):
    """Keeps what is written, write by write, and whether it was closed."""

    def __init__(self):
        super().__init__()
        self.writes, self.closing = [], False

    @property
    def written(self):
        """All of it."""
        return b"".join(self.writes)

    def write(self, data):
        self.writes.append(bytes(data))

    def close(self):
        self.closing = True

    def is_closing(self):
        return self.closing

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass
