"""The plot of a monitored log."""

import numpy as np
import pytest

from baseload.report.monitor_plots import REGIME_COLOURS, draw_monitor
from baseload.theory.watch import watch, watch_meters


def drawn(tmp_path, found, course, title="a title"):
    path = tmp_path / "monitor.png"
    alarms, threshold = getattr(found, "alarms", ()), getattr(found, "threshold", None)
    draw_monitor(path, course, alarms=alarms, threshold=threshold, title=title)
    return path.read_bytes()


@pytest.mark.parametrize("storage_j", [None, 20.0])
@pytest.mark.parametrize("slots", [10, 5000])
def test_every_state_of_knowledge_draws(tmp_path, storage_j, slots):
    x = np.random.default_rng(1).normal(size=slots)
    x[3000:] -= 0.5
    found = watch(x, 60.0, storage_j=storage_j)
    assert drawn(tmp_path, found, found.course)[:4] == b"\x89PNG"


def test_meters_and_silence_draw(tmp_path):
    for used in (np.ones(50), np.zeros(50)):
        found = watch_meters(used, np.ones(50), 3600.0, storage_j=1.0)
        assert drawn(tmp_path, found, found.course)[:4] == b"\x89PNG"


def test_every_label_has_a_colour():
    assert set(REGIME_COLOURS) == {
        "under-supplied",
        "near-critical",
        "critical",
        "over-supplied",
    }
