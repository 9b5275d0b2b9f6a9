"""Load, hash, and requests as policies see them."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from baseload.base.errors import BadInputError
from baseload.workload.chunks import source_of, take
from baseload.workload.fingerprint import TraceHasher, sha256_of
from baseload.workload.load import tokens_per_second
from baseload.workload.requests import Request, describe, tier_of
from baseload.workload.tiers import BULK, DEFAULT_TIERS, INTERACTIVE, Tier
from baseload.workload.trace import Trace, check_trace

# load


def test_load_counts_every_token_once(trace):
    loads = tokens_per_second(trace, 60)
    assert len(loads.requests) == 11
    assert loads.requests.sum() == len(trace)
    assert loads.input_tokens.sum() == trace.input_tokens.sum()
    assert loads.output_tokens.sum() == trace.output_tokens.sum()


def test_load_of_a_source_is_that_of_the_trace(trace):
    pieces = tokens_per_second(source_of(trace, chunk_requests=7), 45.5)
    whole = tokens_per_second(trace, 45.5)
    for name in ("requests", "input_tokens", "output_tokens"):
        assert np.array_equal(getattr(pieces, name), getattr(whole, name))


def test_the_busiest_windows_by_hand():
    trace = Trace(
        name="by hand",
        t_us=np.array([0, 5, 10_000_000, 35_000_000]),
        input_tokens=np.array([10, 20, 50, 1], np.int32),
        output_tokens=np.array([1, 2, 2, 9], np.int32),
        class_code=np.zeros(4, np.int16),
        classes=("chat",),
    )
    loads = tokens_per_second(trace, 10)
    assert loads.requests.tolist() == [2, 1, 0, 1]
    busiest = loads.busiest()
    assert (busiest.requests_per_s, busiest.input_tokens_per_s, busiest.output_tokens_per_s) == (
        pytest.approx(0.2),
        pytest.approx(5.0),
        pytest.approx(0.9),
    )
    assert loads.mean().input_tokens_per_s == pytest.approx(81 / 40)
    assert loads.busiest(0.5).requests_per_s == pytest.approx(0.1)


def test_load_refuses_what_has_none(trace):
    with pytest.raises(BadInputError, match="positive number of seconds"):
        tokens_per_second(trace, 0)
    with pytest.raises(BadInputError, match="no requests"):
        tokens_per_second(take(trace, slice(0, 0)))
    with pytest.raises(BadInputError, match="0 to 1"):
        tokens_per_second(trace).busiest(95)


# hash


def test_the_hash_sees_names_not_numbers(trace):
    renumbered = msgspec.structs.replace(
        trace, name="other", classes=("x", "batch", "chat"), class_code=2 - trace.class_code
    )
    assert sha256_of(renumbered) == sha256_of(trace)
    renamed = msgspec.structs.replace(trace, classes=("chat", "rag"))
    assert sha256_of(renamed) != sha256_of(trace)


@pytest.mark.parametrize("column", ["t_us", "input_tokens", "output_tokens", "class_code"])
def test_the_hash_sees_every_value(trace, column):
    values = getattr(trace, column).copy()
    values[-1] = values[-1] - 1
    assert sha256_of(msgspec.structs.replace(trace, **{column: values})) != sha256_of(trace)


def test_the_hash_sees_optional_columns_and_missing_models(trace):
    models = {"models": ("a",), "model_code": np.zeros(400, np.int16)}
    some = msgspec.structs.replace(trace, **models)
    none = msgspec.structs.replace(some, model_code=np.full(400, -1, np.int16))
    assert len({sha256_of(each) for each in (trace, some, none)}) == 3


def test_the_hash_is_made_on_the_way(trace):
    hasher = TraceHasher()
    count = sum(len(piece) for piece in hasher.over(source_of(trace, chunk_requests=33).chunks()))
    assert count == 400
    assert hasher.hexdigest() == sha256_of(trace)
    with pytest.raises(BadInputError, match="same columns"):
        hasher.update(msgspec.structs.replace(trace, session=np.zeros(400, np.int32)))


# requests


def test_a_request_has_no_true_length():
    assert not {"output_tokens", "reason_tokens"} & set(Request.__struct_fields__)


def test_describe_takes_deadlines_from_the_tier_unless_the_request_has_its_own():
    asked = {"arrival_s": 1.0, "input_tokens": 5, "output_tokens_forecast": 9.0}
    chat = describe(class_name="chat", tier=INTERACTIVE, **asked)
    assert (chat.tier, chat.deadline_ttft_s, chat.deadline_e2e_s) == ("interactive", 2.0, None)
    batch = describe(class_name="batch", tier=BULK, deadline_e2e_s=30.0, **asked)
    assert batch.deadline_e2e_s == 30.0


def test_each_class_has_one_tier():
    assert tier_of("rag", DEFAULT_TIERS) is INTERACTIVE
    with pytest.raises(BadInputError, match="no tier lists it"):
        tier_of("video", DEFAULT_TIERS)
    with pytest.raises(BadInputError, match="interactive, again"):
        tier_of("chat", [INTERACTIVE, Tier(name="again", classes=("chat",))])


# the rules of a trace


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"t_us": np.arange(400)[::-1]}, "row 2 at 398 us after row 1 at 399 us"),
        ({"t_us": np.arange(400) - 1}, "-1 in row 1"),
        ({"input_tokens": np.zeros(400, np.int32)}, r"0 in row 1 \(400 rows"),
        ({"output_tokens": np.ones(399, np.int32)}, "399 values of output_tokens"),
        ({"session": np.ones(3, np.int32)}, "3 values of session"),
        ({"classes": ("chat",)}, "class_code out of range"),
    ],
)
def test_a_trace_that_breaks_its_rules_is_refused(trace, changes, words):
    check_trace(trace)
    with pytest.raises(BadInputError, match=words):
        check_trace(msgspec.structs.replace(trace, **changes))
