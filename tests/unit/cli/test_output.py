"""Outputs: whole or not at all, and only where they belong."""

from __future__ import annotations

import contextlib
import io
import json
import os
import stat
import threading
from pathlib import Path

import pytest

from baseload.base.errors import OutputError
from baseload.cli.output import write_json
from baseload.sources import files
from baseload.sources.files import check_distinct, check_folder, check_writable, write_whole


def test_a_file_appears_whole_with_the_usual_permissions(tmp_path):
    write_whole(tmp_path / "a.json", b"first")
    write_whole(tmp_path / "a.json", b"second")
    assert (tmp_path / "a.json").read_bytes() == b"second"
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o666 & ~mask
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, error):
    (tmp_path / "a.json").write_text("old")

    def fail(*_):
        raise error

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises((OutputError, KeyboardInterrupt)):
        write_whole(tmp_path / "a.json", b"new")
    assert (tmp_path / "a.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_link_keeps_pointing(tmp_path):
    """Once, the link itself was replaced by the file."""
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to("real.json")
    write_whole(tmp_path / "link.json", b"new")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_text() == "new"


def test_a_pipe_is_written_and_stays_a_pipe(tmp_path):
    """Once, ``--json /dev/null`` as root put a plain file in the place of the device."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_whole(pipe, b"data")
    reader.join(timeout=10)
    assert got == [b"data"]
    assert pipe.is_fifo()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (".", "a folder of that name"),
        ("nowhere/a.json", "mkdir -p"),
        ("file/a.json", "no folder"),
        ("x" * 5000, "too long"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_work(tmp_path, monkeypatch, name, words):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(OutputError, match=words):
        check_writable(Path(name))


def test_a_place_without_permission_is_refused(tmp_path, monkeypatch):
    (tmp_path / "there").touch()
    monkeypatch.setattr(files.os, "access", lambda *_: False)
    for check in (check_writable, check_folder):
        with pytest.raises(OutputError, match="no permission"):
            check(tmp_path / "new")
    with pytest.raises(OutputError, match="no permission to change this file"):
        check_writable(tmp_path / "there")


def test_a_folder_may_be_absent_but_no_file(tmp_path):
    (tmp_path / "file").touch()
    check_folder(tmp_path / "a" / "b" / "c")
    assert not (tmp_path / "a").exists()
    for bad in ("file", "file/inside"):
        with pytest.raises(OutputError, match="is a file"):
            check_folder(tmp_path / bad)


def test_two_outputs_in_one_file_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_distinct(json=Path("a"), requests=Path("b"), other=None)
    Path("link").symlink_to("a")
    for same in ("a", "./a", "link"):
        with pytest.raises(OutputError, match="json and requests are the same file"):
            check_distinct(json=Path("a"), requests=Path(same))


def test_json_is_utf_8_and_has_no_numbers_that_json_lacks(tmp_path, capsysbinary):
    value = {"name": "± ✓", "low": float("nan"), "high": float("inf")}
    write_json(value, "-")
    written = capsysbinary.readouterr().out
    assert json.loads(written) == {"name": "± ✓", "low": None, "high": None}
    write_json(value, str(tmp_path / "a.json"))
    assert (tmp_path / "a.json").read_bytes() == written


def test_json_goes_where_standard_output_was_sent():
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        write_json({"a": 1}, "-")
    assert json.loads(text.getvalue()) == {"a": 1}
