"""The bare command: misuse, help, and the ways a run may end."""

from __future__ import annotations

import contextlib
import io
import signal
import sys

import pytest

from baseload.cli import main as main_module
from baseload.cli.main import app, main

COMMANDS = sorted(command.callback.__name__ for command in app.registered_commands)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["simul"], ["No such command 'simul'", "simulate"]),
        (["--bogus"], ["No such option: --bogus"]),
        (["simulate", "azure-chat", "--polcy", "x"], ["--polcy", "--policy", "simulate --help"]),
        (["simulate", "azure-chat", "extra"], ["unexpected extra argument"]),
        (["simulate", "azure-chat", "--seeds", "1.5"], ["--seeds", "integer"]),
        (["simulate", "azure-chat", "--seeds"], ["--seeds", "requires an argument"]),
        (["simulate", "azure-chat", "--load", "much"], ["--load"]),
        (["simulate"], ["needs a scenario", "--list"]),
        (["simulate", "--show"], ["needs a scenario"]),
        (["calibrate"], ["RUN"]),
        (["policies", "least_loded"], ["least_loaded"]),
        (["policies", "a", "b"], ["unexpected extra argument"]),
    ],
)
def test_misuse_gives_one_message_and_code_2(cli, arguments, words):
    """Once, a typer that brings its own click made every one of these a traceback."""
    cli(*arguments).refused(*words)


def test_the_bare_command_shows_its_help(cli):
    outcome = cli()
    assert outcome.code == 0
    assert outcome.err == ""
    for command in COMMANDS:
        assert command in outcome.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(cli, command):
    outcome = cli(command, "--help")
    assert outcome.code == 0
    assert "Example" in outcome.out
    assert f"baseload {command} " in outcome.out or f"baseload {command}\n" in outcome.out
    assert cli(command, "-h").out == outcome.out


def test_the_version(cli):
    outcome = cli("--version")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("baseload ")


def raising(error):
    def run(**_):
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError("7 TB"), 1, "out of memory"),
        (OSError(28, "No space left on device"), 1, "No space left"),
        (BrokenPipeError(), 0, ""),
    ],
)
def test_what_the_system_does_to_us_ends_without_a_traceback(
    monkeypatch, capsys, error, code, words
):
    monkeypatch.setattr(main_module, "app", raising(error))
    monkeypatch.setattr(main_module, "_forget_standard_output", lambda: None)
    assert main(["policies"]) == code
    err = capsys.readouterr().err
    assert words in err
    assert "Traceback" not in err


def test_our_own_bugs_stay_loud(monkeypatch):
    monkeypatch.setattr(main_module, "app", raising(AssertionError("a law is broken")))
    with pytest.raises(AssertionError):
        main(["policies"])


def test_a_terminal_without_a_character_shows_a_question_mark(monkeypatch):
    """Once, the ± of the table was a traceback on an ASCII terminal."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert main(["policies"]) == 0
    sys.stdout.write("±")
    sys.stdout.flush()
    assert raw.getvalue().endswith(b"?")


def test_without_standard_error_nothing_goes_to_standard_output(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["simulate", "nosuch", "-q"]) == 2
    assert capsys.readouterr().out == ""


def test_an_error_that_ctrl_c_became_is_an_interruption(monkeypatch, capsys):
    def compile_something(**_):
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise RuntimeError("missing Environment")

    monkeypatch.setattr(main_module, "app", compile_something)
    assert main(["policies"]) == 130
    assert capsys.readouterr().err == "baseload: interrupted\n"


def test_other_errors_of_ours_are_not_hidden(monkeypatch):
    monkeypatch.setattr(main_module, "app", raising(RuntimeError("a fault")))
    with pytest.raises(RuntimeError, match="a fault"):
        main(["policies"])


@pytest.mark.parametrize(
    ("given", "help_of"),
    [
        (["replay", "azure-chat", "--rate"], "baseload replay"),
        (["simulate", "--nonsense"], "baseload simulate"),
        (["nonsense"], "baseload"),
    ],
)
def test_a_wrong_command_line_names_the_help_of_its_command(capsys, given, help_of):
    assert main(given) == 2
    assert f"see `{help_of} --help`" in capsys.readouterr().err
