"""The table of caps, in the terminal and on the page."""

from __future__ import annotations

import msgspec
import pytest

from baseload.report.caps_table import COLUMNS, capped_rows, caps_parts, caps_section, cell
from baseload.report.figures import compare
from baseload.report.page import page_html
from baseload.report.table import table_text


@pytest.fixture(name="capped")
def _capped(make_policy, make_simulation):
    """Two policies with caps, one of them with intervals, and one without."""

    def policy(name, cap, **fields):
        given = {"capped_frac": 0.25, "quality_frac": 0.7, "demand_variance_j2_per_s": 1234.0}
        made = make_policy(name)
        return msgspec.structs.replace(made, parameters={"cap_tokens": cap}, **(given | fields))

    known = {"demand_variance_j2_per_s": [1134.0, 1334.0], "capped_frac": [0.2, 0.3]}
    policies = [
        policy("a cap 512", 512, interval=known),
        policy("<b> uncapped", None, capped_frac=0.0),
        make_policy("c"),
    ]
    return compare(make_simulation(policies))


def test_only_runs_under_caps_are_in_it(capped, make_policy, make_simulation):
    assert [row.label for row in capped_rows(capped)] == ["a cap 512", "<b> uncapped"]
    without = compare(make_simulation([make_policy("c")]))
    assert caps_parts(without) == []
    assert caps_section(without) == ""


def test_figures_come_with_half_their_interval(capped):
    row, other, _ = capped.rows
    cells = {column.heading: cell(column, row) for column in COLUMNS}
    assert cells["sigma2\nJ2/s"] == "1,234 ±100"
    assert cells["cut\n%"] == "25.0 ±5.0"
    assert cells["right\n%"] == "70.0"
    assert cells["bought\nkWh"] == "-"
    assert cell(COLUMNS[0], other) == "1,234"


def test_table_and_page_show_it(capped):
    text = table_text(capped.simulation)
    assert "sigma2" in text
    assert "1,234 ±100" in text
    assert "bought" not in text
    page = page_html(capped.simulation)
    assert "Caps on the tokens of an answer" in page
    assert "&lt;b&gt; uncapped" in page
    assert "<b> uncapped" not in page
