"""What the speed benches share: the machine, CPU times, processes of their own, and result files.

Every time is CPU time (user + system, all threads) unless its name says ``wall``. A measure is
repeated, its subjects taken in turn, so that a noisy minute hits all of them; ratios are taken
inside one repeat and only then their median.

Run: python bench/common.py prints the machine as the result files describe it.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
QUICK_RESULTS = ROOT / "out" / "bench"
SCHEMA = "baseload-bench/1"
PACKAGES = ("baseload", "numpy", "numba", "llvmlite")


def machine() -> dict[str, Any]:
    """CPU model, cores that this process may use, memory [GiB], system; no name of the host."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_model() -> str:
    """The CPU's own name, or the architecture where nobody tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def versions(*more: str) -> dict[str, str]:
    """Versions of Python, of ``PACKAGES`` and of ``more`` packages that are installed. How Python
    was built matters as much: ``libpython`` is ``shared`` where the interpreter is in a library,
    ``static`` where it is linked in.
    """
    found = {"python": platform.python_version(), "libpython": _libpython()}
    for name in (*PACKAGES, *more):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _libpython() -> str:
    """Where the interpreter's code is, empty where the system does not tell."""
    try:
        mapped = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "shared" if "libpython" in mapped else "static"


def pin() -> bool:
    """Keep this process, and those that it starts, on one core; whether the system allowed it."""
    try:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    except (AttributeError, OSError):
        return False
    return True


def one_thread() -> None:
    """Start this script again with one thread for linear algebra, unless it has been told so: more
    of them wait for each other, busily, where a process has one core.
    """
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.argv])


def cpu_s() -> float:
    """CPU seconds of this process so far, all threads."""
    return time.process_time()


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of one call, and what it gave."""
    begin = cpu_s()
    given = work()
    return cpu_s() - begin, given


def rounds(
    subjects: Mapping[str, Callable[[], float]],
    repeats: int,
    *,
    say: Callable[[str], None] | None = None,
) -> dict[str, list[float]]:
    """What each subject measured in each of ``repeats`` rounds, the subjects taken in turn."""
    found: dict[str, list[float]] = {name: [] for name in subjects}
    for turn in range(repeats):
        for name, subject in subjects.items():
            found[name].append(subject())
            if say is not None:
                say(f"round {turn + 1} of {repeats}: {name}: {found[name][-1]:,.6g}")
    return found


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """The ratio within each round; of unequal counts, each above over the median below."""
    if len(above) == len(below):
        return [one / other for one, other in zip(above, below, strict=True)]
    middle = statistics.median(below)
    return [one / middle for one in above]


def measure(
    name: str,
    unit: str,
    values: Sequence[float],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    **details: Any,
) -> dict[str, Any]:
    """One line of a result: median, range, repeats, the goal and whether the median meets it."""
    middle = statistics.median(values)
    row: dict[str, Any] = {
        "name": name,
        "unit": unit,
        "median": _round(middle),
        "min": _round(min(values)),
        "max": _round(max(values)),
        "repeats": len(values),
    }
    if at_least is not None:
        row |= {"goal": f">= {at_least:,g}", "met": middle >= at_least}
    if at_most is not None:
        row |= {"goal": f"<= {at_most:,g}", "met": middle <= at_most}
    return row | ({"details": details} if details else {})


def skipped(name: str, reason: str) -> dict[str, Any]:
    """A line for what could not be measured here, with the reason; never a zero."""
    return {"name": name, "skipped": reason}


def _round(value: float) -> float:
    """``value`` to five significant digits."""
    return float(f"{value:.5g}")


def peak_rss_mb() -> float:
    """Highest resident memory of this process so far [MB]; not that of the process it came from."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6


