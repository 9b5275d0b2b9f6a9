"""The seconds of a llama.cpp engine, measured in less than one: a few tokens alone, a few together.

Joules cannot be measured on most such machines: every term keeps the watts of the type that stands
in, so the result stays ``assumed`` as a whole.
"""

from __future__ import annotations

import json
import statistics
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from baseload.base.errors import ServiceError
from baseload.fleet.replica_type import ReplicaType, StepCosts

PROMPT_TOKENS = 24
OUTPUT_TOKENS = 8
_FIRST_TOKEN = 1000
_TIMEOUT_S = 60.0
_LEAST_S = 1e-6


class Timings(msgspec.Struct, frozen=True, kw_only=True):
    """What llama.cpp says of one answer: seconds per token of the prompt and of the output."""

    prompt_s_per_token: float
    output_s_per_token: float


def calibrated(url: str, kind: ReplicaType) -> ReplicaType:
    """``kind`` with the seconds that the engine at ``url`` needs now.

    Sends one answer alone and then ``kind.max_batch`` together, about half a second of work for a
    small model. Raises ``ServiceError`` where the engine does not answer.
    """
    alone = _answers(url, 1, prompt_tokens=PROMPT_TOKENS)[0]
    together = _answers(url, kind.max_batch, prompt_tokens=2) if kind.max_batch > 1 else [alone]
    step_s = statistics.median(one.output_s_per_token for one in together)
    return fitted(kind, alone, step_s=step_s)


def fitted(kind: ReplicaType, alone: Timings, *, step_s: float) -> ReplicaType:
    """``kind`` with the times of an answer alone and of a full batch, whose steps take ``step_s``.

    A step takes ``a + b n`` seconds with ``n`` running; each term of energy keeps its watts.
    """
    alone_s = max(alone.output_s_per_token, _LEAST_S)
    more = max(1, kind.max_batch - 1)
    sequence_s = min(max(step_s - alone_s, 0.0) / more, alone_s)
    new = {
        "step": max(alone_s - sequence_s, _LEAST_S),
        "sequence": max(sequence_s, _LEAST_S),
        "prefill_token": max(alone.prompt_s_per_token, _LEAST_S),
    }
    costs: dict[str, float] = msgspec.structs.asdict(kind.costs)
    for term, seconds in new.items():
        power_w = costs[f"energy_j_per_{term}"] / costs[f"time_s_per_{term}"]
        costs[f"time_s_per_{term}"] = seconds
        costs[f"energy_j_per_{term}"] = power_w * seconds
    return msgspec.structs.replace(
        kind,
        costs=StepCosts(**costs),
        basis=(
            f"seconds measured at the start: {alone_s * 1e3:.1f} ms a token alone, "
            f"{step_s * 1e3:.1f} ms with {kind.max_batch} running, "
            f"{new['prefill_token'] * 1e3:.1f} ms a token of a prompt; joules by assumed watts"
        ),
    )


def _answers(url: str, count: int, *, prompt_tokens: int) -> list[Timings]:
    """What ``count`` answers at once took."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda at: _answer(url, at, prompt_tokens), range(count)))


def _answer(url: str, at: int, prompt_tokens: int) -> Timings:
    """One answer to a prompt of its own, of a fixed length."""
    first = _FIRST_TOKEN + at * prompt_tokens
    asked = {
        "prompt": list(range(first, first + prompt_tokens)),
        "n_predict": OUTPUT_TOKENS,
        "ignore_eos": True,
        "cache_prompt": False,
    }
    request = urllib.request.Request(
        f"{url}/completion", json.dumps(asked).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            said: dict[str, Any] = json.load(answer)["timings"]
        return Timings(
            prompt_s_per_token=said["prompt_ms"] / 1e3 / said["prompt_n"],
            output_s_per_token=said["predicted_ms"] / 1e3 / said["predicted_n"],
        )
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise ServiceError(
            f"measure the engine at {url}",
            found=f"{type(error).__name__}: {error}",
            allowed="an answer of llama.cpp with its timings",
        ) from error
