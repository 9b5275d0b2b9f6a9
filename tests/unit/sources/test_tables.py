"""Tables in files: what cannot be read is refused by name."""

from __future__ import annotations

import polars as pl
import pytest

from baseload.base.errors import BadInputError
from baseload.sources.tables import read_table


def test_both_kinds_of_file_say_the_same(tmp_path):
    table = pl.DataFrame({"t_s": [0, 60], "net_j": [1.5, -2.0]})
    table.write_parquet(tmp_path / "log.pq")
    (tmp_path / "log.CSV").write_text("# from a meter\nt_s,net_j\n0,1.5\n60,-2.0\n")
    assert read_table(tmp_path / "log.pq", what="log").equals(table)
    assert read_table(tmp_path / "log.CSV", what="log").equals(table)
    text = read_table(tmp_path / "log.CSV", what="log", as_text=True)
    assert text["net_j"].to_list() == ["1.5", "-2.0"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.xlsx", b"", "ending '.xlsx'"),
        ("a.parquet", b"not parquet", "a readable parquet file"),
        ("a.csv", b"x,y\n", "no rows"),
        ("missing.csv", None, "no such file"),
    ],
)
def test_what_is_no_table(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInputError, match=words) as caught:
        read_table(tmp_path / name, what="energy log")
    assert str(caught.value).startswith("energy log ")
