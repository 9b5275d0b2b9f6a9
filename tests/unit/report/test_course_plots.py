import msgspec
import pytest

from baseload.report.course_plots import (
    course_alts,
    course_panels,
    draw_course,
    of_interest,
    replica_panels,
    replica_states,
    time_unit,
)
from baseload.report.figures import compare
from baseload.report.page import page_html


@pytest.mark.slow
def test_files_for_every_odd_simulation(tmp_path, odd):
    for path in draw_course(compare(odd), tmp_path):
        assert path.read_bytes().startswith(b"\x89PNG")


def test_what_was_not_recorded_is_not_drawn(tmp_path, make_simulation, make_policy, replace_fields):
    bare = replace_fields(make_policy("a"), series=None, control=None)
    assert draw_course(compare(make_simulation([bare, bare])), tmp_path) == []
    assert "Replicas over time" not in page_html(make_simulation([bare, bare]))


def test_a_few_policies_are_looked_at_the_baseline_and_the_thriftiest_among_them(
    make_simulation, make_policy
):
    many = [make_policy(f"p{n}", saving_frac=0.05 * n, seed=n) for n in range(10)]
    rows = of_interest(compare(make_simulation(many)))
    assert len(rows) == 4
    assert rows[0].label == "p0"
    assert rows[-1].label == "p9"


def test_panels_have_descriptions_that_say_what_they_show(make_simulation):
    comparison = compare(make_simulation())
    alts = course_alts(comparison)
    assert len(alts) == len(course_panels(comparison)) == 3
    assert "interactive between 1.00 and 58.0" in alts[1]
    assert len(replica_panels(comparison)) == 3
    assert replica_states(comparison) == ["active", "idle", "parked"]


def test_a_price_that_never_moves_has_no_panel(make_simulation, make_policy, replace_fields):
    policy = make_policy("still", saving_frac=0.2)
    flat = {tier: [3.0] * 58 for tier in ("interactive", "bulk")}
    control = msgspec.structs.replace(policy.control, lambda_by_tier=flat)
    still = replace_fields(policy, control=control)
    assert len(course_panels(compare(make_simulation([make_policy(), still])))) == 1


def test_time_is_in_hours_for_long_runs():
    assert time_unit(3600.0) == (60.0, "minutes")
    assert time_unit(86_400.0) == (3600.0, "hours")
