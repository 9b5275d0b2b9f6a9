"""How good the length forecasters are, and what the online one costs.

On the shipped Azure 2023 conversation trace, and on the first requests of the synthetic day, whose
prompts say nothing about answers. A request is learned when it would have ended if it was served
alone: half a second and 30 ms a token after its arrival. Writes bench/results/forecasts.json and
the tables between the marks of docs/explanation/forecasts.md. Seconds to run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from baseload import load_scenario
from baseload.base.kernels import kernel_uncached
from baseload.sources import builtin_trace
from baseload.workload.chunks import take
from baseload.workload.forecasts import forecast_of_text, foreseen
from baseload.workload.lengths import (
    LengthTable,
    bucket_of,
    forecast_length,
    learn_length,
    length_table,
    remaining_tokens,
)
from baseload.workload.trace import Trace
from common import ROOT, Bench, measure, rounds, timed, write_text

WARM_UP_REQUESTS = {"azure-chat": 1_000, "synthetic-day": 60_000}
"""Left out of all figures: in the first minutes of a run the short answers end first."""
SERVED_S, SERVED_S_PER_TOKEN = 0.5, 0.03
TOLD = (
    "perfect",
    "perfect:error=0.2",
    "perfect:error=0.5",
    "perfect:error=1",
    "perfect:bias=0.5",
    "perfect:bias=-0.5",
    "class_quantile",
)
AGES_TOKENS = (0, 50, 100, 200, 400)
PAGE = ROOT / "docs" / "explanation" / "forecasts.md"


class Said(NamedTuple):
    """What a forecaster said of each request at its arrival [tokens], arrays ``[n]``."""

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    high: NDArray[np.float64]


@kernel_uncached
def _replay(
    table: LengthTable,
    order: NDArray[np.int64],
    input_tokens: NDArray[np.int32],
    output_tokens: NDArray[np.int32],
    class_code: NDArray[np.int16],
    one_bucket: bool,
    said: NDArray[np.float64],
) -> None:
    """Walk through arrivals (even entries of ``order``, request * 2) and ends (odd)."""
    for entry in order:
        request = entry >> 1
        bucket = 0 if one_bucket else bucket_of(input_tokens[request])
        code = class_code[request]
        if entry & 1:
            learn_length(table, code, bucket, float(output_tokens[request]))
        else:
            mean, spread, high = forecast_length(table, code, bucket)
            said[request, 0], said[request, 1], said[request, 2] = mean, spread, high


def events(trace: Trace) -> NDArray[np.int64]:
    """Arrivals (request * 2) and ends (request * 2 + 1) in order of time; ends first on a tie."""
    arrival_s = trace.t_us / 1e6
    end_s = arrival_s + SERVED_S + SERVED_S_PER_TOKEN * trace.output_tokens
    number = 2 * np.arange(len(trace), dtype=np.int64)
    order = np.concatenate((number + 1, number))
    return order[np.argsort(np.concatenate((end_s, arrival_s)), kind="stable")]


def learned(trace: Trace, *, by_prompt: bool = True) -> Said:
    """What the online forecaster says through a trace; with one bucket where not ``by_prompt``."""
    table = length_table(trace.classes)
    said = np.zeros((len(trace), 3))
    columns = (trace.input_tokens, trace.output_tokens, trace.class_code)
    _replay(table, events(trace), *columns, not by_prompt, said)
    return Said(said[:, 0], said[:, 1], said[:, 2])


def told(text: str, trace: Trace) -> NDArray[np.float64]:
    """The forecasts of one that sees the truth."""
    return foreseen(forecast_of_text(text), trace.output_tokens, seed=0, first_number=0)[0]


def class_means(trace: Trace) -> NDArray[np.float64]:
    """The best constant of each class, known from the whole trace."""
    totals = np.bincount(trace.class_code, weights=trace.output_tokens)
    return (totals / np.maximum(np.bincount(trace.class_code), 1))[trace.class_code]


def quality(forecast: NDArray[np.float64], truth: NDArray[np.int32]) -> dict[str, float]:
    """Errors over the mean output, and the fraction of outputs no longer than forecast."""
    mean, off = truth.mean(), forecast - truth
    return {
        "mean_frac": round(float(forecast.mean() / mean), 4),
        "mae_frac": round(float(np.abs(off).mean() / mean), 4),
        "rmse_frac": round(float(np.sqrt((off**2).mean()) / mean), 4),
        "no_longer_frac": round(float((truth <= forecast).mean()), 4),
    }


@kernel_uncached
def _rest_tokens(
    mean: NDArray[np.float64], spread: NDArray[np.float64], age_tokens: float
) -> float:
    """The sum over requests of what is still to come of them at an age."""
    total = 0.0
    for at in range(len(mean)):
        total += remaining_tokens(mean[at], spread[at], age_tokens)
    return total


def calibration(truth: NDArray[np.int32], said: Said) -> dict[str, float]:
    """How far what the online forecaster says of its own uncertainty is true."""
    off = truth - said.mean
    found = {
        "outputs at or below the 95th percentile": float((truth <= said.high).mean()),
        "RMS error / standard deviation said": float(
            np.sqrt((off**2).sum() / (said.spread**2).sum())
        ),
    }
    for age in AGES_TOKENS:
        alive = truth > age
        rest = _rest_tokens(said.mean[alive], said.spread[alive], float(age))
        share = rest / float((truth[alive] - age).sum())
        found[f"rest said / actual rest, after {age} tokens"] = share
    return found


@kernel_uncached
def _both(
    table: LengthTable, input_tokens: NDArray[np.int32], output_tokens: NDArray[np.int32]
) -> float:
    """Forecast and learn each request; the sum keeps the compiler from leaving it out."""
    total = 0.0
    for at in range(len(input_tokens)):
        mean, spread, high = forecast_length(table, 0, bucket_of(input_tokens[at]))
        total += mean + spread + high
        learn_length(table, 0, bucket_of(input_tokens[at]), float(output_tokens[at]))
    return total


def cost(bench: Bench, trace: Trace) -> None:
    """CPU time of a forecast and a learning together, in a compiled loop."""
    times = 10 if bench.quick else 100
    columns = np.tile(trace.input_tokens, times), np.tile(trace.output_tokens, times)
    table = length_table(trace.classes)
    _both(table, *columns)

    def once() -> float:
        return 1e9 * timed(lambda: _both(table, *columns))[0] / len(columns[0])

    found = rounds({"both": once}, bench.repeats(5), say=bench.say)
    bench.add(measure("forecast and learn, online", "ns/request", found["both"], at_most=40.0))


def tables(measures: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The tables of the page, by the name of their marks, from the measures of a result."""
    found: dict[str, list[str]] = {}
    said: dict[str, dict[str, str]] = {}
    for details in [row.get("details", {}) for row in measures]:
        if "forecaster" in details:
            keys = ("mean_frac", "mae_frac", "rmse_frac", "no_longer_frac")
            cells = [f"`{details['forecaster']}`", *(f"{details[key]:.3f}" for key in keys)]
            head = [
                "| forecaster | mean forecast | mean absolute error | RMS error | no longer |",
                "|---|---:|---:|---:|---:|",
            ]
            found.setdefault(details["trace"], head).append("| " + " | ".join(cells) + " |")
        elif "quantity" in details:
            cell = f"{details['value']:.3f}"
            said.setdefault(details["quantity"], {})[details["trace"]] = cell
    if said:
        names = list(dict.fromkeys(name for cells in said.values() for name in cells))
        lines = ["| | " + " | ".join(f"`{name}`" for name in names) + " |"]
        lines.append("|---|" + "---:|" * len(names))
        for quantity, cells in said.items():
            lines.append(f"| {quantity} | " + " | ".join(cells[name] for name in names) + " |")
        found["calibration"] = lines
    return found


