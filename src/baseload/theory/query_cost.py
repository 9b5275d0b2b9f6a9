"""FLOPs and joules of one query, from the size of the model and the lengths.

Derived in docs/explanation/scaling-laws.md, 6.1. FLOPs per token: Kaplan et al., arXiv 2001.08361.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Literal

import msgspec

from baseload.base.errors import ArgumentError
from baseload.theory.inputs import efficiency, finite_result, not_negative, number, positive
from baseload.theory.numerics import quad

ATTENTION_SHARE = 0.2
"""Share of the crossover context from which attention is counted in the energy of a request."""


class EnergyMoments(msgspec.Struct, frozen=True, kw_only=True):
    """Mean [J] and second moment [J^2] of the energy of a request."""

    mean_j: float
    second_j2: float

    @property
    def variance_j2(self) -> float:
        """Second moment less the square of the mean, never negative."""
        return max(self.second_j2 - self.mean_j**2, 0.0)


class TokenMoments(msgspec.Struct, frozen=True, kw_only=True):
    """Moments E[tau^i] of the output tokens. The third and fourth are needed only where attention
    counts.
    """

    m1: float
    m2: float
    m3: float | None = None
    m4: float | None = None

    def __post_init__(self) -> None:
        """Refuse negative moments and a second one below the square of the first."""
        not_negative("m1", self.m1)
        number("m2", self.m2, least=self.m1**2 * (1 - 1e-12))
        for field, moment in (("m3", self.m3), ("m4", self.m4)):
            if moment is not None:
                not_negative(field, moment)


class DecodeStep(msgspec.Struct, frozen=True, kw_only=True):
    """One decode step by the roofline: ``time_s`` until each sequence has its next token,
    ``energy_j_per_token`` of one of them, and what limits it.
    """

    time_s: float
    energy_j_per_token: float
    bound: Literal["compute", "memory"]


def query_flops(*, N: float, n_layer: float, d_attn: float, prompt: float, output: float) -> float:
    """FLOPs of a query with ``prompt`` and ``output`` tokens: 2 N L + 2 n_layer d_attn L^2, where
    L = prompt + output.

    ``N`` active parameters (a mixture of experts: those that a token uses), ``d_attn`` attention
    width. Exact for 2 N + 4 n_layer d_attn c FLOPs per token at (midpoint) context c.
    docs/explanation/scaling-laws.md, 6.1. Raises ArgumentError naming a negative or non-finite
    input.
    """
    size = not_negative("N", N)
    layers = not_negative("n_layer", n_layer)
    width = not_negative("d_attn", d_attn)
    length = not_negative("prompt", prompt) + not_negative("output", output)
    flops = 2 * size * length + 2 * layers * width * length * length
    return finite_result("query_flops", flops, N=N, prompt=prompt, output=output)


def crossover_context(*, N: float, n_layer: float, d_attn: float) -> float:
    """The context [tokens] at which attention costs as many FLOPs per token as the weights:
    N / (2 n_layer d_attn); infinite for a model without attention. Exact for the count of
    ``query_flops``. docs/explanation/scaling-laws.md, 6.1.
    """
    size = positive("N", N)
    work = 2 * not_negative("n_layer", n_layer) * not_negative("d_attn", d_attn)
    return size / work if work else math.inf


def joules_per_flop(*, power_w: float, peak_flops: float, util: float, pue: float = 1.0) -> float:
    """Joules per FLOP of a GPU that draws ``power_w`` and does ``util`` of ``peak_flops`` a second,
    with the building's ``pue`` >= 1 on top: P pue / (peak util).

    ``util`` in (0, 1]: about 0.4 in prefill and 0.1 in decode are common; measure yours.
    docs/explanation/scaling-laws.md, 6.1.
    """
    draw = not_negative("power_w", power_w) * number("pue", pue, least=1.0)
    found = draw / positive("peak_flops", peak_flops) / efficiency("util", util)
    return finite_result("joules_per_flop", found, power_w=power_w, peak_flops=peak_flops)


def roofline_decode(
    *,
    N: float,
    batch: float,
    context: float,
    weight_bytes: float,
    kv_bytes: float,
    bandwidth: float,
    peak_flops: float,
    power_w: float,
    util: float = 1.0,
    pue: float = 1.0,
) -> DecodeStep:
    """Time and energy of a decode step of ``batch`` sequences at ``context`` tokens each.

    time = max(2 N batch / (peak util), (weight_bytes + batch kv_bytes context) / bandwidth);
    energy per token = power pue time / batch. ``kv_bytes`` per token of context, ``bandwidth`` in
    bytes/s. Heuristic: a roofline, not checked against measurements; energy per token falls with
    the batch until the step is bound by compute. docs/explanation/scaling-laws.md, 6.1.
    """
    rows = number("batch", batch, least=1.0)
    size = positive("N", N)
    work_s = 2 * size * rows / positive("peak_flops", peak_flops) / efficiency("util", util)
    moved = not_negative("weight_bytes", weight_bytes) + rows * not_negative(
        "kv_bytes", kv_bytes
    ) * not_negative("context", context)
    read_s = moved / positive("bandwidth", bandwidth)
    time_s = finite_result("roofline_decode", max(work_s, read_s), N=N, batch=batch)
    draw_w = not_negative("power_w", power_w) * number("pue", pue, least=1.0)
    return DecodeStep(
        time_s=time_s,
        energy_j_per_token=draw_w * time_s / rows,
        bound="compute" if work_s >= read_s else "memory",
    )


def energy_moments(
    tokens: TokenMoments,
    *,
    energy_j_per_token: float,
    prefill_j: float = 0.0,
    attention_j_per_token2: float = 0.0,
) -> EnergyMoments:
    """Moments of X = prefill_j + energy_j_per_token tau + attention_j_per_token2 tau^2.

    Exact. With attention the third and fourth moments of ``tokens`` are needed (ArgumentError
    without them). docs/explanation/scaling-laws.md, 6.1.
    """
    e0 = not_negative("prefill_j", prefill_j)
    e1 = not_negative("energy_j_per_token", energy_j_per_token)
    e2 = not_negative("attention_j_per_token2", attention_j_per_token2)
    mean = e0 + e1 * tokens.m1 + e2 * tokens.m2
    second = e0 * e0 + 2 * e0 * e1 * tokens.m1 + (e1 * e1 + 2 * e0 * e2) * tokens.m2
    if e2 > 0:
        if tokens.m3 is None or tokens.m4 is None:
            raise ArgumentError(
                "m3, m4",
                found="no third and fourth moment of the tokens",
                allowed="both, where attention counts",
                todo="give them, or use energy_moments_of_law with the survival function",
            )
        second += 2 * e1 * e2 * tokens.m3 + e2 * e2 * tokens.m4
    return EnergyMoments(
        mean_j=finite_result("energy_moments", mean, tokens=tokens),
        second_j2=finite_result("energy_moments", second, tokens=tokens),
    )


def energy_moments_of_law(
    survival: Callable[[float], float],
    *,
    cap_tokens: float,
    energy_j_per_token: float,
    prefill_j: float = 0.0,
    attention_j_per_token2: float = 0.0,
    breaks: tuple[float, ...] = (),
) -> EnergyMoments:
    """``energy_moments`` by quadrature of ``survival(t)`` = P(tau > t) up to ``cap_tokens``, for
    laws without known moments. ``breaks`` are places where the survival function has a corner.
    Relative error about 1e-9 for smooth laws. docs/explanation/scaling-laws.md, 6.1.
    """
    cap = positive("cap_tokens", cap_tokens)
    e0 = not_negative("prefill_j", prefill_j)
    e1 = not_negative("energy_j_per_token", energy_j_per_token)
    e2 = not_negative("attention_j_per_token2", attention_j_per_token2)

    def slope(t: float) -> float:
        return (e1 + 2 * e2 * t) * survival(t)

    def slope_of_square(t: float) -> float:
        return 2 * (e0 + e1 * t + e2 * t * t) * (e1 + 2 * e2 * t) * survival(t)

    # decades as break points: the mass of a heavy tail spreads over many of them
    decades = [cap * 10.0**-power for power in range(1, 9)]
    points = [0.0, *sorted({*decades, *(b for b in breaks if 0 < b < cap)}), cap]
    totals = [0.0, 0.0]
    for low, high in itertools.pairwise(points):
        for which, function in enumerate((slope, slope_of_square)):
            totals[which] += float(
                quad(function, low, high, epsabs=0.0, epsrel=1e-10, limit=200)[0]
            )
    return EnergyMoments(mean_j=e0 + totals[0], second_j2=e0 * e0 + totals[1])


def request_energy(
    tokens: TokenMoments,
    *,
    prompt: float,
    N: float,
    n_layer: float,
    d_attn: float,
    prefill_j_per_flop: float,
    decode_j_per_flop: float,
) -> EnergyMoments:
    """Moments of the energy of a request with ``prompt`` tokens and random output ``tokens``.

    The prompt costs ``prefill_j_per_flop``, the output ``decode_j_per_flop`` (``joules_per_flop``).
    Attention among the output tokens is counted when the mean length exceeds ``ATTENTION_SHARE`` of
    ``crossover_context``; below, only its part that is linear in the output is. Exact for the FLOP
    count above the share; below it the mean is low by at most about that share.
    docs/explanation/scaling-laws.md, 6.1.
    """
    p = not_negative("prompt", prompt)
    prefill = not_negative("prefill_j_per_flop", prefill_j_per_flop)
    decode = not_negative("decode_j_per_flop", decode_j_per_flop)
    crossover = crossover_context(N=N, n_layer=n_layer, d_attn=d_attn)
    attention = 2 * n_layer * d_attn
    counts = p + tokens.m1 > ATTENTION_SHARE * crossover
    return energy_moments(
        tokens,
        prefill_j=prefill * query_flops(N=N, n_layer=n_layer, d_attn=d_attn, prompt=p, output=0.0),
        energy_j_per_token=decode * (2 * N + 2 * attention * p),
        attention_j_per_token2=decode * attention if counts else 0.0,
    )
