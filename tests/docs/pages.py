"""Reads the code blocks of a Markdown page and runs them in order, as a reader would."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
SLOW, FAILS, SKIPPED = "<!-- e2e -->", "<!-- exit: ", "<!-- not run: "
FENCE = re.compile(r"^(```+)(\w*)\s*$")
FILE = re.compile(r"^# file: (\S+)$")


class Block(NamedTuple):
    """One fenced block: its language, its text, its line in the page, and what a comment before it
    says.
    """

    language: str
    text: str
    line: int
    slow: bool
    exit_code: int
    skipped: bool


def pages() -> list[Path]:
    """README.md and every page under docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page, in order. A comment counts right before the fence."""
    found: list[Block] = []
    body: list[str] = []
    opened: tuple[str, str, int] | None = None
    said = ""
    for number, line in enumerate(text.splitlines(), start=1):
        fence = FENCE.match(line)
        if opened is None and fence:
            opened, body = (fence[1], fence[2], number), []
        elif opened is not None and line == opened[0]:
            found.append(_block(opened[1], "\n".join(body), opened[2], said))
            opened, said = None, ""
        elif opened is not None:
            body.append(line)
        elif line.strip():
            said = line.strip()
    return found


def _block(language: str, text: str, line: int, said: str) -> Block:
    code = int(said.removeprefix(FAILS).split()[0]) if said.startswith(FAILS) else 0
    slow, skipped = said == SLOW, said.startswith(SKIPPED)
    return Block(language, text, line, slow=slow, exit_code=code, skipped=skipped)


def run(page: Path, text: str) -> None:
    """Run every block of a page in one namespace and the current folder; raises what the first bad
    one raises.
    """
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(text):
        if block.skipped:
            continue
        where = f"{page.name}:{block.line}"
        if block.language == "python":
            code = compile("\n" * block.line + block.text, str(page), "exec")
            with contextlib.redirect_stdout(io.StringIO()):
                exec(code, names)
        elif block.language == "console":
            for command in commands(block.text):
                run_command(command, expected=block.exit_code, where=where)
        first, _, _ = block.text.partition("\n")
        if name := FILE.match(first):
            target = Path(name[1])
            assert not target.is_absolute(), where
            target.write_text(block.text + "\n", encoding="utf-8")


def commands(text: str) -> list[list[str]]:
    """The arguments of each ``$ baseload ...`` line; a line that ends in a backslash goes on in the
    next.
    """
    joined = re.sub(r"\\\n\s*", " ", text)
    return [
        shlex.split(line.removeprefix("$ baseload"), comments=True)
        for line in joined.splitlines()
        if line.startswith("$ baseload ")
    ]


def run_command(arguments: list[str], *, expected: int, where: str) -> None:
    """Run the command in this process; a ``>`` at the end sends its output to a file, as a shell
    would.
    """
    from baseload.cli.main import main

    target = None
    if ">" in arguments:
        cut = arguments.index(">")
        arguments, target = arguments[:cut], Path(arguments[cut + 1])
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    if target is not None:
        target.write_text(out.getvalue(), encoding="utf-8")
    said = f"{where}: baseload {shlex.join(arguments)} left with {code}\n{err.getvalue()}"
    assert code == expected, said
