"""The folder of a simulation: ``index.html``, PNG files and ``result.json``."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from baseload.base.errors import OutputError
from baseload.report.course_plots import draw_course
from baseload.report.diary_plots import draw_diaries
from baseload.report.figures import compare
from baseload.report.page import page_html
from baseload.report.plots import draw_plots
from baseload.report.supply_plots import draw_supply
from baseload.simulator.results import Simulation

PAGE, RESULT = "index.html", "result.json"


def write_report(
    simulation: Simulation, folder: Path | str, *, baseline: str | None = None
) -> Path:
    """Write page, plots and result of ``simulation`` into ``folder`` (made if absent); gives the
    path of the page.

    Everything is drawn beside the folder first and moved in at the end, file by file, so that a
    reader never finds half a file, and other files in the folder stay. Raises ``OutputError`` where
    the folder cannot be written and ``UnknownNameError`` for a ``baseline`` that was not simulated.
    """
    comparison = compare(simulation, baseline=baseline)

    def draw(simulation: Simulation, draft: Path) -> list[Path]:
        plots = draw_plots(simulation, draft, baseline=baseline)
        plots += draw_course(comparison, draft) + draw_supply(comparison, draft)
        return plots + draw_diaries(comparison, draft)

    def html(simulation: Simulation, beside: list[str]) -> str:
        return page_html(simulation, baseline=baseline, beside=beside)

    return write_page(simulation, folder, result=RESULT, draw=draw, html=html)


def write_folder(folder: Path, fill: Callable[[Path], Sequence[str]]) -> None:
    """Let ``fill`` write files into a draft beside ``folder`` (made if absent), and move those it
    names in at the end. Raises ``OutputError``.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder))
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        for name in fill(draft):
            os.replace(draft / name, folder / name)
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


Record = TypeVar("Record", bound=msgspec.Struct)


def write_page(
    record: Record,
    folder: Path | str,
    *,
    result: str,
    draw: Callable[[Record, Path], Sequence[Path]],
    html: Callable[[Record, list[str]], str],
) -> Path:
    """Write the plots that ``draw`` makes, the record as JSON under the name ``result``, and the
    page of ``html`` (told which files lie beside it) into ``folder``; gives the path of the page.
    Raises ``OutputError``.
    """

    def fill(draft: Path) -> list[str]:
        names = [result, *(plot.name for plot in draw(record, draft))]
        (draft / result).write_bytes(result_json(record))
        (draft / PAGE).write_text(html(record, names), encoding="utf-8")
        return [*names, PAGE]

    write_folder(Path(folder), fill)
    return Path(folder) / PAGE


def result_json(record: msgspec.Struct) -> bytes:
    """The JSON of a record, indented, with a final newline; the contracts are the pages simulate,
    sweep and plan of docs/reference.
    """
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def _unwritable(folder: Path, error: OSError) -> OutputError:
    return OutputError(
        f"cannot write the report to {str(folder)!r}",
        found=error.strerror or str(error),
        allowed="a folder that can be made or written",
        todo="choose another folder or free its path",
    )
