"""What engines say of themselves on their metrics pages: vLLM, SGLang, TensorRT-LLM, llama.cpp,
Triton, and our emulated engine. Pure; never raises: what is missing, broken or not finite is -1.

Names change between versions: ``NAMES`` lists all that are known for a field, the newest first, and
the first one on the page counts. A page is cut where a wanted name stands (``bytes.split``), not
read line by line: vLLM's has 500 lines, most of them buckets.
"""

from __future__ import annotations

import math

import msgspec

from baseload.gateway.events import Sampled

MOST_BYTES = 1024 * 1024
"""Of a page that is longer, the rest is not read."""

MOST_SERIES = 4096
"""Series of one name that are read."""


METRICS_PATHS = {"tensorrt-llm": "/prometheus/metrics"}
"""Where an engine's page is, if not where the configuration says: TensorRT-LLM's ``/metrics`` gives
steps of its scheduler as JSON.
"""

ENERGY_PATHS = {"tensorrt-llm": "/energy_metrics"}
"""Where an engine tells joules apart from its page: see ``read_energy``."""


def metrics_path(engine: str, configured: str) -> str:
    """Where the page of an engine is: where the configuration says, if it says another place than
    the usual one.
    """
    return METRICS_PATHS.get(engine, configured) if configured == "/metrics" else configured


