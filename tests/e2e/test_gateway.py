"""The real server, real sockets, the official client."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import openai
import pytest
from scripted_engine import ScriptedEngine

pytestmark = pytest.mark.e2e

MESSAGES = [{"role": "user", "content": "Say hello."}]
CONFIG = """
models: [{{name: m, upstream_name: up}}]
replicas: [{{model: m, urls: [{urls}]}}]
tiers: [{{name: interactive, ttft_s: 30, tpot_s: 5}}]
health: {{period_s: 0.5, metrics_s: 0}}
limits: {{drain_s: {drain_s}, first_byte_s: {first_byte_s}, idle_s: {idle_s}}}
retries: {{backoff_s: 0.01, backoff_most_s: 0.05}}
"""


class Gateway:
    """A serving process and what it said."""

    def __init__(self, process, url, config):
        self.process, self.url, self.config = process, url, config
        self.client = openai.OpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0, timeout=30)

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return answer.read()

    def totals(self):
        return json.loads(self.get("/v1/energy/summary"))["totals"]

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(30)

    def ask(self, **fields):
        return self.client.chat.completions.create(model="m", messages=MESSAGES, **fields)


def text_of(engines, *, drain_s=5.0, first_byte_s=60.0, idle_s=60.0):
    urls = ", ".join(f'"{engine.url}"' for engine in engines)
    return CONFIG.format(urls=urls, drain_s=drain_s, first_byte_s=first_byte_s, idle_s=idle_s)


@contextmanager
def gateway(tmp_path, engines, *flags, **limits):
    """A gateway in front of ``engines``, ready."""
    config = tmp_path / "gateway.yaml"
    config.write_text(text_of(engines, **limits))
    command = [sys.executable, "-m", "baseload", "serve", "--config", str(config), "--port", "0"]
    errors = (tmp_path / "stderr").open("w")
    process = subprocess.Popen([*command, *flags], stdout=subprocess.PIPE, stderr=errors, text=True)
    found = None
    try:
        line = process.stdout.readline()
        assert "ready on http://" in line, (tmp_path / "stderr").read_text()
        url = line.split("ready on ")[1].split()[0]
        process.stdout.readline()
        found = Gateway(process, url, config)
        yield found
    finally:
        if found is not None:
            found.client.close()
        process.kill()
        process.wait(10)
        process.stdout.close()
        errors.close()


@pytest.fixture
def engines():
    made = [ScriptedEngine(), ScriptedEngine()]
    yield made
    for engine in made:
        engine.close()


def said(tmp_path):
    return (tmp_path / "stderr").read_text()


def wait_until(true, within_s=10.0):
    end_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def test_the_official_client_works_unchanged(tmp_path, engines):
    with gateway(tmp_path, engines) as found:
        assert [one.id for one in found.client.models.list()] == ["auto", "m"]
        raw = found.client.chat.completions.with_raw_response.create(model="m", messages=MESSAGES)
        answer = raw.parse()
        assert answer.choices[0].message.content == "hello"
        assert answer.usage.completion_tokens == 3
        assert answer.energy["method"] == "modelled"
        assert answer.energy["energy_joules"] > 0
        assert raw.headers["x-baseload-model"] == "m"
        assert float(raw.headers["x-baseload-price-usd"]) >= 0
        assert sum(len(engine.requests) for engine in engines) == 1
        asked = next(engine.requests[0] for engine in engines if engine.requests)
        assert asked["model"] == "up"

        words = [
            chunk.choices[0].delta.content
            for chunk in found.ask(stream=True)
            if chunk.choices and chunk.choices[0].delta.content
        ]
        assert words == ["one", "two", "three"]
        *_, last = found.ask(stream=True, stream_options={"include_usage": True})
        assert last.usage.total_tokens == 8
        assert last.energy["energy_joules"] > 0

        tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
        called = found.ask(tools=[tool]).choices[0]
        assert called.finish_reason == "tool_calls"
        assert called.message.tool_calls[0].function.name == "look"

        decision = json.loads(
            found.get("/v1/energy/decisions/" + raw.headers["x-baseload-decision"])
        )
        assert decision["outcome"]["reason"] == "answered"
        assert decision["decisions"][0]["candidates"]
        assert found.totals()["requests"] >= 4
        assert b"baseload_" in found.get("/metrics")
        assert found.stop() == 0


def test_errors_are_those_that_the_client_knows(tmp_path, engines):
    with gateway(tmp_path, engines) as found:
        with pytest.raises(openai.NotFoundError) as missing:
            found.client.chat.completions.create(model="nobody", messages=MESSAGES)
        assert missing.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError) as wrong:
            found.ask(max_tokens="many")
        assert wrong.value.param == "max_tokens"
        with pytest.raises(openai.BadRequestError):
            found.ask(extra_headers={"x-slo-ttft-ms": "soon"})
        for engine in engines:
            engine.mode = "refuse"
        with pytest.raises(openai.InternalServerError) as failed:
            found.ask()
        assert failed.value.status_code in (502, 503)


@pytest.mark.parametrize("mode", ["refuse", "die"])
def test_what_fails_before_its_first_byte_is_answered_by_another(tmp_path, engines, mode):
    with gateway(tmp_path, engines) as found:
        for engine in engines:
            engine.mode = mode
            assert found.ask().choices[0].message.content == "hello"
            words = [chunk.choices for chunk in found.ask(stream=True)]
            assert len(words) >= 3
            engine.mode = "good"
            wait_until(lambda: found.totals()["requests"] >= 2)


def test_a_stream_that_breaks_after_it_has_begun_is_not_begun_again(tmp_path, engines):
    with gateway(tmp_path, engines) as found:
        for engine in engines:
            engine.mode = "break"
        stream = found.ask(stream=True)
        words = [next(stream).choices[0].delta.content for _ in range(3)]
        assert words == ["one", "two", "three"]
        with pytest.raises(openai.APIError) as failed:
            next(stream)
        assert failed.value.code == "upstream"
        assert sum(len(engine.requests) for engine in engines) == 1


def test_a_client_that_leaves_cancels_its_upstream(tmp_path, engines):
    with gateway(tmp_path, engines) as found:
        for engine in engines:
            engine.mode = "hang"
        stream = found.ask(stream=True)
        assert next(iter(stream)).choices[0].delta.content == "one"
        busy = next(engine for engine in engines if engine.requests)
        assert busy.left == 0
        stream.close()
        busy.wait_for(lambda engine: engine.left == 1)

        def cancelled():
            totals = found.totals()
            return totals["reasons"].get("cancelled") == 1 and totals["wasted_j"] > 0

        wait_until(cancelled)


def test_an_engine_that_says_nothing_more_is_given_up(tmp_path, engines):
    with gateway(tmp_path, engines, idle_s=0.3) as found:
        for engine in engines:
            engine.mode = "hang"
        with pytest.raises(openai.APIError):
            list(found.ask(stream=True))
        busy = next(engine for engine in engines if engine.requests)
        busy.wait_for(lambda engine: engine.left == 1)


def test_a_signal_lets_streams_end(tmp_path, engines):
    with gateway(tmp_path, engines) as found:
        for engine in engines:
            engine.mode = "slow"
        stream = iter(found.ask(stream=True))
        assert next(stream).choices[0].delta.content == "one"
        found.process.send_signal(signal.SIGTERM)
        rest = [chunk.choices[0].delta.content for chunk in stream if chunk.choices]
        assert rest[:2] == ["two", "three"]
        assert found.process.wait(10) == 0
        with pytest.raises(urllib.error.URLError):
            found.get("/health")


def test_while_it_drains_it_says_so_to_whoever_comes(tmp_path, engines):
    with gateway(tmp_path, engines) as found:
        for engine in engines:
            engine.mode = "hang"
        stream = found.ask(stream=True)
        next(iter(stream))
        found.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "shutting down" in said(tmp_path))
        for _ in range(2):
            with pytest.raises(urllib.error.HTTPError) as refused:
                found.get("/ready")
            with refused.value:
                assert refused.value.code == 503
        assert found.get("/health")
        with pytest.raises(openai.InternalServerError) as late:
            found.ask()
        assert (late.value.status_code, late.value.code) == (503, "draining")
        stream.close()
        assert found.process.wait(10) == 0


def test_streams_that_do_not_end_in_time_are_told_so(tmp_path, engines):
    with gateway(tmp_path, engines, drain_s=0.3) as found:
        for engine in engines:
            engine.mode = "hang"
        stream = iter(found.ask(stream=True))
        next(stream)
        found.process.send_signal(signal.SIGINT)
        with pytest.raises(openai.APIError) as failed:
            list(stream)
        assert failed.value.code == "draining"
        assert found.process.wait(10) == 0


def test_a_second_signal_leaves_at_once(tmp_path, engines):
    with gateway(tmp_path, engines, drain_s=60.0) as found:
        for engine in engines:
            engine.mode = "hang"
        stream = iter(found.ask(stream=True))
        next(stream)
        found.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "shutting down" in said(tmp_path))
        assert found.stop() == 130


def test_a_changed_file_is_taken_over_and_a_bad_one_is_not(tmp_path, engines):
    first, second = engines
    with gateway(tmp_path, [first]) as found:
        first.mode = "slow"
        stream = iter(found.ask(stream=True))
        assert next(stream).choices[0].delta.content == "one"
        found.config.write_text(text_of([second]))
        wait_until(lambda: "reloaded" in said(tmp_path))
        assert [one.choices[0].delta.content for one in stream if one.choices][:2] == [
            "two",
            "three",
        ]
        found.ask()
        assert len(second.requests) == 1
        found.config.write_text(text_of([second]).replace("models:", "modells:"))
        found.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the old configuration stays" in said(tmp_path))
        assert "modells" in said(tmp_path)
        found.ask()
        assert len(second.requests) == 2
        assert found.stop() == 0


def test_a_port_that_is_taken_is_said_to_be(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "baseload", "serve", "--port", str(port)]
        found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert found.returncode == 2
    assert "taken by another program" in found.stderr
    assert "Traceback" not in found.stderr


def test_what_is_not_http_gets_an_error_and_the_others_go_on(tmp_path, engines):
    with gateway(tmp_path, engines) as found:
        host, port = found.url.removeprefix("http://").split(":")
        for junk, status in (
            (b"\x00\xff\r\n\r\n", b"400"),
            (b"GET / HTTP/1.1\r\nx: " + b"y" * 100_000, b"431"),
            (b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 99999999\r\n\r\n", b"413"),
        ):
            with socket.create_connection((host, int(port)), timeout=10) as sock:
                sock.sendall(junk)
                got = b""
                while part := sock.recv(65536):
                    got += part
                assert status in got.split(b"\r\n")[0]
                assert b'"error"' in got
        assert found.ask().choices[0].message.content == "hello"


def test_events_are_recorded_and_trace_again_to_the_same_commands(tmp_path, engines):
    record = tmp_path / "events.bin"
    with gateway(tmp_path, engines, "--record", str(record)) as found:
        for _ in range(5):
            found.ask()
            list(found.ask(stream=True))
        engines[0].mode = "refuse"
        found.ask()
        assert found.stop() == 0
    again = subprocess.run(
        [sys.executable, "-m", "baseload", "retrace", str(record)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert "identical" in again.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a POSIX system")
def test_it_is_ready_quickly_without_any_configuration(tmp_path):
    def seconds():
        begun_s = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "baseload", "serve", "--port", "0", "--log", "off"],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert "ready on" in process.stdout.readline()
            return time.monotonic() - begun_s
        finally:
            process.terminate()
            assert process.wait(20) == 0
            process.stdout.close()

    seconds()
    assert seconds() < 10.0
