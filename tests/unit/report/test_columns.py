"""Columns of a terminal table: fixed widths, groups that fit."""

from __future__ import annotations

import pytest

from baseload.report.columns import NAME_WIDTH, Column, fitting, set_table, widths
from baseload.report.figures import compare
from conftest import make_policy, make_simulation

ROWS = compare(make_simulation([make_policy("short"), make_policy("a" * 40)])).rows
COLUMNS = tuple(
    Column(heading=f"{at}\n{'h' * at}", text=lambda _, at=at: "7" * (10 - at)) for at in range(1, 9)
)


def test_a_column_is_as_wide_as_its_longest_text():
    assert widths(ROWS, COLUMNS) == [NAME_WIDTH, 9, 8, 7, 6, 5, 6, 7, 8]


@pytest.mark.parametrize("width", [1, 40, 60, 1000])
def test_groups_keep_every_column_in_order(width):
    groups = fitting(ROWS, COLUMNS, width)
    assert tuple(column for group in groups for column in group) == COLUMNS
    for group in groups:
        assert len(group) == 1 or sum(widths(ROWS, group)) + 2 * len(group) <= width


def test_the_best_is_marked_unless_all_look_alike():
    least = Column(heading="x", text=lambda row: row.label[:1], least=lambda row: len(row.label))
    alike = Column(heading="y", text=lambda _: "1", least=lambda row: len(row.label))
    table = set_table(ROWS, (least, alike), gap=2, name="who")
    marked = [[bool(cell.style) for cell in column.cells] for column in table.columns]
    assert marked == [[False, False], [True, False], [False, False]]
    assert str(table.columns[0].header) == "\nwho"
