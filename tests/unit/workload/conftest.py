"""Traces for the tests of this folder."""

from __future__ import annotations

import numpy as np
import pytest

from baseload.base.streams import stream
from baseload.workload.trace import Trace


def make_trace(
    count: int = 400, *, seed: int = 1, span_s: float = 600.0, session: bool = False
) -> Trace:
    """A trace whose rate is twice as high in its second half.

    Every request's lengths are its own.
    """
    rng = stream(seed, "tests.workload")
    early = np.sort(rng.random(count))
    share = np.where(early < 1 / 3, early * 1.5, 0.5 + (early - 1 / 3) * 0.75)
    t_us = np.sort((share * span_s * 1e6).astype(np.int64))
    t_us[0], t_us[-1] = 0, round(span_s * 1e6)
    return Trace(
        name="made",
        t_us=t_us,
        input_tokens=np.arange(1, count + 1, dtype=np.int32),
        output_tokens=np.arange(1, count + 1, dtype=np.int32) * 3,
        class_code=(np.arange(count) % 2).astype(np.int16),
        classes=("chat", "batch"),
        session=(np.arange(count) // 4).astype(np.int32) if session else None,
    )


@pytest.fixture
def trace() -> Trace:
    return make_trace()
