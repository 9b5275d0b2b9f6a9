"""The small language for functions of time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.base.errors import BadInputError
from baseload.theory.expression import TimeExpression

TIMES = np.linspace(0.0, 30.0, 7)


@pytest.mark.parametrize(
    ("text", "function"),
    [
        ("1.5*sin(2*pi*t/24)-0.1", lambda t: 1.5 * math.sin(2 * math.pi * t / 24) - 0.1),
        ("3", lambda t: 3.0),
        ("-t**2/4 + +e", lambda t: -(t**2) / 4 + math.e),
        ("max(0, cos(t), -0.5)*exp(-t)", lambda t: max(0, math.cos(t)) * math.exp(-t)),
        ("min(abs(t - 5), sqrt(t))", lambda t: min(abs(t - 5), math.sqrt(t))),
        ("  (1 + 2) * 3  ", lambda t: 9.0),
    ],
)
def test_expressions_mean_what_they_say(text, function):
    assert TimeExpression(text)(TIMES) == pytest.approx([function(t) for t in TIMES])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "t +",
        "x",
        "np.sin(t)",
        "__import__('os')",
        "().__class__",
        "lambda t: t",
        "t if t else 1",
        "[t]",
        "sin",
        "sin()",
        "sin(t, t)",
        "sin(t=1)",
        "max(t)",
        "max(*t)",
        "t % 2",
        "t // 2",
        "~t",
        "not t",
        "t < 1",
        "True",
        "None",
        "'t'",
        "3j",
        "1e999",
        "9" * 2000,
        "-" * 500 + "t",
        "(" * 300 + "t" + ")" * 300,
        "t\x00",
        "sin(t",
        "tan(t)",
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(BadInputError) as caught:
        TimeExpression(text)
    assert caught.value.asked == "theta"


@pytest.mark.parametrize("text", ["1/t", "sqrt(-1-t)", "exp(1000)", "(-1)**0.5", "9**9**9"])
def test_a_value_that_is_not_finite_is_refused(text):
    with pytest.raises(BadInputError, match="finite"):
        TimeExpression(text, field="drift")(TIMES)


def test_an_unknown_name_hints_at_the_nearest():
    with pytest.raises(BadInputError, match="pi"):
        TimeExpression("2*pie*t")


@given(st.text(max_size=40))
def test_no_text_does_more_than_be_refused(text):
    try:
        values = TimeExpression(text)(TIMES)
    except BadInputError:
        return
    assert np.isfinite(values).all()
