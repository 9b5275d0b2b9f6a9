"""What headers wish for: both generations, nonsense refused by name, nothing unsafe passed on."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.gateway.errors import RequestError
from baseload.gateway.wishes import Wishes, read_wishes, stable_hash

TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def read(*headers):
    return read_wishes(headers, most_bytes=10_000)


def test_without_headers_there_are_no_wishes():
    found = read((b"host", b"x"))
    assert found.request_id == ""
    assert found.body_bytes == -1
    assert math.isnan(found.ttft_s)
    assert (found.session, found.fairness, found.objective) == (0, 0, None)
    assert not found.effort_auto


@pytest.mark.parametrize("name", [b"x-slo-ttft-ms", b"x-llm-d-slo-ttft-ms"])
def test_promises_come_in_milliseconds_in_both_generations(name):
    assert read((name, b"250")).ttft_s == 0.25
    assert read((name.replace(b"ttft", b"tpot"), b"12.5")).tpot_s == 0.0125


def test_the_newer_spelling_goes_first():
    found = read((b"x-slo-ttft-ms", b"1"), (b"x-llm-d-slo-ttft-ms", b"2"))
    assert found.ttft_s == 0.002
    found = read(
        (b"x-gateway-inference-objective", b"old"), (b"x-llm-d-inference-objective", b"new")
    )
    assert found.objective == "new"


@pytest.mark.parametrize(
    "value", [b"", b"x", b"0", b"-1", b"nan", b"inf", b"1e99", b"\xff", b"1,2"]
)
def test_nonsense_is_refused_with_the_header_s_name(value):
    with pytest.raises(RequestError) as found:
        read((b"x-slo-ttft-ms", value))
    assert found.value.status == 400
    assert found.value.param == "x-slo-ttft-ms"


def test_effort_may_be_left_to_the_gateway_by_header():
    assert read((b"x-omniroute-effort", b"Auto")).effort_auto
    with pytest.raises(RequestError, match="x-omniroute-effort"):
        read((b"x-omniroute-effort", b"high"))


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (b"abc-1.2:3/x", True),
        (b"a" * 128, True),
        (b"a" * 129, False),
        (b"", False),
        (b"a b", False),
        (b"a\r\nx: y", False),
        (b'"', False),
        (b"\xc3\xa4", False),
    ],
)
def test_an_id_is_kept_only_where_it_is_safe(value, kept):
    assert read((b"x-request-id", value)).request_id == (value.decode() if kept else "")


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (TRACE, True),
        (TRACE[:-1], False),
        (TRACE.upper(), False),
        (b"ff" + TRACE[2:], False),
        (b"00-" + b"0" * 32 + TRACE[35:], False),
        (TRACE[:36] + b"0" * 16 + TRACE[52:], False),
        (b"-" * 55, False),
    ],
)
def test_only_a_good_trace_parent_is_passed_on(value, kept):
    found = read((b"traceparent", value), (b"tracestate", b"a=1"))
    assert found.traceparent == (value.decode() if kept else "")
    assert found.tracestate == ("a=1" if kept else "")


def test_too_many_headers_are_too_many():
    for headers in ([(b"a", b"x" * 10_000)], [(b"a", b"")] * 300):
        with pytest.raises(RequestError) as found:
            read(*headers)
        assert found.value.status == 431


def test_a_bad_length_is_refused():
    assert read((b"content-length", b"12")).body_bytes == 12
    for value in (b"-1", b"1e3", b"", b"9" * 30, "١".encode()):
        with pytest.raises(RequestError, match="content-length"):
            read((b"content-length", value))


def test_hashes_are_the_same_in_every_process():
    assert stable_hash(b"") == stable_hash(None) == 0
    assert stable_hash(b"abc") == 891568578 << 31 | 0x024D0127
    assert read((b"x-session-token", b"s")).session == stable_hash(b"s")
    assert read((b"x-session-token", b"s")).session != read((b"x-session-token", b"t")).session
    assert 0 < stable_hash(b"\xff" * 99) < 1 << 63


def test_the_short_way_reads_what_the_long_way_reads():
    plain = [(b"authorization", b"Bearer x"), (b"content-length", b"7"), (b"x-request-id", b"r")]
    short = read(*plain)
    long = read(*plain, (b"x-slo-ttft-ms", b"5"))
    assert isinstance(short, Wishes)
    for name in ("authorization", "body_bytes", "request_id", "api_key"):
        assert getattr(short, name) == getattr(long, name)
    assert read((b"x-api-key", b"k")).api_key == b"k"
    assert read((b"api-key", b"k")).api_key == b"k"


NAMES = st.sampled_from(
    [b"x-slo-ttft-ms", b"x-llm-d-slo-tpot-ms", b"traceparent", b"x-request-id", b"x-session-token",
     b"x-gateway-inference-fairness-id", b"x-omniroute-effort", b"content-length", b"other"]
)  # fmt: skip


@given(st.lists(st.tuples(NAMES, st.binary(max_size=60)), max_size=12))
def test_any_headers_are_read_or_refused_with_400(headers):
    refusal = None
    try:
        found = read(*headers)
    except RequestError as error:
        refusal = error
    if refusal is not None:
        assert refusal.status == 400
        assert refusal.param
        assert refusal.body()
        return
    assert math.isnan(found.ttft_s) or found.ttft_s > 0
    assert found.request_id.isascii()
