"""The catalogue's way into routing: spellings and refusals."""

from __future__ import annotations

import pytest

from baseload.base.errors import BadInputError
from baseload.theory import entries_routing as entries
from baseload.theory.entries_routing import REFERENCE


def test_other_spellings():
    plain = entries.static_optimum_cost(**REFERENCE, B=20.0)
    charge = [[5 * share for share in row] for row in REFERENCE["fail"]]
    rest = {key: value for key, value in REFERENCE.items() if key not in ("fail", "price_fail")}
    assert entries.static_optimum_cost(**rest, q=charge, B=20.0) == pytest.approx(plain)
    assert entries.static_optimum_cost(**rest, other_cost=charge, ca2=1.0, B=20) == pytest.approx(
        plain
    )
    assert entries.static_optimum_cost(**REFERENCE, Cb=0.3, B=20.0) == plain


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"Cb": -0.2}, "Cb"),
        ({"b": -1.0}, "b"),
        ({"Cw": -1.0}, "Cu"),
        ({"work": [[1, 1, 1]] * 3}, "work"),
        ({"work": [[1, 1, 1]] * 3, "capacity": [1, 2]}, "capacity"),
        ({"B": -1.0}, "B"),
    ],
)
def test_bad_input(change, field):
    with pytest.raises(BadInputError, match=f"^{field}"):
        entries.static_optimum_cost(**{**REFERENCE, "B": 20.0, **change})


def test_an_unknown_keyword_is_an_error():
    with pytest.raises(TypeError, match="supply_w"):
        entries.hjb_average_cost(**REFERENCE, B=20.0, supply_w=3.0)


def test_index_prices_by_name():
    found = entries.static_index_prices(theta=0.0, var=12.0, B=20.0, Cu=1.0, Cw=0.1)
    assert found == pytest.approx({"xi1": 0.45, "xi2": 1.1 / 40})
    with pytest.raises(BadInputError, match=r"^B"):
        entries.static_index_prices(theta=0.0, var=12.0, B=0.0)


def test_a_frontier_that_cannot_be():
    found = entries.mean_variance_frontier(**REFERENCE, fail_limit=0.01)
    assert found == {"status": "infeasible", "constraint": "failures"}
