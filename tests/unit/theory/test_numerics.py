"""The library functions behind the late imports are the library's."""

import math
import subprocess
import sys

import numpy as np
import pytest

from baseload.theory.numerics import (
    brentq,
    linprog,
    minimize,
    minimize_scalar,
    quad,
    sparse_rows,
)


def test_each_does_what_its_name_says():
    assert brentq(math.cos, 1.0, 2.0, xtol=1e-14) == pytest.approx(math.pi / 2)
    assert minimize_scalar(lambda x: (x - 2) ** 2, bounds=(0, 5), method="bounded").x == (
        pytest.approx(2)
    )
    assert minimize(lambda x: float(x[0] ** 2), (1.0,), method="Nelder-Mead").fun < 1e-6
    assert quad(math.exp, 0.0, 1.0)[0] == pytest.approx(math.e - 1)
    assert linprog([1.0], A_eq=[[1.0]], b_eq=[3.0]).fun == 3
    assert (sparse_rows(np.eye(2)) @ np.ones(2)).tolist() == [1, 1]


def test_the_catalogue_loads_none_of_them():
    code = (
        "import sys; from baseload.theory import catalogue; catalogue.two_sided_u(theta=0.1, "
        "var=1, B=3); print(sorted({'numba', 'scipy.optimize', 'scipy.stats', 'scipy.sparse', "
        "'scipy.integrate'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
