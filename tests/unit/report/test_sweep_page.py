import re

import msgspec
import pytest
from test_page import read

from baseload.base.errors import OutputError
from baseload.report.sweep_page import sweep_html, write_sweep_report
from baseload.simulator.sweeps import Sweep

FILES = {"index.html", "load.png", "pareto.png", "sweep.json"}


def test_writes_all_files_and_the_result_reads_back(tmp_path, make_sweep):
    sweep = make_sweep()
    page = write_sweep_report(sweep, tmp_path / "new" / "out")
    assert {path.name for path in page.parent.iterdir()} == FILES
    assert msgspec.json.decode((page.parent / "sweep.json").read_bytes(), type=Sweep) == sweep


def test_a_folder_that_is_a_file_is_an_output_error(tmp_path, make_sweep):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match="taken"):
        write_sweep_report(make_sweep(), tmp_path / "taken")


@pytest.mark.slow
def test_every_odd_page_is_well_formed_safe_and_alone(odd_sweep):
    page = sweep_html(odd_sweep)
    reader = read(page)
    assert "script" not in reader.tags
    assert "img" not in reader.tags
    assert len(reader.ids) == len(set(reader.ids))
    assert all(link.startswith("#") for link in reader.links)
    words = " ".join(reader.text)
    assert "None" not in words
    assert "nan" not in words.split()


def test_says_what_a_reader_must_know(make_sweep):
    sweep = make_sweep()
    page = sweep_html(sweep, beside=["sweep.json"])
    words = " ".join(read(page).text)
    for expected in (
        "are used by pack-and-park",
        "Overload at load 1.2",
        "below about 5 % of GPU energy",
        "at most 1.0 % may miss",
        sweep.version,
        sweep.schema,
        "What the busiest minutes of the trace ask for",
    ):
        assert expected in words
    assert 'href="sweep.json"' in page
    assert len(re.findall(r"<svg[^>]*role=\"img\"", page)) == 4


def test_a_broken_target_is_marked(make_sweep):
    sweep = make_sweep()
    broken = [point for point in sweep.points if point.keeps_targets is False]
    assert sweep_html(sweep).count('<td class="broken">') == len(broken) > 0
