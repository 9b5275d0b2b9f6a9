"""The catalogue's diffusion entries: input names, spellings, validity records."""

from __future__ import annotations

import math

import pytest

from baseload.base.errors import BadInputError
from baseload.theory import entries_diffusions
from baseload.theory.ladder import SupplyRates

BY_NAME = {entry.name: entry for entry in entries_diffusions.ENTRIES}


@pytest.mark.parametrize("name", BY_NAME)
def test_unknown_and_missing_inputs_are_named(name):
    entry = BY_NAME[name]
    with pytest.raises(BadInputError, match="colour"):
        entry.call(**entry.example, colour=1.0)
    with pytest.raises(BadInputError):
        entry.call()


@pytest.mark.parametrize("name", [n for n, entry in BY_NAME.items() if entry.validity])
def test_validity_takes_the_same_inputs_and_gives_the_ladder(name):
    entry = BY_NAME[name]
    found = entry.validity(**entry.example)
    assert isinstance(found, SupplyRates)
    assert found.rung


def test_not_a_number_is_refused_everywhere():
    for entry in entries_diffusions.ENTRIES:
        for key, value in entry.example.items():
            if isinstance(value, str):
                continue
            with pytest.raises(BadInputError):
                entry.call(**entry.example | {key: math.nan})


@pytest.mark.parametrize("dist", ["exp", "exponential", "EXP", "det", "deterministic"])
def test_job_laws_may_be_spelled_in_many_ways(dist):
    got = BY_NAME["exact_dam_u"].call(lam=1, b=1, B=2, dist=dist, mean=1)
    wanted = 1 / 3 if "exp" in dist.lower() else 0.21409726569788406
    assert got == pytest.approx(wanted)


def test_the_ladder_as_an_entry():
    found = BY_NAME["supply_rates"].call(lam=1.0, mean=1.0, dist="exp", b=1.0, B=9.0)
    assert found["rung"] == "exact_dam"
    assert found["u_w"] == pytest.approx(0.1)
    with pytest.raises(BadInputError, match="mean"):
        BY_NAME["supply_rates"].call(lam=1.0, b=1.0, B=9.0)
