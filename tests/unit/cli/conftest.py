"""What the tests of the command line share: a folder with a small scenario, and the command run in
this process.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from baseload.cli.main import main

TRACE = "t_us,input_tokens,output_tokens\n0,100,20\n100000,200,30\n300000,150,10\n"
TRACE_LINE = "trace: {file: tiny.csv}\n"
FLEET_LINES = "fleet:\n  - {device: H100-SXM-80GB, model: Qwen/Qwen3-14B, replicas: 2}\n"


class Outcome(NamedTuple):
    """What a command left behind: exit code, both streams, and the files that are new."""

    code: int
    out: str
    err: str
    new: set[str]

    def refused(self, *words: str) -> None:
        """Assert the rule of misuse: code 2, one message with these words, nothing else."""
        assert self.code == 2, self.err
        assert self.out == ""
        assert self.err.startswith("baseload: ")
        assert self.err.count("baseload: ") == 1
        assert "Traceback" not in self.err
        assert not self.new
        for word in words:
            assert word in self.err, f"{word!r} is not in:\n{self.err}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a trace of three requests."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.csv").write_text(TRACE, encoding="utf-8")
    return tmp_path


@pytest.fixture
def cli(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs a command in the folder."""

    def run(*arguments: str) -> Outcome:
        before = set(folder.rglob("*"))
        capsys.readouterr()
        code = main(list(arguments))
        out, err = capsys.readouterr()
        new = {str(path.relative_to(folder)) for path in set(folder.rglob("*")) - before}
        return Outcome(code, out, err, new)

    return run


@pytest.fixture
def simulate(folder: Path, cli: Callable[..., Outcome]) -> Callable[..., Outcome]:
    """Simulates a scenario of these texts under ``least_loaded``, quietly."""

    def run(
        *arguments: str,
        trace: str = TRACE_LINE,
        fleet: str = FLEET_LINES,
        rest: str = "",
        policy: str | None = "least_loaded",
    ) -> Outcome:
        (folder / "s.yaml").write_text(trace + fleet + rest, encoding="utf-8")
        chosen = () if policy is None else ("-p", policy)
        return cli("simulate", "s.yaml", "-q", *chosen, *arguments)

    return run
