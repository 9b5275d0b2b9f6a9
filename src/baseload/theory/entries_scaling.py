"""Catalogue entries of the scaling laws, under the names and inputs of the reference vectors."""

from __future__ import annotations

import functools
import math
from typing import Any

from baseload.base.errors import ArgumentError
from baseload.theory import chains, model_choice, query_cost, stopping, tails, training
from baseload.theory.entry import Entry, entry_of
from baseload.theory.inputs import not_negative


def cot_oracle_stopping(k: float, a: float, n_max: float | None = None) -> dict[str, float]:
    """``chains.cot_oracle_stopping`` as a mapping."""
    found = chains.cot_oracle_stopping(k=k, a=a, n_max=n_max)
    return {
        "p_success": found.success_frac,
        "mean_attempts": found.mean_attempts,
        "second_attempts": found.second_attempts,
    }


def chain_energy(
    k: float,
    a: float,
    tokens_per_step: float,
    energy_j_per_token: float,
    prefill_j: float = 0.0,
    n_max: float | None = None,
) -> dict[str, float]:
    """``chains.chain_energy`` as a mapping."""
    found = chains.chain_energy(
        k=k,
        a=a,
        tokens_per_step=tokens_per_step,
        energy_j_per_token=energy_j_per_token,
        prefill_j=prefill_j,
        n_max=n_max,
    )
    return {
        "p_success": found.success_frac,
        "mean_tokens": found.mean_tokens,
        "m1": found.energy.mean_j,
        "m2": found.energy.second_j2,
    }


def energy_moments(
    m1: float,
    m2: float,
    energy_j_per_token: float,
    prefill_j: float = 0.0,
    attention_j_per_token2: float = 0.0,
    m3: float | None = None,
    m4: float | None = None,
) -> dict[str, float]:
    """``query_cost.energy_moments`` as a mapping."""
    found = query_cost.energy_moments(
        query_cost.TokenMoments(m1=m1, m2=m2, m3=m3, m4=m4),
        energy_j_per_token=energy_j_per_token,
        prefill_j=prefill_j,
        attention_j_per_token2=attention_j_per_token2,
    )
    return {"m1": found.mean_j, "m2": found.second_j2}


@functools.wraps(query_cost.roofline_decode)
def roofline_decode(**inputs: float) -> dict[str, float]:
    """``query_cost.roofline_decode`` as a mapping."""
    found = query_cost.roofline_decode(**inputs)
    return {"time_s": found.time_s, "energy_j_per_token": found.energy_j_per_token}


def optimal_model_size_family(
    eta: float, z: float, N_min: float = 0.0, N_max: float = math.inf
) -> float:
    """``model_choice.optimal_model_size`` with z itself; 0 (the smallest model) for eta <= 1."""
    size = not_negative("z", z)
    if size == 0:
        return max(0.0, not_negative("N_min", N_min))
    return model_choice.optimal_model_size(
        eta=eta, log_z=math.log(size), N_min=N_min, N_max=N_max
    ).N


def capped_lognormal(mu: float, s: float, cap: float = math.inf) -> dict[str, float]:
    """``tails.capped_lognormal`` as a mapping."""
    found = tails.capped_lognormal(mu=mu, s=s, cap=cap)
    return {"m1": found.m1, "m2": found.m2}


def capped_pareto(xm: float, xi: float, cap: float = math.inf) -> dict[str, float]:
    """``tails.capped_pareto`` as a mapping."""
    found = tails.capped_pareto(xm=xm, xi=xi, cap=cap)
    return {"m1": found.m1, "m2": found.m2}


def cascade_moments(
    k: float,
    a_small: float,
    cap_small: float,
    a_large: float,
    e_small: float,
    e_large: float,
    cap_large: float | None = None,
) -> dict[str, float]:
    """``chains.cascade_moments`` as a mapping."""
    found = chains.cascade_moments(
        k=k,
        a_small=a_small,
        cap_small=cap_small,
        a_large=a_large,
        e_small=e_small,
        e_large=e_large,
        cap_large=cap_large,
    )
    return {
        "m1": found.energy.mean_j,
        "m2": found.energy.second_j2,
        "p_success": found.success_frac,
        "p_small": found.success_small_frac,
        "attempts_small": found.mean_attempts_small,
        "attempts_large": found.mean_attempts_large,
    }


