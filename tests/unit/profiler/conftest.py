from __future__ import annotations

import pytest

from baseload.profiler import fit


@pytest.fixture(autouse=True)
def _quick_polish(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the last search: these tests judge to per cents, not to digits."""
    monkeypatch.setattr(fit, "EVOLVED_SEEDS", 0)
