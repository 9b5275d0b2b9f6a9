"""An unlimited store under a constant supply and Poisson requests: expected auxiliary energy.

Net energy N_t = b t - (energies of the requests up to t) has jumps downward only. From an empty
start E[U_T] = int_0^T E[(N_t)-] / t dt (Spitzer in continuous time); from S0 > 0 Seal's formula for
the finite-time ruin probability, integrated over the start, gives

    E[U_T] = E[(-N_T - S0)+] + int_0^T E[(N_{T-s})+] / (T - s) P(-N_s > S0) ds.

Equal jobs use these sums directly. Every other law inverts the transform: at an exponential time of
rate s the lowest point I of N below 0 has E[I] = 1 / Phi(s) - theta / s and
E exp(-q I) = s (Phi(s) - q) / (Phi(s) (s - psi(q))), psi(q) = b q - lam (1 - E exp(-q X)),
psi(Phi(s)) = s (Kyprianou, *Fluctuations of Levy Processes*).
docs/explanation/critical-regime.md, 3.3.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import gammaln, pdtr, pdtrc

from baseload.theory.inputs import Floats, finite_result, not_negative
from baseload.theory.job_laws import JobLaw
from baseload.theory.laplace import Complexes, euler, euler_two

_MOST_PANELS = 20_000
_NEWTON_STEPS = 200


def expected_aux_poisson(lam: float, law: JobLaw, *, b: float, T: float, S0: float = 0.0) -> float:
    """E[auxiliary energy] [J] in ``T`` seconds: Poisson requests of rate ``lam`` [1/s], energies of
    ``law``, constant supply ``b`` [W] >= 0, unlimited store that starts at ``S0`` [J].

    Exact for the model, whatever the job law. Numerical error: 1e-10 for equal jobs, 1e-8 from an
    empty start and 1e-6 from ``S0`` > 0 for smooth laws, 1e-5 where much of a law sits in one atom.
    """
    lam, b = not_negative("lam", lam), not_negative("b", b)
    T, level = not_negative("T", T), not_negative("S0", S0)
    if lam == 0 or T == 0:
        return 0.0
    mean = lam * law.mean_j
    if b == 0 and level == 0:
        return mean * T
    equal = law.kind == "deterministic"
    if equal and (b * T + level) / law.mean_j <= _MOST_PANELS:
        value = _equal_jobs(lam, law.mean_j, b=b, T=T, level=level)
    elif b == 0:
        value = _never_supplied(lam * T, law, level)
    elif level < 1e-9 * law.mean_j:
        value = _from_empty(lam, law, b=b, T=T)
    else:
        value = _from_level(lam, law, b=b, T=T, level=level)
    finite_result("expected_aux_poisson", value, lam=lam, mean=law.mean_j, b=b, T=T, S0=S0)
    return min(max(value, (mean - b) * T - level, 0.0), mean * T)


def _climb(q: Complexes, lam: float, law: JobLaw, b: float) -> Complexes:
    """psi(q) / q = b - lam (1 - E exp(-q X)) / q, without cancellation at small and at large q."""
    small = np.abs(q) * law.mean_j < 1
    found = np.empty(q.shape, dtype=np.complex128)
    found[~small] = b - lam * law.excess_transform(q[~small])
    found[small] = (b - lam * law.mean_j) + lam * law.lacks(q[small])
    return found


def _right_root(s: Complexes, lam: float, law: JobLaw, b: float) -> Complexes:
    """Phi(s): the root of psi(q) = s with positive real part, by Newton from the safe side."""
    q: Complexes = (s + lam) / b
    for _ in range(_NEWTON_STEPS):
        rate = _climb(q, lam, law, b)
        step = (q * rate - s) / (rate + lam * q * law.excess_slope(q))
        turned = q - step
        q = np.where(turned.real > 0, turned, q.real / 4 + 1j * turned.imag)
        if np.all(np.abs(step) <= 1e-12 * np.abs(q)):
            return q
    raise ArithmeticError(f"no root of psi(q) = s for s = {s}, lam = {lam}, b = {b}")


def _from_empty(lam: float, law: JobLaw, *, b: float, T: float) -> float:
    """Inverse transform of E[I] / s, with E[I] = 1 / Phi - theta / s = lam lack(Phi) / s."""

    def transform(s: Complexes) -> Complexes:
        found: Complexes = lam * law.lacks(_right_root(s, lam, law, b)) / (s * s)
        return found

    return euler(transform, T)


def _from_level(lam: float, law: JobLaw, *, b: float, T: float, level: float) -> float:
    """Inverse double transform of E[(I - x)+] in the horizon and in x = ``level``."""

    def transform(s: Complexes, q: Complexes) -> Complexes:
        top = _right_root(s[:, 0], lam, law, b)[:, None]
        depth = lam * law.lacks(top[:, 0])[:, None] / s  # E[I]
        lowest = s * (top - q) / (top * (s - q * _climb(q[0], lam, law, b)))
        found: Complexes = (depth / q - (1 - lowest) / (q * q)) / s
        return found

    return euler_two(transform, T, level)


def _never_supplied(requests: float, law: JobLaw, level: float) -> float:
    """E[(D - level)+] of a Poisson number of requests."""

    def transform(q: Complexes) -> Complexes:
        left = np.exp(-requests * q * (law.mean_j - law.lacks(q)))
        found: Complexes = requests * law.mean_j / q - (1 - left) / (q * q)
        return found

    return euler(transform, level)


def _equal_jobs(lam: float, job: float, *, b: float, T: float, level: float) -> float:
    """The sums for jobs of ``job`` [J], panel by panel between the kinks."""

    def surplus(t: Floats) -> Floats:  # E[(b t - job N_t)+] / t
        count, mean = np.floor(b * t / job), lam * t
        with np.errstate(under="ignore"):
            last = np.exp(count * np.log(mean) - mean - gammaln(count + 1))
        kept = (b * t - job * mean) * pdtr(count, mean) + job * mean * last
        found: Floats = np.maximum(kept / t, 0.0)
        return found

    steps = np.arange(1, math.floor((b * T + level) / job) + 1) * job
    nothing: Floats = np.empty(0)
    kinks = np.asarray(steps[steps < b * T] / b if b > 0 else nothing, dtype=np.float64)
    if level == 0:
        at, weight = _gauss(kinks, T)
        return float(weight @ (job * lam - b + surplus(at)))
    passed = (steps[steps > level] - level) / b if b > 0 else nothing
    at, weight = _gauss(np.concatenate([T - kinks, passed]), T)
    below = pdtrc(np.floor((level + b * at) / job), lam * at)
    last = _bought_above(lam * T, job, level + b * T)
    return last + float((weight * below) @ surplus(T - at))


def _bought_above(requests: float, job: float, line: float) -> float:
    """E[(job N - line)+] [J] of a Poisson N of mean ``requests``."""
    k = math.floor(line / job)
    above = float(pdtrc(k, requests))
    last = math.exp(k * math.log(requests) - requests - float(gammaln(k + 1)))
    return max((job * requests - line) * above + job * requests * last, 0.0)


def _gauss(kinks: Floats, T: float) -> tuple[Floats, Floats]:
    """Gauss-Legendre points and weights on (0, T), split at the kinks and finely near the ends."""
    ends = T * np.concatenate([np.geomspace(1e-6, 0.5, 30), 1 - np.geomspace(1e-6, 0.5, 30)])
    inner = kinks[(kinks > 0) & (kinks < T)]
    edges = np.unique(np.concatenate([[0.0, T], ends, inner, np.linspace(0, T, 200)]))
    nodes, shares = np.polynomial.legendre.leggauss(6)
    half = np.diff(edges)[:, None] / 2
    return (edges[:-1, None] + half * (1 + nodes)).ravel(), (half * shares).ravel()


__all__ = ["expected_aux_poisson"]
