from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from baseload.base.errors import BadInputError
from baseload.base.streams import stream
from baseload.supply.baseline import (
    Constant,
    Diurnal,
    MarkovStates,
    OrnsteinUhlenbeck,
    PvYear,
    Scaled,
    Sum,
    Trace,
    WindYear,
    held_normal_mean,
    year_start_s,
)
from baseload.supply.series import slot_edges

CHAIN = [[-0.02, 0.015, 0.005], [0.01, -0.03, 0.02], [0.0, 0.04, -0.04]]
RANDOM = [
    OrnsteinUhlenbeck(level_w=100.0, deviation_w=20.0, time_s=300.0),
    MarkovStates(states_w=[0.0, 50.0, 200.0], generator=CHAIN),
    Diurnal(
        profile_w=[0.0, 100.0, 300.0, 100.0],
        period_s=400.0,
        clearness_mean_frac=0.7,
        clearness_deviation_frac=0.1,
        clearness_coefficient=0.6,
        clearness_step_s=50.0,
        clearness_min_frac=-math.inf,
    ),
]


def names(source):
    return type(source).__name__


@pytest.mark.parametrize("source", RANDOM, ids=names)
def test_mean_and_variance_rate_are_those_of_long_paths(source):
    """The variance of the energy of long windows over their length, against the closed form."""
    count, window = 2_000, 60
    power = source.power_w(slot_edges(100.0, count * window), (5, "test", names(source)))
    energy = power.reshape(count, window).sum(axis=1) * 100.0
    rate = source.variance_rate_j2_per_s()
    error_w = math.sqrt(rate / (count * window * 100.0))
    assert power.mean() == pytest.approx(source.mean_w(), abs=4 * error_w)
    # 0.05: the window is not long against the correlation time
    found = float(energy.var()) / (window * 100.0)
    assert found == pytest.approx(rate, rel=0.05 + 4 * math.sqrt(2 / count))


@pytest.mark.parametrize("source", RANDOM, ids=names)
def test_random_sources_follow_their_stream(source):
    edges = slot_edges(60.0, 50)
    first = source.power_w(edges, (3, "supply"))
    assert (source.power_w(edges, (3, "supply")) == first).all()
    assert (source.power_w(edges, stream(3, "supply")) == first).all()
    assert (source.power_w(edges, (4, "supply")) != first).any()
    with pytest.raises(BadInputError, match="random"):
        source.power_w(edges)
    with pytest.raises(BadInputError, match="seed"):
        source.power_w(edges, ("supply", 3))


@pytest.mark.parametrize("source", RANDOM[1:], ids=names)
def test_finer_slots_see_the_same_path(source):
    """Chains and clearness are drawn in their own time, whatever the slots."""
    fine = source.power_w(slot_edges(10.0, 600), (1, "x"))
    coarse = source.power_w(slot_edges(60.0, 100), (1, "x"))
    assert fine.reshape(100, 6).mean(axis=1) == pytest.approx(coarse, rel=1e-9, abs=1e-9)


def test_an_ou_path_has_the_exact_law_of_slot_means():
    """Variance of a slot mean and covariance of neighbours, from the covariance function."""
    tau, slot = 300.0, 200.0
    source = OrnsteinUhlenbeck(level_w=0.0, deviation_w=1.0, time_s=tau)
    means = source.power_w(slot_edges(slot, 400_000), (2, "ou"))
    r = slot / tau
    variance = 2 * (r - 1 + math.exp(-r)) / r**2
    covariance = (1 - math.exp(-r)) ** 2 / r**2
    error = 4 * math.sqrt(2 * (1 + 2 * tau / slot) / 400_000)
    assert means.var() == pytest.approx(variance, abs=error)
    assert float(np.mean(means[1:] * means[:-1])) == pytest.approx(covariance, abs=error)


def test_an_ou_path_stays_smooth_in_short_slots_and_forgets_in_long_ones():
    source = OrnsteinUhlenbeck(level_w=0.0, deviation_w=1.0, time_s=1e6)
    short = source.power_w(slot_edges(1.0, 1_000), (2, "ou"))
    assert np.abs(np.diff(short)).max() < 0.02
    swift = OrnsteinUhlenbeck(level_w=0.0, deviation_w=1.0, time_s=1e-3)
    assert swift.power_w(slot_edges(1e3, 2_000), (2, "ou")).std() == pytest.approx(
        math.sqrt(2e-6), rel=0.1
    )


