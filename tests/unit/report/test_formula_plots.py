"""The plot of a formula over one input."""

import math

from baseload.report.formula_plots import draw_sweep


def test_lines_gaps_and_scales_draw(tmp_path):
    path = tmp_path / "f.png"
    lines = {"u [W]": [1.0, None, 100.0], "w [W]": [math.inf, 2.0, 3.0]}
    draw_sweep(path, title="f", x=[1.0, 10.0, 100.0], x_label="B [J]", lines=lines)
    assert path.read_bytes()[:4] == b"\x89PNG"
    draw_sweep(path, title="f", x=[1.0, 2.0], x_label="B [J]", lines={"u": [None, math.inf]})
    assert path.stat().st_size > 1000
