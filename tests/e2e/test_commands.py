"""The real command, each time in a process of its own, in a folder of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

pytestmark = pytest.mark.e2e

COMMANDS = (
    "simulate",
    "sweep",
    "plan",
    "theory",
    "monitor",
    "predict",
    "calibrate",
    "validate",
    "policies",
    "emulate",
)
MY_YAML = """\
trace: {builtin: azure-chat, stop_s: 600}
fleet:
  - {device: H100-SXM-80GB, model: Qwen/Qwen3-14B, replicas: 1}
  - {device: L4-24GB, model: Qwen/Qwen3-14B, tensor_parallel: 2, replicas: 2}
policies: [least_loaded, energy_greedy]
"""
LONG_YAML = """\
trace: {builtin: azure-chat, multiply: 300}
fleet:
  - {device: H100-SXM-80GB, model: Qwen/Qwen3-14B, replicas: 300}
"""
PNG = b"\x89PNG\r\n"


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "baseload.cli.main", *arguments]


def baseload(folder: Path, *arguments: str, env: dict[str, str] | None = None, **options):
    """Run the command in ``folder``; output is bytes."""
    return subprocess.run(
        command(*arguments),
        cwd=folder,
        env={**os.environ, **(env or {})},
        capture_output=True,
        timeout=600,
        check=False,
        **options,
    )


def test_a_report_of_azure_chat(tmp_path):
    done = baseload(tmp_path, "simulate", "azure-chat", "--out", "report")
    assert done.returncode == 0, done.stderr.decode()
    assert b"Traceback" not in done.stderr
    result = json.loads((tmp_path / "report" / "result.json").read_bytes())
    assert result["trace"]["requests"] == 19_366
    assert len(result["policies"]) >= 8
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert page.startswith("<!")
    for name in (row["policy"] for row in result["policies"]):
        assert name in page
        assert name in done.stdout.decode()
    plots = list((tmp_path / "report").glob("*.png"))
    assert len(plots) == 6
    for plot in plots:
        assert plot.read_bytes().startswith(PNG)
    assert {path.name for path in tmp_path.iterdir()} == {"report"}


def test_json_and_requests_of_a_file_with_seeds(tmp_path):
    (tmp_path / "my.yaml").write_text(MY_YAML)
    done = baseload(
        tmp_path, "simulate", "my.yaml", "--seeds", "5", "--json", "-", "--requests", "r.parquet"
    )
    assert done.returncode == 0, done.stderr.decode()
    result = json.loads(done.stdout)
    assert result["seeds"] == [0, 1, 2, 3, 4]
    assert [row["policy"] for row in result["policies"]] == ["least_loaded", "energy_greedy"]
    for row in result["policies"]:
        low, high = row["interval"]["energy_j"]
        assert low <= row["energy_j"] <= high
    table = pl.read_parquet(tmp_path / "r.parquet")
    wanted = {"policy", "seed", "number", "arrival_s", "first_s", "finish_s", "energy_j"}
    wanted |= {"input_tokens", "output_tokens", "replica", "preemptions", "tier", "missed"}
    assert set(table.columns) == wanted
    assert table["seed"].n_unique() == 5
    assert table["policy"].n_unique() == 2


def test_the_fleet_of_320(tmp_path):
    done = baseload(
        tmp_path, "simulate", "azure-320", "-p", "least_loaded", "--json", "r.json", "-q"
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""
    result = json.loads((tmp_path / "r.json").read_bytes())
    assert sum(row["gpus"] for row in result["fleet"]) == 320
    assert result["trace"]["requests"] > 1_000_000
    assert 0.45 < result["offered_load_frac"] < 0.55


def test_a_scenario_shown_can_be_run(tmp_path):
    shown = baseload(tmp_path, "simulate", "azure-chat", "--show")
    (tmp_path / "my.yaml").write_bytes(shown.stdout)
    done = baseload(tmp_path, "simulate", "my.yaml", "-p", "least_loaded", "-q")
    assert done.returncode == 0, done.stderr.decode()
    listed = baseload(tmp_path, "simulate", "--list")
    assert b"azure-chat" in listed.stdout


def test_a_year_of_a_site_planned_run_and_watched(tmp_path):
    """The way of a planner: plan, simulate both sides of the critical point, watch the log."""
    done = baseload(tmp_path, "plan", "solar-site", "--json", "-", "-q")
    assert done.returncode == 0, done.stderr.decode()
    plan = json.loads(done.stdout)
    critical_w = plan["critical"]["lossless"]["value"]
    scales = ["0.8", "1.0", "1.2"]
    files = ["--slots", "slots.parquet", "--json", "run.json", "--out", "report"]
    done = baseload(
        tmp_path, "simulate", "solar-site", "-p", "least_loaded", "--check", "-q",
        "--supply-scale", ",".join(scales), *files,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    supply = json.loads((tmp_path / "run.json").read_bytes())["policies"][0]["supply"]
    low, middle, high = supply
    assert low["auxiliary_j"] > middle["auxiliary_j"] > high["auxiliary_j"] > 0
    assert low["waste_j"] < middle["waste_j"] < high["waste_j"]
    assert max(one["balance_residual_frac"] for one in supply) <= 1e-12
    assert abs(middle["demand_w"] / critical_w - 1) < 0.1  # the model of the plan against the run
    assert (tmp_path / "report" / "supply-v.png").read_bytes().startswith(PNG)
    done = baseload(
        tmp_path, "monitor", "slots.parquet", "--scale", "1.0", "--storage-kwh", "16", "--json", "-"
    )
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["schema"].startswith("baseload-monitor/")


def test_a_formula_by_name(tmp_path):
    done = baseload(tmp_path, "theory", "two_sided_u", "theta=0", "var=4", "B=5", "--json", "-")
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["value"] == pytest.approx(0.4)


def test_predict_and_policies(tmp_path):
    done = baseload(tmp_path, "predict", "Qwen/Qwen3-14B", "H100-SXM-80GB", "--json", "-")
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["schema"] == "baseload-predict/1"
    done = baseload(tmp_path, "policies")
    assert done.returncode == 0
    assert b"least_loaded" in done.stdout


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_is_there_and_imports_nothing_heavy(tmp_path, name):
    arguments = [name, "--help"] if name else ["--help"]
    code = (
        "import sys; from baseload.cli.main import main; code = main(sys.argv[1:]);"
        "heavy = {'numba', 'scipy', 'polars', 'matplotlib', 'numpy'} & set(sys.modules);"
        "print('heavy:', sorted(heavy)); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0
    assert "Example" in done.stdout
    assert f"baseload {name}" in done.stdout
    assert "heavy: []" in done.stdout


def test_a_policy_that_fails_late_leaves_nothing(tmp_path):
    (tmp_path / "mine.py").write_text(
        "class Late:\n    calls = 0\n    def choose(self, request, fleet):\n"
        "        self.calls += 1\n        return self.calls % 4 if self.calls < 10_000 else 1 / 0\n"
    )
    arguments = ("--out", "report", "--json", "r.json", "--requests", "r.parquet")
    done = baseload(tmp_path, "simulate", "azure-chat", "-p", "mine.py:Late", *arguments)
    assert done.returncode == 2
    assert done.stdout == b""
    assert b"ZeroDivisionError" in done.stderr
    assert b"mine.py, line 5" in done.stderr
    assert b"Traceback" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"mine.py"}


def test_ctrl_c_ends_with_130_and_no_files(tmp_path):
    (tmp_path / "long.yaml").write_text(LONG_YAML)
    arguments = ("--out", "report", "--json", "r.json", "--requests", "r.parquet", "--seeds", "50")
    running = subprocess.Popen(
        command("simulate", "long.yaml", *arguments),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    time.sleep(6)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=120)
    assert running.returncode == 130, err.decode()
    assert out == b""
    assert b"interrupted" in err
    assert b"Traceback" not in err
    assert {path.name for path in tmp_path.iterdir()} == {"long.yaml"}


def test_processes_print_nothing_on_standard_output(tmp_path):
    (tmp_path / "my.yaml").write_text(MY_YAML)
    (tmp_path / "mine.py").write_text(
        "print('hello')\nclass My:\n    def choose(self, request, fleet):\n        return 0\n"
    )
    arguments = ("-p", "least_loaded", "-p", "mine.py:My", "--load", "0.2,0.4", "--json", "-")
    done = baseload(tmp_path, "sweep", "my.yaml", *arguments, "--jobs", "2")
    assert done.returncode == 0, done.stderr.decode()
    assert len(json.loads(done.stdout)["points"]) == 4
    assert b"hello" in done.stderr


@pytest.mark.parametrize("to_all", [True, False], ids=["as a terminal does", "to the command"])
def test_ctrl_c_ends_all_processes(tmp_path, to_all):
    (tmp_path / "long.yaml").write_text(LONG_YAML)
    running = subprocess.Popen(
        command("sweep", "long.yaml", "--out", "report", "--jobs", "2", "--seeds", "50"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    time.sleep(8)
    (os.killpg if to_all else os.kill)(running.pid, signal.SIGINT)
    out, err = running.communicate(timeout=120)  # ends when no process holds the pipes any more
    assert running.returncode == 130, err.decode()
    assert out == b""
    assert b"interrupted" in err
    assert b"Traceback" not in err
    assert {path.name for path in tmp_path.iterdir()} == {"long.yaml"}


@pytest.mark.parametrize("arguments", [["policies"], ["policies", "--json", "-"], ["--help"]])
def test_a_reader_that_leaves_is_no_error(tmp_path, arguments):
    running = subprocess.Popen(
        command(*arguments), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    running.stdout.close()
    err = running.stderr.read()
    running.stderr.close()
    assert running.wait(timeout=60) == 0
    assert err == b""


def test_a_full_disk_is_told(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command("policies"), cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert b"No space left" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_terminal_without_unicode(tmp_path):
    (tmp_path / "my.yaml").write_text("name: café\n" + MY_YAML, encoding="utf-8")
    plain = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    arguments = ("simulate", "my.yaml", "-p", "least_loaded", "-q")
    done = baseload(tmp_path, *arguments, env=plain)
    assert done.returncode == 0, done.stderr.decode()
    done = baseload(tmp_path, *arguments, "--json", "-", env=plain)
    assert json.loads(done.stdout)["scenario"] == "café"


def test_devices_stay_devices(tmp_path):
    """Once, ``--json /dev/null`` as root put a plain file in the place of the device."""
    done = baseload(tmp_path, "policies", "--json", os.devnull)
    assert done.returncode == 0
    assert Path(os.devnull).is_char_device()
    done = baseload(tmp_path, "policies", "least_loaded", "--json", "/dev/stdout")
    assert json.JSONDecoder().raw_decode(done.stdout.decode())[0]["policies"]


def test_a_kernel_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "my.yaml").write_text(MY_YAML)
    nowhere = {"NUMBA_CACHE_DIR": "/proc/nowhere"}
    done = baseload(tmp_path, "simulate", "my.yaml", "-p", "least_loaded", "-q", env=nowhere)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""


def test_the_installed_command_is_the_same(tmp_path):
    installed = Path(sys.executable).with_name("baseload")
    if not installed.exists():
        pytest.skip("baseload is not installed beside this Python")
    done = subprocess.run([installed, "--version"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert re.fullmatch(r"baseload \d+\.\d+\.\d+\S*\n", done.stdout)
