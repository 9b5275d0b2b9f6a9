import subprocess
import sys

import numpy as np
import pytest

from baseload.report.figures import compare
from baseload.report.plots import coarse, draw_plots, places_of, short


@pytest.mark.slow
def test_four_files_for_every_odd_simulation(tmp_path, odd):
    paths = draw_plots(odd, tmp_path)
    assert [path.name for path in paths] == [
        "latency.png", "power.png", "energy-per-request.png", "trade-off.png",
    ]  # fmt: skip
    assert all(path.stat().st_size > 1000 for path in paths)


def test_the_baseline_has_place_0_wherever_it_stands(make_simulation):
    comparison = compare(make_simulation(), baseline="pack-and-park")
    assert places_of(comparison) == [1, 2, 0]


def testcoarser_bins_keep_the_mean():
    values = np.arange(2 * 960, dtype=float).reshape(2, 960)
    thin = coarse(values)
    assert thin.shape == (2, 240)
    assert np.allclose(thin.mean(1), values.mean(1))


def test_long_names_are_shortened_in_plots():
    assert len(short("x" * 99)) <= 26


def test_the_table_does_not_wait_for_matplotlib():
    code = "import sys, baseload.report; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