@functools.wraps(stopping.thinking_budget)
def thinking_budget(**inputs: Any) -> dict[str, float]:
    """``stopping.thinking_budget`` as a mapping."""
    found = stopping.thinking_budget(**inputs)
    return {
        "stop_index": found.stop_index,
        "best_index": found.best_index,
        "gain_usd": found.gain_usd,
    }


def _law(
    E: float | None,
    A: float | None,
    B: float | None,
    alpha: float | None,
    beta: float | None,
    law: str | None,
) -> training.LossLaw:
    """The law of five constants, or a published one by name (the re-fit where nothing is said)."""
    given = {"E": E, "A": A, "B": B, "alpha": alpha, "beta": beta}
    known = [key for key, value in given.items() if value is not None]
    if not known:
        name = law or "refit"
        if name not in training.LAWS:
            raise ArgumentError("law", found=name, allowed=", ".join(training.LAWS))
        return training.LAWS[name]
    if E is None or A is None or B is None or alpha is None or beta is None or law is not None:
        raise ArgumentError(
            "E, A, B, alpha, beta",
            found=", ".join([*known, *(["law"] if law else [])]),
            allowed="all five, or none and a law by name",
        )
    return training.LossLaw(E=E, A=A, B=B, alpha=alpha, beta=beta)


def compute_optimal(
    C: float,
    E: float | None = None,
    A: float | None = None,
    B: float | None = None,
    alpha: float | None = None,
    beta: float | None = None,
    law: str | None = None,
) -> dict[str, float]:
    """``training.compute_optimal`` as a mapping, from five constants or a law by name."""
    plan = training.compute_optimal(law=_law(E, A, B, alpha, beta, law), C=C)
    return {"N": plan.N, "D": plan.D, "loss": plan.loss}


def inference_aware_training_optimum(
    target_loss: float,
    T_inf: float,
    E: float | None = None,
    A: float | None = None,
    B: float | None = None,
    alpha: float | None = None,
    beta: float | None = None,
    law: str | None = None,
) -> dict[str, float]:
    """``training.inference_aware_training_optimum`` as a mapping."""
    plan = training.inference_aware_training_optimum(
        law=_law(E, A, B, alpha, beta, law), target_loss=target_loss, T_inf=T_inf
    )
    return {
        "N": plan.N,
        "D": plan.D,
        "training_flops": plan.training_flops,
        "inference_flops": plan.inference_flops,
    }


def variance_rate_slope(
    cap: float,
    rate: float,
    energy_j_per_token: float,
    mu: float | None = None,
    s: float | None = None,
    xm: float | None = None,
    xi: float | None = None,
    prefill_j: float = 0.0,
    ca2: float = 1.0,
) -> float:
    """``tails.variance_rate_slope`` of a lognormal (mu, s) or Pareto (xm, xi) length."""
    law: tails.Lognormal | tails.Pareto
    if mu is not None and s is not None and xm is None and xi is None:
        law = tails.Lognormal(mu=mu, s=s)
    elif xm is not None and xi is not None and mu is None and s is None:
        law = tails.Pareto(xm=xm, xi=xi)
    else:
        raise ArgumentError("mu, s or xm, xi", found="not one law", allowed="one pair")
    return tails.variance_rate_slope(
        law,
        cap=cap,
        rate=rate,
        energy_j_per_token=energy_j_per_token,
        prefill_j=prefill_j,
        ca2=ca2,
    )


_CAP = {"n": "n_max", "cap": "n_max"}
_KAP = {"kap": "kappa"}
_LAW = {"al": "alpha", "be": "beta", "Bc": "B", "T": "T_inf", "loss": "target_loss"}


_entry = functools.partial(entry_of, topic="scaling laws")

_LLAMA = {"N": 7e9, "n_layer": 32, "d_attn": 4096}
_ROOFLINE = {
    "N": 8e9, "batch": 64, "context": 4000, "weight_bytes": 1.6e10, "kv_bytes": 131072,
    "bandwidth": 3.35e12, "peak_flops": 989.4e12, "power_w": 700,
}  # fmt: skip

