"""Which length forecaster a run uses, and what those that see the true length say of it.

``online`` learns (``lengths``); the others are told the truth and spoil it in a known way, so that
a run shows what a better or a worse forecast would be worth. Only the simulator has the truth, so
only it may call ``foreseen``. See docs/explanation/forecasts.md.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Literal, NamedTuple, get_args

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from baseload.base.draws import uniforms
from baseload.base.errors import BadInputError

Method = Literal["online", "perfect", "error", "class_quantile"]

ERROR_MOST, MAE_MOST = 1.5, 10.0
QUANTILE_LEAST, QUANTILE_MOST = 0.01, 0.999

_FORMS = (
    "online, perfect, perfect:error=0.5, perfect:bias=-0.2, perfect:error=0.5,bias=0.1, "
    "class_quantile, class_quantile:quantile=0.95,mae=0.12"
)
_KEYS: dict[str, dict[str, str]] = {
    "online": {},
    "perfect": {"error": "error_frac", "bias": "bias_frac"},
    "class_quantile": {"quantile": "quantile", "mae": "mae_frac"},
}
_NORMAL = NormalDist()


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """A length forecaster.

    ``method``: ``online`` learns by class and prompt bucket; ``perfect`` says the truth; ``error``
    the truth with an error; ``class_quantile`` a high quantile with a small error, as in the
    JouleSched note.

    ``error_frac`` (``error``): mean absolute error relative to the truth, E|forecast / truth - 1|
    before bias; lognormal, so symmetric in the logarithm about its own centre, and of mean 1, so
    that forecasts are right on average; 0 to 1.5. ``bias_frac`` (``error``): every forecast is too
    long by this fraction; -0.5 is half of it; above -1.

    ``quantile`` (``class_quantile``): the fraction of requests that are no longer than forecast,
    0.01 to 0.999. ``mae_frac`` (``class_quantile``): mean absolute error relative to the truth,
    above 0, at most 10.

    Raises ``BadInputError`` for anything else.
    """

    method: Method = "online"
    error_frac: float = 0.0
    bias_frac: float = 0.0
    quantile: float = 0.95
    mae_frac: float = 0.12

    def __post_init__(self) -> None:
        """Refuse unknown methods and numbers out of range."""
        if self.method not in get_args(Method):
            raise BadInputError(
                "length forecast: method",
                found=repr(self.method),
                allowed=", ".join(get_args(Method)),
            )
        ranges = (
            ("error_frac", 0 <= self.error_frac <= ERROR_MOST, f"0 to {ERROR_MOST}"),
            (
                "bias_frac",
                -1 < self.bias_frac < math.inf,
                "above -1 (0.5: half too long, -0.5: half of it)",
            ),
            (
                "quantile",
                QUANTILE_LEAST <= self.quantile <= QUANTILE_MOST,
                f"{QUANTILE_LEAST} to {QUANTILE_MOST}",
            ),
            ("mae_frac", 0 < self.mae_frac <= MAE_MOST, f"above 0, at most {MAE_MOST:g}"),
        )
        for name, good, allowed in ranges:
            if not good:
                raise BadInputError(
                    f"length forecast: {name}", found=repr(getattr(self, name)), allowed=allowed
                )
        if self.method != "error" and (self.error_frac or self.bias_frac):
            raise BadInputError(
                f"length forecast: error of method {self.method!r}",
                found=f"error_frac {self.error_frac}, bias_frac {self.bias_frac}",
                allowed="an error or bias with method 'error' only",
            )


class LogError(NamedTuple):
    """log(forecast / truth) = log(``scale``) + ``centre`` + ``spread`` * a standard normal draw."""

    scale: float
    centre: float
    spread: float


def log_error(spec: Forecast) -> LogError:
    """How far the forecasts of ``spec`` are from the truth.

    ``error``: centre -s^2/2 makes the mean 1, and then E|forecast / truth - 1| = 4 Phi(s/2) - 2,
    which is solved for s. ``class_quantile``: centre s Phi^-1(quantile) makes forecasts too short
    with probability 1 - quantile, and s is solved for by halving (the error grows with s). Raises
    ``BadInputError`` for ``online``, whose error is not set.
    """
    if spec.method == "online":
        raise BadInputError(
            "set error of a length forecast", found="online", allowed="a method that sees the truth"
        )
    if spec.method == "error":
        spread = 2.0 * _NORMAL.inv_cdf((spec.error_frac + 2.0) / 4.0)
        return LogError(1.0 + spec.bias_frac, -0.5 * spread * spread, spread)
    if spec.method == "class_quantile":
        apart = _NORMAL.inv_cdf(spec.quantile)
        spread = _spread_of(spec.mae_frac, apart)
        return LogError(1.0, apart * spread, spread)
    return LogError(1.0, 0.0, 0.0)


def _mean_abs_error(spread: float, apart: float) -> float:
    """E|exp(spread * (z + apart)) - 1| over a standard normal z."""
    mean = math.exp(spread * apart + 0.5 * spread * spread)
    above = mean * _NORMAL.cdf(apart + spread) - _NORMAL.cdf(apart)
    return 2.0 * above - mean + 1.0


def _spread_of(mae: float, apart: float) -> float:
    """The spread whose ``_mean_abs_error`` is ``mae``: doubled until above, then halved in on."""
    low, high = 0.0, 0.01
    while _mean_abs_error(high, apart) < mae:
        low, high = high, 2.0 * high
    for _ in range(60):
        middle = 0.5 * (low + high)
        if _mean_abs_error(middle, apart) < mae:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def foreseen(
    spec: Forecast, output_tokens: ArrayLike, *, seed: int, first_number: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the forecaster says at the arrival of requests with these true lengths: the forecast
    and its standard deviation [tokens], two arrays of float64 ``[n]``.

    Requests are numbered from ``first_number`` (>= 0) through the whole trace; the forecast of a
    request depends on ``seed`` and its number only, not on how the trace is cut into pieces.
    Forecasters with other errors draw the same normal for a request, so they can be compared in
    pairs. Not rounded; below 1 for a short answer where the error takes it there.

    The standard deviation is the forecast times the coefficient of variation of the error, which is
    the same for forecast / truth and truth / forecast; a bias does not widen it, since the
    forecaster does not know of it. ``online`` gives NaN twice: the table knows at the arrival (see
    ``lengths.expected_length``). Raises ``BadInputError`` for a negative ``first_number``.
    """
    if first_number < 0:
        raise BadInputError("number of a request", found=str(first_number), allowed=">= 0")
    truth = np.asarray(output_tokens, dtype=np.float64)
    if spec.method == "online":
        return np.full(len(truth), np.nan), np.full(len(truth), np.nan)
    scale, centre, spread = log_error(spec)
    tokens = truth * scale
    if spread > 0.0:
        tokens *= np.exp(centre + spread * _normals(seed, first_number, len(truth)))
    return tokens, tokens * math.sqrt(math.expm1(spread * spread))


