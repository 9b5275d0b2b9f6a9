import pytest

from baseload.report.plots import drawing, panel_grid
from baseload.report.sweep_plots import draw_sweep, handles, load_panels, pareto_panels


def drawn(draw):
    """The axes of one panel."""
    with drawing():
        _, (axes,) = panel_grid(1)
        draw(axes)
    return axes


@pytest.mark.slow
def test_two_files_for_every_odd_sweep(tmp_path, odd_sweep):
    paths = draw_sweep(odd_sweep, tmp_path)
    assert [path.name for path in paths] == ["load.png", "pareto.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_a_curve_for_each_policy_over_the_loads(make_sweep):
    sweep = make_sweep()
    energy, misses = map(drawn, load_panels(sweep))
    for axes, values in (
        (energy, [point.energy_j_per_request for point in sweep.points]),
        (misses, [point.miss_frac * 100 for point in sweep.points]),
    ):
        curves = [line for line in axes.lines if list(line.get_xdata()) == sweep.loads]
        seen = [y for line in curves for y in line.get_ydata()]
        assert set(values) <= set(seen)


def test_hollow_marks_are_the_broken_targets(make_sweep):
    sweep = make_sweep()
    axes = drawn(load_panels(sweep)[0])
    hollow = [mark for mark in axes.collections if not len(mark.get_facecolors())]
    broken = [point for point in sweep.points if point.keeps_targets is False]
    assert len(hollow) == len(broken) > 0


@pytest.mark.parametrize("place", [0, 1])
def test_the_pareto_plot_shows_every_point_and_the_bound(make_sweep, place):
    sweep = make_sweep()
    axes = drawn(pareto_panels(sweep)[place])
    assert len(axes.collections) == len(sweep.points)
    assert any("no schedule can use less" in text.get_text() for text in axes.texts)
    assert {text.get_text() for text in axes.texts} >= {"0.3", "1.2"}


def test_the_target_is_a_line_with_its_name(make_sweep):
    texts = [text.get_text() for text in drawn(load_panels(make_sweep())[1]).texts]
    assert "target 1 %" in texts


def test_the_legend_names_every_policy(make_sweep):
    assert [name for name, _ in handles(make_sweep())] == make_sweep().policies
