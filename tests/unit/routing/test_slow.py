from __future__ import annotations

import msgspec
import numpy as np
import pytest

from baseload.base.errors import BadInputError
from baseload.routing.fleet_state import PRIOR_INPUT_TOKENS, PRIOR_OUTPUT_TOKENS
from baseload.routing.policies import policy
from baseload.routing.policy import Policy
from baseload.routing.slow import Signals, Slow


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"weight": -1.0}, "weight"),
        ({"weight": float("inf")}, "weight"),
        ({"kp": float("nan")}, "kp"),
        ({"ki": -0.1}, "ki"),
        ({"period_s": 0.0}, "period_s"),
        ({"period_s": 1e9}, "0.1 to 3600"),
    ],
)
def test_numbers_that_control_nothing_are_refused(fields, said):
    with pytest.raises(BadInputError, match=said):
        Slow(**fields)


def test_a_changed_record_is_checked_too():
    with pytest.raises(BadInputError, match="kp"):
        msgspec.structs.replace(Slow(rule="pi"), kp=-1.0)
    with pytest.raises(BadInputError, match="kp"):
        Slow(rule="pi").with_parameter("kp", -1.0)


def test_what_acts():
    assert not Slow().acts
    assert not Slow(weight=5.0).acts
    for fields in ({"rule": "pi"}, {"rule": "log"}, {"working_set": True}, {"holds_bulk": True}):
        assert Slow(**fields).acts
    assert Slow(clocks=True).acts


def test_parameters_say_what_differs_from_no_control():
    assert Slow().parameters() == {}
    assert Slow(weight=2.0, working_set=True).parameters() == {"weight": 2.0, "working_set": True}
    assert Slow(rule="pi", kp=3.0).parameters() == {
        "lambda_rule": "pi",
        "kp": 3.0,
        "ki": 10.0,
        "anti_windup": False,
    }
    assert Slow(rule="log").parameters() == {"lambda_rule": "log"}


def test_only_what_a_policy_has_can_be_set():
    assert Slow().settable() == []
    assert Slow(rule="pi").settable() == ["kp", "ki", "anti_windup"]
    assert Slow(rule="log", working_set=True, clocks=True).settable() == [
        "log_lambda",
        "working_set",
        "holds_bulk",
        "clocks",
    ]


@pytest.mark.parametrize(
    ("slow", "name", "value", "expected"),
    [
        (Slow(rule="pi"), "kp", 3.0, Slow(rule="pi", kp=3.0)),
        (Slow(rule="pi"), "ki", 0.0, Slow(rule="pi", ki=0.0)),
        (Slow(rule="pi"), "anti_windup", 1.0, Slow(rule="pi", anti_windup=True)),
        (Slow(rule="log"), "log_lambda", 0.0, Slow()),
        (Slow(rule="log"), "log_lambda", 1.0, Slow(rule="log")),
        (Slow(working_set=True), "working_set", 0.0, Slow()),
        (Slow(holds_bulk=True), "holds_bulk", 1.0, Slow(holds_bulk=True)),
    ],
)
def test_one_number_is_changed(slow, name, value, expected):
    assert slow.with_parameter(name, value) == expected


def test_a_switch_is_on_or_off():
    for name in ("working_set", "log_lambda", "anti_windup"):
        with pytest.raises(BadInputError, match="0 or 1"):
            Slow().with_parameter(name, 0.5)


def test_parameters_reach_slow_control_through_the_text_of_a_policy():
    off = policy("baseload:holds_bulk=0,working_set=0")
    assert not off.slow.holds_bulk
    assert not off.slow.working_set
    assert "working_set" not in off.parameters()
    with pytest.raises(BadInputError, match="kp"):
        policy("baseload:kp=3")
    one = Policy(name="x", summary="", source="", slow=Slow(rule="pi"))
    assert one.with_parameters({"kp": "7"}).slow.kp == 7.0


def test_the_first_lambda_is_that_of_the_record():
    assert Slow(weight=3.5).weight == 3.5


def signals(**fields):
    """Two tiers of which nothing is known but what is given."""
    nothing = {name: np.zeros(2) for name in Signals.__struct_fields__}
    return Signals(**(nothing | {"now_s": 5.0, "window_s": 5.0, "oldest_due_s": 9.0} | fields))


def test_the_refused_are_late():
    """Of 40 that ended and 10 that were refused 5 and 10 are late."""
    seen = signals(
        completed=np.array([30.0, 10.0]), missed=np.array([5.0, 0.0]), refused=np.array([0.0, 10.0])
    )
    assert seen.late_frac() == pytest.approx(15 / 50)
    assert signals().late_frac() == 0.0


def test_lengths_are_means_over_all_tiers():
    seen = signals(
        completed=np.array([3.0, 1.0]),
        input_tokens=np.array([300.0, 700.0]),
        output_tokens=np.array([40.0, 0.0]),
    )
    assert seen.lengths() == (250.0, 10.0)
    assert signals().lengths() == (PRIOR_INPUT_TOKENS, PRIOR_OUTPUT_TOKENS)
