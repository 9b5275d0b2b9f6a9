"""Parts of SciPy and compiled kernels that are slow to load, loaded at their first use.

A closed form needs none of them, and ``baseload theory`` should answer it at once. Each function is
the one of that name in the library, with its arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def brentq(function: Callable[[float], float], low: float, high: float, **options: Any) -> float:
    """Root of ``function`` between ``low`` and ``high``: ``scipy.optimize.brentq``."""
    from scipy.optimize import brentq as find

    return float(find(function, low, high, **options))


def minimize(function: Callable[..., float], start: Any, **options: Any) -> Any:
    """``scipy.optimize.minimize``."""
    from scipy.optimize import minimize as find

    return find(function, start, **options)


def minimize_scalar(function: Callable[[float], float], **options: Any) -> Any:
    """``scipy.optimize.minimize_scalar``."""
    from scipy.optimize import minimize_scalar as find

    return find(function, **options)


def linprog(rate: Any, **options: Any) -> Any:
    """``scipy.optimize.linprog``."""
    from scipy.optimize import linprog as find

    return find(rate, **options)


def quad(function: Callable[[float], float], low: float, high: float, **options: Any) -> Any:
    """``scipy.integrate.quad``."""
    from scipy.integrate import quad as integrate

    return integrate(function, low, high, **options)


def sparse_rows(matrix: Any) -> Any:
    """``matrix`` as ``scipy.sparse.csr_matrix``."""
    from scipy.sparse import csr_matrix

    return csr_matrix(matrix)
