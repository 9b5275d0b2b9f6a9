"""What an emulated engine says of itself at ``/metrics``, under vLLM's names."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from baseload.gateway.emulated.emulator import Meters

_FIRST_TOKEN_S = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
)  # fmt: skip
_TOKEN_S = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0,
    40.0, 80.0,
)  # fmt: skip
_REQUEST_S = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0,
    480.0, 960.0, 1920.0, 7680.0,
)  # fmt: skip
_TOKENS = tuple(float(digit * 10**power) for power in range(6) for digit in (1, 2, 5))


class Histogram:
    """Counts by upper bound, as Prometheus reads them."""

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds, self._counts, self._total = bounds, [0] * (len(bounds) + 1), 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def lines(self, name: str, labels: str) -> Iterator[str]:
        """Its lines in Prometheus' text format."""
        count = 0
        bounds = (*self._bounds, float("inf"))
        for bound, more in zip(bounds, self._counts, strict=True):
            count += more
            told = "+Inf" if bound == float("inf") else str(bound)
            yield f'{name}_bucket{{{labels},le="{told}"}} {count}'
        yield f"{name}_count{{{labels}}} {count}"
        yield f"{name}_sum{{{labels}}} {self._total!r}"


class EngineMetrics:
    """What is counted of requests as they go: histograms [s of the process's clock, tokens], and
    ends by reason.
    """

    def __init__(self) -> None:
        self.first_token_s = Histogram(_FIRST_TOKEN_S)
        self.next_token_s = Histogram(_TOKEN_S)
        self.output_token_s = Histogram(_TOKEN_S)
        self.whole_s = Histogram(_REQUEST_S)
        self.queue_s = Histogram(_REQUEST_S)
        self.inference_s = Histogram(_REQUEST_S)
        self.prefill_s = Histogram(_REQUEST_S)
        self.decode_s = Histogram(_REQUEST_S)
        self.prompt_tokens = Histogram(_TOKENS)
        self.output_tokens = Histogram(_TOKENS)
        self.ended = {"stop": 0, "length": 0, "abort": 0, "error": 0}

    def text(
        self, labels: str, gauges: dict[str, float], meters: Meters, *, cache: str = ""
    ) -> str:
        """All of it in Prometheus' text format, with what the replica itself says. ``labels``, and
        what ``cache`` tells of the KV cache, as they stand between the braces.
        """
        lines: list[str] = []
        name = "vllm:cache_config_info"
        _tell(lines, name, "gauge", [f"{name}{{{labels},{cache}}} 1.0"])
        for name, gauge in gauges.items():
            _tell(lines, name, "gauge", [f"{name}{{{labels}}} {gauge!r}"])
        counters: dict[str, float] = {
            "vllm:num_preemptions": meters.preemptions,
            "vllm:prompt_tokens": meters.prompt_tokens,
            "vllm:generation_tokens": meters.generation_tokens,
            "vllm:prefix_cache_queries": 0,
            "vllm:prefix_cache_hits": 0,
            "baseload_emulated_steps": meters.steps,
            "baseload_emulated_busy_seconds": meters.busy_s,
        }
        for name, count in counters.items():
            _tell(lines, f"{name}_total", "counter", [f"{name}_total{{{labels}}} {count!r}"])
        name = "vllm:request_success_total"
        rows = [
            f'{name}{{{labels},finished_reason="{reason}"}} {count}'
            for reason, count in self.ended.items()
        ]
        _tell(lines, name, "counter", rows)
        name = "baseload_emulated_energy_joules_total"
        states = {
            "active": meters.active_j,
            "idle": meters.idle_j,
            "asleep": meters.asleep_j,
            "waking": meters.waking_j,
        }
        rows = [f'{name}{{{labels},state="{state}"}} {j!r}' for state, j in states.items()]
        _tell(lines, name, "counter", rows)
        for name, histogram in self._histograms().items():
            _tell(lines, name, "histogram", histogram.lines(name, labels))
        return "\n".join(lines) + "\n"

    def _histograms(self) -> dict[str, Histogram]:
        return {
            "vllm:time_to_first_token_seconds": self.first_token_s,
            "vllm:inter_token_latency_seconds": self.next_token_s,
            "vllm:request_time_per_output_token_seconds": self.output_token_s,
            "vllm:e2e_request_latency_seconds": self.whole_s,
            "vllm:request_queue_time_seconds": self.queue_s,
            "vllm:request_inference_time_seconds": self.inference_s,
            "vllm:request_prefill_time_seconds": self.prefill_s,
            "vllm:request_decode_time_seconds": self.decode_s,
            "vllm:request_prompt_tokens": self.prompt_tokens,
            "vllm:request_generation_tokens": self.output_tokens,
        }


_HELP = {
    "vllm:num_requests_running": "Sequences in the batch.",
    "vllm:num_requests_waiting": "Sequences in the queue.",
    "vllm:kv_cache_usage_perc": "Share of the KV cache that is taken, from 0 to 1.",
    "vllm:engine_sleep_state": "1: the engine sleeps.",
    "vllm:num_preemptions_total": "Sequences put back into the queue for want of KV cache.",
    "vllm:prompt_tokens_total": "Prompt tokens processed.",
    "vllm:generation_tokens_total": "Tokens generated.",
    "vllm:request_success_total": "Requests by the reason they ended for.",
    "baseload_emulated_energy_joules_total": "Emulated joules of the replica, by power state.",
    "baseload_emulated_steps_total": "Engine steps.",
    "baseload_emulated_busy_seconds_total": "Emulated seconds in engine steps.",
}


def _tell(lines: list[str], name: str, kind: str, rows: Iterator[str] | list[str]) -> None:
    """Add a family with its head."""
    lines.append(f"# HELP {name} {_HELP.get(name, 'As vLLM says.')}")
    lines.append(f"# TYPE {name} {kind}")
    lines.extend(rows)
