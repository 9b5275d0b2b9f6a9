"""The synthetic workload against its recipe and the statistics of the sources it was fitted to."""

from __future__ import annotations

import itertools

import msgspec
import numpy as np
import pytest

from baseload.base.errors import BadInputError, UnknownNameError
from baseload.workload import generator
from baseload.workload.chunks import collect
from baseload.workload.fingerprint import sha256_of
from baseload.workload.generator import default_recipe, generate, hourly_multiplier, mean_hourly
from baseload.workload.trace import Trace, check_trace

ALL = {"chat": 0.5, "rag": 0.2, "batch": 0.1, "reasoning": 0.2}


def of_class(trace: Trace, label: str) -> dict[str, np.ndarray]:
    mask = trace.class_code == trace.classes.index(label)
    names = ("t_us", "input_tokens", "output_tokens", "reason_tokens")
    columns = {name: getattr(trace, name) for name in names if getattr(trace, name) is not None}
    return {name: column[mask] for name, column in columns.items()}


def steady(**changes) -> generator.Recipe:
    """The default recipe with a flat day, and each class changed."""
    classes = {
        label: msgspec.structs.replace(each, hourly=(1.0,) * 24, **changes)
        for label, each in default_recipe().classes.items()
    }
    return msgspec.structs.replace(default_recipe(), classes=classes)


@pytest.fixture(scope="module")
def day() -> Trace:
    return collect(generate(seed=3, requests=500_000, mix=ALL))


def test_a_day_is_in_order_and_has_the_classes_asked_for(day):
    check_trace(day)
    assert day.classes == tuple(ALL)
    assert day.span_s < 86_400
    shares = np.bincount(day.class_code) / len(day)
    # the slow movement alone moves a day's reasoning by 7 % (one standard deviation)
    assert shares == pytest.approx(list(ALL.values()), abs=0.05)
    assert len(day) == pytest.approx(500_000, rel=0.06)


# The study that fitted the generator, "drawn against source": mean, p50, p95, p99, drawn by its
# author.
DRAWN = {
    ("chat", "input_tokens"): (1178, 1000, 4090, 4655),
    ("chat", "output_tokens"): (213, 129, 434, 723),
    ("rag", "output_tokens"): (341, 350, 704, 1092),
    ("batch", "input_tokens"): (2596, 2746, 3912, 4096),
    ("batch", "output_tokens"): (291, 166, 679, 3159),
    ("reasoning", "output_tokens"): (1550, 788, 5539, 13282),
}


@pytest.mark.parametrize("key", DRAWN)
def test_lengths_are_those_of_the_fit(day, key):
    values = of_class(day, key[0])[key[1]]
    drawn = (values.mean(), *np.percentile(values, [50, 95, 99]))
    assert drawn == pytest.approx(DRAWN[key], rel=0.05)


def test_rag_input_has_the_mean_of_the_fit(day):
    assert of_class(day, "rag")["input_tokens"].mean() == pytest.approx(6520, rel=0.02)


def test_reasoning_is_70_percent_of_the_output_and_its_share_is_bimodal(day):
    reasoning = of_class(day, "reasoning")
    assert (reasoning["reason_tokens"] <= reasoning["output_tokens"]).all()
    share = reasoning["reason_tokens"] / reasoning["output_tokens"]
    assert share.mean() == pytest.approx(0.70, abs=0.03)
    assert ((share > 0.3) & (share <= 0.4)).mean() == pytest.approx(0.12, abs=0.01)
    assert (share > 0.9).mean() == pytest.approx(0.243, abs=0.01)
    assert not of_class(day, "chat")["reason_tokens"].any()


def test_input_and_output_lengths_are_independent(day):
    chat = of_class(day, "chat")
    ranks = [np.argsort(np.argsort(chat[name])) for name in ("input_tokens", "output_tokens")]
    assert abs(np.corrcoef(*ranks)[0, 1]) < 0.01


