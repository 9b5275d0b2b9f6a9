"""Secrets stand outside the configuration: it names an environment variable, ``env:NAME``."""

from __future__ import annotations

import re
from collections.abc import Mapping

from baseload.base.errors import BadInputError
from baseload.gateway.config import ReplicasEntry

PREFIX = "env:"
ALLOWED = "env:NAME, the name of an environment variable that holds it"
_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,199}$")


def variable_of(text: str) -> str | None:
    """The variable that ``env:NAME`` names; ``None`` for anything else."""
    name = text.removeprefix(PREFIX)
    return name if name != text and _NAME.match(name) else None


def secret_of(text: str, environ: Mapping[str, str]) -> str:
    """The secret that ``env:NAME`` names. Raises ``BadInputError``, which never shows a value, for
    another text, a variable that is not set, and a value that cannot stand in a header.
    """
    name = variable_of(text)
    if name is None:
        raise BadInputError("a secret", found="a literal value (not shown)", allowed=ALLOWED)
    value = environ.get(name, "").strip()
    if not value:
        raise BadInputError(
            f"environment variable {name}",
            found="not set" if name not in environ else "set, but empty",
            allowed="the secret",
            todo=f"export {name}=... before the gateway starts",
        )
    if not (value.isascii() and value.isprintable()):
        raise BadInputError(
            f"environment variable {name}",
            found="a value with line breaks or other characters that no header can hold",
            allowed="printable ASCII",
        )
    return value


def upstream_headers(entry: ReplicasEntry, environ: Mapping[str, str]) -> dict[str, str]:
    """What goes with every request to the engines of ``entry``: its ``headers`` and its key, with
    their secrets filled in; names in lower case. Raises ``BadInputError``.
    """
    made = {
        name.lower(): secret_of(value, environ) if value.startswith(PREFIX) else value
        for name, value in entry.headers.items()
    }
    if entry.api_key is not None:
        made["authorization"] = f"Bearer {secret_of(entry.api_key, environ)}"
    return made
