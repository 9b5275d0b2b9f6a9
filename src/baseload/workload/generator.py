"""Requests out of a recipe: a doubly stochastic Gamma renewal process for each class.

The rate of a class is ``rate * hourly(t) * exp(z(t) - sd^2/2)``: an hourly curve (linear between
the centres of the hours), times a slow random movement ``z`` (Ornstein-Uhlenbeck, stationary, sd
``mod_sd``, memory ``mod_tau_s``), which is held for one second at a time. Gaps are Gamma with mean
1 and coefficient of variation ``gamma_cv`` in operational time (the integral of the rate); the
first one is drawn from the equilibrium distribution, so that the expected number of requests up to
any time is the integral of the rate. Lengths are lognormal mixtures, rounded and clipped,
independent of each other and of the times.

Every kind of number of every class has a random stream of its own, read strictly in order. So one
class never moves the numbers of another, and neither the size of the pieces nor that of the
internal windows changes a request.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from baseload.base.errors import BadInputError, unknown_name
from baseload.base.kernels import outline_kernel
from baseload.base.streams import stream
from baseload.base.units import S_PER_DAY, S_PER_HOUR, US_PER_S
from baseload.workload.chunks import CHUNK_REQUESTS, rechunk
from baseload.workload.trace import Trace, TraceSource

_BLOCK_REQUESTS = 131_072
_LONGEST_WINDOW_S = 86_400


class LengthMixture(msgspec.Struct, frozen=True, kw_only=True):
    """Lognormal mixture of token counts.

    ``weights``, log-means ``mu``, log-deviations ``sigma``, ``clip`` [low, high].
    """

    weights: tuple[float, ...]
    mu: tuple[float, ...]
    sigma: tuple[float, ...]
    clip: tuple[int, int]

    def __post_init__(self) -> None:
        """Refuse a mixture that is no distribution over token counts."""
        counts = {len(self.weights), len(self.mu), len(self.sigma)}
        if len(counts) != 1 or not self.weights:
            _refuse("weights, mu and sigma", f"{counts} values", "as many of each, at least one")
        if min(self.weights) < 0 or abs(sum(self.weights) - 1) > 0.01:
            _refuse("weights", f"{self.weights}", "values >= 0 that sum to 1")
        if min(self.sigma) < 0:
            _refuse("sigma", f"{self.sigma}", "values >= 0")
        if not 1 <= self.clip[0] <= self.clip[1] < 2**31:
            _refuse("clip", f"{self.clip}", "1 <= low <= high < 2^31")


class ClassRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """One class of requests: when they come and how long they are.

    ``share`` of all requests by default; ``interactive`` or not; ``hourly`` 24 multipliers of the
    mean rate, for local hours 0 to 23; ``gamma_cv`` coefficient of variation of gaps; ``mod_sd``
    and ``mod_tau_s`` [s] of the slow movement of the rate; ``reason_ratio_deciles`` the shares of
    requests whose reasoning is 0-10 %, 10-20 %, ... of the output (or ``None``: no reasoning).
    ``lengths_from`` and ``hourly_from`` name the source.
    """

    share: float
    interactive: bool
    input: LengthMixture
    output: LengthMixture
    hourly: tuple[float, ...]
    gamma_cv: float
    mod_sd: float
    mod_tau_s: float
    reason_ratio_deciles: tuple[float, ...] | None = None
    lengths_from: str = ""
    hourly_from: str = ""

    def __post_init__(self) -> None:
        """Refuse what gives no arrival process."""
        if not (math.isfinite(self.share) and self.share >= 0):
            _refuse("share", f"{self.share}", "a number >= 0")
        if len(self.hourly) != 24 or min(self.hourly) <= 0:
            _refuse("hourly", f"{self.hourly}", "24 positive multipliers")
        if not (self.gamma_cv > 0 and self.mod_sd >= 0 and self.mod_tau_s > 0):
            found = f"gamma_cv {self.gamma_cv}, mod_sd {self.mod_sd}, mod_tau_s {self.mod_tau_s}"
            _refuse("burstiness", found, "gamma_cv > 0, mod_sd >= 0, mod_tau_s > 0")
        deciles = self.reason_ratio_deciles
        if deciles is not None and (not deciles or min(deciles) < 0 or sum(deciles) <= 0):
            _refuse("reason_ratio_deciles", f"{deciles}", "shares >= 0, not all 0")


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """Classes by name, as in ``synthetic_generator.json`` (version 1)."""

    version: int
    classes: dict[str, ClassRecipe]
    note: str = ""
    arrival: str = ""

    def __post_init__(self) -> None:
        """Refuse versions we do not know and recipes without a class."""
        if self.version != 1:
            _refuse("version", f"{self.version}", "1")
        if not self.classes:
            _refuse("classes", "none", "one or more")


@functools.cache
def default_recipe() -> Recipe:
    """The recipe that ships in the package.

    Chat, rag, batch, and reasoning (share 0 unless asked for).
    """
    shipped = resources.files("baseload.workload") / "data" / "synthetic_generator.json"
    return recipe_from_json(shipped.read_bytes())


def recipe_from_json(content: bytes | str) -> Recipe:
    """The recipe in a JSON text.

    Raises ``BadInputError`` with the path of the field that is wrong.
    """
    try:
        return msgspec.json.decode(content, type=Recipe)
    except msgspec.DecodeError as error:
        raise BadInputError(
            "recipe of a workload",
            found=str(error),
            allowed="the fields of Recipe, ClassRecipe and LengthMixture",
            todo="compare it with synthetic_generator.json in the package",
        ) from error


def hourly_multiplier(
    hourly: ArrayLike, t_s: ArrayLike, *, start_hour: float = 0.0
) -> NDArray[Any]:
    """The hourly curve at times ``t_s`` [s]: 24 multipliers, linear between the centres of the
    hours, round the clock.

    ``start_hour`` is the local hour at time 0. Shape of ``t_s``; no unit.
    """
    curve = np.asarray(hourly, np.float64)
    centres = np.arange(-0.5, 25.0)
    hour = (np.asarray(t_s, np.float64) / S_PER_HOUR + start_hour) % 24.0
    around: NDArray[np.float64] = np.concatenate([curve[-1:], curve, curve[:1]])
    return np.asarray(np.interp(hour, centres, around))


def mean_hourly(hourly: ArrayLike, span_s: float, *, start_hour: float = 0.0) -> float:
    """Mean of the hourly curve over the first ``span_s`` seconds (midpoints of steps of at most a
    minute).
    """
    return _mean_hourly(tuple(np.asarray(hourly, np.float64).tolist()), span_s, start_hour)


@functools.lru_cache(maxsize=64)
def _mean_hourly(hourly: tuple[float, ...], span_s: float, start_hour: float) -> float:
    """``mean_hourly``, once for each curve: a year has half a million minutes."""
    steps = max(1, math.ceil(span_s / 60.0))
    middles = (np.arange(steps) + 0.5) * (span_s / steps)
    return float(hourly_multiplier(hourly, middles, start_hour=start_hour).mean())


def generate(
    *,
    seed: int,
    span_s: float = S_PER_DAY,
    mix: Mapping[str, float] | None = None,
    requests: float | None = None,
    mean_rate_per_s: float | None = None,
    rates_per_s: Mapping[str, float] | None = None,
    start_hour: float = 0.0,
    recipe: Recipe | None = None,
    name: str = "synthetic",
    chunk_requests: int = CHUNK_REQUESTS,
) -> TraceSource:
    """A synthetic trace of ``span_s`` seconds as a stream of pieces in order of time.

    How much: exactly one of ``requests`` (expected number in the span), ``mean_rate_per_s`` (of a
    whole average day; the hourly curve moves it) or ``rates_per_s`` (the same for each class by
    name). ``mix`` gives the classes and their shares, relative to each other (default: the shares
    of the recipe); it goes with the first two. To add a class without touching the others, give
    ``rates_per_s``. ``start_hour`` is the local hour at time 0.

    Pieces have ``reason_tokens`` when a class of the mix reasons. ``TraceSource.requests`` is the
    expectation. Memory: a few times 131,072 requests (or one second of requests, if more). Raises
    ``BadInputError`` for quantities that are missing, doubled or not positive, ``UnknownNameError``
    for a class that the recipe does not have.
    """
    recipe = default_recipe() if recipe is None else recipe
    if not (math.isfinite(span_s) and span_s > 0):
        _refuse("span_s", f"{span_s}", "a positive, finite number of seconds")
    rates = _class_rates(recipe, mix, requests, mean_rate_per_s, rates_per_s, span_s, start_hour)
    expected = sum(
        rate * span_s * mean_hourly(recipe.classes[label].hourly, span_s, start_hour=start_hour)
        for label, rate in rates.items()
    )

    def chunks() -> Iterator[Trace]:
        pieces = _windows(recipe, rates, seed=seed, span_s=span_s, start_hour=start_hour, name=name)
        return rechunk(pieces, chunk_requests)

    return TraceSource(
        name=name,
        classes=tuple(rates),
        chunks=chunks,
        requests=round(expected),
        span_s=span_s,
        requests_exact=False,
    )


def _class_rates(
    recipe: Recipe,
    mix: Mapping[str, float] | None,
    requests: float | None,
    mean_rate_per_s: float | None,
    rates_per_s: Mapping[str, float] | None,
    span_s: float,
    start_hour: float,
) -> dict[str, float]:
    """Mean rate [1/s] of each class that takes part, in the order of the recipe."""
    given = {"requests": requests, "mean_rate_per_s": mean_rate_per_s, "rates_per_s": rates_per_s}
    chosen = [key for key, value in given.items() if value is not None]
    if len(chosen) != 1 or (rates_per_s is not None and mix is not None):
        found = ", ".join([*chosen, *(["mix"] if mix is not None else [])]) or "none of them"
        allowed = "one of requests, mean_rate_per_s, rates_per_s; mix with the first two only"
        _refuse("how many requests", found, allowed)
    if rates_per_s is not None:
        return _checked_amounts(recipe, rates_per_s, "rates_per_s")
    shares = {label: each.share for label, each in recipe.classes.items()} if mix is None else mix
    shares = _checked_amounts(recipe, shares, "mix")
    total_share = sum(shares.values())
    shares = {label: share / total_share for label, share in shares.items()}
    amount = requests if requests is not None else mean_rate_per_s
    assert amount is not None
    if not (math.isfinite(amount) and amount > 0):
        _refuse(chosen[0], f"{amount}", "a positive, finite number")
    if requests is not None:
        amount = requests / sum(
            share
            * span_s
            * mean_hourly(recipe.classes[label].hourly, span_s, start_hour=start_hour)
            for label, share in shares.items()
        )
    return {label: share * amount for label, share in shares.items()}


def _checked_amounts(recipe: Recipe, amounts: Mapping[str, float], what: str) -> dict[str, float]:
    """The positive ``amounts`` in the order of the recipe; ``BadInputError`` when there is none."""
    for label, amount in amounts.items():
        if label not in recipe.classes:
            raise unknown_name("class of the recipe", label, recipe.classes)
        if not (math.isfinite(amount) and amount >= 0):
            _refuse(f"{what}[{label!r}]", f"{amount}", "a finite number >= 0")
    kept = {label: amounts[label] for label in recipe.classes if amounts.get(label, 0) > 0}
    if not kept:
        _refuse(what, f"{dict(amounts)}", "at least one class above 0")
    return kept


def _windows(
    recipe: Recipe,
    rates: Mapping[str, float],
    *,
    seed: int,
    span_s: float,
    start_hour: float,
    name: str,
    block_requests: int = _BLOCK_REQUESTS,
) -> Iterator[Trace]:
    """Pieces of whole seconds, about ``block_requests`` requests each, all classes merged."""
    classes = [
        _ClassProcess(label, recipe.classes[label], rate, seed=seed, start_hour=start_hour)
        for label, rate in rates.items()
    ]
    reasons = any(recipe.classes[label].reason_ratio_deciles is not None for label in rates)
    step_s = min(_LONGEST_WINDOW_S, max(1, int(block_requests / sum(rates.values()))))
    seconds = math.ceil(span_s)
    end_us = math.ceil(span_s * US_PER_S)
    for start in range(0, seconds, step_s):
        stop = min(seconds, start + step_s)
        times = [each.arrivals_us(start, stop) for each in classes]
        if stop * US_PER_S > end_us:
            times = [t_us[: np.searchsorted(t_us, end_us)] for t_us in times]
        t_us, order = _merged(times)
        if not len(t_us):
            continue
        counts = [len(each) for each in times]
        lengths = [
            each.lengths(count, reasons) for each, count in zip(classes, counts, strict=True)
        ]
        columns = [np.concatenate(parts) for parts in zip(*lengths, strict=True)]
        columns.append(np.repeat(np.arange(len(classes), dtype=np.int16), counts))
        if order is not None:
            columns = [column.take(order) for column in columns]
        yield Trace(
            name=name,
            t_us=t_us,
            input_tokens=columns[0],
            output_tokens=columns[1],
            class_code=columns[-1],
            classes=tuple(rates),
            reason_tokens=columns[2] if reasons else None,
        )


def _merged(times: list[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """All times in order and where each came from (``None``.

    As they were); equal times by class, then order.
    """
    if len(times) == 1:
        return times[0], None
    joined = np.concatenate(times)
    if not len(joined):
        return joined, None
    low = int(joined.min())
    bits = len(joined).bit_length()
    packed = ((joined - low) << bits) | np.arange(len(joined))
    packed.sort()
    return (packed >> bits) + low, packed & ((1 << bits) - 1)


@outline_kernel
def wander(z: float, keep: float, kicks: NDArray[np.float64], path: NDArray[np.float64]) -> float:
    """Fill ``path`` with where an AR(1) movement from ``z`` is before each of its ``kicks``; gives
    where it is after the last.
    """
    for step in range(len(kicks)):
        path[step] = z
        z = keep * z + kicks[step]
    return z


class _ClassProcess:
    """The arrivals and lengths of one class, from its own streams, each read strictly in order."""

    def __init__(
        self, label: str, recipe: ClassRecipe, rate_per_s: float, *, seed: int, start_hour: float
    ) -> None:
        self._recipe = recipe
        self._rate = rate_per_s
        self._start_hour = start_hour
        self._streams = {
            kind: stream(seed, "workload.generator", label, kind)
            for kind in (
                "movement",
                "gaps",
                "input.component",
                "input.size",
                "output.component",
                "output.size",
                "reasoning",
            )
        }
        self._z: float = recipe.mod_sd * self._streams["movement"].standard_normal()
        self._mean_requests = 0.0
        # Equilibrium first gap: a uniform part of a length-biased one (Cox, Renewal Theory, 1962,
        # 5.1).
        shape = 1 / recipe.gamma_cv**2
        first = stream(seed, "workload.generator", label, "first gap")
        self._drawn = np.array([first.random() * first.standard_gamma(shape + 1) / shape])

    def arrivals_us(self, start: int, stop: int) -> NDArray[np.int64]:
        """Arrival times [us] in the seconds ``start`` to ``stop``.

        Call with adjoining windows in order.
        """
        running = self._integrated_rate(start, stop)
        self._draw_until(running[-1])
        count = int(np.searchsorted(self._drawn, running[-1]))
        events, self._drawn = self._drawn[:count], self._drawn[count:]
        edges_us = np.arange(start, stop + 1, dtype=np.float64) * US_PER_S
        times: NDArray[np.int64] = np.interp(events, running, edges_us).astype(np.int64)
        return times

    def lengths(self, count: int, reasons: bool) -> list[NDArray[np.int32]]:
        """Input and output tokens (and reasoning tokens, if ``reasons``) of the next ``count``
        requests.
        """
        output = self._tokens("output", self._recipe.output, count)
        columns = [self._tokens("input", self._recipe.input, count), output]
        deciles = self._recipe.reason_ratio_deciles
        if reasons and deciles is None:
            columns.append(np.zeros(count, np.int32))
        elif deciles is not None:
            below = np.concatenate([[0.0], np.cumsum(deciles) / sum(deciles)])
            share = np.interp(
                self._streams["reasoning"].random(count), below, np.linspace(0, 1, len(below))
            )
            columns.append(np.rint(share * output).astype(np.int32))
        return columns

    def _integrated_rate(self, start: int, stop: int) -> NDArray[np.float64]:
        """Mean number of requests up to each edge of the seconds ``start`` to ``stop``."""
        recipe = self._recipe
        middles = np.arange(start, stop) + 0.5
        rate = self._rate * hourly_multiplier(recipe.hourly, middles, start_hour=self._start_hour)
        if recipe.mod_sd > 0:
            keep = math.exp(-1 / recipe.mod_tau_s)
            kicks = self._streams["movement"].standard_normal(stop - start)
            kicks *= recipe.mod_sd * math.sqrt(1 - keep * keep)
            path = np.empty(stop - start)
            self._z = float(wander(self._z, keep, kicks, path))
            rate *= np.exp(path - recipe.mod_sd**2 / 2)
        running = np.cumsum(np.concatenate([[self._mean_requests], rate]))
        self._mean_requests = float(running[-1])
        return running

    def _draw_until(self, operational_time: float) -> None:
        """Draw events until the last one lies beyond ``operational_time``."""
        shape = 1 / self._recipe.gamma_cv**2
        pieces = [self._drawn]
        while pieces[-1][-1] <= operational_time:
            last = pieces[-1][-1]
            count = int((operational_time - last) * 1.02) + 256
            gaps = self._streams["gaps"].standard_gamma(shape, count)
            gaps /= shape
            pieces.append(np.cumsum(np.concatenate([[last], gaps]))[1:])
        self._drawn = np.concatenate(pieces) if len(pieces) > 1 else self._drawn

    def _tokens(self, kind: str, mixture: LengthMixture, count: int) -> NDArray[np.int32]:
        """The next ``count`` lengths of the mixture, rounded, then clipped."""
        u = self._streams[f"{kind}.component"].random(count)
        below = np.cumsum(mixture.weights) / sum(mixture.weights)
        component = np.zeros(count, np.int8)
        for edge in below[:-1]:
            component += u >= edge
        size = self._streams[f"{kind}.size"].standard_normal(count)
        size *= np.array(mixture.sigma).take(component)
        size += np.array(mixture.mu).take(component)
        np.exp(size, out=size)
        np.rint(size, out=size)
        np.clip(size, *mixture.clip, out=size)
        return size.astype(np.int32)


def _refuse(what: str, found: str, allowed: str) -> None:
    """Raise the error of a recipe or a request for a workload."""
    raise BadInputError(f"synthetic workload: {what}", found=found, allowed=allowed)
