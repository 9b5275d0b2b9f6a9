"""The command ``baseload replay`` against a server of a few lines."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import polars as pl
import pytest

from baseload.workload.fingerprint import sha256_of

pytestmark = pytest.mark.e2e

METRICS = 'baseload_emulated_energy_joules_total{state="active"} %d\n'
ENERGY = b': energy {"energy_joules": 2.5, "method": "modelled"}\n\n'


class Server:
    """Chat answers of the tokens asked for, 1 ms each; every tenth is refused. A thread of its
    own.
    """

    def __init__(self, *, pace_s=0.001):
        self.pace_s, self.seen, self.bodies, self.heads = pace_s, 0, [], []
        self.loop = asyncio.new_event_loop()
        self.port = 0
        self.up = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self.up.set()
        self.loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0.05))
        self.loop.close()

    def __enter__(self):
        self.thread.start()
        assert self.up.wait(10)
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    async def _serve(self, reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
                body = await reader.readexactly(int(length[1])) if length else b""
                await self._answer(head, body, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, head, body, writer):
        if head.startswith("GET /metrics"):
            return self._whole(writer, (METRICS % (100 + self.seen)).encode())
        if head.startswith("GET"):
            return self._whole(writer, b'{"data": []}')
        self.seen += 1
        asked = json.loads(body)
        self.bodies.append(asked)
        self.heads.append(head.lower())
        if self.seen % 10 == 0:
            words = b'{"error": {"message": "the fleet is full"}}'
            return self._whole(writer, words, "429 Too Many Requests")
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nx-baseload-model: m\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(asked["max_tokens"]):
            await asyncio.sleep(self.pace_s)
            self._event(writer, {"choices": [{"delta": {"content": "x"}}]})
        usage = {"prompt_tokens": 7, "completion_tokens": asked["max_tokens"]}
        self._event(writer, {"choices": [], "usage": usage})
        self._piece(writer, ENERGY + b"data: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")
        return None

    def _event(self, writer, fields):
        self._piece(writer, b"data: " + json.dumps(fields).encode() + b"\n\n")

    @staticmethod
    def _piece(writer, data):
        writer.write(b"%x\r\n" % len(data) + data + b"\r\n")

    @staticmethod
    def _whole(writer, body, status="200 OK"):
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


@pytest.fixture
def trace(tmp_path):
    """60 requests in 3 s, half of them of class batch."""
    path = tmp_path / "small.csv"
    rows = [f"{50_000 * n},{20 + n},{3 + n % 5},{('chat', 'batch')[n % 2]}" for n in range(60)]
    path.write_text("t_us,input_tokens,output_tokens,class\n" + "\n".join(rows) + "\n")
    return path


def command(*arguments):
    return [sys.executable, "-m", "baseload", "replay", *map(str, arguments)]


def test_a_run_from_the_command_line(tmp_path, trace):
    out = tmp_path / "run"
    with Server() as server:
        done = subprocess.run(
            command(
                trace,
                "--url",
                f"http://127.0.0.1:{server.port}/v1",
                "--speed",
                2,
                "--key",
                "env:LLM_KEY",
                "--effort",
                "low",
                "--json",
                "-",
                "--out",
                out,
                "--seconds",
                3,
            ),
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"LLM_KEY": "sk-1"},
        )
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert result["schema"] == "baseload-replay/1"
    assert result == json.loads((out / "result.json").read_text())
    total = result["total"]
    assert (total["sent"], total["answered"], total["failed"]) == (60, 54, 6)
    assert [row["name"] for row in result["tiers"]] == ["bulk", "interactive"]
    (failure,) = result["failures"]
    assert (failure["kind"], failure["example"]) == ("status 429", "the fleet is full")
    assert 0.001 <= total["ttft_s"]["p50"] < 0.5
    assert 0.001 <= total["tpot_s"]["p50"] < 0.1
    assert result["energy"]["energy_j"] == 54 * 2.5
    assert result["energy"]["metered_j"] == {"baseload_emulated_energy_joules_total": 60.0}
    assert result["models"] == {"m": 54}
    assert result["other_lengths"] == 0
    assert 1.4 < result["trace"]["span_s"] < 1.6
    assert all(body["reasoning_effort"] == "low" for body in server.bodies)
    assert all("authorization: bearer sk-1" in head for head in server.heads)
    objectives = [("objective: bulk" in head) for head in server.heads]
    assert sum(objectives) == 30
    table = pl.read_parquet(out / "requests.parquet")
    assert table.height == 60
    assert (table["sent_s"] >= table["due_s"]).all()


def test_what_was_sent_can_be_simulated(tmp_path, trace):
    out = tmp_path / "run"
    with Server(pace_s=0.0) as server:
        url = f"http://127.0.0.1:{server.port}"
        flags = ["--url", url, "--rate", 20, "--seconds", 2, "--out", out, "-q"]
        done = subprocess.run(command(trace, *flags), capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "interactive" in done.stdout
    from baseload.sources import read_trace

    sent = read_trace(out / "trace.parquet")
    result = json.loads((out / "result.json").read_text())
    assert len(sent) == 40 == result["trace"]["requests"]
    assert sha256_of(sent) == result["trace"]["sha256"]
    assert sorted(body["max_tokens"] for body in server.bodies) == sorted(
        sent.output_tokens.tolist()
    )


def test_ctrl_c_shows_what_was_measured_so_far(trace):
    with Server() as server:
        url = f"http://127.0.0.1:{server.port}"
        process = subprocess.Popen(
            command(trace, "--url", url, "--speed", 0.2, "--json", "-"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        until = time.monotonic() + 30
        while server.seen < 5 and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted" in err
    result = json.loads(out)
    assert result["interrupted"]
    assert 5 <= result["total"]["sent"] < 60
    assert result["total"]["answered"] >= 4
