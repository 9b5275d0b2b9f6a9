"""The folder of a simulation: ``index.html``, four PNG files and ``result.json``."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import msgspec

from baseload.base.errors import OutputError
from baseload.report.figures import compare
from baseload.report.page import page_html
from baseload.report.plots import draw_plots
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
    compare(simulation, baseline=baseline)
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder))
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        plots = draw_plots(simulation, draft, baseline=baseline)
        names = [RESULT, *(plot.name for plot in plots)]
        (draft / RESULT).write_bytes(result_json(simulation))
        page = page_html(simulation, baseline=baseline, beside=names)
        (draft / PAGE).write_text(page, encoding="utf-8")
        for name in (*names, PAGE):
            os.replace(draft / name, folder / name)
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder / PAGE


def result_json(simulation: Simulation) -> bytes:
    """The JSON of ``simulation``, indented, with a final newline; the contract is
    docs/reference/simulate.md.
    """
    return msgspec.json.format(msgspec.json.encode(simulation), indent=2) + b"\n"


def _unwritable(folder: Path, error: OSError) -> OutputError:
    return OutputError(
        f"cannot write the report to {str(folder)!r}",
        found=error.strerror or str(error),
        allowed="a folder that can be made or written",
        todo="choose another folder or free its path",
    )
