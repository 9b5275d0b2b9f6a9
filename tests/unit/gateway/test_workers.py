"""The parent of several workers, with small commands in their place."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from baseload.gateway import workers
from baseload.gateway.workers import PLACE, Place, Supervisor, own_command, own_place

WORKER = """
import os, pathlib, signal, sys, time
place, workers, port, folder = os.environ["BASELOAD_WORKER"].split("/", 3)
out, kind = pathlib.Path(sys.argv[1]), sys.argv[2]
born = len(list(out.glob(f"born-{place}-*")))
(out / f"born-{place}-{born}").write_text(f"{workers} {port} {folder} {os.getpid()}")

def once(name):
    try:
        os.close(os.open(out / name, os.O_CREAT | os.O_EXCL))
        return True
    except FileExistsError:
        return False

def drain(*_):
    (out / f"drained-{place}").touch()
    if kind == "stubborn":
        if once("again"):
            os.kill(os.getppid(), signal.SIGTERM)
        return
    sys.exit(0)

def reload(*_):
    (out / f"reloaded-{place}").touch()
    if len(list(out.glob("reloaded-*"))) == int(workers) and once("told"):
        os.kill(os.getppid(), signal.SIGTERM)

if kind != "young":
    signal.signal(signal.SIGTERM, drain)
signal.signal(signal.SIGHUP, reload)
if kind == "broken":
    sys.exit(3)
if kind != "never":
    (pathlib.Path(folder) / f"ready-{place}").touch()
if born:
    os.kill(os.getppid(), signal.SIGTERM)
while True:
    signal.pause()
"""


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Makes parents whose workers leave files in ``tmp_path``."""
    monkeypatch.setattr(workers, "_LOOK_S", 0.005)
    found = []

    def make(kind, count, announce, *, drain_s=30.0):
        command = [sys.executable, "-I", "-S", "-c", WORKER, str(tmp_path), kind]
        one = Supervisor(
            command,
            count,
            port=4321,
            drain_s=drain_s,
            announce=announce,
            complain=found.append,
        )
        return one, found

    return make


def stop():
    os.kill(os.getpid(), signal.SIGTERM)


def folder_of(tmp_path):
    return Path((tmp_path / "born-0-0").read_text().split()[2])


def test_all_are_started_announced_once_and_drained(made, tmp_path):
    announced = []

    def announce():
        announced.append(sorted(path.name for path in tmp_path.glob("born-*")))
        stop()

    before = signal.getsignal(signal.SIGTERM)
    parent, complaints = made("good", 3, announce)
    assert parent.run() == 0
    assert announced == [["born-0-0", "born-1-0", "born-2-0"]]
    assert len(list(tmp_path.glob("drained-*"))) == 3
    assert (tmp_path / "born-1-0").read_text().startswith("3 4321 ")
    assert complaints == []
    assert not folder_of(tmp_path).exists()
    assert signal.getsignal(signal.SIGTERM) is before


def test_one_that_had_only_just_begun_spoils_no_drain(made):
    """A worker that was being brought back died of the signal, and the exit code was 1."""
    parent, _ = made("young", 1, stop)
    assert parent.run() == 0


def test_one_that_dies_is_brought_back(made, tmp_path):
    """The second worker, when it is born again, ends the test by a signal to its parent."""

    def announce():
        os.kill(int((tmp_path / "born-1-0").read_text().split()[3]), signal.SIGKILL)

    parent, complaints = made("good", 2, announce)
    assert parent.run() == 0
    assert sorted(path.name for path in tmp_path.glob("born-*")) == [
        "born-0-0",
        "born-1-0",
        "born-1-1",
    ]
    assert len(complaints) == 1
    assert "worker 1 ended with code -9" in complaints[0]
    assert (tmp_path / "drained-0").exists()


def test_a_reload_is_passed_on_to_all(made, tmp_path):
    parent, _ = made("good", 2, lambda: os.kill(os.getpid(), signal.SIGHUP))
    assert parent.run() == 0
    assert len(list(tmp_path.glob("reloaded-*"))) == 2


@pytest.mark.parametrize("kind", ["broken", "never"])
def test_one_that_never_serves_ends_all_with_1(made, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(workers, "_READY_S", 0.5)
    announced = []
    parent, _ = made(kind, 2, lambda: announced.append(1))
    assert parent.run() == 1
    assert announced == []
    assert not any(path.is_dir() for path in (parent._folder,))


def test_a_second_signal_ends_those_that_will_not_drain(made, tmp_path):
    begun_s = time.monotonic()
    parent, _ = made("stubborn", 2, stop, drain_s=600.0)
    assert parent.run() == 1
    assert time.monotonic() - begun_s < 60.0
    assert (tmp_path / "again").exists()
    for path in tmp_path.glob("born-*"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.read_text().split()[3]), 0)


def test_those_that_do_not_drain_in_time_are_ended(made, tmp_path):
    (tmp_path / "again").touch()  # nobody sends a second signal
    parent, _ = made("stubborn", 1, stop, drain_s=0.2)
    assert parent.run() == 1
    assert not folder_of(tmp_path).exists()


def test_a_process_knows_its_place(monkeypatch, tmp_path):
    monkeypatch.delenv(PLACE, raising=False)
    assert own_place() is None
    monkeypatch.setenv(PLACE, f"1/3/8080/{tmp_path}")
    place = own_place()
    assert place == Place(worker=1, workers=3, port=8080, folder=tmp_path)
    assert not place.leads
    place.ready()
    assert (tmp_path / "ready-1").exists()


def test_the_own_command_is_this_one_again(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["baseload", "serve", "--workers", "2"])
    assert own_command()[0] == sys.executable
    assert own_command()[-3:] == ["serve", "--workers", "2"]
