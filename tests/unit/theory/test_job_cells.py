"""Laws of a query's energy as lists of values."""

from __future__ import annotations

import numpy as np
import pytest

from baseload.base.errors import BadInputError
from baseload.theory.job_cells import FAMILIES, family_of, lattice_laws, quantile_laws


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fine_lattice_keeps_the_moments(family):
    mean, second = np.array([[1.0, 3.0]]), np.array([[2.0, 12.0]])
    if family == "deterministic":
        second = mean**2
    if family == "exponential":
        second = 2 * mean**2
    law = lattice_laws(mean, second, delta=0.01, dist=family, cap=200.0)
    values = 0.01 * np.arange(law.shape[-1])
    assert law.sum(axis=-1) == pytest.approx(np.ones((1, 2)))
    assert law @ values == pytest.approx(mean, rel=1e-3)
    assert law @ values**2 == pytest.approx(second, rel=3e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_quantile_cells_keep_the_mean_and_most_of_the_spread(family):
    mean = np.array([[1.0, 3.0, 0.0]])
    second = mean**2 * {"exponential": 2.0, "deterministic": 1.0}.get(family, 2.5)
    values, weights = quantile_laws(mean, second, dist=family)
    assert weights.sum(axis=-1) == pytest.approx(np.ones((1, 3)))
    assert (values * weights).sum(axis=-1) == pytest.approx(mean, rel=1e-9)
    assert (values**2 * weights).sum(axis=-1) == pytest.approx(second, rel=6e-3)
    assert np.all(np.diff(values, axis=-1) >= 0)


def test_mass_beyond_the_cap_lies_at_the_cap():
    law = lattice_laws(50.0, 5000.0, delta=0.5, dist="lognormal, tail >20 lumped at 20")
    assert law.shape == (41,)
    assert law[-1] > 0.5
    assert lattice_laws(1.0, 2.0, delta=0.5).shape == (161,)


def test_energy_without_spread_or_without_size():
    assert lattice_laws(1.0, 1.0, delta=0.25)[4] == 1.0
    assert lattice_laws(0.0, 0.0, delta=0.25)[0] == 1.0
    assert lattice_laws(1.0, 1.0, delta=0.25, dist="gamma")[4] == 1.0


def test_names():
    assert family_of("Lognormal discretised to nearest delta, tail >80 lumped at 80") == (
        "lognormal",
        80.0,
    )
    assert family_of("constant")[0] == "deterministic"
    for wrong in ("weibull", "gamma or lognormal"):
        with pytest.raises(BadInputError, match="dist"):
            family_of(wrong)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"delta": 0}, "delta"),
        ({"cap": -1}, "cap"),
        ({"mean": -1}, "mean"),
        ({"second": 0.1}, "second"),
    ],
)
def test_bad_input(change, field):
    with pytest.raises(BadInputError, match=f"^{field}"):
        lattice_laws(**{"mean": 1.0, "second": 2.0, "delta": 0.25, **change})
