from __future__ import annotations

from collections.abc import Iterator

import pytest

from baseload.profiler import fit


@pytest.fixture(autouse=True, scope="session")
def _quick_polish() -> Iterator[None]:
    """Leave out the last search: these tests judge to per cents, not to digits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "EVOLVED_SEEDS", 0)
        yield
