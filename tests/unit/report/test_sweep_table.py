import io

from rich.console import Console

from baseload.report import wording
from baseload.report.sweep_table import print_sweep, sweep_text


def test_fits_a_hundred_columns_with_its_numbers_whole(make_sweep):
    sweep = make_sweep()
    text = sweep_text(sweep, width=100)
    assert max(map(len, text.splitlines())) <= 100
    for point in sweep.points:
        assert wording.number(point.energy_j_per_request) in text


def test_a_narrow_console_gets_more_tables_and_no_cut_number(make_sweep):
    sweep = make_sweep()
    text = sweep_text(sweep, width=40)
    assert text.count("\nload ") == 3 + 1  # three tables and the legend
    for point in sweep.points:
        assert wording.number(point.energy_j_per_request) in text


def test_a_row_for_each_load_and_a_mark_for_a_broken_target(make_sweep):
    sweep = make_sweep()
    text = sweep_text(sweep, width=200)
    rows = [line for line in text.splitlines() if line.strip()[:3] in ("0.3", "1.2")]
    assert len(rows) == 2
    broken = [point for point in sweep.points if point.keeps_targets is False]
    table, _, legend = text.partition("\nload: ")
    assert table.count(" !") == len(broken) > 0
    assert "! marks" in legend
    assert "note: Overload at load 1.2" in legend


def test_every_odd_sweep_has_a_table(odd_sweep):
    text = sweep_text(odd_sweep, width=100)
    for word in ("None", "nan", "…"):
        assert word not in text
    for policy in odd_sweep.policies:
        first = policy.split()[0] if policy.isascii() else "<scr"
        assert first[:4] in text


def test_seeds_bring_an_interval(odd_sweep):
    assert ("±" in sweep_text(odd_sweep).split("\nload: ")[0].partition("\n\n")[2]) == (
        any("energy_change_frac" in point.interval for point in odd_sweep.points)
    )


def test_a_pipe_gets_no_colour(make_sweep):
    out = io.StringIO()
    print_sweep(make_sweep(), console=Console(file=out, width=80))
    assert "\x1b" not in out.getvalue()
