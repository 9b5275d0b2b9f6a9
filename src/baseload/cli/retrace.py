"""``baseload retrace``: does a recorded log of events lead to the same decisions again?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from baseload.cli.output import write_json

if TYPE_CHECKING:
    from baseload.gateway.config import GatewayConfig
    from baseload.gateway.event_log import Retraced
    from baseload.simulator.supplied import Supplied

SCHEMA = "baseload-retrace/1"


def retrace(
    file: Annotated[
        Path, typer.Argument(help="A log of `baseload serve --record`.", metavar="FILE")
    ],
    folder: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="Where files of the supply section are: that of the gateway's file."
        ),
    ] = Path(),
    json: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE", help="Write JSON here ('-': standard output)."),
    ] = None,
) -> None:
    """Tell the gateway's state machine all that a log holds, and compare what it answers: bit for
    bit the same. Leaves with 1 where it differs; that is a bug, or another version of Baseload.

    \b
    Examples:
      baseload serve --record events.bin
      baseload retrace events.bin
      baseload retrace events.bin --json - | jq .first_difference
    """
    from baseload.gateway.event_log import retrace as run

    found = run(file, supplied_of=lambda config: _supplied(config, folder))
    if json is not None:
        write_json({"schema": SCHEMA, **_fields(found)}, json)
    if json != "-":
        typer.echo(_text(found))
    if not found.identical:
        raise typer.Exit(1)


def _supplied(config: GatewayConfig, folder: Path) -> Supplied | None:
    """The site of a configuration. Raises ``ConfigError`` where its files are not there."""
    from baseload.cli.gateway_file import supplied_of_config

    return supplied_of_config(config, folder)


def _fields(found: Retraced) -> dict[str, object]:
    import msgspec

    fields: dict[str, object] = msgspec.to_builtins(found)
    return fields


def _text(found: Retraced) -> str:
    """What was found, in words."""
    from baseload.base.version import VERSION

    configurations = "1 configuration" if found.fleets == 1 else f"{found.fleets} configurations"
    head = f"{found.events} events over {found.seconds:.1f} s, {configurations}"
    lines = [f"{head}: {'identical' if found.identical else 'different'}"]
    if found.torn:
        lines.append("the last entry was cut off, and left out")
    difference = found.first_difference
    if difference is not None:
        lines.append(f"first difference: event {difference.number}, {difference.event}")
        said = difference.commands or ("nothing",)
        lines += [f"  now answered: {command}" for command in said]
        if found.version != VERSION:
            lines.append(f"the log is of version {found.version}, this is {VERSION}")
    return "\n".join(lines)
