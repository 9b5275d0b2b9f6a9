"""The accuracy ladder: which rung for which site, and errors that hold against the exact dam."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from baseload.base.errors import BadInputError
from baseload.theory.job_laws import job_law
from baseload.theory.ladder import MarkovSupply, supply_rates
from baseload.theory.markov_fluid import markov_fluid_variance

EXP = job_law("exp")


@pytest.mark.parametrize(
    ("rung", "inputs"),
    [
        ("exact_dam", {"lam": 1.0, "law": EXP, "b": 1.1, "B": 20.0}),
        ("two_pole", {"lam": 1.0, "law": EXP, "b": 1.1, "B": 20.0, "quick": True}),
        ("exact_dam", {"lam": 1.0, "law": EXP, "b": 1.1, "B": 2.0, "quick": True}),
        ("exact_dam", {"lam": 1.0, "law": job_law("logn s=1"), "b": 1.1, "B": 50.0, "quick": True}),
        ("exact_dam", {"lam": 1.0, "law": EXP, "b": 1.1, "B": 20.0, "slot": 0.1}),
        ("slotted", {"lam": 1.0, "law": EXP, "b": 1.1, "B": 20.0, "slot": 30.0}),
        ("slotted", {"theta": 0.1, "var": 2.0, "B": 20.0, "slot": 1.0}),
        ("slots", {"theta": 0.1, "var": 2.0, "B": 0.0, "slot": 1.0}),
        ("kx_corrected", {"theta": 0.0, "var": 2.0, "B": 20.0, "third": 6.0}),
        ("kx_corrected", {"theta": 0.1, "var": 5.0, "B": 20.0, "lam": 1.0, "law": EXP}),
        ("diffusion", {"theta": 1.0, "var": 2.0, "B": 20.0, "third": 6.0}),
        ("diffusion", {"theta": 0.0, "var": 2.0, "B": 20.0}),
        ("fluid", {"theta": 0.1, "var": 0.0, "B": 20.0}),
        ("fluid", {"theta": -0.1, "var": 1.0, "B": math.inf}),
        ("markov_fluid", {"markov": MarkovSupply(r_plus=3, r_minus=2, q12=0.3, q21=0.2), "B": 9}),
        ("diffusion", {"markov": MarkovSupply(r_plus=3, r_minus=2, q12=0.3, q21=0.2), "B": 999,
                       "var": 99.0}),
    ],
)  # fmt: skip
def test_rung(rung, inputs):
    found = supply_rates(**inputs)
    assert found.rung == rung
    theta = inputs.get("theta", inputs.get("b", 1.0) - 1 if "lam" in inputs else 0.0)
    if math.isfinite(inputs["B"]):
        assert found.w_w - found.u_w == pytest.approx(theta, abs=1e-12)


def test_ratios_are_missing_where_their_scale_is():
    bare = supply_rates(0.0, 2.0, B=50.0)
    assert (bare.storage_per_overshoot, bare.storage_per_slot_noise) == (None, None)
    assert bare.error_frac is None
    assert "cannot be stated" in bare.warnings[0]
    full = supply_rates(0.0, B=50.0, slot=0.01, lam=1.0, law=EXP, episode_j=5.0)
    assert full.storage_per_overshoot == pytest.approx(50)
    assert full.storage_per_slot_noise == pytest.approx(50 / (0.5826 * math.sqrt(0.02)), rel=1e-4)
    assert full.storage_per_episode == 10
    markov = MarkovSupply(r_plus=3, r_minus=2, q12=0.3, q21=0.2)
    assert supply_rates(markov=markov, B=20.0).storage_per_episode == pytest.approx(2)


@settings(deadline=None, max_examples=40)
@given(
    dist=st.sampled_from(["exp", "det", "logn s=1", "uniform", "hyperexp scv=4",
                          "pareto xi=1.5 cap=30", "gamma k=2"]),
    B=st.floats(2, 100),
    y=st.floats(-4, 4),
    quick=st.booleans(),
)  # fmt: skip
@example(dist="pareto xi=1.5 cap=30", B=28.0, y=2.0, quick=True)  # five overshoots are too few
def test_stated_error_holds_against_the_exact_dam(dist, B, y, quick):
    law = job_law(dist)
    theta = max(y * law.second_j2 / (2 * B), -0.9)
    exact = supply_rates(theta, lam=1.0, law=law, B=B)
    if quick:
        found = supply_rates(theta, lam=1.0, law=law, B=B, quick=True)
    else:
        found = supply_rates(theta, law.second_j2, B=B, third=law.third_j3)
    if found.error_frac is None or min(exact.u_w, exact.w_w) < 1e-9:
        return
    room = found.error_frac + exact.error_frac
    assert abs(found.u_w - exact.u_w) <= room * exact.u_w
    assert abs(found.w_w - exact.w_w) <= room * exact.w_w


def test_small_stores_are_said_to_be_small():
    small = supply_rates(0.0, 2.0, B=0.5, third=6.0)
    assert "smaller than the mean overshoot" in small.warnings[0]
    slotted = supply_rates(0.0, 2.0, B=50.0, slot=1.0, episode_j=10.0)
    assert "5 times one correlated episode" in slotted.warnings[0]


def test_what_an_unlimited_store_does_not_tell():
    assert "horizon" in supply_rates(0.0, 2.0, B=math.inf).warnings[0]


def test_regime_comes_along():
    found = supply_rates(0.5, 4.0, B=100.0)
    assert (found.y, found.regime) == (25, "over-supplied")


def test_contradictions_are_refused():
    markov = MarkovSupply(r_plus=3, r_minus=2, q12=0.0, q21=0.0)
    for field, inputs in (
        ("slot", {"theta": 0.0, "var": 2.0, "B": 0.0}),
        ("theta", {"var": 2.0, "B": 1.0}),
        ("var", {"theta": 2.0, "B": 1.0}),
        ("lam", {"theta": 0.0, "var": 2.0, "B": 1.0, "lam": 1.0}),
        ("theta", {"theta": 0.5, "lam": 1.0, "law": EXP, "b": 1.1, "B": 1.0}),
        ("q12", {"markov": markov, "B": 1.0}),
    ):
        with pytest.raises(BadInputError, match=f"^{field}"):
            supply_rates(**inputs)


def test_critical_markov_supply_is_exact():
    markov = MarkovSupply(r_plus=3, r_minus=2, q12=0.3, q21=0.2)
    found = supply_rates(markov=markov, B=10.0)
    var = markov_fluid_variance(3, 2, q12=0.3, q21=0.2)
    assert found.u_w == pytest.approx(var / (2 * (10 + 10)))
