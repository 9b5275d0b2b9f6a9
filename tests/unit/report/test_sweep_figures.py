import itertools

import msgspec
import pytest

from baseload.report.sweep_figures import (
    has_bound,
    headline,
    points_at,
    points_of,
    stretches,
    targets,
    thriftiest,
)


def with_points(sweep, **changes):
    """The sweep with each point changed: ``changes[field](point)`` gives the new value."""
    points = [
        msgspec.structs.replace(point, **{name: new(point) for name, new in changes.items()})
        for point in sweep.points
    ]
    return msgspec.structs.replace(sweep, points=points)


def test_points_by_policy_and_by_load_cover_the_sweep(make_sweep):
    sweep = make_sweep()
    by_policy = [point for policy in sweep.policies for point in points_of(sweep, policy)]
    by_load = [point for load_frac in sweep.loads for point in points_at(sweep, load_frac)]
    assert sorted(map(id, by_policy)) == sorted(map(id, by_load)) == sorted(map(id, sweep.points))


def test_the_thriftiest_keeps_its_targets_and_answers(make_sweep):
    points = points_at(make_sweep(), 0.3)
    best = thriftiest(points)
    assert best.policy == "pack-and-park"
    broken = [
        msgspec.structs.replace(point, keeps_targets=point.policy != best.policy)
        for point in points
    ]
    assert thriftiest(broken).policy == "least-loaded"
    shirked = [
        msgspec.structs.replace(point, completed=5 if point.policy == best.policy else 100)
        for point in points
    ]
    assert thriftiest(shirked).policy == "least-loaded"
    assert thriftiest([]) is None


def test_stretches_cover_the_loads_in_order(odd_sweep):
    parts = stretches(odd_sweep)
    assert [load_frac for part in parts for load_frac in part.loads] == odd_sweep.loads
    neighbours = [part.policy for part in parts]
    assert all(one != other for one, other in itertools.pairwise(neighbours))


def test_the_headline_says_where_the_promise_ends(make_sweep):
    sweep = with_points(make_sweep(), keeps_targets=lambda point: point.load_frac < 1)
    words = headline(sweep)
    assert "pack-and-park at load 0.3 to 0.6" in words
    assert "At load 1.2 no policy keeps" in words


def test_the_headline_of_none_and_of_one(make_sweep):
    nobody = with_points(make_sweep(), keeps_targets=lambda point: False)
    assert "No policy keeps" in headline(nobody)
    idle = with_points(make_sweep(), completed=lambda point: 0)
    assert "No request was answered" in headline(idle)
    sweep = make_sweep()
    alone = msgspec.structs.replace(
        sweep, policies=["round-robin"], points=points_of(sweep, "round-robin")
    )
    alone = with_points(alone, keeps_targets=lambda point: point.load_frac < 0.5)
    assert headline(alone).startswith("round-robin keeps the promised share")
    assert "At load 0.6 to 1.2 it does not keep" in headline(alone)


def test_every_odd_sweep_has_a_headline(odd_sweep):
    words = headline(odd_sweep)
    assert "None" not in words
    assert words.endswith(".")


def test_targets_and_bound(make_sweep):
    sweep = make_sweep()
    assert targets(sweep) == [0.01]
    assert has_bound(sweep)
    without = with_points(sweep, bound_energy_j_per_request=lambda point: None)
    assert not has_bound(without)
    assert targets(msgspec.structs.replace(sweep, tiers={})) == []


@pytest.mark.parametrize("frac", [0.01, 0.2])
def test_targets_of_tiers_that_differ_all_count(make_sweep, frac):
    tiers = {"a": {"target_miss_frac": 0.01}, "b": {"target_miss_frac": frac}}
    assert targets(make_sweep(tiers=tiers)) == sorted({0.01, frac})
