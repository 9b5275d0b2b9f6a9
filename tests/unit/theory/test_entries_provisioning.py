"""The catalogue's door to provisioning: names, spellings, refusals."""

from __future__ import annotations

import math

import pytest

from baseload.base.errors import BadInputError
from baseload.theory import catalogue, entries_provisioning
from baseload.theory.ride_through import mean_ride_through, start_with_slots


@pytest.mark.parametrize("entry", entries_provisioning.ENTRIES, ids=lambda entry: entry.name)
def test_an_entry_refuses_what_it_does_not_know(entry):
    with pytest.raises(BadInputError, match="colour"):
        entry.call(**entry.example, colour=1)
    first = next(iter(entry.example))
    with pytest.raises(BadInputError, match=first):
        entry.call(**{**entry.example, first: math.nan})
    missing = {key: value for key, value in entry.example.items() if key != first}
    if entry.name != "sigma2_compound_renewal":
        with pytest.raises(BadInputError, match=first):
            entry.call(**missing)


def test_other_spellings_are_understood():
    one = catalogue["newsvendor_z"](C_b=1.0, C_u=4.0, C_w=0.5)
    assert one == catalogue["newsvendor_z"](Cb=1.0, Cu=4.0, Cw=0.5)
    leak = {"theta": 0.5, "B": 5.0}
    assert catalogue["two_sided_with_leak_u"](sigma2=4.0, kappa_l=0.2, **leak) == catalogue[
        "two_sided_with_leak_u"
    ](var=4.0, kappa=0.2, **leak)


def test_slots_shift_start_and_capacity():
    S0, B = start_with_slots(S0=3.0, B=5.0, sd=2.0)
    assert catalogue["mean_ride_through"](S0=3.0, theta=0.1, var=4.0, B=5.0, slot=1.0) == (
        mean_ride_through(S0=S0, theta=0.1, var=4.0, B=B)
    )
    for name in ("p_any_aux_finite_store", "autonomy_time"):
        inputs = catalogue.ENTRIES[name].example
        change = catalogue[name](**inputs, slot=0.1) - catalogue[name](**inputs)
        assert (change > 0) == (name == "autonomy_time")


def test_records_come_as_numbers():
    for entry in entries_provisioning.ENTRIES:
        found = entry.call(**entry.example)
        values = found.values() if isinstance(found, dict) else [found]
        assert all(isinstance(value, float) for value in values), entry.name
