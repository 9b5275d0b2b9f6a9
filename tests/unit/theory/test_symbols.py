"""Every input and result of the catalogue is written down; the reference page says the same."""

import pytest

from baseload.theory.catalogue import ENTRIES
from baseload.theory.entry import Entry
from baseload.theory.symbols import input_symbol, result_unit, result_units

from . import theory_page


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=lambda entry: entry.name)
def test_every_input_has_a_meaning(entry):
    for name in [*entry.inputs, *entry.example]:
        assert input_symbol(entry.name, name) is not None, name
    assert entry.explanation


def test_a_formula_may_mean_something_else_by_a_name():
    assert input_symbol("two_sided_u", "theta").unit == "W"
    assert input_symbol("expected_aux_slotted", "theta").unit == "J"
    assert input_symbol("compute_optimal", "B").unit == ""
    assert input_symbol("two_sided_u", "colour") is None


def test_units_of_results():
    assert result_unit(ENTRIES["two_sided_u"]) == "W"
    assert result_unit(ENTRIES["expected_aux_slotted"]) == "J"
    assert result_unit(ENTRIES["newsvendor_z"]) == ""
    units = result_units(ENTRIES["two_sided_with_leak"], {"u": 1.0, "mean_level": 2.0})
    assert units == {"u": "W", "mean_level": "J"}
    assert result_units(ENTRIES["capped_pareto"], {"m1": 1.0}) == {"m1": "tokens"}


def test_an_entry_tells_its_inputs_and_its_docstring():
    def call(*, a: float, b: float = 2.0, **rest: float) -> float:
        """Gives a."""
        return a + b + sum(rest.values())

    entry = Entry(
        name="f", call=call, gives="a [J]", topic="t", section="1", standing="exact",
        example={"a": 1.0},
    )  # fmt: skip
    assert list(entry.inputs) == ["a", "b"]
    assert entry.explanation == "Gives a."


def test_the_page_is_the_catalogue():
    said = theory_page.PAGE.read_text(encoding="utf-8")
    assert said == theory_page.text(), "run: python tests/unit/theory/theory_page.py"
