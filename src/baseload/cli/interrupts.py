"""Ctrl-C, remembered: Python forgets some of them."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def interrupts_noted() -> Iterator[Callable[[], bool]]:
    """Remember Ctrl-C beside raising ``KeyboardInterrupt``; gives whether there was one.

    Raised while an object is being taken apart (a finaliser, a weak reference's callback), Python
    prints and forgets it; raised within a compiler's callback, it comes out as another error. What
    half-made objects say after it is not printed.
    """
    heard = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield heard.is_set
        return

    def note(number: int, frame: Any) -> None:
        heard.set()
        before(number, frame)

    hook = sys.unraisablehook

    def quiet(said: Any) -> None:
        if not heard.is_set():
            hook(said)

    signal.signal(signal.SIGINT, note)
    sys.unraisablehook = quiet
    try:
        yield heard.is_set
    finally:
        sys.unraisablehook = hook
        signal.signal(signal.SIGINT, before)
