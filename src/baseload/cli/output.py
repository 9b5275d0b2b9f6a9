"""Where results go: whole files or nothing, and JSON that a script can parse."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from baseload.base.errors import OutputError


def encode_json(value: Any) -> bytes:
    """``value`` as indented JSON with a final newline; numbers that are not finite become null."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def write_json(value: Any, file: str) -> None:
    """Write ``value`` as JSON to ``file``, or to standard output when it is ``-``."""
    data = encode_json(value)
    if file == "-":
        sys.stdout.write(data.decode())
        sys.stdout.flush()
        return
    write_whole(Path(file), data)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: to a temporary neighbour, then renamed. Raises
    ``OutputError``.
    """
    check_writable(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except OSError as error:
        os.unlink(name)
        raise OutputError(
            f"cannot write {path}", found=str(error), todo="choose another place"
        ) from error


def check_writable(path: Path) -> None:
    """Raise ``OutputError`` now if a file at ``path`` could not be written later."""
    folder = path.parent
    if path.is_dir():
        raise OutputError(
            f"cannot write {path}", found="a folder of that name", allowed="a file name"
        )
    if not folder.is_dir():
        raise OutputError(
            f"cannot write {path}", found=f"no folder {folder}", todo=f"mkdir -p {folder}"
        )
    if not os.access(folder, os.W_OK):
        raise OutputError(
            f"cannot write {path}", found=f"no permission in {folder}", todo="choose another folder"
        )


def check_folder(folder: Path) -> None:
    """Raise ``OutputError`` now if files could not be written into ``folder`` (made if absent)
    later.
    """
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise OutputError(
            f"cannot write into {folder}", found=f"{there} is a file", allowed="a folder"
        )
    if not os.access(there, os.W_OK):
        raise OutputError(
            f"cannot write into {folder}",
            found=f"no permission in {there}",
            todo="choose another folder",
        )


def _umask() -> int:
    """The process's file mode mask."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