def test_unequal_slots_of_an_ou_path():
    lengths = np.where(np.arange(200_000) % 2 == 0, 30.0, 600.0)
    source = OrnsteinUhlenbeck(level_w=0.0, deviation_w=1.0, time_s=300.0)
    means = source.power_w(slot_edges(lengths), (8, "ou"))
    for start, slot in ((0, 30.0), (1, 600.0)):
        r = slot / 300.0
        expected = 2 * (r - 1 + math.exp(-r)) / r**2
        assert means[start::2].var() == pytest.approx(expected, rel=0.03)


def test_a_constant_is_constant():
    assert Constant(value_w=5.0).power_w([0.0, 1.0, 7.0]).tolist() == [5.0, 5.0]
    assert Constant(value_w=5.0).mean_w() == 5.0
    assert Constant(value_w=5.0).variance_rate_j2_per_s() == 0.0
    with pytest.raises(BadInputError, match="value_w"):
        Constant(value_w=-1.0)


def test_a_trace_gives_its_values_and_ends_where_it_ends():
    trace = Trace(values_w=[1.0, 2.0, 3.0], step_s=3600.0, start_s=100.0)
    assert trace.power_w(100.0 + slot_edges(1800.0, 6)).tolist() == [1, 1, 2, 2, 3, 3]
    assert trace.mean_w() == 2.0
    assert trace.variance_rate_j2_per_s() is None
    with pytest.raises(BadInputError, match=r"10,800 s \(3 values of 3,600 s\).*\n.*") as found:
        trace.power_w(100.0 + slot_edges(3600.0, 4))
    assert "a run of 14,400 s" in str(found.value)
    with pytest.raises(ValueError, match="read-only"):
        trace.values_w[0] = 9.0


def test_a_typical_year_starts_over():
    trace = Trace(values_w=[1.0, 2.0], step_s=10.0, wrap_year=True)
    assert trace.power_w(slot_edges(10.0, 5)).tolist() == [1, 2, 1, 2, 1]


@pytest.mark.parametrize("kind", [PvYear, WindYear])
def test_a_year_of_capacity_factors_times_installed_power(kind):
    year = kind(capacity_factor=np.linspace(0, 1, 8760), installed_w=1e6)
    assert year.power_w([0.0, 8760 * 3600.0])[0] == pytest.approx(5e5)
    assert year.mean_w() == pytest.approx(5e5)
    assert year.variance_rate_j2_per_s() is None
    assert len(year.power_w(slot_edges(3600.0, 10_000))) == 10_000
    with pytest.raises(BadInputError, match=f"{kind.__name__}: the run leaves it"):
        msgspec.structs.replace(year, wrap_year=False).power_w(slot_edges(3600.0, 8761))
    with pytest.raises(BadInputError, match=r"capacity_factor\[1\]"):
        kind(capacity_factor=[0.1, 55.0], installed_w=1.0)
    with pytest.raises(BadInputError, match="installed_w"):
        kind(capacity_factor=[0.1], installed_w=-1.0)


def test_the_year_of_a_date_begins_in_january():
    second_of_march = 1_709_337_600.0  # 2024-03-02 00:00 UTC
    assert year_start_s(second_of_march) == -(31 + 29 + 1) * 86_400.0
    assert year_start_s(second_of_march, utc_offset_s=-8 * 3600) == -61 * 86_400.0 + 8 * 3600
    assert year_start_s(0.5) == -0.5


def test_a_diurnal_profile_repeats_every_day():
    hours = np.maximum(0, np.sin(np.arange(24) / 24 * 2 * math.pi))
    source = Diurnal(profile_w=hours)
    assert source.power_w(slot_edges(3600.0, 72)) == pytest.approx(np.tile(hours, 3))
    shifted = Diurnal(profile_w=hours, start_s=-3600.0)
    assert shifted.power_w(slot_edges(3600.0, 23)) == pytest.approx(hours[1:])
    assert source.mean_w() == pytest.approx(hours.mean())
    assert source.variance_rate_j2_per_s() == 0.0
    quarter = source.power_w(slot_edges(86_400.0, 2))
    assert quarter == pytest.approx([hours.mean()] * 2)


