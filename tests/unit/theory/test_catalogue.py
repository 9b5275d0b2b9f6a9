"""The catalogue against reference values from independent routes (tests/reference/theory)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from baseload.base.errors import UnknownNameError
from baseload.theory import (
    catalogue,
    entries_diffusions,
    entries_estimation,
    entries_provisioning,
    entries_routing,
    entries_scaling,
)

VECTORS = json.loads(
    (Path(__file__).parents[2] / "reference" / "theory" / "vectors.json").read_text()
)["vectors"]


def within(got: float, expected: float, tol: float, kind: str) -> bool:
    """The rule of the vectors' note."""
    room = tol * abs(expected) + 1e-7 if kind == "rel" else tol
    return abs(got - expected) <= room


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["id"] for vector in VECTORS])
def test_reference_vector(vector: dict[str, Any]) -> None:
    got = catalogue[vector["function"]](**vector["inputs"])
    expected = vector["expected"]
    if not isinstance(expected, dict):
        assert within(got, expected, vector["tol"], vector["tol_kind"]), got
        return
    for name, value in expected.items():
        assert within(got[name], value, vector["tol"], vector["tol_kind"]), (name, got)


def test_no_formula_is_there_twice() -> None:
    modules = (
        entries_diffusions,
        entries_provisioning,
        entries_routing,
        entries_scaling,
        entries_estimation,
    )
    names = [entry.name for module in modules for entry in module.ENTRIES]
    assert sorted(names) == sorted(catalogue)


def test_an_unknown_formula_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="two_sided_u"):
        catalogue["two_side_u"]


@pytest.mark.parametrize("name", list(catalogue))
def test_the_example_of_an_entry_runs(name: str) -> None:
    entry = catalogue.ENTRIES[name]
    assert catalogue[name] is entry.call is getattr(catalogue, name)
    entry.call(**entry.example)
