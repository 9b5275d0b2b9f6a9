"""Hypothesis strategies: replica types, fleets, requests, traces. Hypothesis is imported when a
strategy is made.

from hypothesis import given from baseload.testing import strategies

@given(fleet=strategies.fleets(), request=strategies.requests()) def test_my_policy(fleet, request):
...
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from baseload.base.errors import BadInputError
from baseload.fleet.replica_type import ReplicaType
from baseload.testing import fakes
from baseload.testing.fleets import Fleet, replica_type
from baseload.workload.requests import Request
from baseload.workload.trace import Trace

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy


def _hypothesis() -> ModuleType:
    """``hypothesis.strategies``, or an error that says how to get it."""
    try:
        import hypothesis.strategies
    except ImportError as error:
        raise BadInputError(
            "baseload.testing.strategies needs hypothesis",
            found="it is not installed",
            allowed="hypothesis 6 or later",
            todo="pip install hypothesis",
        ) from error
    return hypothesis.strategies


def replica_types(
    *, name: str = "toy", model: str = "model-a", most_batch: int = 12
) -> SearchStrategy[ReplicaType]:
    """Replica types of any shape: zero costs, caps that bind, experts, tight memory.
    ``most_batch``: largest ``max_batch``.
    """
    st = _hypothesis()

    def make(draw: DrawFn) -> ReplicaType:
        def number(low: float, high: float) -> float:
            return float(draw(st.floats(low, high, allow_subnormal=False)))

        static_w = number(10, 200)
        cap_w = static_w + number(5, 500)
        times = {
            "time_s_per_step": number(1e-3, 0.05),
            "time_s_per_sequence": number(0, 2e-3),
            "time_s_per_context_token": number(0, 2e-5),
            "time_s_per_prefill_token": number(0, 2e-4),
        }
        power_w = number(static_w, 2 * cap_w)  # less than static would be time without power
        energies = {
            key.replace("time_s", "energy_j"): value * power_w for key, value in times.items()
        }
        experts: dict[str, Any] = {}
        if draw(st.booleans()):
            experts = {
                "time_s_all_experts": (all_s := number(0, 0.05)),
                "energy_j_all_experts": all_s * power_w,
                "expert_hit_frac": number(0, 1),
            }
        idle_w = number(0, cap_w)
        max_batch = draw(st.integers(1, most_batch))
        return replica_type(
            name,
            model=model,
            **times,
            **energies,
            **experts,
            power_w_active_static=static_w,
            power_w_cap=cap_w,
            power_w_idle=idle_w,
            power_w_parked=idle_w / 2,
            power_w_off=idle_w / 4,
            wake_s_from_parked=number(0, 5),
            wake_s_from_off=number(0, 50),
            max_batch=max_batch,
            max_step_tokens=max_batch + draw(st.integers(1, 200)),
            kv_tokens=draw(st.integers(10, 5000)),
            max_context_tokens=draw(st.integers(10, 5000)),
        )

    made: SearchStrategy[ReplicaType] = st.composite(make)()
    return made


def fleets(
    *, most_types: int = 3, most_replicas: int = 6, models: tuple[str, ...] = ("model-a", "model-b")
) -> SearchStrategy[Fleet]:
    """Fleets of one to ``most_types`` types with one to ``most_replicas`` replicas each; types may
    be equal.
    """
    st = _hypothesis()

    def make(draw: DrawFn) -> Fleet:
        count = draw(st.integers(1, most_types))
        types = tuple(
            draw(replica_types(name=f"t{index}", model=draw(st.sampled_from(models))))
            for index in range(count)
        )
        return Fleet(
            types=types, replicas=tuple(draw(st.integers(1, most_replicas)) for _ in range(count))
        )

    made: SearchStrategy[Fleet] = st.composite(make)()
    return made


def requests(
    *, models: tuple[str | None, ...] = (None,), most_input_tokens: int = 3000
) -> SearchStrategy[Request]:
    """Requests as a policy sees them, of both default tiers."""
    st = _hypothesis()

    def make(draw: DrawFn) -> Request:
        bulk = draw(st.booleans())
        return fakes.request(
            input_tokens=draw(st.integers(1, most_input_tokens)),
            output_tokens_forecast=draw(st.floats(1, 5000)),
            arrival_s=draw(st.floats(0, 86_400)),
            class_name="batch" if bulk else "chat",
            tier="bulk" if bulk else "interactive",
            model=draw(st.sampled_from(models)),
            deadline_ttft_s=None if bulk else 2.0,
            deadline_tpot_s=None if bulk else 0.06,
            deadline_e2e_s=600.0 if bulk else None,
        )

    made: SearchStrategy[Request] = st.composite(make)()
    return made


def traces(
    *,
    most_requests: int = 40,
    most_input_tokens: int = 300,
    most_output_tokens: int = 200,
    classes: tuple[str, ...] = ("chat", "batch"),
) -> SearchStrategy[Trace]:
    """Traces of 1 to ``most_requests`` requests; gaps of 0 to 2 s, so that some come at the same
    instant.
    """
    st = _hypothesis()

    def make(draw: DrawFn) -> Trace:
        count = draw(st.integers(1, most_requests))

        def column(low: int, high: int) -> list[int]:
            return list(draw(st.lists(st.integers(low, high), min_size=count, max_size=count)))

        return Trace(
            name="drawn",
            t_us=np.cumsum(np.array(column(0, 2_000_000), dtype=np.int64)),
            input_tokens=np.array(column(1, most_input_tokens), dtype=np.int32),
            output_tokens=np.array(column(1, most_output_tokens), dtype=np.int32),
            class_code=np.array(column(0, len(classes) - 1), dtype=np.int16),
            classes=classes,
        )

    made: SearchStrategy[Trace] = st.composite(make)()
    return made
