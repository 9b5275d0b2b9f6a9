"""The online forecaster on the shipped Azure trace, and the page that shows it."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

import forecasts
from baseload.sources import builtin_trace
from baseload.workload.chunks import take

WARM_UP = 1_000


@pytest.fixture(scope="module")
def azure():
    return builtin_trace("azure-chat")


@pytest.fixture(scope="module")
def online(azure):
    return forecasts.learned(azure)


def mean_abs_error(forecast, trace):
    return float(np.abs(forecast - trace.output_tokens)[WARM_UP:].mean())


def test_online_lies_between_the_class_mean_and_the_perfect(azure, online):
    by_class = mean_abs_error(forecasts.class_means(azure), azure)
    learned_by_class = mean_abs_error(forecasts.learned(azure, by_prompt=False).mean, azure)
    assert mean_abs_error(forecasts.told("perfect", azure), azure) == 0.0
    assert 0.0 < mean_abs_error(online.mean, azure) < 0.6 * learned_by_class
    assert learned_by_class < 1.02 * by_class


def test_online_is_right_on_average(azure, online):
    truth = azure.output_tokens[WARM_UP:]
    assert online.mean[WARM_UP:].mean() == pytest.approx(truth.mean(), rel=0.05)


def test_the_95th_percentile_is_one(azure, online):
    share = (azure.output_tokens <= online.high)[WARM_UP:].mean()
    assert share == pytest.approx(0.95, abs=0.01)


def test_the_spread_is_that_of_the_errors(azure, online):
    off = (azure.output_tokens - online.mean)[WARM_UP:]
    assert (off**2).mean() == pytest.approx((online.spread[WARM_UP:] ** 2).mean(), rel=0.1)


def test_no_forecast_sees_the_future(azure):
    """Of two traces that differ in a late answer, all earlier forecasts are equal."""
    few = take(azure, slice(0, 3000))
    outputs = few.output_tokens.copy()
    outputs[2000] += 900
    changed = msgspec.structs.replace(few, output_tokens=outputs)
    before, after = forecasts.learned(few), forecasts.learned(changed)
    for one, other in zip(before, after, strict=True):
        assert (one[:2001] == other[:2001]).all()
    assert (before.mean[2001:] != after.mean[2001:]).any()


def test_the_page_shows_the_result_file():
    result = json.loads((forecasts.ROOT / "bench" / "results" / "forecasts.json").read_text())
    page = forecasts.PAGE.read_text(encoding="utf-8")
    assert set(forecasts.tables(result["measures"])) == {
        "azure-chat",
        "synthetic-day",
        "calibration",
    }
    assert forecasts.marked(page, result["measures"]) == page


def test_the_result_file_is_what_the_bench_gives(azure, online):
    """The quality in the file, computed anew."""
    result = json.loads((forecasts.ROOT / "bench" / "results" / "forecasts.json").read_text())
    rows = [row.get("details", {}) for row in result["measures"]]
    shown = {
        row["forecaster"]: row
        for row in rows
        if row.get("trace") == "azure-chat" and "forecaster" in row
    }
    late = slice(WARM_UP, None)
    said = {"online": online.mean, "class_quantile": forecasts.told("class_quantile", azure)}
    for name, forecast in said.items():
        found = forecasts.quality(forecast[late], azure.output_tokens[late])
        for key, value in found.items():
            assert shown[name][key] == pytest.approx(value, abs=2e-4), (name, key)
