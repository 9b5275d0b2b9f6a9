"""``baseload theory``: the formulas of the critical regime, shown and evaluated."""

from __future__ import annotations

from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated, Any

import typer

from baseload.base.errors import ArgumentError, BadInputError

if TYPE_CHECKING:
    from baseload.cli.theory_inputs import Inputs
    from baseload.theory.entry import Entry

SCHEMA = "baseload-theory/1"


def theory(
    name: Annotated[
        str | None, typer.Argument(help="A formula.", metavar="NAME", show_default=False)
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(help="Its inputs, in SI units.", metavar="INPUT=VALUE", show_default=False),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE.png", help="Draw a sweep into this PNG file."),
    ] = None,
    json: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE", help="Write JSON here ('-': standard output)."),
    ] = None,
) -> None:
    """List the formulas, explain one, or evaluate it.

    Values are numbers (1e6, inf), true or false, lists and matrices ([0.5,0.3], [[1,2],[3,4]]),
    texts in quotes ("logn s=1"). Units are SI: J, s, W, J^2/s, $. One input may run through values:
    B=10,100,1000 or B=FROM:TO:COUNT, with :log behind it for equal ratios.

    \b
    Examples:
      baseload theory
      baseload theory two_sided_u
      baseload theory two_sided_u theta=0.5 var=4 B=100
      baseload theory exact_dam_u lam=1 b=1.1 B=20 dist="logn s=1" mean=1
      baseload theory expected_aux_time_varying theta="1.5*sin(2*pi*t/24)" var=4 B=10 S0=5 T=48
      baseload theory two_sided_u theta=0 var=4 B=1:1000:7:log --plot u.png
    """
    from baseload.cli import theory_text
    from baseload.cli.output import write_json
    from baseload.cli.theory_inputs import read_inputs
    from baseload.theory import catalogue

    said = read_inputs(inputs or [])
    if plot is not None and said.sweep is None:
        raise BadInputError(
            "--plot draws a sweep", found="no input that varies", allowed="such as B=1:100:10"
        )
    if name is None:
        answer: dict[str, Any] = {"formulas": theory_text.catalogue_fields()}
        text = theory_text.catalogue_text()
    else:
        entry = catalogue.find(name)
        if not inputs:
            answer = {"formula": theory_text.entry_fields(entry)}
            text = theory_text.entry_text(entry)
        else:
            points = evaluate(entry, said)
            answer = theory_text.value_fields(entry, said, points)
            text = theory_text.value_text(entry, said, points)
    if plot is not None and name is not None:
        _draw(entry, said, points, plot)
    if json is not None:
        from baseload import __version__

        head = {"schema": SCHEMA, "version": __version__}
        write_json(theory_text.with_infinities({**head, **answer}), json)
    if json != "-":
        typer.echo(text)


def evaluate(entry: Entry, said: Inputs) -> list[tuple[Any, Any]]:
    """Value and record of the accuracy ladder (None where the formula is no rate of a store) at
    each point of the sweep, or at the one point there is.

    Raises ArgumentError of the formula, and BadInputError where it has no finite value.
    """
    found = []
    for values in _points(said):
        try:
            value = entry.call(**values)
        except ArithmeticError as error:
            raise BadInputError(
                f"{entry.name} has no finite value here",
                found=str(error),
                allowed="inputs within the range of floating-point numbers",
            ) from error
        found.append((value, _ladder(entry, values)))
    return found


def _ladder(entry: Entry, values: dict[str, Any]) -> Any:
    """The record of the accuracy ladder, where there is one for these inputs."""
    if entry.validity is None:
        return None
    try:
        return entry.validity(**values)
    except (ArgumentError, ArithmeticError):
        return None


def _points(said: Inputs) -> list[dict[str, Any]]:
    """The inputs of each evaluation."""
    if said.sweep is None:
        return [said.given]
    return [{**said.given, said.sweep.name: value} for value in said.sweep.values]


def _draw(entry: Entry, said: Inputs, points: list[tuple[Any, Any]], path: Path) -> None:
    """Draw a sweep: one line a numeric result."""
    from baseload.cli.theory_text import columns_of
    from baseload.report.formula_plots import draw_sweep
    from baseload.theory.symbols import input_symbol, result_unit, result_units

    assert said.sweep is not None
    rows = [columns_of(value) for value, _ in points]
    names = [key for key, value in rows[0].items() if isinstance(value, int | float)]
    units = {"value": result_unit(entry)}
    if isinstance(points[0][0], dict):
        units = result_units(entry, rows[0])
    symbol = input_symbol(entry.name, said.sweep.name)
    draw_sweep(
        path,
        title=shorten(entry.gives, 60, placeholder=" ..."),
        x=list(said.sweep.values),
        x_label=f"{said.sweep.name} [{symbol.unit}]" if symbol and symbol.unit else said.sweep.name,
        lines={_labelled(entry, key, units): [row[key] for row in rows] for key in names},
    )


def _labelled(entry: Entry, key: str, units: dict[str, str]) -> str:
    """A result's name with its unit."""
    name = entry.name if key == "value" else key
    return f"{name} [{units[key]}]" if units[key] else name
