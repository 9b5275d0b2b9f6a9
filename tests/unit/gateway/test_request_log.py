"""One line a request, whatever a client names itself, whoever reads."""

from __future__ import annotations

import json
import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.gateway import request_log
from baseload.gateway.events import Close
from baseload.gateway.request_log import RequestLog

ENDED = Close(
    request=1,
    reason="answered",
    status=200,
    attempts=2,
    energy_j=12.345678,
    queued_s=0.01,
    ttft_s=0.25,
    total_s=3.0,
)
WHO = {
    "request_id": "req-1",
    "endpoint": "chat",
    "tier": "interactive",
    "model": "small",
    "effort": "low",
}
NOON_S = 1_700_000_000.25


def logged(form, *calls):
    """The lines that these calls write."""
    written = []
    log = RequestLog(form, write=written.append, clock_s=lambda: NOON_S)
    for call in calls:
        call(log)
    log.close()
    return b"".join(written).decode().splitlines(keepends=True)


def test_text():
    (line,) = logged(
        "text", lambda log: log.closed(ENDED, **WHO, key="team", replica="a-1", input_tokens=9)
    )
    assert line == (
        "2023-11-14T22:13:20.250Z request req-1 chat key=team tier=interactive model=small"
        " effort=low replica=a-1 answered 200 attempts=2 tokens=9/-/-/- queued=0.0100s"
        " ttft=0.2500s total=3.0000s energy=12.35J wasted=0J\n"
    )


def test_what_is_not_known_is_a_dash():
    refused = Close(request=1, reason="saturated", status=429)
    (line,) = logged("text", lambda log: log.closed(refused, **WHO))
    assert "replica=- saturated 429" in line
    assert "ttft=- " in line


def test_json():
    (line,) = logged("json", lambda log: log.closed(ENDED, **WHO, stream=True, output_tokens=5))
    assert json.loads(line) == {
        "at": "2023-11-14T22:13:20.250Z",
        "event": "request",
        "id": "req-1",
        "endpoint": "chat",
        "tier": "interactive",
        "model": "small",
        "effort": "low",
        "stream": True,
        "status": 200,
        "reason": "answered",
        "attempts": 2,
        "output_tokens": 5,
        "queued_s": 0.01,
        "ttft_s": 0.25,
        "total_s": 3.0,
        "energy_j": 12.345678,
        "wasted_j": 0.0,
    }


@pytest.mark.parametrize("form", ["text", "json"])
@given(st.text(min_size=1), st.text(st.characters()), st.floats())
def test_any_word_of_a_client_stays_in_its_line(form, request_id, model, ttft_s):
    ended = Close(request=1, reason="cancelled", ttft_s=abs(ttft_s))
    who = {**WHO, "request_id": request_id, "model": model}
    lines = logged(form, lambda log: log.closed(ended, **who))
    assert len(lines) == 1
    assert lines[0].endswith("\n")
    if form == "text":
        assert lines[0][:-1].isascii()
        assert lines[0][:-1].isprintable()
    else:
        said = json.loads(lines[0])
        assert said["id"] == request_id[:128]
        assert said["model"] == model


def test_half_a_character_is_logged():
    who = {**WHO, "model": "\ud800"}
    (line,) = logged("json", lambda log: log.closed(ENDED, **who))
    assert json.loads(line)["model"] == "\ud800"
    (line,) = logged("text", lambda log: log.closed(ENDED, **who))
    assert '"\\ud800"' in line


def test_other_events():
    def reload(log):
        log.event("reload", ok=True, took_s=0.5, path="my file.yaml", why=None)

    assert logged("text", reload) == [
        '2023-11-14T22:13:20.250Z reload ok=True took_s=0.5 path="my file.yaml"\n'
    ]
    assert json.loads(logged("json", reload)[0]) == {
        "at": "2023-11-14T22:13:20.250Z",
        "event": "reload",
        "ok": True,
        "took_s": 0.5,
        "path": "my file.yaml",
        "why": None,
    }


def test_off_is_off():
    assert logged("off", lambda log: log.closed(ENDED, **WHO), lambda log: log.event("x")) == []


def test_lines_keep_their_order_and_none_is_lost():
    def many(log):
        for number in range(500):
            log.event("n", number=number)
            if number % 100 == 0:
                log.flush()

    assert [json.loads(line)["number"] for line in logged("json", many)] == list(range(500))


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(28, "full"), ValueError("closed")])
def test_a_reader_that_is_gone_ends_the_log_and_nothing_else(error):
    def write(lines):
        raise error

    log = RequestLog("text", write=write)
    log.event("first")
    log.flush()
    assert log.broken
    log.event("second")
    log.flush()
    log.close()


def test_a_reader_that_does_not_read_costs_lines_not_the_service(monkeypatch):
    monkeypatch.setattr(request_log, "MOST_WAITING", 3)
    monkeypatch.setattr(request_log, "HOLD_S", 0.0)
    entered, leave, written = threading.Event(), threading.Event(), []

    def write(lines):
        entered.set()
        leave.wait()
        written.append(lines)

    log = RequestLog("text", write=write)
    log.event("first")
    assert entered.wait(10.0)
    for _ in range(5):
        log.event("more")
    assert log.dropped == 2
    log.close(within_s=0.0)  # gives up
    leave.set()


def test_standard_error_by_default(capfd):
    log = RequestLog("text", clock_s=lambda: NOON_S)
    log.event("hello", ttft_s=math.inf)
    log.close()
    assert capfd.readouterr().err == "2023-11-14T22:13:20.250Z hello ttft_s=inf\n"
