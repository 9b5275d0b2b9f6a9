"""Files written whole or not at all, and places judged before the work is done."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from baseload.base.errors import OutputError


def write_whole(path: str | Path, data: bytes) -> None:
    """Write a file whole or not at all: to a temporary neighbour, then renamed.

    A pipe or device is written as it is, a link keeps pointing. Raises ``OutputError``.
    """
    with replacing(Path(path)) as file:
        file.write(data)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of ``path`` when the block ends well, and vanishes when not.

    A pipe or device is written as it is, a link keeps pointing. Raises ``OutputError``.
    """
    check_writable(path)
    try:
        with path.open("wb") if _is_stream(path) else _neighbour(path.resolve()) as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(
            f"cannot write {path}", found=error.strerror or str(error), todo="choose another place"
        ) from error


@contextlib.contextmanager
def _neighbour(path: Path) -> Iterator[IO[bytes]]:
    """A temporary file beside ``path`` that is put in its place in one step."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
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
