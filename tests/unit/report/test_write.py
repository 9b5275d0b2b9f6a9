import msgspec
import pytest

from baseload.base.errors import OutputError, UnknownNameError
from baseload.report import write
from baseload.report.write import write_report
from baseload.simulator.results import Simulation

PLOTS = {
    "latency.png", "power.png", "energy-per-request.png", "trade-off.png", "replicas.png",
    "course.png",
}  # fmt: skip
FILES = {"index.html", "result.json"} | PLOTS


def test_writes_all_files_and_the_result_reads_back(tmp_path, make_simulation):
    simulation = make_simulation()
    page = write_report(simulation, tmp_path / "new" / "out")
    assert {path.name for path in page.parent.iterdir()} == FILES
    result = msgspec.json.decode((page.parent / "result.json").read_bytes(), type=Simulation)
    assert result == simulation
    for path in page.parent.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_same_simulation_same_page(tmp_path, make_simulation):
    pages = [write_report(make_simulation(), tmp_path / name).read_text() for name in "ab"]
    assert pages[0] == pages[1]


@pytest.mark.slow
def test_other_files_in_the_folder_stay(tmp_path, make_simulation):
    (tmp_path / "mine.txt").write_text("keep")
    (tmp_path / "index.html").write_text("old")
    write_report(make_simulation(), tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "keep"
    assert (tmp_path / "index.html").read_text() != "old"


def test_a_folder_that_is_a_file_is_an_output_error(tmp_path, make_simulation):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match="taken"):
        write_report(make_simulation(), tmp_path / "taken")


@pytest.mark.slow
def test_a_failure_half_way_leaves_the_old_files_and_no_draft(
    tmp_path, make_simulation, monkeypatch
):
    write_report(make_simulation(), tmp_path)
    before = (tmp_path / "result.json").read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write, "page_html", full)
    with pytest.raises(OutputError, match="No space left"):
        write_report(make_simulation(scenario="other"), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == FILES
    assert (tmp_path / "result.json").read_bytes() == before


def test_an_unknown_baseline_writes_nothing(tmp_path, make_simulation):
    with pytest.raises(UnknownNameError):
        write_report(make_simulation(), tmp_path / "out", baseline="nobody")
    assert not (tmp_path / "out").exists()
