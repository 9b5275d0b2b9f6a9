"""Edge cases across the catalogue: what is returned, never an error, at the ends of the ranges."""

import math

import pytest

from baseload.theory import catalogue

INF = math.inf
STORE = {"S0": 3.0, "theta": 0.4, "var": 4.0, "B": 5.0}

VALUES = [
    # no noise: the fluid
    ("two_sided_u", {"theta": -1, "var": 0, "B": 10}, 1),
    ("two_sided_u", {"theta": 0, "var": 0, "B": 10}, 0),
    ("two_sided_w", {"theta": 2, "var": 0, "B": 10}, 2),
    ("expected_aux_one_sided", {"S0": 3, "theta": -2, "var": 0, "T": 5}, 7),
    ("expected_aux_finite_B", {"S0": 2, "theta": -1, "var": 0, "B": 5, "T": 10}, 8),
    ("expected_aux_slotted", {"theta": -1, "sigma_slot": 0, "n_slots": 5, "S0": 2}, 3),
    ("mean_ride_through", {**STORE, "theta": -0.4, "var": 0}, 7.5),
    ("mean_ride_through", {**STORE, "var": 0}, INF),
    ("p_any_aux_finite_store", {**STORE, "theta": -4, "var": 0, "T": 1}, 1),
    ("p_no_aux_stationary_zero_drift", {"var": 0, "B": 5, "T": 5}, 1),
    # no end to the store
    ("two_sided_u", {"theta": -1, "var": 4, "B": INF}, 1),
    ("two_sided_w", {"theta": 1, "var": 4, "B": INF}, 0),
    ("mean_level", {"theta": -0.5, "var": 4, "B": INF}, 4),
    ("mean_level", {"theta": 0.5, "var": 4, "B": INF}, INF),
    ("exact_dam_u", {"lam": 1, "b": 1, "B": INF, "dist": "exp", "mean": 1}, 0),
    ("markov_fluid_u", {"r_plus": 3, "r_minus": 2, "q12": 0.3, "q21": 0.1, "B": INF}, 0.75),
    # no store
    ("slotted_two_sided_u", {"theta": 0, "var": 1, "slot": 4, "B": 0}, 0.3989422804014327 / 4),
    ("exact_dam_u", {"lam": 2, "b": 3, "B": 0, "dist": "logn s=1", "mean": 1}, 2),
    ("markov_fluid_u", {"r_plus": 3, "r_minus": 2, "q12": 0.3, "q21": 0.2, "B": 0}, 1.2),
    # no time
    ("expected_aux_one_sided", {"S0": 0, "theta": 0, "var": 2, "T": 0}, 0),
    ("expected_aux_poisson", {"lam": 1, "mean": 1, "b": 1, "T": 0}, 0),
    ("p_any_aux_infinite_store", {"S0": 0, "theta": 0.2, "var": 2, "T": 0}, 1),
    ("p_any_aux_finite_store", {**STORE, "T": 0}, 0),
    ("p_any_aux_finite_store", {**STORE, "T": 1e-9}, 0),
    ("p_any_aux_finite_store", {**STORE, "T": 1e12}, 1),
    # no requests, no supply
    ("exact_dam_u", {"lam": 0, "b": 1, "B": 2, "dist": "exp", "mean": 1}, 0),
    ("exact_dam_u", {"lam": 1, "b": 0, "B": 2, "dist": "exp", "mean": 1}, 1),
    ("sigma2_compound_renewal", {"lam": 0, "ca2": 1, "p": [1], "mean": [1], "var": [1]}, 0),
    # far off
    ("two_sided_u", {"theta": 1e6, "var": 2, "B": 1}, 0),
    ("two_sided_u", {"theta": -1e6, "var": 2, "B": 1}, 1e6),
    ("mean_ride_through", {**STORE, "theta": 400}, INF),
    # the ends of the prices
    ("newsvendor_z", {"Cb": 1, "Cu": 2}, 0),
    ("newsvendor_z", {"Cb": 2, "Cu": 1}, -INF),
    ("newsvendor_z", {"Cb": 0, "Cu": 1}, INF),
    # a start just outside the store counts as its end
    ("mean_ride_through", {**STORE, "S0": -1e-12}, 0),
    # what never pays
    ("switch_difficulty", {"kappa": 0.1, "theta_small": 1, "theta_large": 4, "N_small": 8e9,
                           "N_large": 7e10}, INF),
    ("optimal_model_size_family", {"eta": 1, "z": 10}, 0),
    ("query_flops", {"N": 7e9, "n_layer": 32, "d_attn": 4096, "prompt": 0, "output": 0}, 0),
    ("newey_west", {"x": [1.0], "lag": 2}, 0),
]  # fmt: skip


