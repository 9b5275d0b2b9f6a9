"""Errors as clients of OpenAI read them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.gateway.errors import TYPES, RequestError, bad_field, error_body, unknown_model


def test_the_shape_is_that_of_openai() -> None:
    error = RequestError(429, "slow down", code="rate_limit_exceeded", retry_after_s=1.2)
    assert msgspec.json.decode(error.body()) == {
        "error": {
            "message": "slow down",
            "type": "rate_limit_error",
            "param": None,
            "code": "rate_limit_exceeded",
        }
    }
    assert error.headers == ((b"retry-after", b"2"),)
    assert error.event() == b"data: " + error.body() + b"\n\n"


@pytest.mark.parametrize(
    ("wait_s", "told"),
    [(0.0, b"1"), (0.2, b"1"), (1.0, b"1"), (59.01, b"60"), (-3.0, b"1")],
)
def test_a_retry_is_asked_for_in_whole_seconds_never_at_once(wait_s: float, told: bytes) -> None:
    error = RequestError(503, "none ready", retry_after_s=wait_s, headers=[(b"x-a", b"b")])
    assert error.headers == ((b"retry-after", told), (b"x-a", b"b"))


@pytest.mark.parametrize("wait_s", [None, float("nan"), float("inf")])
def test_no_wait_no_header(wait_s: float | None) -> None:
    assert RequestError(503, "none ready", retry_after_s=wait_s).headers == ()


def test_every_status_has_a_type() -> None:
    assert RequestError(418, "tea").type == "invalid_request_error"
    assert RequestError(599, "x").type == "server_error"
    assert all(RequestError(status, "x").type == word for status, word in TYPES.items())
    assert RequestError(400, "x", kind="mine").type == "mine"


@given(st.text(st.characters(exclude_categories=())), st.text(st.characters()))
def test_any_words_can_be_said(message: str, param: str) -> None:
    """A client's own half surrogate must not turn its 400 into our 500."""
    body = error_body(message, kind="invalid_request_error", param=param)
    assert set(msgspec.json.decode(body)["error"]) == {"message", "type", "param", "code"}


def test_a_bad_field_names_field_found_and_allowed() -> None:
    error = bad_field("n", found="-1", allowed="an integer from 1 to 128")
    assert (error.status, error.param) == (400, "n")
    assert error.message == "n: found -1; allowed: an integer from 1 to 128"
    assert len(bad_field("n", found="x\n" * 1000, allowed="a number").message) < 200


def test_an_unknown_model_gets_the_list() -> None:
    error = unknown_model("qwen-8", ["qwen-8b", "llama-70b"])
    assert (error.status, error.param, error.code) == (404, "model", "model_not_found")
    assert "Nearest: qwen-8b." in error.message
    assert "Served: llama-70b, qwen-8b" in error.message
    assert "Served: none" in unknown_model("x" * 10_000, []).message
