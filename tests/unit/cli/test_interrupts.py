"""Ctrl-C is heard, also where Python forgets it."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading

import pytest

from baseload.cli.interrupts import interrupts_noted


def press():
    """Ctrl-C."""
    signal.raise_signal(signal.SIGINT)


def test_it_is_raised_and_remembered():
    with interrupts_noted() as heard:
        assert not heard()
        with pytest.raises(KeyboardInterrupt):
            press()
        assert heard()


def test_it_is_remembered_where_python_forgets_it(capsys):
    class Dying:
        def __del__(self):
            press()

    with interrupts_noted() as heard:
        dying = Dying()
        with contextlib.suppress(KeyboardInterrupt):
            del dying
        assert heard()
    assert "KeyboardInterrupt" not in capsys.readouterr().err


def test_all_is_as_before_afterwards():
    handler, hook = signal.getsignal(signal.SIGINT), sys.unraisablehook
    with interrupts_noted():
        assert signal.getsignal(signal.SIGINT) is not handler
    assert (signal.getsignal(signal.SIGINT), sys.unraisablehook) == (handler, hook)


def test_a_thread_that_gets_no_signals_changes_nothing():
    handler, heard = signal.getsignal(signal.SIGINT), []

    def work():
        with interrupts_noted() as noted:
            heard.append((noted(), signal.getsignal(signal.SIGINT) is handler))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert heard == [(False, True)]
