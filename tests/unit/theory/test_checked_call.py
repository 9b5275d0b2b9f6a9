"""Formulas called by keyword refuse wrong names by name."""

import pytest

from baseload.base.errors import BadInputError
from baseload.theory.catalogue import ENTRIES
from baseload.theory.checked_call import by_keyword


def area(width: float, height: float = 1.0) -> float:
    return width * height


def test_other_spellings_are_the_same_input():
    call = by_keyword(area, also={"w": "width"})
    assert call(w=2, height=3) == call(width=2, height=3) == 6


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ({"width": 1, "heigt": 2}, "heigt"),
        ({"height": 2}, "width"),
        ({"width": 1, "w": 1}, "twice"),
    ],
)
def test_wrong_names_are_named(inputs, named):
    with pytest.raises(BadInputError, match=named):
        by_keyword(area, also={"w": "width"})(**inputs)


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=lambda entry: entry.name)
def test_every_entry_refuses_an_unknown_input(entry):
    with pytest.raises(BadInputError, match="colour"):
        entry.call(**entry.example, colour="blue")


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=lambda entry: entry.name)
def test_every_entry_refuses_nan_in_every_number(entry):
    for key, value in entry.example.items():
        if isinstance(value, (int, float)):
            with pytest.raises(BadInputError):
                entry.call(**{**entry.example, key: float("nan")})
