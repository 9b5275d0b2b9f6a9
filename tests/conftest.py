"""What all tests share: properties have no deadline for one example, because the first one of a
process may compile or load a kernel. ``tests.faults`` and ``tests.fuzz`` are found however pytest
is begun.
"""

import sys
from pathlib import Path

from hypothesis import settings

sys.path.append(str(Path(__file__).parents[1]))
settings.register_profile("baseload", deadline=None)
settings.load_profile("baseload")
