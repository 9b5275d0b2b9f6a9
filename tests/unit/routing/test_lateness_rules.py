"""The PI rule to the letter of its source, the log rule by its laws."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.routing.lateness_rules import RULES, FixedRule, LogRule, PiRule
from baseload.routing.slow import Lambda, Slow

COUNTS = st.lists(
    st.tuples(st.integers(0, 500), st.floats(0, 1)), min_size=1, max_size=60
)  # (completed, share of them missed) in each window


def pi(*, weight=1.0, target=0.1, kp=2.0, ki=0.5, anti_windup=False):
    slow = Slow(weight=weight, rule="pi", kp=kp, ki=ki, anti_windup=anti_windup)
    return PiRule(slow, target)


def log(*, weight=1.0, target=0.01):
    return LogRule(Slow(weight=weight, rule="log"), target)


def test_every_rule_has_a_name():
    assert set(RULES) == set(get_args(Lambda))


def test_the_pi_rule_by_hand():
    """Errors 0.1, 0.3, -0.1 with kp 2 and ki 0.5; the sums of all errors are 0.1, 0.4, 0.3.

    1 + 2 x 0.1 + 0.5 x 0.1 = 1.25; + 2 x 0.3 + 0.5 x 0.4 = 2.05; - 2 x 0.1 + 0.5 x 0.3 = 2.
    """
    rule = pi()
    found = [rule.step(completed, missed, 5.0) for completed, missed in ((10, 2), (20, 8), (5, 0))]
    assert found == pytest.approx([1.25, 2.05, 2.0])
    assert rule.weight == found[-1]
    assert rule.error_sum == pytest.approx(0.3)


def test_the_pi_rule_goes_on_rising_after_the_misses_have_stopped():
    """As it is stated, the sum keeps a minute of misses until it has been worked off below the
    target."""
    rule = pi(target=0.1, kp=0.0)
    for _ in range(10):
        rule.step(10, 10, 5.0)
    peak = rule.weight
    weights = [rule.step(10, 0, 5.0) for _ in range(200)]
    assert weights[0] > peak
    assert max(weights) > 2 * peak
    assert weights[-1] < max(weights), "9 errors of -0.1 work off one of 0.9"


def test_the_pi_rule_stops_at_zero():
    rule = pi(weight=0.1, target=0.5, kp=1.0, ki=0.0)
    assert rule.step(10, 0, 5.0) == 0.0
    assert rule.step(10, 0, 5.0) == 0.0
    assert rule.step(10, 10, 5.0) == pytest.approx(0.5)


def test_the_sum_winds_up_at_zero_unless_told_not_to():
    """A quiet hour at zero: as stated, lambda answers a burst only after as long a time above."""
    loose, tight = (
        pi(weight=0.0, target=0.1, kp=0.0, ki=1.0, anti_windup=wise) for wise in (False, True)
    )
    for rule in (loose, tight):
        for _ in range(100):
            assert rule.step(10, 0, 5.0) == 0.0
    assert loose.error_sum == pytest.approx(-10.0)
    assert tight.error_sum == 0.0
    assert loose.step(10, 10, 5.0) == 0.0
    assert tight.step(10, 10, 5.0) == pytest.approx(0.9)


def test_anti_windup_stops_the_sum_only_at_zero_and_only_downwards():
    rule = pi(weight=1.0, target=0.5, kp=0.0, ki=0.1, anti_windup=True)
    rule.step(10, 0, 5.0)
    assert rule.error_sum == pytest.approx(-0.5), "above zero it counts"
    rule = pi(weight=0.0, target=0.5, kp=0.0, ki=0.1, anti_windup=True)
    rule.step(10, 10, 5.0)
    assert rule.error_sum == pytest.approx(0.5), "upwards it counts"


@pytest.mark.parametrize("rule", [pi(weight=3.0), FixedRule(Slow(weight=3.0), 0.1)])
def test_a_window_in_which_nothing_ended_changes_nothing(rule):
    assert rule.step(0, 0, 5.0) == 3.0
    assert rule.weight == 3.0


@given(counts=COUNTS, weight=st.floats(0, 1e3), target=st.floats(0, 1), wise=st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_pi_rule_is_its_recursion(counts, weight, target, wise):
    """Written once more from the formula, in one loop over all errors."""
    rule, expected, errors = pi(weight=weight, target=target, anti_windup=wise), weight, []
    for completed, share in counts:
        missed = share * completed
        if completed:
            error = missed / completed - target
            if not (wise and expected == 0.0 and error < 0.0):
                errors.append(error)
            expected = max(0.0, expected + 2.0 * error + 0.5 * math.fsum(errors))
        assert rule.step(completed, missed, 5.0) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(counts=COUNTS, factor=st.floats(1e-3, 1e3))
@settings(max_examples=60, deadline=None)
def test_the_log_rule_is_free_of_scale(counts, factor):
    """In dollars or in cents: the same misses move lambda by the same factor."""
    one, other = log(weight=1.0), log(weight=factor)
    for completed, share in counts:
        ours, theirs = (rule.step(completed, share * completed, 5.0) for rule in (one, other))
        assert theirs == pytest.approx(factor * ours, rel=1e-9)


@given(counts=COUNTS, target=st.floats(0, 1), window_s=st.floats(0.1, 3600))
@settings(max_examples=60, deadline=None)
def test_the_log_rule_stays_within_its_bounds(counts, target, window_s):
    rule = log(weight=5.0, target=target)
    for completed, share in counts:
        found = rule.step(completed, share * completed, window_s)
        assert 5e-3 * (1 - 1e-12) <= found <= 5e3 * (1 + 1e-12)


def test_the_log_rule_goes_up_fast_and_down_slowly():
    up, down = log(), log()
    for _ in range(12):
        up.step(1000, 100, 5.0)
        down.step(1000, 0, 5.0)
    assert up.weight > 10.0, "a minute of ten times the target"
    assert 0.2 < down.weight < 1.0
    assert math.log(up.weight) > 5 * -math.log(down.weight)


def test_the_log_rule_rests_at_the_target():
    rule = log(target=0.02)
    for _ in range(200):
        rule.step(1000, 20, 5.0)
    assert rule.weight == pytest.approx(1.0)


def test_after_a_storm_the_log_rule_is_not_wound_up():
    """At its upper bound for an hour, it turns as soon as the smoothed misses are below target."""
    rule = log()
    for _ in range(720):
        rule.step(1000, 500, 5.0)
    assert rule.weight == pytest.approx(1e3)
    weights = [rule.step(1000, 0, 5.0) for _ in range(60)]
    turned = next(at for at, weight in enumerate(weights) if weight < 1e3)
    assert turned * 5.0 < 180.0
    assert (np.diff(weights[turned:]) < 0).all()


def test_a_miss_in_the_night_hardly_moves_the_log_rule():
    """One of two requests late, at a target of one in a hundred: the prior of fifty holds."""
    assert log().step(2, 1, 5.0) < 1.8
    assert log().step(2000, 1000, 5.0) > log().step(2, 1, 5.0)


def test_a_target_of_zero_still_has_a_scale():
    rule = log(target=0.0)
    assert math.isfinite(rule.step(100, 1, 5.0))
    assert rule.weight > 1.0


def test_a_fixed_lambda_is_fixed():
    rule = FixedRule(Slow(weight=7.0), 0.01)
    assert [rule.step(10, missed, 5.0) for missed in (0, 5, 10)] == [7.0] * 3
