"""A scripted engine on a real socket, in a thread of its own; what it answers is set outside."""

from __future__ import annotations

import asyncio
import json
import threading

OK = b"HTTP/1.1 200 OK\r\n"
JSON = b"content-type: application/json\r\n"
EVENTS = b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(**said):
    return b"data: " + json.dumps(said).encode() + b"\n\n"


def delta(text=None, *, finish=None, **more):
    said = more if text is None else {"content": text, **more}
    return event(
        id="c",
        object="chat.completion.chunk",
        created=1,
        model="up",
        choices=[{"index": 0, "delta": said, "finish_reason": finish}],
    )


USAGE = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}


class ScriptedEngine:
    """``mode``: ``good``, ``refuse`` (500), ``hang`` (head, one token, then nothing), ``die``
    (closes without a word), ``slow`` (a token each 0.1 s). ``requests``: bodies that came;
    ``left``: how many clients left before the end.
    """

    def __init__(self):
        self.mode, self.requests, self.left, self.healthy = "good", [], 0, True
        self.changed = threading.Condition()
        self._writers = set()
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(started)), daemon=True)
        self._thread.start()
        started.wait(10)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def close(self):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)

    def wait_for(self, what, within_s=10.0):
        with self.changed:
            assert self.changed.wait_for(lambda: what(self), within_s)

    def _note(self, change):
        with self.changed:
            change()
            self.changed.notify_all()

    async def _run(self, started):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await self._stop.wait()
        server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0.05)

    async def _serve(self, reader, writer):
        self._writers.add(writer)
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _one(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if head.startswith(b"get"):
            status = OK if self.healthy else b"HTTP/1.1 503 No\r\n"
            writer.write(status + b"content-length: 0\r\n\r\n")
            return True
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        asked = json.loads(await reader.readexactly(length))
        self._note(lambda: self.requests.append(asked))
        if self.mode == "die":
            return False
        if self.mode == "refuse":
            writer.write(b"HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno")
            return True
        if asked.get("stream"):
            return await self._stream(asked, reader, writer)
        self._answer(asked, writer)
        return True

    def _answer(self, asked, writer):
        message = {"role": "assistant", "content": "hello"}
        finish = "stop"
        if asked.get("tools"):
            name = asked["tools"][0]["function"]["name"]
            call = {"id": "t", "type": "function", "function": {"name": name, "arguments": "{}"}}
            message, finish = (
                {"role": "assistant", "content": None, "tool_calls": [call]},
                "tool_calls",
            )
        body = json.dumps(
            {
                "id": "c",
                "object": "chat.completion",
                "created": 1,
                "model": "up",
                "choices": [{"index": 0, "message": message, "finish_reason": finish}],
                "usage": USAGE,
            }
        ).encode()
        writer.write(OK + JSON + b"content-length: %d\r\n\r\n" % len(body) + body)

    async def _stream(self, asked, reader, writer):
        writer.write(OK + EVENTS)
        writer.write(chunk(delta("one")))
        await writer.drain()
        if self.mode == "hang":
            await reader.read(1)  # until the client leaves
            self._note(lambda: setattr(self, "left", self.left + 1))
            return False
        for word in ("two", "three"):
            if self.mode == "slow":
                await asyncio.sleep(0.1)
            writer.write(chunk(delta(word)))
        if self.mode == "break":
            await writer.drain()
            return False
        writer.write(chunk(delta(finish="stop")))
        if (asked.get("stream_options") or {}).get("include_usage"):
            writer.write(chunk(event(id="c", object="chat.completion.chunk", created=1, model="up",
                                     choices=[], usage=USAGE)))  # fmt: skip
        writer.write(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        await writer.drain()
        return True
