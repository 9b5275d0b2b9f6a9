"""What all tests share: properties have no deadline for one example, because the first one of a
process may compile or load a kernel. ``tests.faults`` and ``tests.fuzz`` are found however pytest
is begun; Ctrl-C means something even where a shell began them in the background, which has them
and all that they start ignore it.
"""

import signal
import sys
from pathlib import Path

from hypothesis import settings

sys.path.append(str(Path(__file__).parents[1]))
settings.register_profile("baseload", deadline=None)
settings.load_profile("baseload")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
