"""``baseload import``: a gateway's file from another gateway's."""

from __future__ import annotations

import os
from typing import Annotated

import typer

import_app = typer.Typer(
    help="Make a gateway's file from another gateway's.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@import_app.callback()
def _group() -> None:
    """Hold the sub-commands."""


@import_app.command("litellm")
def litellm(
    file: Annotated[str, typer.Argument(help="LiteLLM's configuration (YAML).", metavar="FILE")],
) -> None:
    """Print a LiteLLM configuration as one of Baseload.

    What cannot be carried over stands as comments at its top, and on standard error; secrets that
    the file holds are never written out.

    \b
    Example:
      baseload import litellm config.yaml > baseload.yaml
      baseload check baseload.yaml
    """
    from pathlib import Path

    from baseload.base.errors import BadInputError
    from baseload.cli.gateway_file import read_content
    from baseload.cli.litellm_file import imported

    where = f"LiteLLM file {file}"
    try:
        text = read_content(Path(file)).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"{error.reason} at byte {error.start + 1}"
        raise BadInputError(where, found=found, allowed="a YAML file in UTF-8") from error
    made = imported(text, where=where, environ=os.environ)
    typer.echo(made.text, nl=False)
    for note in made.notes:
        typer.echo(f"note: {note}", err=True)
