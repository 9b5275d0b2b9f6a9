"""Poisson requests against an unlimited store: sums and transforms check each other."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from baseload.base.errors import BadInputError
from baseload.theory import poisson
from baseload.theory.job_laws import job_law
from baseload.theory.one_sided import expected_aux_one_sided
from baseload.theory.poisson import expected_aux_poisson
from baseload.theory.slots import compound_loss


@pytest.mark.parametrize("dist", ["exp", "logn s=1", "uniform", "gamma k=3"])
@pytest.mark.parametrize("b", [0.8, 1.2])
def test_from_empty_against_spitzers_integral_over_a_lattice(dist, b):
    law, T = job_law(dist), 20.0
    nodes, shares = np.polynomial.legendre.leggauss(12)
    edges = np.sqrt([0, 0.4 / b, 1 / b, 2 / b, 4 / b, 8 / b, T])  # t = root^2, cut at the kinks
    wanted = 0.0
    for low, high in itertools.pairwise(edges):
        roots = low + (high - low) * (1 + nodes) / 2
        short = [compound_loss(r * r, law, supply_j=b * r * r) / (r * r) for r in roots]
        wanted += float(np.dot(shares * (high - low) * roots, short))
    assert expected_aux_poisson(1.0, law, b=b, T=T) == pytest.approx(wanted, rel=2e-6)


@pytest.mark.parametrize("b", [0.9, 1.0, 1.2])
@pytest.mark.parametrize("S0", [0.0, 0.5, 5.0])
def test_equal_jobs_by_sums_and_by_transform(b, S0):
    law = job_law("det")
    exact = expected_aux_poisson(1.0, law, b=b, T=50.0, S0=S0)
    if S0 == 0:
        other = poisson._from_empty(1.0, law, b=b, T=50.0)
    else:
        other = poisson._from_level(1.0, law, b=b, T=50.0, level=S0)
    assert other == pytest.approx(exact, rel=1e-4, abs=1e-5)


def simulated(b, *, T, S0, paths=20_000):
    """Mean and standard error of the overdraw of simulated exponential jobs."""
    stream = np.random.default_rng(5)
    lowest = np.zeros(paths)
    for path in range(paths):
        times = np.cumsum(stream.exponential(1.0, int(3 * T) + 60))
        times = times[times < T]
        net = b * times - np.cumsum(stream.exponential(1.0, times.size))
        lowest[path] = max(-net.min() - S0, 0.0) if times.size else 0.0
    return lowest.mean(), lowest.std() / math.sqrt(paths)


@pytest.mark.parametrize(("b", "S0"), [(1.0, 3.0), (0.9, 0.0), (1.1, 1.0)])
def test_against_simulation(b, S0):
    mean, error = simulated(b, T=20.0, S0=S0)
    assert abs(expected_aux_poisson(1.0, job_law("exp"), b=b, T=20.0, S0=S0) - mean) < 4 * error


def test_start_joins_the_empty_store_and_more_of_it_needs_less():
    law = job_law("uniform")
    at = {"b": 0.95, "T": 40.0}
    by_start = [expected_aux_poisson(1.0, law, **at, S0=S0) for S0 in (0, 1e-6, 0.5, 5, 30)]
    assert by_start[1] == pytest.approx(by_start[0], rel=1e-6)
    assert by_start[1:] == sorted(by_start[1:], reverse=True)


def test_long_horizons_become_the_diffusion():
    law = job_law("gamma k=2")
    for S0 in (0.0, 30.0):
        got = expected_aux_poisson(2.0, law, b=2.0, T=1e8, S0=S0)
        wanted = expected_aux_one_sided(0.0, 2 * law.second_j2, T=1e8, S0=S0)
        assert got == pytest.approx(wanted, rel=1e-3)
    assert expected_aux_poisson(1.0, law, b=1e-9, T=50.0) == pytest.approx(50, rel=1e-8)


def test_edges():
    law = job_law("exp", 2.0)
    assert expected_aux_poisson(0.0, law, b=1.0, T=5.0) == 0
    assert expected_aux_poisson(1.0, law, b=1.0, T=0.0) == 0
    assert expected_aux_poisson(1.0, law, b=0.0, T=5.0) == 10
    dark = expected_aux_poisson(1.0, law, b=0.0, T=5.0, S0=4.0)
    assert dark == pytest.approx(expected_aux_poisson(1.0, law, b=1e-7, T=5.0, S0=4.0), rel=1e-5)
    one = expected_aux_poisson(1.0, job_law("det", 2.0), b=0.0, T=5.0, S0=4.0)
    wanted = sum(max(2 * n - 4, 0) * math.exp(-5) * 5**n / math.factorial(n) for n in range(80))
    assert one == pytest.approx(wanted)
    with pytest.raises(BadInputError, match="b"):
        expected_aux_poisson(1.0, law, b=-1.0, T=5.0)