def marked(text: str, measures: Sequence[Mapping[str, Any]]) -> str:
    """The page's text with its tables from ``measures``."""
    for name, lines in tables(measures).items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        head, rest = text.split(begin)
        text = head + "\n".join([begin, "", *lines, "", end]) + rest.split(end)[1]
    return text


def compare(bench: Bench, name: str, trace: Trace, texts: Sequence[str]) -> None:
    """A line for each forecaster on a trace, and the calibration of the online one."""
    late = slice(min(WARM_UP_REQUESTS[name], len(trace) // 2), None)
    truth = trace.output_tokens[late]
    bench.inputs[name] = {
        "requests": len(trace),
        "warm_up_requests": late.start,
        "mean_output_tokens": round(float(truth.mean()), 2),
    }
    said = learned(trace)
    forecasts = {text: told(text, trace) for text in texts} | {
        "online": said.mean,
        "online, class only": learned(trace, by_prompt=False).mean,
        "mean of the class": class_means(trace),
    }
    for text, forecast in forecasts.items():
        found = quality(forecast[late], truth)
        what = f"{name}: {text}, mean absolute error"
        details = {"trace": name, "forecaster": text, **found}
        bench.add(measure(what, "mean outputs", [found["mae_frac"]], **details))
    ours = Said(said.mean[late], said.spread[late], said.high[late])
    for quantity, value in calibration(truth, ours).items():
        details = {"trace": name, "quantity": quantity, "value": round(value, 4)}
        bench.add(measure(f"{name}: online, {quantity}", "fraction", [value], **details))


def main() -> None:
    """Measure, write the result and the page's tables."""
    bench = Bench("forecasts", __doc__ or "")
    azure = builtin_trace("azure-chat")
    day = next(load_scenario("synthetic-day").requests(0).chunks())
    compare(bench, "azure-chat", azure, TOLD)
    compare(bench, "synthetic-day", take(day, slice(0, 20_000)) if bench.quick else day, ())
    cost(bench, azure)
    bench.notes += [
        "Errors in units of the trace's mean output, after warm-up. A request is learned "
        f"{SERVED_S} s + {SERVED_S_PER_TOKEN} s a token after its arrival.",
    ]
    bench.write()
    if not bench.quick:
        write_text(marked(PAGE.read_text(encoding="utf-8"), bench.measures), PAGE)


if __name__ == "__main__":
    main()