ENTRIES: tuple[Entry, ...] = (
    _entry(query_cost.query_flops, "6.1", "work of a query [FLOP]",
           {**_LLAMA, "prompt": 500, "output": 2000}),
    _entry(query_cost.crossover_context, "6.1", "context where attention equals weights [tokens]",
           _LLAMA),
    _entry(query_cost.joules_per_flop, "6.1", "energy per FLOP [J]",
           {"power_w": 700, "peak_flops": 989.4e12, "util": 0.4}),
    _entry(roofline_decode, "6.1", "time of a decode step [s], energy per token [J]", _ROOFLINE,
           standing="heuristic",
           typed=query_cost.roofline_decode),
    _entry(energy_moments, "6.1", "m1 [J], m2 [J^2] of a request's energy",
           {"m1": 1000, "m2": 2e6, "energy_j_per_token": 0.1, "prefill_j": 5},
           typed=query_cost.energy_moments),
    _entry(cot_oracle_stopping, "6.2", "success, mean and second moment of attempts",
           {"k": 5, "a": 0.3, "n_max": 20}, also=_CAP,
           typed=chains.cot_oracle_stopping),
    _entry(chain_energy, "6.2", "success, tokens, m1 [J], m2 [J^2] of a chain",
           {"k": 5, "a": 0.3, "n_max": 20, "tokens_per_step": 100, "energy_j_per_token": 0.1},
           also=_CAP,
           typed=chains.chain_energy),
    _entry(chains.step_success, "6.2", "probability that a step succeeds",
           {"difficulty": 2, "ability": 1, "kappa": 1.2}, standing="heuristic", also=_KAP),
    _entry(thinking_budget, "6.3", "attempts to allow; expected gain [$]",
           {"k": 3, "a": [0.02, 0.4], "weights": [0.5, 0.5], "value_usd": 0.01,
            "shadow_price": 1e-6, "energy_j_per_token": 0.5, "tokens_per_step": 200},
           standing="heuristic",
           typed=stopping.thinking_budget),
    _entry(model_choice.energy_per_solved, "6.4", "energy per solved task [J]",
           {"energy_j_per_token": 0.1, "tokens_per_step": 100, "k": 5, "a": 0.3}),
    _entry(model_choice.switch_difficulty, "6.4", "difficulty above which the large is cheaper",
           {"kappa": 1.2, "theta_small": 1, "theta_large": 4, "N_small": 8e9, "N_large": 7e10},
           also=_KAP),
    _entry(optimal_model_size_family, "6.4", "parameter count of least energy per solved task",
           {"eta": 1.5, "z": 1e14},
           typed=model_choice.optimal_model_size),
    _entry(capped_lognormal, "6.5", "m1 [tokens], m2 [tokens^2]",
           {"mu": 7, "s": 0.9, "cap": 32768}, also={"C": "cap", "sigma": "s"},
           typed=tails.capped_lognormal),
    _entry(capped_pareto, "6.5", "m1 [tokens], m2 [tokens^2]",
           {"xm": 500, "xi": 1.5, "cap": 32768}, also={"C": "cap"},
           typed=tails.capped_pareto),
    _entry(variance_rate_slope, "6.5", "slope of the variance rate in the cap [J^2/s per token]",
           {"xm": 500, "xi": 1.5, "cap": 32768, "rate": 2, "energy_j_per_token": 0.1},
           typed=tails.variance_rate_slope),
    _entry(tails.auxiliary_growth_exponent, "6.5", "g in E(U_T) ~ T^g", {"xi": 1.5},
           standing="asymptotic"),
    _entry(cascade_moments, "6.6", "m1 [J], m2 [J^2], success, attempts of a cascade",
           {"k": 6, "a_small": 0.25, "cap_small": 30, "a_large": 0.8, "e_small": 1, "e_large": 7},
           typed=chains.cascade_moments),
    _entry(compute_optimal, "6.7", "N, D and loss of a training budget",
           {"C": 5.76e23, "law": "refit"}, also=_LAW,
           typed=training.compute_optimal),
    _entry(inference_aware_training_optimum, "6.7", "N, D and FLOPs that reach a loss",
           {"target_loss": 2.0, "T_inf": 1e13, "law": "refit"}, also=_LAW,
           typed=training.inference_aware_training_optimum),
)  # fmt: skip
