"""Traces, plans and answers that the tests of load share."""

from __future__ import annotations

import json

import numpy as np

from baseload.gateway.load.plan import LoadPlan, Planned
from baseload.workload.tiers import DEFAULT_TIERS
from baseload.workload.trace import Trace

MS = 1_000_000
STREAM = {"content-type": "text/event-stream; charset=utf-8"}
ENERGY = {"energy_joules": 12.5, "method": "modelled", "carbon_g_co2eq": 0.5, "other": [1]}


def event(**fields):
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def delta(**made):
    return event(choices=[{"index": 0, "delta": made, "finish_reason": None}])


USAGE = event(
    choices=[],
    usage={
        "prompt_tokens": 9,
        "completion_tokens": 3,
        "completion_tokens_details": {"reasoning_tokens": 1},
    },
)
GOOD = (
    delta(role="assistant", content="")
    + delta(reasoning_content="hm")
    + delta(content=" yes")
    + delta(content=" indeed")
    + USAGE
    + b": energy "
    + json.dumps(ENERGY).encode()
    + b"\n\ndata: [DONE]\n\n"
)


def a_trace(times_s, *, classes=("chat",), code=None, session=None):
    count = len(times_s)
    return Trace(
        name="made",
        t_us=np.round(np.array(times_s) * 1e6).astype(np.int64),
        input_tokens=np.arange(1, count + 1, dtype=np.int32),
        output_tokens=np.full(count, 7, np.int32),
        class_code=np.zeros(count, np.int16) if code is None else np.array(code, np.int16),
        classes=classes,
        session=None if session is None else np.array(session, np.int32),
    )


EACH_SECOND = a_trace([float(second) for second in range(100)])


def a_plan(*due_ms, session=-1):
    requests = tuple(
        Planned(
            number=number,
            due_ns=due * MS,
            input_tokens=5,
            output_tokens=3,
            tier=("interactive", "none")[number % 2],
            session=session,
        )
        for number, due in enumerate(due_ms)
    )
    return LoadPlan(trace=EACH_SECOND, requests=requests, promises=DEFAULT_TIERS)
