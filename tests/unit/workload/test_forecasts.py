"""Length forecasters that are told the truth, and the texts that name all of them."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.base.errors import BadInputError
from baseload.workload.forecasts import (
    Forecast,
    forecast_of_text,
    foreseen,
    log_error,
    text_of_forecast,
)

MANY = 200_000
PERFECT = Forecast(method="perfect")
BIASES = st.floats(-0.9, 5)
ERRORS = st.builds(
    lambda error, bias: Forecast(method="error", error_frac=error, bias_frac=bias),
    st.floats(0.001, 1.5),
    BIASES,
)
QUANTILES = st.builds(
    lambda quantile, mae: Forecast(method="class_quantile", quantile=quantile, mae_frac=mae),
    st.floats(0.01, 0.999),
    st.floats(0.001, 10),
)
TOLD = st.one_of(st.just(PERFECT), ERRORS, QUANTILES)


def ratios(spec, *, seed=0):
    """Forecast over truth of many requests."""
    truth = np.full(MANY, 1000)
    return foreseen(spec, truth, seed=seed, first_number=0)[0] / truth


# laws


@given(TOLD, st.lists(st.integers(1, 10**6), max_size=40), st.data())
@settings(deadline=None)
def test_a_forecast_does_not_depend_on_the_pieces(spec, outputs, data):
    """Law: to the bit, however the trace is cut."""
    first = data.draw(st.integers(0, 10**12))
    cut = data.draw(st.integers(0, len(outputs)))
    whole = foreseen(spec, outputs, seed=3, first_number=first)
    head = foreseen(spec, outputs[:cut], seed=3, first_number=first)
    tail = foreseen(spec, outputs[cut:], seed=3, first_number=first + cut)
    for one, before, after in zip(whole, head, tail, strict=True):
        assert one.tolist() == before.tolist() + after.tolist()
        assert one.dtype == np.float64


def test_long_pieces_are_cut_to_the_bit():
    spec, truth = Forecast(method="error", error_frac=0.7), np.arange(1, 5001)
    whole, _ = foreseen(spec, truth, seed=0, first_number=7)
    for size in (1, 3, 8, 1000):
        parts = [
            foreseen(spec, truth[at : at + size], seed=0, first_number=7 + at)[0]
            for at in range(0, 5000, size)
        ]
        assert (np.concatenate(parts) == whole).all()


@given(st.lists(st.integers(1, 10**9), max_size=40))
def test_perfect_is_exact(outputs):
    tokens, spread = foreseen(PERFECT, outputs, seed=0, first_number=0)
    assert tokens.tolist() == outputs
    assert spread.tolist() == [0.0] * len(outputs)


@given(BIASES.filter(bool), st.lists(st.integers(1, 10**6), max_size=10))
def test_a_bias_alone_is_exact_too(bias, outputs):
    spec = Forecast(method="error", bias_frac=bias)
    tokens, spread = foreseen(spec, outputs, seed=0, first_number=0)
    assert tokens.tolist() == [each * (1 + bias) for each in outputs]
    assert not spread.any()


@given(TOLD, st.integers(1, 10**6))
@settings(deadline=None)
def test_forecasts_scale_with_the_truth_and_spread_with_the_forecast(spec, tokens):
    """The spread may be told to routing: it depends on the forecast, not on the truth."""
    found, spread = foreseen(spec, [tokens, tokens], seed=1, first_number=0)
    unit, unit_spread = foreseen(spec, [1, 1], seed=1, first_number=0)
    assert found == pytest.approx(tokens * unit)
    assert spread[0] * found[1] == pytest.approx(spread[1] * found[0])
    assert spread == pytest.approx(tokens * unit_spread)


@pytest.mark.parametrize("bias", [0.0, 0.5, -0.5])
@pytest.mark.parametrize("error", [0.05, 0.2, 0.5, 1.0])
def test_the_set_error_is_the_error_and_right_on_average(error, bias):
    """Law: mean 1 + bias, mean absolute error as set, within five standard errors; the logarithm
    is symmetric about its centre.
    """
    spec = Forecast(method="error", error_frac=error, bias_frac=bias)
    ratio = ratios(spec) / (1 + bias)
    assert ratio.mean() == pytest.approx(1, abs=5 * ratio.std() / math.sqrt(MANY))
    off = np.abs(ratio - 1)
    assert off.mean() == pytest.approx(error, abs=5 * off.std() / math.sqrt(MANY))
    law = log_error(spec)
    centred = (np.log(ratio) - law.centre) / law.spread
    assert np.quantile(centred, [0.1, 0.5, 0.9]) == pytest.approx([-1.2816, 0, 1.2816], abs=0.02)


@pytest.mark.parametrize("quantile", [0.05, 0.5, 0.95, 0.99])
@pytest.mark.parametrize("mae", [0.05, 0.12, 0.6])
def test_the_class_quantile_is_the_quantile_and_has_its_error(quantile, mae):
    """Law: P(truth <= forecast) and the mean absolute error are as set, within five standard
    errors.
    """
    ratio = ratios(Forecast(method="class_quantile", quantile=quantile, mae_frac=mae))
    slack = 5 * math.sqrt(quantile * (1 - quantile) / MANY)
    assert (ratio >= 1).mean() == pytest.approx(quantile, abs=slack)
    off = np.abs(ratio - 1)
    assert off.mean() == pytest.approx(mae, abs=5 * off.std() / math.sqrt(MANY))


@given(st.one_of(ERRORS, QUANTILES))
@settings(deadline=None)
def test_the_law_of_an_error_by_integration(spec):
    """The closed forms against a fine sum over the normal draw."""
    law = log_error(spec)
    z = np.linspace(-12, 12 + 2 * law.spread, 40_001)
    weights = np.exp(-0.5 * z * z) * ((z[1] - z[0]) / math.sqrt(2 * math.pi))
    off = np.exp(law.centre + law.spread * z) - 1
    wanted = spec.error_frac if spec.method == "error" else spec.mae_frac
    assert weights @ np.abs(off) == pytest.approx(wanted, rel=1e-4, abs=1e-6)


def test_runs_with_other_errors_share_their_draws():
    small, large = (Forecast(method="error", error_frac=each) for each in (0.2, 0.8))
    ranks = [np.argsort(ratios(spec)[:1000]) for spec in (small, large)]
    assert (ranks[0] == ranks[1]).all()
    assert np.corrcoef(ratios(small), ratios(small, seed=1))[0, 1] == pytest.approx(0, abs=0.02)
    in_turn = ratios(small)
    assert np.corrcoef(in_turn[:-1], in_turn[1:])[0, 1] == pytest.approx(0, abs=0.02)


def test_the_spread_is_that_of_the_error():
    spec = Forecast(method="error", error_frac=0.3, bias_frac=0.5)
    tokens, spread = foreseen(spec, np.full(MANY, 100), seed=0, first_number=0)
    assert (spread / tokens)[0] == pytest.approx(tokens.std() / tokens.mean(), rel=0.02)


def test_online_foresees_nothing():
    tokens, spread = foreseen(Forecast(), [1, 2], seed=0, first_number=0)
    assert np.isnan(tokens).all()
    assert np.isnan(spread).all()
    with pytest.raises(BadInputError, match="sees the truth"):
        log_error(Forecast())


# texts


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("online", Forecast()),
        ("perfect", PERFECT),
        ("perfect:error=0", PERFECT),
        ("perfect:error=0.5", Forecast(method="error", error_frac=0.5)),
        (" perfect:bias=-0.5", Forecast(method="error", bias_frac=-0.5)),
        ("perfect:error=1, bias=.1", Forecast(method="error", error_frac=1, bias_frac=0.1)),
        ("class_quantile", Forecast(method="class_quantile")),
        ("class_quantile:mae=0.3", Forecast(method="class_quantile", mae_frac=0.3)),
        (
            "class_quantile:quantile=0.9,mae=0.2",
            Forecast(method="class_quantile", quantile=0.9, mae_frac=0.2),
        ),
    ],
)
def test_a_text_names_a_forecaster(text, spec):
    assert forecast_of_text(text) == spec


@given(st.one_of(st.just(Forecast()), TOLD))
def test_a_forecaster_has_a_text(spec):
    assert forecast_of_text(text_of_forecast(spec)) == spec
    assert msgspec.json.decode(msgspec.json.encode(spec), type=Forecast) == spec


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'' is no forecaster"),
        ("clairvoyant", "'clairvoyant' is no forecaster"),
        ("perfect:", "nothing after ':'"),
        ("online:error=0.5", "settings of online: none"),
        ("perfect:mae=0.5", "settings of perfect: error, bias"),
        ("perfect:error", "settings of perfect: error, bias"),
        ("perfect:error=much", "'much' is no number"),
        ("perfect:error=0.1,error=0.2", "error twice"),
        ("perfect:error=2", "0 to 1.5"),
        ("perfect:error=-0.1", "0 to 1.5"),
        ("perfect:error=nan", "0 to 1.5"),
        ("perfect:bias=-1", "above -1"),
        ("perfect:bias=inf", "above -1"),
        ("class_quantile:quantile=95", "0.01 to 0.999"),
        ("class_quantile:mae=0", "above 0"),
    ],
)
def test_nonsense_is_refused_with_a_reason(text, words):
    with pytest.raises(BadInputError, match=words):
        forecast_of_text(text)


def test_the_record_refuses_what_no_text_can_say():
    with pytest.raises(BadInputError, match="method"):
        Forecast(method="guess")
    with pytest.raises(BadInputError, match="'error' only"):
        Forecast(method="perfect", error_frac=0.2)
    with pytest.raises(BadInputError, match="number of a request"):
        foreseen(PERFECT, [1], seed=0, first_number=-1)
