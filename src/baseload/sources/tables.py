"""A table of numbers over time in a CSV or Parquet file, read whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from baseload.base.errors import BadInputError

if TYPE_CHECKING:
    import polars as pl

_KINDS = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet"}


def read_table(path: Path, *, what: str, as_text: bool = False) -> pl.DataFrame:
    """The whole file (.csv, .parquet, .pq); lines of a CSV that begin with # are comments, and with
    ``as_text`` all its columns are text.

    Raises ``BadInputError`` that calls the file ``what``: for another ending, no such file, one
    that cannot be read, and one without rows.
    """
    import polars as pl

    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise BadInputError(
            f"{what} {path}", found=f"ending {path.suffix!r}", allowed=", ".join(_KINDS)
        )
    if not path.is_file():
        raise BadInputError(f"{what} {path}", found="no such file", todo="check the path")
    try:
        if kind == "parquet":
            table = pl.read_parquet(path)
        else:
            table = pl.read_csv(
                path, comment_prefix="#", infer_schema=not as_text, infer_schema_length=None
            )
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInputError(
            f"{what} {path}", found=first, allowed=f"a readable {kind} file"
        ) from error
    if not table.height:
        raise BadInputError(f"{what} {path}", found="no rows", allowed="one row or more")
    return table