@pytest.mark.parametrize(("name", "inputs", "value"), VALUES)
def test_the_value_at_an_end(name, inputs, value):
    found = catalogue[name](**inputs)
    assert found == pytest.approx(value, rel=1e-12)
    assert not (found == 0 and math.copysign(1, found) < 0), "0, not -0"


REFUSED = [
    ("two_sided_u", {"theta": 0, "var": 4, "B": 0}, "B"),
    ("two_sided_u", {"theta": INF, "var": 4, "B": 1}, "theta"),
    ("mean_ride_through", {**STORE, "S0": 5.1}, "S0"),
    ("exact_dam_u", {"lam": 1, "b": 1, "B": 2, "dist": "pareto xi=1.5", "mean": 1}, "dist"),
    ("capped_pareto", {"xm": 500, "xi": 1.5}, "cap"),
    ("capped_pareto", {"xm": 500, "xi": 1.5, "cap": 100}, "cap"),
    ("optimal_criticality_index", {"r": 1}, "r"),
    ("newsvendor_z", {"Cb": 1, "Cu": 3, "Cw": -2}, "Cw"),
    ("variance_components", {"w": [0.5, 0.6], "p": [[1], [1]], "mean": [[1], [1]],
                             "var": [[0], [0]]}, "w"),
    ("sigma2_mmpp", {"Q": [[0, 0], [0, 0]], "lam": [1, 1], "mean": [1, 1], "second": [1, 1],
                     "b": [1, 2]}, "Q"),
    ("ewma_moments", {"x": [], "alpha": 0.2}, "x"),
    ("cot_oracle_stopping", {"k": 5, "a": 0}, "n_max"),
    ("hjb_modulated_cost", {"supply": [4, 1], "switch_rate": 1, "B": 9,
                            "instance": {"colour": 1}}, "colour"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "inputs", "field"), REFUSED)
def test_what_cannot_be_is_a_value_error_that_names_it(name, inputs, field):
    with pytest.raises(ValueError, match=field):
        catalogue[name](**inputs)


def test_a_class_without_weight_and_one_sample():
    found = catalogue.variance_components(
        w=[0.5, 0.5, 0], p=[[0.5, 0.5], [1, 0], [0, 1]], mean=[[1, 2], [3, 4], [9, 9]],
        var=[[1, 1], [2, 2], [3, 3]],
    )  # fmt: skip
    assert found["mix"] == pytest.approx(0.5625)
    assert found["total"] == pytest.approx(0.5625 + 0.125 + 1.5)
    assert catalogue.ewma_moments(x=[3.0], alpha=0.2) == {"mean": 3, "var": None, "n_eff": 1}


def test_the_best_switch_of_two_drifts_by_search():
    """The closed form against the least cost over all switch levels, prices apart."""
    for Cu, Cw in ((3.0, 0.1), (1.0, -0.5), (1.0, 10.0)):
        best = min(
            Cu * found["u"] + Cw * found["w"]
            for level in (1e-9, 20 - 1e-9, *(20 * k / 400 for k in range(1, 400)))
            for found in [
                catalogue.state_dependent_rates(
                    breaks=[0, level, 20], theta=[0.3, -0.3], var=[4, 4]
                )
            ]
        )
        closed = catalogue.bang_bang_cost(d=0.3, var=4, B=20, Cu=Cu, Cw=Cw)
        assert closed == pytest.approx(best, rel=2e-4)
        assert closed <= best + 1e-12
