"""Laws of the energy of one request: moments, limited mean and transforms.

A law is spelled in words with a mean ("exp", "det", "logn s=1", "gamma k=2", "hyperexp scv=4",
"pareto xi=1.5 cap=30") or built from measured energies. Every integral over the law is taken over
its survival function on Gauss-Legendre panels of geometric width, which keeps small arguments free
of cancellation. Textbook identities; docs/explanation/critical-regime.md, 3.5.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gamma as gamma_function
from scipy.special import gammainc, gammaincc, ndtr

from baseload.base.errors import ArgumentError
from baseload.theory.inputs import Floats, number, numbers, positive
from baseload.theory.numerics import brentq

_RATIO = 1.25
_MOST_ATOMS = 1000
_SMALLEST_SURVIVAL = 1e-290

SPELLINGS = (
    "exp, det, gamma k=2, erlang k=3, logn s=1, uniform, weibull k=2, hyperexp scv=4, "
    "pareto xi=2.5; each may end in cap=30 (means)"
)
"""What ``job_law`` understands, in words."""


class JobLaw(msgspec.Struct, frozen=True, kw_only=True):
    """The law of the energy X of one request.

    ``mean_j`` [J], ``second_j2`` = E X^2, ``third_j3`` = E X^3 (may be infinite), ``maximum_j``
    (may be infinite); ``transforms_from_per_j`` is the lowest real q [1/J] above which E exp(-q X)
    is finite: 0 for uncapped heavy tails. ``limited`` gives E min(X, z) for an array of z >= 0.
    ``points_j`` and ``weights_j`` integrate any smooth function against P(X > z) dz. Use
    ``job_law`` or ``measured_law`` to build one.
    """

    name: str
    kind: str
    mean_j: float
    second_j2: float
    third_j3: float
    maximum_j: float
    transforms_from_per_j: float
    limited: Callable[[Floats], Floats]
    points_j: Floats
    weights_j: Floats

    @property
    def overshoot_j(self) -> float:
        """E X^3 / (3 E X^2) [J]: mean overdraw of a level far below; infinite for a heavy tail."""
        return self.third_j3 / (3 * self.second_j2)

    @property
    def skewness_j(self) -> float:
        """E X^3 / (E X^2)^1.5: skewness of the energy of n requests times sqrt n, Poisson."""
        return float(self.third_j3 / self.second_j2**1.5)

    def excess_cdf(self, energy_j: ArrayLike) -> Floats:
        """Fe(z) = int_0^z P(X > v) dv / E X, the law of the residual energy."""
        return self.limited(np.maximum(np.asarray(energy_j, dtype=np.float64), 0.0)) / self.mean_j

    def excess_transform(self, q: NDArray[Any]) -> NDArray[Any]:
        """(1 - E exp(-q X)) / q [J] for an array of q, real or complex with Re q >= 0."""
        with np.errstate(under="ignore"):
            found: NDArray[Any] = np.exp(-np.multiply.outer(q, self.points_j)) @ self.weights_j
        return found

    def lacks(self, q: NDArray[Any]) -> NDArray[Any]:
        """``lack`` for an array of q, real or complex with Re q >= 0, shape of ``q``."""
        with np.errstate(under="ignore"):
            found: NDArray[Any] = -np.expm1(-np.multiply.outer(q, self.points_j)) @ self.weights_j
        return found

    def excess_slope(self, q: NDArray[Any]) -> NDArray[Any]:
        """int z exp(-q z) P(X > z) dz [J^2]: minus the slope of ``excess_transform``."""
        with np.errstate(under="ignore"):
            powers = np.exp(-np.multiply.outer(q, self.points_j))
        found: NDArray[Any] = powers @ (self.weights_j * self.points_j)
        return found

    def transform(self, q: float) -> float:
        """E exp(-q X), infinite where it does not exist."""
        excess = self._integral(lambda z: np.exp(-q * z), q)
        return 1 - q * excess if math.isfinite(excess) else math.inf

    def transform_tilted_mean(self, q: float) -> float:
        """E[X exp(-q X)] [J], infinite where it does not exist."""
        return self._integral(lambda z: (1 - q * z) * np.exp(-q * z), q)

    def lack(self, q: float) -> float:
        """E X - (1 - E exp(-q X)) / q [J], exact also for small q; -inf where it does not exist."""
        return -self._integral(lambda z: np.expm1(-q * z), q)

    def lack_of_slope(self, q: float) -> float:
        """(1 - E exp(-q X)) / q - E[X exp(-q X)] [J], exact also for small q."""
        return self._integral(lambda z: q * z * np.exp(-q * z), q)

    def log_lack_ratio(self, q: float) -> float:
        """ln(``lack`` / ``lack_of_slope``), about q ``overshoot_j`` for small q; for q != 0."""

        def gap(z: Floats) -> Floats:  # -expm1(-v) - v exp(-v)
            v = q * z
            series = v * v * (0.5 - v * (1 / 3 - v * (1 / 8 - v / 30)))
            return np.where(np.abs(v) < 1e-3, series, -np.expm1(-v) - v * np.exp(-v))

        return math.log1p(self._integral(gap, q) / self.lack_of_slope(q))

    def _integral(self, function: Callable[[Floats], Floats], q: float) -> float:
        """Integral of ``function`` against the survival function."""
        if q < 0 and q <= self.transforms_from_per_j:
            return math.inf
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            parts = function(self.points_j) * self.weights_j
        total = float(np.sum(parts))
        return total if math.isfinite(total) else math.inf


class _Base(msgspec.Struct, frozen=True, kw_only=True):
    """A law at its natural scale, before a mean and a cap are given to it."""

    kind: str
    survival: Callable[[Floats], Floats]
    limited: Callable[[Floats], Floats]
    mean: float
    low: float
    high: float
    breaks: tuple[float, ...] = ()
    maximum: float = math.inf
    transforms_from: float = 0.0
    second: float | None = None
    third: float | None = None


def _exponential(_: dict[str, float]) -> _Base:
    return msgspec.structs.replace(_gamma({"k": 1.0}), kind="exponential")


def _gamma(options: dict[str, float]) -> _Base:
    k = options.pop("k", None)
    if k is None:
        k = 1 / positive("dist: scv", options.pop("scv", math.nan))
    k = positive("dist: k", k)
    return _Base(
        kind="gamma",
        survival=lambda z: gammaincc(k, k * z),
        limited=lambda z: gammainc(k + 1, k * z) + z * gammaincc(k, k * z),
        mean=1.0,
        low=1e-9 * min(1.0, k),
        high=(700 + 60 * math.sqrt(k) + k) / k,
        transforms_from=-k,
        second=(k + 1) / k,
        third=(k + 1) * (k + 2) / k**2,
    )


def _deterministic(_: dict[str, float]) -> _Base:
    return _Base(
        kind="deterministic",
        survival=lambda z: np.where(z < 1, 1.0, 0.0),
        limited=lambda z: np.minimum(z, 1.0),
        mean=1.0,
        low=1e-6,
        high=1.0,
        maximum=1.0,
        transforms_from=-math.inf,
        second=1.0,
        third=1.0,
    )


def _lognormal(options: dict[str, float]) -> _Base:
    s = options.pop("s", None)
    if s is None:
        scv = positive("dist: scv", options.pop("scv", math.nan))
        s = math.sqrt(math.log1p(scv))
    s = number("dist: s", s, least=0, open_least=True, most=6)

    def limited(z: Floats) -> Floats:
        with np.errstate(divide="ignore"):
            log = np.log(z) / s
        far = np.where(np.isfinite(z), z, 0.0)
        return ndtr(log - s / 2) + far * ndtr(-(log + s / 2))  # type: ignore[no-any-return]

    return _Base(
        kind="lognormal",
        survival=lambda z: ndtr(-(np.log(z) / s + s / 2)),
        limited=limited,
        mean=1.0,
        low=math.exp(-9 * s - s * s / 2),
        high=math.exp(min(36 * s - s * s / 2, 200.0)),
        second=math.exp(s * s),
        third=math.exp(3 * s * s),
    )


def _uniform(_: dict[str, float]) -> _Base:
    return _Base(
        kind="uniform",
        survival=lambda z: np.maximum(1 - z / 2, 0.0),
        limited=lambda z: np.minimum(z, 2.0) - np.minimum(z, 2.0) ** 2 / 4,
        mean=1.0,
        low=1e-6,
        high=2.0,
        maximum=2.0,
        transforms_from=-math.inf,
        second=4 / 3,
        third=2.0,
    )


def _weibull(options: dict[str, float]) -> _Base:
    k = number("dist: k", options.pop("k", math.nan), least=0.1, most=100)
    g = float(gamma_function(1 + 1 / k))
    return _Base(
        kind="weibull",
        survival=lambda z: np.exp(-((g * z) ** k)),
        limited=lambda z: gammainc(1 / k, (g * z) ** k),
        mean=1.0,
        low=1e-12 ** (1 / k) if k < 1 else 1e-9,
        high=668 ** (1 / k) / g,
        transforms_from=0.0 if k < 1 else (-1.0 if k == 1 else -math.inf),
        second=float(gamma_function(1 + 2 / k)) / g**2,
        third=float(gamma_function(1 + 3 / k)) / g**3,
    )


def _hyperexponential(options: dict[str, float]) -> _Base:
    scv = number("dist: scv", options.pop("scv", math.nan), least=1)
    p = (1 + math.sqrt((scv - 1) / (scv + 1))) / 2
    rates = np.array([2 * p, 2 * (1 - p)])
    chances = np.array([p, 1 - p])
    return _Base(
        kind="hyperexponential",
        survival=lambda z: np.exp(-np.multiply.outer(z, rates)) @ chances,
        limited=lambda z: -np.expm1(-np.multiply.outer(z, rates)) @ (chances / rates),
        mean=1.0,
        low=1e-9,
        high=680 / float(rates[1]),
        transforms_from=-float(rates[1]),
        second=float(2 * chances @ rates**-2),
        third=float(6 * chances @ rates**-3),
    )


def _pareto(options: dict[str, float]) -> _Base:
    xi = positive("dist: xi", options.pop("xi", math.nan))

    def limited(z: Floats) -> Floats:
        above = np.maximum(z, 1.0)
        tail = np.log(above) if xi == 1 else -np.expm1((1 - xi) * np.log(above)) / (xi - 1)
        return np.minimum(z, 1.0) + tail

    def moment(order: int) -> float:
        return xi / (xi - order) if xi > order else math.inf

    return _Base(
        kind="pareto",
        survival=lambda z: np.maximum(z, 1.0) ** -xi,
        limited=limited,
        mean=moment(1),
        low=1e-6,
        high=1e16,
        breaks=(1.0,),
        second=moment(2),
        third=moment(3),
    )


_KINDS: dict[str, Callable[[dict[str, float]], _Base]] = {
    **dict.fromkeys(("exp", "expon", "exponential"), _exponential),
    **dict.fromkeys(("det", "deterministic", "const", "constant", "fixed"), _deterministic),
    **dict.fromkeys(("gamma", "erlang"), _gamma),
    **dict.fromkeys(("logn", "lognorm", "lognormal"), _lognormal),
    **dict.fromkeys(("unif", "uniform"), _uniform),
    "weibull": _weibull,
    **dict.fromkeys(("hyperexp", "hyperexponential", "h2"), _hyperexponential),
    "pareto": _pareto,
}
_MAIN_OPTION = {"gamma": "k", "erlang": "k", "weibull": "k", "pareto": "xi"}
_ALIASES = {"sigma": "s", "shape": "k", "n": "k", "alpha": "xi", "index": "xi", "cv2": "scv"}


def job_law(dist: str | JobLaw, mean: float = 1.0) -> JobLaw:
    """The law that ``dist`` spells, with mean energy ``mean`` [J]; a ``JobLaw`` is given back.

    ``dist`` is a name with options, e.g. "exp", "det", "gamma k=2", "erlang k=3", "logn s=1" (s:
    standard deviation of the logarithm; or scv=), "uniform" (0 to twice the mean), "weibull k=2",
    "hyperexp scv=4" (two phases, balanced means), "pareto xi=2.5". An optional ``cap=30`` cuts
    every request at 30 times ``mean``; ``mean`` is the mean after the cut. Raises ArgumentError for
    an unknown spelling and for an infinite second moment, which needs a cap.
    """
    if isinstance(dist, JobLaw):
        return dist
    mean = positive("mean", mean)
    words, options = _spelled(dist)
    cap = options.pop("cap", math.inf)
    base = _KINDS[words](options)
    if options:
        raise ArgumentError(f"dist: {next(iter(options))}", found=dist, allowed=SPELLINGS)
    cap = number("dist: cap", cap, least=1, open_least=True, infinite=True)
    if cap >= base.maximum:  # the cap cuts nothing
        cap = math.inf
    if math.isinf(cap) and base.second is not None and math.isinf(base.second):
        raise ArgumentError(
            "dist",
            found=f"{dist}: the second moment is infinite",
            allowed="laws with a finite mean and second moment",
            todo="give a cap in means, e.g. cap=30",
        )
    return _scaled(base, dist, mean=mean, cap_j=cap * mean)


def _spelled(dist: str) -> tuple[str, dict[str, float]]:
    """Name and options of a spelling."""
    text = re.sub(r"[(),:;_]+", " ", str(dist).strip().lower())
    text = re.sub(r"(?<=\s)([a-z]+)\s*(?=[\d.]+(?:\s|$))", r"\1=", text)  # s1.5, k 2
    match = re.fullmatch(
        r"(h2|[a-z]+)[\s_-]*([\d.]+)?((?:\s+[a-z_0-9]+\s*=\s*[-+.\deinf]+)*)\s*", text
    )
    wrong = ArgumentError("dist", found=repr(dist), allowed=SPELLINGS)
    if match is None or match[1] not in _KINDS:
        raise wrong
    pairs = re.findall(r"([a-z_0-9]+)\s*=\s*([-+.\deinf]+)", match[3])
    try:
        options = {_ALIASES.get(key, key): float(value) for key, value in pairs}
        if match[2] is not None:
            main = _MAIN_OPTION.get(match[1], "s" if match[1].startswith("logn") else "scv")
            options[main] = float(match[2])
    except ValueError:
        raise wrong from None
    return match[1], options


def _scaled(base: _Base, name: str, *, mean: float, cap_j: float) -> JobLaw:
    """``base`` stretched so that its mean after a cut at ``cap_j`` is ``mean``."""
    capped = math.isfinite(cap_j)
    scale = mean / base.mean
    if capped:

        def missing(log_scale: float) -> float:
            stretch = math.exp(log_scale)
            return stretch * float(base.limited(np.array([cap_j / stretch]))[0]) - mean

        low = math.log(mean / base.mean) if math.isfinite(base.mean) else math.log(mean) - 60
        scale = math.exp(_root(missing, low - 1e-9, low + 200))
    top = cap_j / scale if capped else base.high
    points, weights = _panels(base.survival, base.low, top, base.breaks)
    points, weights = points * scale, weights * scale
    closed = not capped
    second = base.second * scale**2 if closed and base.second else 2 * float(weights @ points)
    third = base.third * scale**3 if closed and base.third else 3 * float(weights @ points**2)

    def limited(z: Floats) -> Floats:
        return scale * base.limited(np.minimum(z, cap_j) / scale)

    return JobLaw(
        name=name,
        kind=f"capped {base.kind}" if capped else base.kind,
        mean_j=mean,
        second_j2=second,
        third_j3=third,
        maximum_j=cap_j if capped else base.maximum * scale,
        transforms_from_per_j=-math.inf if capped else base.transforms_from / scale,
        limited=limited,
        points_j=points,
        weights_j=weights,
    )


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """The root of a rising function between ``low`` and ``high``."""
    return float(brentq(function, low, high, xtol=1e-15, rtol=1e-14))


def _panels(
    survival: Callable[[Floats], Floats], low: float, high: float, breaks: tuple[float, ...]
) -> tuple[Floats, Floats]:
    """Points and weights whose sums integrate against ``survival`` from 0 to ``high``."""
    low = min(low, high / 10)
    count = max(int(math.log(high / low) / math.log(_RATIO)), 4)
    edges = np.geomspace(low, high, count + 1)
    inner = [at for at in breaks if at < high]
    edges = np.unique(np.concatenate([[0.0], edges, inner]))
    nodes, shares = np.polynomial.legendre.leggauss(16 if len(breaks) < 20 else 6)
    half = np.diff(edges)[:, None] / 2
    points = (edges[:-1, None] + half * (1 + nodes)).ravel()
    with np.errstate(under="ignore"):
        weights = (half * shares).ravel() * survival(points)
    keep = weights > _SMALLEST_SURVIVAL
    return points[keep], weights[keep]


def measured_law(energies_j: ArrayLike, *, name: str = "measured") -> JobLaw:
    """The empirical law of measured energies ``energies_j`` [J], one per request, any shape.

    Moments are those of all samples. More than 1,000 distinct energies are gathered into 1,000
    groups of equal count for integrals, each at its mean. Raises ArgumentError for an empty array,
    a negative or non-finite energy, or energies that are all 0.
    """
    sample = np.sort(numbers("energies_j", energies_j, least=0.0).ravel())
    if sample.size == 0 or sample[-1] <= 0:
        raise ArgumentError("energies_j", found="no energy above 0", allowed="measured energies")
    groups = np.array_split(sample, min(_MOST_ATOMS, sample.size))
    atoms = np.array([group.mean() for group in groups])
    shares = np.array([group.size for group in groups]) / sample.size
    sums = np.concatenate([[0.0], np.cumsum(atoms * shares)])
    above = np.concatenate([np.cumsum(shares[::-1])[::-1], [0.0]])

    def survival(z: Floats) -> Floats:
        found: Floats = above[np.searchsorted(atoms, z, side="right")]
        return found

    def limited(z: Floats) -> Floats:
        place = np.searchsorted(atoms, z, side="right")
        with np.errstate(invalid="ignore"):
            rest = np.where(above[place] > 0, z, 0.0) * above[place]
        found: Floats = sums[place] + rest
        return found

    smallest = float(atoms[atoms > 0][0])
    top = float(atoms[-1])
    points, weights = _panels(survival, smallest / 4, top, tuple(np.unique(atoms)))
    return JobLaw(
        name=name,
        kind="measured",
        mean_j=float(sample.mean()),
        second_j2=float(np.mean(sample**2)),
        third_j3=float(np.mean(sample**3)),
        maximum_j=float(sample[-1]),
        transforms_from_per_j=-math.inf,
        limited=limited,
        points_j=points,
        weights_j=weights,
    )


__all__ = ["SPELLINGS", "JobLaw", "job_law", "measured_law"]
