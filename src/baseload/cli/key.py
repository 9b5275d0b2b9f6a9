"""``baseload key``: a new key for the gateway, shown once, with the line that the file needs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from baseload.base.errors import BadInputError

LEAST_CHARACTERS = 20
MOST_CHARACTERS = 1024
_BYTES = 32


def key(
    name: Annotated[
        str, typer.Option("--name", "-n", help="Whose key it is, as logs and metrics call it.")
    ] = "me",
    hash_: Annotated[
        bool,
        typer.Option(
            "--hash", help="Make none: read a key from standard input and print its hash only."
        ),
    ] = False,
) -> None:
    """Make a random key (256 bits) and print it once, with its hash for the gateway's file.

    The file holds the hash only: who reads it cannot call. Clients send the key itself, as
    `Authorization: Bearer KEY`.

    \b
    Examples:
      baseload key --name ci
      printf %s "$MY_KEY" | baseload key --hash
    """
    from baseload.gateway.faults import ConfigError, Faults
    from baseload.gateway.keys import hash_of_key

    if hash_:
        typer.echo(hash_of_key(_given()))
        return
    faults = Faults()
    faults.name("--name", name)
    if faults.found:
        raise ConfigError("", faults.found)
    import json
    import secrets

    made = f"bl-{secrets.token_urlsafe(_BYTES)}"
    typer.echo(
        f"{made}\n\nIt is not kept anywhere: note it now. In the gateway's file:\n\nkeys:\n"
        f'  - {{name: {json.dumps(name)}, hash: "{hash_of_key(made)}"}}'
    )


def _given() -> str:
    """The key on standard input, never shown. Raises ``BadInputError``."""
    if sys.stdin is None or sys.stdin.isatty():
        import getpass

        text = getpass.getpass("key (not shown): ")
    else:
        text = sys.stdin.read(MOST_CHARACTERS + 2)
    text = text.strip()
    good = text.isascii() and text.isprintable() and " " not in text
    if not (good and LEAST_CHARACTERS <= len(text) <= MOST_CHARACTERS):
        raise BadInputError(
            "--hash: the key on standard input",
            found=f"{len(text)} characters" if good else "spaces or characters no header can hold",
            allowed=f"{LEAST_CHARACTERS} to {MOST_CHARACTERS} printable ASCII characters; "
            "a short key can be guessed from its hash",
            todo="`baseload key` makes a good one",
        )
    return text
