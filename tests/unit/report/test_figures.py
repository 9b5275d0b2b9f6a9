import pytest

from baseload.base.errors import BadInputError, UnknownNameError
from baseload.report.figures import compare, energy_by_state, front, headline, thriftiest


def test_the_first_policy_is_the_baseline_unless_another_is_named(make_simulation):
    simulation = make_simulation()
    assert compare(simulation).baseline.label == "round-robin"
    named = compare(simulation, baseline="least-loaded")
    assert named.baseline.label == "least-loaded"
    assert [row.change_frac is None for row in named.rows] == [False, True, False]


def test_an_unknown_baseline_names_the_nearest(make_simulation):
    with pytest.raises(UnknownNameError, match="least-loaded"):
        compare(make_simulation(), baseline="least-load")


def test_a_simulation_without_policies_is_refused(make_simulation):
    with pytest.raises(BadInputError, match="no policy"):
        compare(make_simulation([]))


def test_equal_names_get_different_labels(make_simulation, make_policy):
    rows = compare(make_simulation([make_policy("a", seed=n) for n in (0, 1, 1)])).rows
    assert len({row.label for row in rows}) == 3


def test_the_interval_of_the_change_contains_the_change(make_simulation, make_policy):
    policies = [make_policy(seeds=5), make_policy("pack", saving_frac=0.4, seeds=5)]
    row = compare(make_simulation(policies, seeds=[0, 1, 2, 3, 4])).rows[1]
    low, high = row.change_interval
    assert low < row.change_frac < high


def test_a_paired_interval_is_preferred(make_simulation, make_policy, replace_fields):
    pack = make_policy("pack", saving_frac=0.4, seeds=5)
    pack = replace_fields(pack, interval=pack.interval | {"energy_change_frac": [-0.27, -0.25]})
    simulation = make_simulation([make_policy(seeds=5), pack], seeds=[0, 1])
    assert compare(simulation).rows[1].change_interval == (-0.27, -0.25)


def test_a_policy_that_refuses_work_is_not_thrifty(make_simulation, make_policy):
    policies = [make_policy(), make_policy("shirker", saving_frac=0.6, refused=9000)]
    comparison = compare(make_simulation(policies))
    assert thriftiest(comparison.rows).label == "round-robin"
    assert "Left out because fewer requests were answered: shirker" in headline(comparison)


def test_the_headline_tells_saving_and_price(make_simulation):
    said = headline(compare(make_simulation()))
    assert said.startswith("pack-and-park used the fewest joules: ")
    assert "less than round-robin" in said
    assert "missed deadlines instead of" in said


def test_a_small_difference_is_called_a_tie(make_simulation, make_policy):
    policies = [make_policy(), make_policy("other", saving_frac=0.03)]
    assert "read it as a tie" in headline(compare(make_simulation(policies)))


def test_a_policy_that_breaks_its_promise_does_not_lead(make_simulation, make_policy):
    policies = [
        make_policy(),
        make_policy("good", saving_frac=0.2),
        make_policy("slow", saving_frac=0.4, slower=3),
    ]
    said = headline(compare(make_simulation(policies)))
    assert said.startswith(
        "Among the policies that keep the promised share of missed deadlines, good"
    )
    assert "slow used less still (−" in said


def test_no_policy_keeps_its_promise(make_simulation, make_policy):
    policies = [make_policy(slower=3), make_policy("slow", saving_frac=0.4, slower=3)]
    assert "No policy kept the promised" in headline(compare(make_simulation(policies)))


def test_every_headline_is_one_or_more_sentences(odd):
    said = headline(compare(odd))
    assert said.endswith(".")
    assert "None" not in said
    assert "nan" not in said


def test_the_front_is_what_nobody_beats():
    points = [(3.0, 1.0), (1.0, 3.0), (2.0, 2.0), (2.5, 2.5), (1.0, 4.0)]
    chosen = front(points)
    assert chosen == [1, 2, 0]
    for place in chosen:
        x, y = points[place]
        assert not any(a <= x and b <= y and (a, b) != (x, y) for a, b in points)


def test_energy_by_state_adds_up(make_policy):
    policy = make_policy(saving_frac=0.4)
    assert sum(energy_by_state(policy).values()) == pytest.approx(policy.energy_j)