def rss_mb() -> float:
    """Resident memory of this process now [MB]; the peak where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return peak_rss_mb()
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def child(
    script: str | Path, task: str, arguments: Mapping[str, Any], **environment: str
) -> dict[str, Any]:
    """Run ``task`` of a bench in a process of its own and give what it printed as JSON.

    The script must hand ``--task NAME JSON`` to ``answer_task``. Raises ``RuntimeError`` with the
    end of the child's messages when it fails.
    """
    command = [sys.executable, str(script), "--task", task, json.dumps(dict(arguments))]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | environment
    )
    if done.returncode:
        raise RuntimeError(f"{Path(script).name} --task {task} failed:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def answer_task(tasks: Mapping[str, Callable[..., dict[str, Any]]]) -> bool:
    """In a process made by ``child``: do the task and print its result. Whether it was one."""
    if sys.argv[1:2] != ["--task"]:
        return False
    print(json.dumps(tasks[sys.argv[2]](**json.loads(sys.argv[3]))))
    return True


def run_command(command: Sequence[str], **environment: str) -> dict[str, Any]:
    """Wall and CPU seconds of a command with everything that it starts, and its output."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | environment
    )
    wall_s = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": wall_s, "cpu_s": spent, "stdout": done.stdout, "stderr": done.stderr}


class Bench:
    """One run of a bench script: its options, its progress lines, its result file."""

    def __init__(
        self,
        name: str,
        description: str,
        *,
        packages: Sequence[str] = (),
        one_core: bool = True,
        flags: Callable[[argparse.ArgumentParser], None] | None = None,
    ) -> None:
        parser = argparse.ArgumentParser(
            prog=f"python bench/{name}.py",
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.add_argument(
            "--quick",
            action="store_true",
            help="small inputs, to see that it works; writes to out/bench, not to bench/results",
        )
        parser.add_argument("--repeats", type=int, metavar="N", help="rounds (default 3, quick 1)")
        parser.add_argument("--out", type=Path, metavar="FILE", help="where to write the result")
        if flags is not None:
            flags(parser)
        options = self.options = parser.parse_args()
        self.name, self.quick = name, bool(options.quick)
        self.given_repeats: int | None = options.repeats
        if options.repeats is not None and options.repeats < 1:
            parser.error("--repeats must be 1 or more")
        place = QUICK_RESULTS if self.quick else RESULTS
        self.out: Path = options.out or place / f"{name}.json"
        self.machine, self.versions = machine(), versions(*packages)
        self.pinned = one_core and pin()
        self.inputs: dict[str, Any] = {}
        self.measures: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self._begin = time.perf_counter()

    def repeats(self, usual: int = 3) -> int:
        """How many rounds to measure: as asked, else 1 in a quick run, else ``usual``."""
        return self.given_repeats or (1 if self.quick else usual)

    def say(self, text: str) -> None:
        """One line of progress on standard error."""
        took = time.perf_counter() - self._begin
        print(f"[{took:6.1f} s] {self.name}: {text}", file=sys.stderr, flush=True)

    def add(self, *rows: dict[str, Any]) -> None:
        """Take in measured lines and show them."""
        for row in rows:
            self.measures.append(row)
            print(line_of(row), flush=True)

    def write(self) -> None:
        """Write the result file."""
        content = {
            "schema": SCHEMA,
            "bench": self.name,
            "quick": self.quick,
            "machine": self.machine | {"pinned_to_one_core": self.pinned},
            "versions": self.versions,
            "inputs": self.inputs,
            "measures": self.measures,
            "notes": self.notes,
        }
        write_json(content, self.out)
        self.say("result written")


def line_of(row: Mapping[str, Any]) -> str:
    """One measured line for people."""
    if "skipped" in row:
        return f"  {row['name']:<58} skipped: {row['skipped']}"
    text = f"  {row['name']:<58} {row['median']:>12,.5g} {row['unit']}"
    if row["min"] != row["max"]:
        text += f" ({row['min']:,.5g} to {row['max']:,.5g})"
    if "goal" in row:
        text += f", goal {row['goal']}: {'met' if row['met'] else 'MISSED'}"
    return text


def write_json(content: Any, path: Path) -> None:
    """Write ``content`` as JSON, whole or not at all."""
    write_text(json.dumps(content, indent=1) + "\n", path)


def write_text(text: str, path: Path) -> None:
    """Write ``text`` through a file beside its target: no reader sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(part).chmod(0o644)
        Path(part).replace(path)
    finally:
        Path(part).unlink(missing_ok=True)


if __name__ == "__main__":
    print(json.dumps({"machine": machine(), "versions": versions()}, indent=1))
