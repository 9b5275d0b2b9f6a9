"""Rooms that are imported at every start of the command line stay light."""

from __future__ import annotations

import subprocess
import sys


def test_importing_sources_does_not_load_polars():
    code = "import sys, baseload.sources; sys.exit('polars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
