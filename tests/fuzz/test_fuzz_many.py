"""A hundred thousand cases in all, with each whole run of the tests."""

from __future__ import annotations

import pytest
from tests.fuzz import bodies, config, surface

SEED = 20_261


@pytest.mark.slow
@pytest.mark.parametrize(("fuzz", "cases"), [(bodies, 96_000), (surface, 3_000), (config, 1_000)])
def test_a_hundred_thousand_cases_are_well(fuzz, cases, capsys):
    assert fuzz.main(["--cases", str(cases), "--seed", str(SEED)]) == 0
    assert f"{cases:,} cases of seed {SEED}: all well" in capsys.readouterr().out