def test_a_bounded_clearness_has_a_mean_but_no_simple_variance():
    source = Diurnal(
        profile_w=[10.0],
        clearness_mean_frac=0.9,
        clearness_deviation_frac=0.3,
        clearness_coefficient=0.5,
        clearness_max_frac=1.0,
    )
    assert source.variance_rate_j2_per_s() is None
    power = source.power_w(slot_edges(3600.0, 100_000), (0, "clear"))
    assert power.max() == 10.0
    assert power.min() == 0.0
    assert power.mean() == pytest.approx(source.mean_w(), abs=4 * 3 * math.sqrt(3 / 100_000))


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-math.inf, 0.5), (0.7, math.inf)])
def test_the_mean_of_a_held_normal_is_its_integral(low, high):
    def value(x):
        return min(max(x, low), high) * norm.pdf(x, 0.6, 0.25)

    points = [point for point in (low, high) if math.isfinite(point)]
    expected, _ = quad(value, -3, 4, points=points, epsabs=1e-12)
    assert held_normal_mean(0.6, 0.25, low, high) == pytest.approx(expected, abs=1e-9)


def test_sums_and_multiples():
    sources = (Constant(value_w=10.0), RANDOM[0], RANDOM[1])
    both = Sum(sources=sources)
    edges = slot_edges(60.0, 20)
    parts = [source.power_w(edges, (1, "site", at)) for at, source in enumerate(sources)]
    assert both.power_w(edges, (1, "site")) == pytest.approx(np.sum(parts, axis=0))
    assert both.mean_w() == pytest.approx(sum(source.mean_w() for source in sources))
    assert both.variance_rate_j2_per_s() == pytest.approx(
        sum(source.variance_rate_j2_per_s() for source in sources)
    )
    twice = Scaled(source=both, factor=2.0)
    assert twice.power_w(edges, (1, "site")) == pytest.approx(2 * both.power_w(edges, (1, "site")))
    assert twice.mean_w() == 2 * both.mean_w()
    assert twice.variance_rate_j2_per_s() == 4 * both.variance_rate_j2_per_s()
    unknown = Sum(sources=(Constant(value_w=1.0), Trace(values_w=[1.0], step_s=1.0)))
    assert unknown.variance_rate_j2_per_s() is None
    assert Scaled(source=unknown, factor=2.0).variance_rate_j2_per_s() is None
    with pytest.raises(BadInputError, match="factor"):
        Scaled(source=both, factor=-1.0)


def test_one_generator_serves_several_sources_in_turn():
    both = Sum(sources=(RANDOM[0], RANDOM[0]))
    rng, again = stream(1, "x"), stream(1, "x")
    edges = slot_edges(60.0, 20)
    expected = RANDOM[0].power_w(edges, again) + RANDOM[0].power_w(edges, again)
    assert both.power_w(edges, rng) == pytest.approx(expected)


def test_a_chain_with_one_state_and_a_run_without_slots():
    still = MarkovStates(states_w=[7.0], generator=[[0.0]])
    assert still.power_w([0.0, 1.0, 2.0], (0, "x")).tolist() == [7.0, 7.0]
    assert still.variance_rate_j2_per_s() == 0.0
    for source in RANDOM:
        assert source.power_w([0.0], (0, "x")).shape == (0,)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("generator", lambda: MarkovStates(states_w=[1.0, 2.0], generator=[[-1, 1], [0, 0]])),
        ("generator", lambda: MarkovStates(states_w=[1.0, 2.0], generator=[[-1, 2], [1, -1]])),
        ("generator", lambda: MarkovStates(states_w=[1.0, 2.0], generator=[[1, -1], [1, -1]])),
        ("generator", lambda: MarkovStates(states_w=[1.0, 2.0], generator=[[-1.0]])),
        ("states_w", lambda: MarkovStates(states_w=[], generator=[])),
        ("values_w", lambda: Trace(values_w=[-1.0], step_s=1.0)),
        ("step_s", lambda: Trace(values_w=[1.0], step_s=0.0)),
        ("time_s", lambda: OrnsteinUhlenbeck(level_w=1.0, deviation_w=1.0, time_s=0.0)),
        ("profile_w", lambda: Diurnal(profile_w=[math.nan])),
        ("coefficient", lambda: Diurnal(profile_w=[1.0], clearness_coefficient=1.0)),
        ("min_frac", lambda: Diurnal(profile_w=[1.0], clearness_max_frac=-1.0)),
    ],
)
def test_sources_that_cannot_be_are_refused_by_name(field, wrong):
    with pytest.raises(BadInputError, match=field):
        wrong()