def _normals(seed: int, first_number: int, count: int) -> NDArray[np.float64]:
    """A standard normal for each request: Box and Muller's, from its own two uniform draws."""
    pairs = uniforms(seed, "length forecast", first=2 * first_number, count=2 * count)
    angle, radius = pairs[0::2], pairs[1::2]
    return np.sqrt(-2.0 * np.log1p(-radius)) * np.cos(2.0 * math.pi * angle)


def forecast_of_text(text: str) -> Forecast:
    """The forecaster that a user names: ``online``, ``perfect``, ``perfect:error=0.5,bias=0.1``,
    ``class_quantile:quantile=0.95,mae=0.12``.

    Raises ``BadInputError`` for a name, key or number that makes no sense.
    """
    name, colon, rest = text.strip().partition(":")
    if name not in _KEYS or (colon and not rest):
        raise _bad(text, f"{name!r} is no forecaster" if name not in _KEYS else "nothing after ':'")
    fields: dict[str, float] = {}
    for part in rest.split(",") if rest else ():
        key, equals, value = part.strip().partition("=")
        if key not in _KEYS[name] or not equals:
            keys = ", ".join(_KEYS[name]) or "none"
            raise _bad(text, f"{part.strip()!r}; settings of {name}: {keys}")
        if _KEYS[name][key] in fields:
            raise _bad(text, f"{key} twice")
        try:
            fields[_KEYS[name][key]] = float(value)
        except ValueError:
            raise _bad(text, f"{value!r} is no number") from None
    method = "error" if name == "perfect" and any(fields.values()) else name
    return msgspec.convert({"method": method, **fields}, Forecast)


def _bad(text: str, found: str) -> BadInputError:
    return BadInputError(f"length forecast {text!r}", found=found, allowed=_FORMS)


def text_of_forecast(spec: Forecast) -> str:
    """The text that ``forecast_of_text`` reads as ``spec``, settings written out."""
    name = "perfect" if spec.method == "error" else spec.method
    settings = {key: float(getattr(spec, field)) for key, field in _KEYS[name].items()}
    if name == "perfect":
        settings = {key: value for key, value in settings.items() if value}
    parts = ",".join(f"{key}={value!r}" for key, value in settings.items())
    return f"{name}:{parts}" if parts else name