def test_the_day_follows_the_hourly_curve():
    """Without the slow movement each hour's count is the recipe's curve, to counting noise."""
    chat = default_recipe().classes["chat"]
    calm = msgspec.structs.replace(chat, mod_sd=0.0)
    recipe = msgspec.structs.replace(default_recipe(), classes={"chat": calm})
    day = collect(generate(seed=1, mean_rate_per_s=6.0, recipe=recipe))
    counts = np.bincount(day.t_us // 3_600_000_000, minlength=24)
    edges = np.arange(24)[:, None] * 3600.0 + np.arange(30, 3600, 60.0)
    expected = 6.0 * 3600 * hourly_multiplier(chat.hourly, edges).mean(axis=1)
    assert counts == pytest.approx(expected, abs=5 * 1.09 * np.sqrt(expected.max()))
    assert np.corrcoef(counts, chat.hourly)[0, 1] > 0.995


def test_start_hour_turns_the_day():
    curve = default_recipe().classes["chat"].hourly
    assert hourly_multiplier(curve, [0.0], start_hour=20.5) == pytest.approx([curve[20]])
    assert hourly_multiplier(curve, [1800.0, 86_400 + 1800.0]) == pytest.approx([curve[0]] * 2)
    assert mean_hourly(curve, 86_400, start_hour=7) == pytest.approx(np.mean(curve), rel=1e-6)
    evening = generate(seed=1, span_s=3600, mean_rate_per_s=5, start_hour=20, mix={"chat": 1})
    night = generate(seed=1, span_s=3600, mean_rate_per_s=5, start_hour=3, mix={"chat": 1})
    assert evening.requests > 1.8 * night.requests


def test_the_expected_number_is_the_integral_of_the_rate():
    """Mean over many short draws, where a process that starts with a full gap would be off."""
    counts = []
    for seed in range(300):
        source = generate(
            seed=seed, span_s=20, rates_per_s={"batch": 2.0}, recipe=steady(mod_sd=0.0)
        )
        counts.append(len(collect(source)))
    assert source.requests == 40
    error = np.std(counts) / np.sqrt(len(counts))
    assert abs(np.mean(counts) - 40) < 4 * error
    assert error < 2


def test_arrivals_are_as_bursty_as_the_fit():
    """The study that fitted the generator.

    Squared CV of gaps 1.26, IDC at 1/10/60 s 1.36/2.99/11.2 over draws of an hour.
    """
    scv, idc = [], {1: [], 10: [], 60: []}
    for seed in range(80):
        source = generate(seed=seed, span_s=3600, rates_per_s={"chat": 5.53}, recipe=steady())
        t_s = collect(source).t_us / 1e6
        gaps = np.diff(t_s)
        scv.append(gaps.var() / gaps.mean() ** 2)
        for window_s, found in idc.items():
            counts = np.bincount((t_s // window_s).astype(int), minlength=3600 // window_s)
            found.append(counts.var() / counts.mean())
    assert np.mean(scv) == pytest.approx(1.26, abs=0.05)
    assert np.mean(idc[1]) == pytest.approx(1.36, abs=0.05)
    assert np.mean(idc[10]) == pytest.approx(2.99, abs=0.4)
    assert np.mean(idc[60]) == pytest.approx(11.2, abs=2.5)


def test_a_memoryless_recipe_is_a_poisson_process():
    source = generate(
        seed=2, span_s=3600, rates_per_s={"chat": 20.0}, recipe=steady(mod_sd=0.0, gamma_cv=1.0)
    )
    t_s = collect(source).t_us / 1e6
    counts = np.bincount((t_s // 10).astype(int))
    assert counts.var() / counts.mean() == pytest.approx(1.0, abs=0.25)
    gaps = np.diff(t_s)
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, abs=0.03)


# what a seed fixes


@pytest.mark.parametrize("chunk_requests", [1, 999, 10**6])
def test_the_same_in_pieces_of_any_size(chunk_requests):
    kinds = {"seed": 5, "requests": 5000, "mix": ALL, "span_s": 5000.5}
    source = generate(**kinds, chunk_requests=chunk_requests)
    assert sha256_of(source) == sha256_of(generate(**kinds))
    assert collect(source).span_s < 5000.5


@pytest.mark.parametrize("block_requests", [1, 40, 700])
def test_the_same_in_windows_of_any_size(monkeypatch, block_requests):
    """Every stream is read strictly in order, so the borders of the windows may not show."""
    rates = {"chat": 3.0, "batch": 0.4, "reasoning": 1.0}
    recipe, kinds = default_recipe(), {"seed": 5, "span_s": 900.25, "start_hour": 6.0, "name": "x"}
    whole = list(generator._windows(recipe, rates, **kinds))
    parts = list(generator._windows(recipe, rates, **kinds, block_requests=block_requests))
    assert len(parts) > len(whole) == 1
    columns = ("t_us", "input_tokens", "output_tokens", "class_code", "reason_tokens")
    for name in columns:
        joined = np.concatenate([getattr(part, name) for part in parts])
        assert np.array_equal(joined, getattr(whole[0], name))


def test_a_class_more_changes_nobody_elses_numbers():
    alone = collect(generate(seed=7, span_s=3000, rates_per_s={"chat": 4.0}))
    beside = collect(generate(seed=7, span_s=3000, rates_per_s={"reasoning": 2.0, "chat": 4.0}))
    chat = of_class(beside, "chat")
    for name in ("t_us", "input_tokens", "output_tokens"):
        assert np.array_equal(chat[name], getattr(alone, name))


def test_another_seed_is_another_trace():
    one, two = (generate(seed=seed, requests=1000, span_s=100) for seed in (1, 2))
    assert sha256_of(one) != sha256_of(two)
    assert sha256_of(one) == sha256_of(generate(seed=1, requests=1000, span_s=100))


def test_memory_is_bounded_by_windows():
    """A long trace comes in small pieces, and the first does not wait for the last."""
    source = generate(seed=1, requests=10**9, mix=ALL)
    piece = next(source.chunks())
    assert len(piece) < 10**6
    assert piece.t_us[-1] < 300e6
    assert source.requests == pytest.approx(10**9)
    assert not source.requests_exact


def test_pieces_follow_each_other():
    pieces = list(generate(seed=1, requests=3000, mix=ALL, chunk_requests=500).chunks())
    for before, after in itertools.pairwise(pieces):
        assert before.t_us[-1] <= after.t_us[0]


# refusals


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "none of them"),
        ({"requests": 5, "mean_rate_per_s": 1}, "requests, mean_rate_per_s"),
        ({"rates_per_s": {"chat": 1}, "mix": {"chat": 1}}, "rates_per_s, mix"),
        ({"requests": -5}, "positive, finite"),
        ({"requests": 5, "span_s": 0}, "span_s"),
        ({"requests": 5, "mix": {"chat": 0}}, "at least one class above 0"),
        ({"requests": 5, "mix": {"chat": -1}}, r"mix\['chat'\]"),
    ],
)
def test_what_cannot_be_generated_is_refused(arguments, words):
    with pytest.raises(BadInputError, match=words):
        generate(seed=1, **arguments)


def test_an_unknown_class_names_the_nearest():
    with pytest.raises(UnknownNameError, match="nearest: chat"):
        generate(seed=1, requests=5, mix={"chatt": 1})


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("hourly", [1.0] * 23, "24 positive"),
        ("gamma_cv", 0, "gamma_cv > 0"),
        ("share", -1, "share"),
        ("reason_ratio_deciles", [0, 0], "not all 0"),
        ("input", {"weights": [1], "mu": [1, 2], "sigma": [1], "clip": [1, 5]}, "weights, mu and"),
        ("input", {"weights": [0.5], "mu": [1], "sigma": [1], "clip": [1, 5]}, "sum to 1"),
        ("input", {"weights": [1], "mu": [1], "sigma": [-1], "clip": [1, 5]}, "sigma"),
        ("output", {"weights": [1], "mu": [1], "sigma": [1], "clip": [0, 5]}, "clip"),
        ("mod_sd", "much", "mod_sd"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(field, value, words):
    recipe = msgspec.json.decode(msgspec.json.encode(default_recipe()))
    recipe["classes"]["chat"][field] = value
    with pytest.raises(BadInputError, match=words):
        generator.recipe_from_json(msgspec.json.encode(recipe))


def test_recipes_of_other_versions_or_without_classes_are_refused():
    with pytest.raises(BadInputError, match="version"):
        generator.recipe_from_json('{"version": 2, "classes": {}}')
    with pytest.raises(BadInputError, match="classes"):
        generator.recipe_from_json('{"version": 1, "classes": {}}')
