"""The ``baseload`` command: registers the commands, turns errors into one clear message and an
exit code.

Command modules import nothing heavy before they run, so that ``baseload --help`` stays quick.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from baseload import __version__
from baseload.base.errors import BaseloadError
from baseload.cli.calibrate import calibrate
from baseload.cli.check import check
from baseload.cli.emulate import emulate
from baseload.cli.import_ import import_app
from baseload.cli.interrupts import interrupts_noted
from baseload.cli.key import key
from baseload.cli.monitor import monitor
from baseload.cli.plan import plan
from baseload.cli.policies import policies
from baseload.cli.predict import predict
from baseload.cli.replay import replay
from baseload.cli.retrace import retrace
from baseload.cli.serve import serve
from baseload.cli.simulate import simulate
from baseload.cli.sweep import sweep
from baseload.cli.theory import theory
from baseload.cli.validate import validate

OK, FAILED, MISUSE, INTERRUPTED = 0, 1, 2, 130

# Newer typers bring their own click: take its base error from where typer keeps it.
_CommandLineError: Any = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)

app = typer.Typer(
    name="baseload",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Route every request of a fleet of large reasoning models for the fewest joules that keep "
        "quality, deadline and energy supply: serve them live, simulate a fleet under routing "
        "policies, plan its supply, predict and calibrate what a replica costs.\n\n\b\nExamples:\n"
        "  baseload serve\n  baseload simulate azure-chat\n"
        "  baseload predict Qwen/Qwen3-14B H100-SXM-80GB\n  baseload policies"
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


for _command in (
    serve,
    simulate,
    sweep,
    plan,
    theory,
    monitor,
    predict,
    calibrate,
    validate,
    replay,
    policies,
    emulate,
    check,
    key,
    retrace,
):
    app.command()(_command)
app.add_typer(import_app, name="import")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line with ``arguments`` (default: the process's own). Gives the exit code:
    0 done, 1 failed, 2 misuse, 130 interrupted.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    _show_what_the_terminal_can()
    with interrupts_noted() as heard:
        try:
            return _run(given)
        except RuntimeError:  # what a compiler makes of Ctrl-C in its callbacks
            if not heard():
                raise
            return _complain("interrupted", INTERRUPTED)


def _run(given: list[str]) -> int:
    """Run the command line; what can go wrong is said, and is the exit code."""
    try:
        code = app(args=given or ["--help"], prog_name="baseload", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
        return _complain("interrupted", INTERRUPTED) if code == INTERRUPTED else int(code or OK)
    except BaseloadError as error:
        return _complain(str(error), MISUSE)
    except _CommandLineError as error:
        return _complain(_usage(error, given), MISUSE)
    except (KeyboardInterrupt, typer.Abort):
        return _complain("interrupted", INTERRUPTED)
    except (BrokenPipeError, SystemExit):  # typer leaves so when a pipe is closed
        _forget_standard_output()
        return OK
    except MemoryError as error:
        todo = "fewer replicas, fewer seeds, a shorter trace or a shorter queue"
        return _complain(f"out of memory\n  found:   {error}\n  to do:   {todo}", FAILED)
    except OSError as error:
        _forget_standard_output()
        return _complain(f"the system refused: {error}", FAILED)


def _usage(error: Any, given: Sequence[str]) -> str:
    """What is wrong with the command line, and where its help is."""
    if getattr(error, "ctx", None):
        command = error.ctx.command_path
    else:
        command = " ".join(["baseload", *[word for word in given[:1] if word in _names()]])
    return f"{error.format_message()}\n  to do:   see `{command} --help`"


def _names() -> set[str]:
    """The commands."""
    made = {one.name or getattr(one.callback, "__name__", "") for one in app.registered_commands}
    return made | {one.name for one in app.registered_groups if isinstance(one.name, str)}


def _complain(message: str, code: int) -> int:
    """Say what went wrong on standard error; gives the exit code."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            print(f"baseload: {message}", file=sys.stderr)  # noqa: T201
    return code


def _show_what_the_terminal_can() -> None:
    """Print a question mark for a character that the terminal does not have, rather than fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")


def _forget_standard_output() -> None:
    """Nobody reads it any more: let what is left in the buffer go nowhere."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run() -> None:
    """Entry point of the installed command."""
    sys.exit(main())


if __name__ == "__main__":
    run()