class Readings(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What an engine says of itself; -1 where it does not. Requests that run and wait, share of
    the KV cache taken; counters since its start: tokens in and out, seconds and number of first
    tokens and of gaps between tokens, joules.
    """

    running: float = -1.0
    waiting: float = -1.0
    kv_frac: float = -1.0
    input_tokens: float = -1.0
    output_tokens: float = -1.0
    ttft_sum_s: float = -1.0
    ttft_count: float = -1.0
    gap_sum_s: float = -1.0
    gap_count: float = -1.0
    energy_j: float = -1.0

    @property
    def mean_ttft_s(self) -> float:
        """Mean time to first token since the engine's start [s]; -1 if it is not known."""
        return _mean(self.ttft_sum_s, self.ttft_count)

    @property
    def mean_gap_s(self) -> float:
        """Mean time between tokens since the engine's start [s]; -1 if it is not known."""
        return _mean(self.gap_sum_s, self.gap_count)

    def sampled(self, replica: int) -> Sampled:
        """As the state machine is told."""
        return Sampled(
            replica=replica, running=self.running, waiting=self.waiting, kv_frac=self.kv_frac
        )


def since(before: Readings, now: Readings) -> Readings:
    """``now`` with its counters since ``before`` only. A counter that fell (the engine began anew)
    counts from 0.
    """
    changes = {field: _rise(getattr(before, field), getattr(now, field)) for field in COUNTERS}
    return msgspec.structs.replace(now, **changes)


COUNTERS = (
    *("input_tokens", "output_tokens", "ttft_sum_s", "ttft_count", "gap_sum_s", "gap_count"),
    "energy_j",
)
MEANS = frozenset({"kv_frac"})
"""Fields whose series are averaged; the others are added up."""

NAMES: dict[str, tuple[str, ...]] = {
    "running": (
        "vllm:num_requests_running",
        "sglang:num_running_reqs",
        "trtllm_num_requests_running",
        "trtllm:num_requests_running",
        "num_requests_running",
        "llamacpp:requests_processing",
        'nv_trt_llm_request_metrics{request_type="scheduled"}',
    ),
    "waiting": (
        "vllm:num_requests_waiting",
        "sglang:num_queue_reqs",
        "trtllm_num_requests_waiting",
        "trtllm:num_requests_waiting",
        "num_requests_waiting",
        "llamacpp:requests_deferred",
        'nv_trt_llm_request_metrics{request_type="waiting"}',
    ),
    "kv_frac": (
        "vllm:kv_cache_usage_perc",
        "vllm:gpu_cache_usage_perc",
        "sglang:token_usage",
        "trtllm_kv_cache_utilization",
        "trtllm:kv_cache_utilization",
        "kv_cache_utilization",
        "llamacpp:kv_cache_usage_ratio",
        'nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction"}',
    ),
    "input_tokens": (
        "vllm:prompt_tokens_total",
        "sglang:prompt_tokens_total",
        "trtllm_prompt_tokens_total",
        "trtllm:prompt_tokens_total",
        "llamacpp:prompt_tokens_total",
    ),
    "output_tokens": (
        "vllm:generation_tokens_total",
        "sglang:generation_tokens_total",
        "trtllm_generation_tokens_total",
        "trtllm:generation_tokens_total",
        "llamacpp:tokens_predicted_total",
    ),
    **{
        field: tuple(name + suffix for name in histograms)
        for histograms, fields in (
            (
                (
                    "vllm:time_to_first_token_seconds",
                    "sglang:time_to_first_token_seconds",
                    "trtllm_time_to_first_token_seconds",
                    "trtllm:time_to_first_token_seconds",
                    "time_to_first_token_seconds",
                ),
                ("ttft_sum_s", "ttft_count"),
            ),
            (
                (
                    "vllm:inter_token_latency_seconds",
                    "vllm:time_per_output_token_seconds",
                    "sglang:inter_token_latency_seconds",
                    "sglang:time_per_output_token_seconds",
                    "trtllm_time_per_output_token_seconds",
                    "trtllm:time_per_output_token_seconds",
                    "time_per_output_token_seconds",
                ),
                ("gap_sum_s", "gap_count"),
            ),
        )
        for field, suffix in zip(fields, ("_sum", "_count"), strict=True)
    },
    "energy_j": ("baseload_emulated_energy_joules_total",),
}
"""All names of a field; with ``{label="value"}``: of its series, those that have that label.
llama.cpp gives no histograms: its gap is time of generation over tokens generated.
"""

_OWN_MEANS = {
    "gap_sum_s": "llamacpp:tokens_predicted_seconds_total",
    "gap_count": "llamacpp:tokens_predicted_total",
}


def _split_name(name: str) -> tuple[bytes, bytes]:
    """The name and the label that its series must have."""
    plain, _, label = name.partition("{")
    return b"\n" + plain.encode(), label.rstrip("}").encode()


_SOUGHT = tuple(
    (field, tuple(_split_name(name) for name in (*known, *filter(None, (_OWN_MEANS.get(field),)))))
    for field, known in NAMES.items()
)


def read_metrics(page: bytes) -> Readings:
    """What a metrics page says, in Prometheus' text format or OpenMetrics."""
    text = b"\n" + page[:MOST_BYTES].replace(b"\r", b"")
    found: dict[str, float] = {}
    for field, known in _SOUGHT:
        for name, label in known:
            values = _values(text, name, label)
            if values:
                total = math.fsum(values)
                found[field] = total / len(values) if field in MEANS else total
                break
    if found.get("kv_frac", 0.0) > 1.0:
        del found["kv_frac"]  # a share above 1 is none
    return Readings(**found)


def _values(text: bytes, name: bytes, label: bytes) -> list[float]:
    """The numbers of all series of a metric, those that have the label."""
    values: list[float] = []
    at = text.find(name)
    while at >= 0 and len(values) < MOST_SERIES:
        at += len(name)
        end = text.find(b"\n", at)
        line = text[at:] if end < 0 else text[at:end]
        value = _value(line, label)
        if value >= 0.0:
            values.append(value)
        at = text.find(name, at)
    return values


def _value(line: bytes, label: bytes) -> float:
    """The number in what follows a name: labels in braces, then it; -1 if it is none to use."""
    line = line.partition(b" # {")[0]  # OpenMetrics may add an example
    if line[:1] == b"{":
        labels, _, line = line.rpartition(b"}")
        if (label and label not in labels) or _is_a_copy(labels):
            return -1.0
    elif line[:1] not in (b" ", b"\t") or label:
        return -1.0  # a longer name, or no labels
    words = line.split(None, 1)  # a time may follow
    try:
        value = float(words[0])
    except (ValueError, IndexError):
        return -1.0
    return value if 0.0 <= value < math.inf else -1.0


def _is_a_copy(labels: bytes) -> bool:
    """Whether the series is one of several ranks that all tell of the same requests, not the first:
    SGLang's of tensor parallelism, where there is no data parallelism.
    """
    return b'tp_rank="' in labels and b'tp_rank="0"' not in labels and b"dp_rank=" not in labels


class _Energy(msgspec.Struct):
    total_energy_j: float


_ENERGY = msgspec.json.Decoder(_Energy)


def read_energy(body: bytes) -> float:
    """Joules since start from TensorRT-LLM's ``/energy_metrics``; -1 if it says none."""
    try:
        energy_j = _ENERGY.decode(body[:MOST_BYTES]).total_energy_j
    except (msgspec.MsgspecError, UnicodeError):
        return -1.0
    return energy_j if 0.0 <= energy_j < math.inf else -1.0


def _mean(total: float, count: float) -> float:
    return total / count if total >= 0.0 and count > 0.0 else -1.0


def _rise(before: float, now: float) -> float:
    if before < 0.0 or now < 0.0:
        return -1.0
    return now - before if now >= before else now
