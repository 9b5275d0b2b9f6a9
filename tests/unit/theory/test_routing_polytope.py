"""Linear programs over routings with side rows: sifting against the whole program."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.theory import routing_polytope
from baseload.theory.routing_instance import CapacityRow, RoutingInstance
from baseload.theory.routing_polytope import FAILURES, Polytope
from baseload.theory.static_routing import min_variance_given_mean, static_optimum

from .routing_cases import padded, random_instance


def limited(seed: int, classes: int, options: int, *, tight: float = 0.7) -> RoutingInstance:
    """A problem whose first options are short of capacity, with a limit on failures."""
    base = random_instance(seed, classes, options)
    draw = np.random.default_rng(seed)
    work = np.zeros((classes, options))
    work[:, : options // 2] = draw.uniform(0.5, 2.0, (classes, options // 2))
    fail = draw.uniform(0.01, 0.5, (classes, options))
    total = base.lam.sum()
    return msgspec.structs.replace(
        base,
        rows=(CapacityRow(name="small models", work=work, capacity=0.5 * tight * total),),
        fail=fail,
        fail_limit=0.3 * tight * total,
    )


def both(monkeypatch, instance, prices, mean_target):
    """By sifting (however few the cells), and at once."""
    whole = Polytope(instance, mean_target).program(prices)
    with monkeypatch.context() as patched:
        patched.setattr(routing_polytope, "_SIFT_ABOVE", 0)
        patched.setattr(routing_polytope, "_SAMPLE", 5)
        sifted = Polytope(instance, mean_target)
        first = sifted.program(prices)
        again = sifted.program(prices)
        other = sifted.program(prices[::-1])
    return whole, first, again, other


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), pinned=st.booleans(), wide=st.booleans())
def test_sifting_changes_nothing(seed, pinned, wide):
    instance = limited(seed, 12, 9)
    prices = instance.second
    if wide:
        kept = instance
        instance = msgspec.structs.replace(
            padded(msgspec.structs.replace(kept, rows=(), fail=None, fail_limit=None)),
            rows=tuple(
                CapacityRow(
                    name=row.name, work=np.pad(row.work, ((0, 1), (0, 2))), capacity=row.capacity
                )
                for row in kept.rows
            ),
            fail=np.pad(kept.fail, ((0, 1), (0, 2))),
            fail_limit=kept.fail_limit,
        )
        prices = np.pad(prices, ((0, 1), (0, 2)))
    target = instance.b if pinned else None
    with pytest.MonkeyPatch.context() as patch:
        whole, first, again, other = both(patch, instance, prices, target)
        reference = Polytope(instance, target).program(prices[::-1])
    if whole.shares is None:
        assert first.shares is None
        assert first.breach == pytest.approx(whole.breach)
        return
    assert first.objective == pytest.approx(whole.objective, rel=1e-8)
    assert again.objective == pytest.approx(whole.objective, rel=1e-8)
    assert other.objective == pytest.approx(reference.objective, rel=1e-8)
    used = instance.lam[:, None] * first.shares
    assert np.sum(used * instance.fail) <= instance.fail_limit * (1 + 1e-7)
    assert np.sum(used * instance.rows[0].work) <= instance.rows[0].capacity * (1 + 1e-7)
    if pinned:
        assert np.sum(used * instance.mean) == pytest.approx(target, rel=1e-7)


def test_a_large_problem_is_sifted():
    """Objective and price of the mean are those of the whole program; limits cost something."""
    instance = limited(3, 150, 30)
    assert len(Polytope(instance).cells) > routing_polytope._SIFT_ABOVE
    found = min_variance_given_mean(instance, instance.b)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(routing_polytope, "_SIFT_ABOVE", 10**9)
        whole = min_variance_given_mean(instance, instance.b)
    assert found.objective == pytest.approx(whole.objective, rel=1e-9)
    assert found.mean_price == pytest.approx(whole.mean_price, rel=1e-6)
    held = static_optimum(instance, 20.0)
    free = static_optimum(msgspec.structs.replace(instance, rows=(), fail_limit=None), 20.0)
    assert held.objective > free.objective
    assert held.gap <= 1e-9 * held.objective


def test_what_a_large_problem_cannot_keep_is_named():
    instance = limited(3, 150, 30, tight=0.05)
    found = Polytope(instance).best(instance.second)
    assert found.shares is None
    assert found.breach.name == FAILURES
    assert found.breach.possible > instance.fail_limit
