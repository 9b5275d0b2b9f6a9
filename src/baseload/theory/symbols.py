"""What the inputs and the named results of the formulas mean, with their units.

One table for names that mean the same everywhere, and what single formulas mean otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from baseload.theory.entry import Entry


class Symbol(msgspec.Struct, frozen=True, kw_only=True):
    """What a name means. ``unit`` is empty for a pure number, a text or a choice."""

    means: str
    unit: str


_INPUTS: dict[str, tuple[str, str]] = {
    # net energy and stores
    "theta": ("net drift: mean supply less mean demand", "W"),
    "var": ("variance rate of the net energy", "J^2/s"),
    "sigma": ("root of the variance rate", "J/s^0.5"),
    "sd": ("standard deviation of the net energy of a slot", "J"),
    "sigma_slot": ("standard deviation of the net energy of a slot", "J"),
    "B": ("usable capacity of the store; inf for an unlimited one where the formula allows", "J"),
    "S0": ("level of the store at the start", "J"),
    "S": ("level of the store", "J"),
    "T": ("horizon", "s"),
    "T0": ("length of the window that the supply was set from", "s"),
    "slot": ("length of a settlement slot", "s"),
    "n_slots": ("number of slots", ""),
    "period": ("period of the drift", "s"),
    "kappa": ("self-discharge rate of the store", "1/s"),
    "eta_c": ("efficiency of charging, above 0 and up to 1", ""),
    "eta_d": ("efficiency of discharging, above 0 and up to 1", ""),
    "eps": ("how far the supply is set below the mean demand", "W"),
    "risk": ("accepted probability of auxiliary use", ""),
    "steps": ("time steps; chosen where left out", ""),
    "cells": ("cells of the grid over the level; chosen where left out", ""),
    # requests and supplies
    "lam": ("arrival rate of requests", "1/s"),
    "mean": ("mean energy of a request", "J"),
    "second": ("second moment of the energy of a request", "J^2"),
    "third": ("third moment of request energy per second", "J^3/s"),
    "dist": ('law of the energy of a request: exp, det, "logn s=1", "gamma k=2", ...', ""),
    "b": ("baseline supply", "W"),
    "ca2": ("squared coefficient of variation of the gaps between arrivals; Poisson 1", ""),
    "shape": ("shape of the gamma law", ""),
    "scale": ("scale of the gamma law", "J"),
    "episode_j": ("typical excursion of one correlated episode", "J"),
    "quick": ("prefer the two-pole formula to the exact dam where it is good", ""),
    "r_plus": ("net power while the store fills", "W"),
    "r_minus": ("net power, as a positive number, while the store empties", "W"),
    "q12": ("rate of leaving state 1", "1/s"),
    "q21": ("rate of leaving state 2", "1/s"),
    "r1": ("net power in state 1", "W"),
    "r2": ("net power in state 2", "W"),
    "Q": ("generator of the environment, one row a state", "1/s"),
    "gamma": ("autocovariances of the energies of slots from lag 0 on", "J^2"),
    "phi": ("correlation from slot to slot", ""),
    "var_factor": ("variance of the shared factor, whose mean is 1", ""),
    "tau": ("correlation time", "s"),
    "p": ("routing probabilities, 1 in sum for each class", ""),
    "w": ("share of each class", ""),
    # prices
    "Cb": ("price of baseline energy, paid whether used or not", "$/J"),
    "Cu": ("price of auxiliary energy", "$/J"),
    "Cw": ("price of waste; negative where feeding in earns", "$/J"),
    "h": ("price of storage capacity", "$/(J s)"),
    "r": ("price ratio (Cb + Cw) / (Cu + Cw)", ""),
    "most": ("largest supply that can be had", "W"),
    # models and answers
    "N": ("active parameters", ""),
    "N_small": ("active parameters of the small model", ""),
    "N_large": ("active parameters of the large model", ""),
    "N_min": ("smallest model of the family", ""),
    "N_max": ("largest model of the family", ""),
    "n_layer": ("layers", ""),
    "d_attn": ("attention width", ""),
    "prompt": ("prompt", "tokens"),
    "output": ("output", "tokens"),
    "context": ("mean context of a sequence", "tokens"),
    "batch": ("running sequences", ""),
    "weight_bytes": ("bytes of the weights", "B"),
    "kv_bytes": ("bytes of the cache of a token", "B"),
    "bandwidth": ("memory bandwidth", "B/s"),
    "peak_flops": ("peak rate of the device", "FLOP/s"),
    "power_w": ("power of the device", "W"),
    "util": ("share of the peak rate that is reached", ""),
    "pue": ("power usage effectiveness of the site, from 1", ""),
    "m1": ("mean length", "tokens"),
    "m2": ("second moment of the length", "tokens^2"),
    "m3": ("third moment of the length", "tokens^3"),
    "m4": ("fourth moment of the length", "tokens^4"),
    "energy_j_per_token": ("energy of an output token", "J"),
    "prefill_j": ("energy of the prompt", "J"),
    "attention_j_per_token2": ("energy of attention per squared token", "J"),
    "k": ("skills that a task needs", ""),
    "a": ("probability that a step succeeds", ""),
    "n_max": ("cap on the attempts; none where left out", ""),
    "n_most": ("largest number of attempts to look at", ""),
    "tokens_per_step": ("tokens of one attempt", "tokens"),
    "weights": ("probability of each step success", ""),
    "value_usd": ("what a right answer is worth", "$"),
    "shadow_price": ("shadow price of energy", "$/J"),
    "difficulty": ("difficulty of the task", ""),
    "ability": ("ability of the model, on the scale of the difficulty", ""),
    "theta_small": ("ability of the small model", ""),
    "theta_large": ("ability of the large model", ""),
    "eta": ("kappa times the gain of ability per ln N", ""),
    "z": ("exp(kappa (difficulty - Theta0))", ""),
    "mu": ("mean of the logarithm of the length", ""),
    "s": ("standard deviation of the logarithm of the length", ""),
    "xm": ("shortest length of the Pareto law", "tokens"),
    "xi": ("tail index of the Pareto law", ""),
    "cap": ("cap on the length", "tokens"),
    "capped": ("whether lengths are capped", ""),
    "rate": ("arrival rate of requests", "1/s"),
    "a_small": ("step success of the small model", ""),
    "a_large": ("step success of the large model", ""),
    "cap_small": ("cap on the attempts of the small model", ""),
    "cap_large": ("cap on the attempts of the large model; none where left out", ""),
    "e_small": ("energy of an attempt of the small model", "J"),
    "e_large": ("energy of an attempt of the large model", "J"),
    "law": ("published loss law: refit or chinchilla, instead of the five constants", ""),
    "E": ("irreducible loss of the law", ""),
    "A": ("coefficient of the size term", ""),
    "alpha": ("exponent of the size term", ""),
    "beta": ("exponent of the data term", ""),
    "C": ("training budget", "FLOP"),
    "target_loss": ("loss to reach", ""),
    "T_inf": ("tokens served over the life of the model", "tokens"),
    # estimation
    "x": ("the series, one value a slot", ""),
    "times": ("times of the samples", "s"),
    "lag": ("number of lags; chosen where left out", ""),
    "n": ("number of slots", ""),
    "autocorrelation": ("correlation of neighbouring slots", ""),
    "confidence": ("probability that the interval covers", ""),
    "two_sided": ("watch both directions", ""),
    "false_alarm": ("level of the test", ""),
    "power": ("probability of seeing the drift", ""),
    "U": ("auxiliary energy metered in the window", "J"),
    "W": ("waste metered in the window", "J"),
    # routing
    "mean_target": ("prescribed mean demand", "W"),
    "fail": ("probability that an option fails, by class", ""),
    "price_fail": ("price of a failure", "$"),
    "other_cost": ("further cost of an option, by class", "$"),
    "q": ("further cost of an option, by class", "$"),
    "v0": ("variance rate that routing does not control", "J^2/s"),
    "arrival_scv": ("squared coefficient of variation of the gaps between arrivals", ""),
    "available": ("which options a class may use", ""),
    "fail_limit": ("largest rate of failures", "1/s"),
    "work": ("work of an option, by capacity row and class", ""),
    "capacity": ("limit of each capacity row", ""),
    "supply": ("supply in each state", "W"),
    "switch_rate": ("rate at which every state is left", "1/s"),
    "generator": ("generator of the supply states", "1/s"),
    "instance": ("routing problem as a mapping, or text for the reference problem", ""),
    "intervals": ("intervals of the grid over the level", ""),
    "delta": ("step of the lattice", "J"),
    "breaks": ("levels where drift or variance changes, from 0 to B", "J"),
    "cost": ("running cost by piece", "$/s"),
    "d": ("size of the two opposite drifts", "W"),
}

_OWN_INPUTS: dict[str, dict[str, tuple[str, str]]] = {
    "expected_aux_slotted": {"theta": ("mean net energy of a slot", "J")},
    "slotted_two_sided_u": {"var": ("variance of the net energy of a slot", "J^2")},
    "gamma_loss": {"b": ("supply of a slot", "J")},
    "expected_aux_time_varying": {"theta": ("net drift: a text in t, a list of pieces", "W")},
    "periodic_rates": {"theta": ("net drift over a period: a text in t, a list", "W")},
    "fluid_swing": {"theta": ("net drift over a period: a text in t, a list", "W")},
    "optimal_supply": {"mean": ("mean demand, where the bound b = 0 can bind", "W")},
    "optimal_provision_and_storage": {"mean": ("mean demand, where the bound b = 0 can bind", "W")},
    "optimal_beta_horizon": {"r": ("price ratio Cb / Cu", "")},
    "sigma2_compound_renewal": {
        "p": ("probability of each class", ""),
        "var": ("variance of the energy of a request", "J^2"),
    },
    "variance_components": {"var": ("variance of the energy of a request", "J^2")},
    "sigma2_ar1": {"var": ("variance of the energy of a slot", "J^2")},
    "sigma2_ou": {"var": ("variance of the power", "W^2")},
    "sigma2_mmpp": {"lam": ("arrival rate in each state", "1/s")},
    "step_success": {"kappa": ("steepness of success over difficulty", "")},
    "switch_difficulty": {"kappa": ("steepness of success over difficulty", "")},
    "thinking_budget": {"a": ("step successes that a task may have", "")},
    "compute_optimal": {"B": ("coefficient of the data term", "")},
    "inference_aware_training_optimum": {"B": ("coefficient of the data term", "")},
    "ewma_moments": {
        "alpha": ("weight of the newest sample, above 0 and up to 1", ""),
        "tau": ("fading time of the weights, with times", "s"),
    },
    "batch_means": {
        "x": ("net energies of the slots", "J"),
        "batch": ("slots of a batch; by doubling where left out", ""),
    },
    "newey_west": {"x": ("the series, one value a slot", "")},
    "cusum_arl": {
        "mu": ("shift of the blocks, in their standard deviations", ""),
        "k": ("slack of the chart, in standard deviations of a block", ""),
        "h": ("threshold of the chart, in standard deviations of a block", ""),
    },
    "meters_only": {
        "T": ("length of the window", "s"),
        "var": ("variance rate, if known", "J^2/s"),
    },
    "variance_rate_slope": {"mu": ("mean of the logarithm of the length", "")},
    "hjb_shadow_price": {"S": ("level of the store", "J")},
    "state_dependent_rates": {
        "theta": ("net drift by piece", "W"),
        "var": ("variance rate by piece", "J^2/s"),
    },
}
"""What single formulas mean by a name, where it is something else."""

_RESULTS: dict[str, str] = {
    **dict.fromkeys(("u", "w", "u_w", "w_w", "loss", "leak", "theta"), "W"),
    **dict.fromkeys(("theta_low", "theta_high"), "W"),
    **dict.fromkeys(("EU", "EW", "B", "mean_level", "swing", "drawdown", "surge"), "J"),
    **dict.fromkeys(("sigma2", "sigma2_low", "sigma2_high"), "J^2/s"),
    **dict.fromkeys(("mix", "model", "effort", "execution", "arrival", "total"), "J^2"),
    **dict.fromkeys(("training_flops", "inference_flops"), "FLOP"),
    **dict.fromkeys(("excess_cost", "cost"), "$/s"),
    **dict.fromkeys(("batch_slots", "correlation_slots"), "slots"),
    "beta": "s^-1/2",
    "m1": "J",
    "m2": "J^2",
    "mean_tokens": "tokens",
    "gain_usd": "$",
    "time_s": "s",
    "energy_j_per_token": "J",
    "D": "tokens",
    "lamS": "$/J",
    "om": "$/J^2",
    "xi1": "$/J",
    "xi2": "$/J^2",
    "mean": "W",
}

_OWN_RESULTS: dict[str, dict[str, str]] = {
    "capped_lognormal": {"m1": "tokens", "m2": "tokens^2"},
    "capped_pareto": {"m1": "tokens", "m2": "tokens^2"},
    "compute_optimal": {"loss": ""},
    "ewma_moments": {"mean": "", "var": ""},
    "mean_variance_frontier": {"variance": "J^2/s", "slope": "J/s"},
}

_LAST_UNIT = re.compile(r"\[([^\]]+)\][^\[\]]*$")


def input_symbol(formula: str, name: str) -> Symbol | None:
    """What ``formula`` means by its input ``name``; None where nothing is written down."""
    found = _OWN_INPUTS.get(formula, {}).get(name) or _INPUTS.get(name)
    return None if found is None else Symbol(means=found[0], unit=found[1])


def result_unit(entry: Entry) -> str:
    """Unit of a formula that gives one number, from what the entry says it gives; may be empty."""
    found = _LAST_UNIT.search(entry.gives)
    return found[1] if found else ""


def result_units(entry: Entry, names: Mapping[str, object]) -> dict[str, str]:
    """Unit of each of several named results; empty for pure numbers and texts."""
    own = _OWN_RESULTS.get(entry.name, {})
    return {name: own.get(name, _RESULTS.get(name, "")) for name in names}
