"""Where results go: whole files or nothing, and JSON that a script can parse."""

from __future__ import annotations

import contextlib
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
    if file != "-":
        write_whole(Path(file), data)
        return
    sys.stdout.flush()
    raw = getattr(sys.stdout, "buffer", None)
    if raw is None:
        sys.stdout.write(data.decode())
    else:
        raw.write(data)  # JSON is UTF-8, whatever the terminal speaks
    sys.stdout.flush()


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: to a temporary neighbour, then renamed.

    A pipe or device is written as it is, a link keeps pointing. Raises ``OutputError``.
    """
    check_writable(path)
    try:
        if _is_stream(path):
            path.write_bytes(data)
        else:
            _replace(path.resolve(), data)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(
            f"cannot write {path}", found=error.strerror or str(error), todo="choose another place"
        ) from error


def _replace(path: Path, data: bytes) -> None:
    """Put ``data`` in the place of a file in one step."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _is_stream(path: Path) -> bool:
    """Whether there is something at ``path`` that is neither file nor folder (a pipe, a device)."""
    return path.exists() and not (path.is_file() or path.is_dir())


def check_writable(path: Path) -> None:
    """Raise ``OutputError`` now if a file at ``path`` could not be written later."""
    folder = path.parent
    try:
        if path.is_dir():
            found, todo = "a folder of that name", "give a file name"
        elif not folder.is_dir():
            found, todo = f"no folder {folder}", f"mkdir -p {folder}"
        elif path.exists() and not os.access(path, os.W_OK):
            found, todo = "no permission to change this file", "choose another file name"
        elif not _is_stream(path) and not os.access(folder, os.W_OK):
            found, todo = f"no permission in {folder}", "choose another folder"
        else:
            return
    except OSError as error:
        found, todo = error.strerror or str(error), "choose another place"
    raise OutputError(f"cannot write {path}", found=found, todo=todo)


def check_folder(folder: Path) -> None:
    """Raise ``OutputError`` now if files could not be written into ``folder`` (made if absent)
    later.
    """
    there = folder
    try:
        while not there.exists() and there != there.parent:
            there = there.parent
        if not there.is_dir():
            found, todo = f"{there} is a file", "give a folder"
        elif not os.access(there, os.W_OK):
            found, todo = f"no permission in {there}", "choose another folder"
        else:
            return
    except OSError as error:
        found, todo = error.strerror or str(error), "choose another folder"
    raise OutputError(f"cannot write into {folder}", found=found, todo=todo)


def check_distinct(**outputs: Path | None) -> None:
    """Raise ``OutputError`` when two of the files are the same; keywords name what they are."""
    seen: dict[Path, str] = {}
    for what, path in outputs.items():
        if path is None or str(path).startswith("/dev/"):
            continue
        place = Path(os.path.realpath(path))
        if place in seen:
            raise OutputError(
                f"cannot write {path}",
                found=f"{seen[place]} and {what} are the same file",
                todo="give each its own file",
            )
        seen[place] = what


def _umask() -> int:
    """The process's file mode mask."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
