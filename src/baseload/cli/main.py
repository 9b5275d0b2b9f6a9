"""The ``baseload`` command: registers the commands, turns errors into one clear message and exit
code 2.

Command modules import nothing heavy before they run, so that ``baseload --help`` stays quick.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import click
import typer

from baseload import __version__
from baseload.base.errors import BaseloadError
from baseload.cli.calibrate import calibrate
from baseload.cli.policies import policies
from baseload.cli.predict import predict
from baseload.cli.simulate import simulate
from baseload.cli.validate import validate

app = typer.Typer(
    name="baseload",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Route every request of a fleet of large reasoning models for the fewest joules that keep "
        "quality, deadline and energy supply: simulate a fleet under routing policies, predict and "
        "calibrate what a replica costs."
    ),
)


def _version(show: bool) -> None:
    """Print the version and stop."""
    if show:
        typer.echo(f"baseload {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Hold the options of the bare command."""


for _command in (simulate, predict, calibrate, validate, policies):
    app.command()(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line with ``arguments`` (default: the process's own). Gives the exit code:
    0, 1 or 2.
    """
    try:
        code = app(args=None if arguments is None else list(arguments), standalone_mode=False)
        return int(code or 0)
    except BaseloadError as error:
        print(f"baseload: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return 2
    except KeyboardInterrupt:
        print("baseload: interrupted", file=sys.stderr)  # noqa: T201
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def run() -> None:
    """Entry point of the installed command."""
    sys.exit(main())


if __name__ == "__main__":
    run()
