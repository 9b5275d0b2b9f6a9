from __future__ import annotations

import pytest

from baseload.base.errors import (
    BadInputError,
    BaseloadError,
    DoesNotFitError,
    OutputError,
    ServiceError,
    StaleSignalError,
    UnknownNameError,
    nearest_names,
    unknown_name,
)

KNOWN = ["round_robin", "least_loaded", "least_latency", "Qwen/Qwen3-14B"]


def test_a_message_answers_four_questions_in_order():
    error = BadInputError("seeds", found="0", allowed=">= 1", todo="say --seeds 1")
    assert str(error).splitlines() == [
        "seeds",
        "  found:   0",
        "  allowed: >= 1",
        "  to do:   say --seeds 1",
    ]
    assert (error.asked, error.found, error.allowed, error.todo) == (
        "seeds",
        "0",
        ">= 1",
        "say --seeds 1",
    )


def test_what_was_not_said_is_left_out():
    assert str(BaseloadError("only this")) == "only this"


@pytest.mark.parametrize(
    "kind",
    [
        UnknownNameError,
        BadInputError,
        DoesNotFitError,
        OutputError,
        ServiceError,
        StaleSignalError,
    ],
)
def test_every_error_is_the_input_s_fault(kind):
    assert issubclass(kind, BaseloadError)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("round-robin", "round_robin"),
        ("LEAST_LOADED", "least_loaded"),
        ("qwen3-14b", "Qwen/Qwen3-14B"),
        ("latency", "least_latency"),
    ],
)
def test_the_nearest_name_is_the_one_meant(typed, meant):
    assert nearest_names(typed, KNOWN)[0] == meant


def test_nothing_is_near_to_nonsense():
    assert nearest_names("0123456789", KNOWN) == []
    assert len(nearest_names("least", KNOWN * 3, most=2)) == 2


def test_an_unknown_name_lists_the_nearest_or_all():
    near = unknown_name("policy", "least_load", KNOWN, todo="see the list")
    assert isinstance(near, UnknownNameError)
    assert near.allowed.startswith("nearest: least_loaded")
    assert near.todo == "see the list"
    assert "least_loaded" in unknown_name("policy", "0123456789", KNOWN).allowed


def test_a_stale_signal_is_bad_input_and_a_service_says_its_status():
    assert issubclass(StaleSignalError, BadInputError)
    assert ServiceError("asked").status == 0
    error = ServiceError("asked", found="HTTP 503", todo="wait", status=503)
    assert (error.status, error.found, error.todo) == (503, "HTTP 503", "wait")
