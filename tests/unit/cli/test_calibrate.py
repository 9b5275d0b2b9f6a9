from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from baseload.base.streams import stream
from baseload.cli.calibrate import calibrate
from baseload.cli.main import main
from baseload.cli.validate import validate
from baseload.fleet.replica_type import PowerStates, ReplicaType, StepCosts
from baseload.fleet.step import cost_table
from baseload.profiler.replay import replay


@pytest.fixture(autouse=True)
def _quick_polish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("baseload.profiler.fit.EVOLVED_SEEDS", 1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 80 requests on a replica of known numbers."""
    zero = dict.fromkeys(
        [f"energy_j_per_{n}" for n in ("step", "sequence", "context_token", "prefill_token")], 0.0
    )
    kind = ReplicaType(
        name="true",
        device="none",
        model="none",
        costs=StepCosts(
            time_s_per_step=0.02,
            time_s_per_sequence=1e-4,
            time_s_per_context_token=1e-7,
            time_s_per_prefill_token=8e-5,
            **zero,
        ),
        power=PowerStates(
            power_w_active_static=0.0, power_w_cap=1.0, power_w_idle=0.0, power_w_parked=0.0
        ),
        max_batch=16,
        max_step_tokens=2048,
        kv_tokens=1_000_000,
        max_context_tokens=32_768,
    )
    draws = stream(2, "cli run")
    arrival_s = np.cumsum(draws.exponential(0.2, 80))
    arrival_s -= arrival_s[0]
    inputs, outputs = draws.integers(50, 1500, 80), draws.integers(20, 90, 80)
    limits = np.array([16, 2048, 1_000_000])
    first_s, last_s, _ = replay(cost_table([kind])[0], limits, 1, arrival_s, inputs, outputs)
    path = tmp_path_factory.mktemp("cli") / "run.parquet"
    pl.DataFrame(
        {
            "arrival_s": arrival_s,
            "first_token_s": first_s,
            "last_token_s": last_s,
            "input_tokens": inputs,
            "output_tokens": outputs,
        }
    ).write_parquet(path)
    return path


def test_help_shows_examples() -> None:
    for command, example in (
        (calibrate, "baseload calibrate run.parquet"),
        (validate, "baseload validate run.parquet"),
    ):
        assert example in (command.__doc__ or "")


def test_calibrate_then_validate(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, judged = tmp_path / "replica.json", tmp_path / "validation.json"
    code = main(["calibrate", str(run), "--out", str(out), "--max-batch", "16", "--name", "mine"])
    assert code == 0
    printed = capsys.readouterr().out
    assert "time_s_per_prefill_token" in printed
    assert "energy absent" in printed
    file = json.loads(out.read_text())
    assert file["schema"] == "baseload-replica/1"
    assert file["replica"]["name"] == "mine"
    assert file["fit"]["rows_fitted"] == 40

    assert main(["validate", str(run), "--replica", str(out), "--json", str(judged)]) == 0
    assert "makespan" in capsys.readouterr().out
    result = json.loads(judged.read_text())
    assert result["schema"] == "baseload-validation/1"
    assert result["judged_requests"] == 40
    assert result["trained_on"] is True
    for name in ("ttft", "tpot", "makespan"):
        assert result[f"{name}_error_frac"] < 0.1


def test_json_to_standard_output_is_all_there_is(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "replica.json"
    assert main(["calibrate", str(run), "--out", str(out), "--max-batch", "16", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(out.read_text())
    assert main(["validate", str(run), "-r", str(out), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["replica"] == "run"


def test_bad_input_is_one_message_and_exit_code_2(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "replica.json"
    frame = pl.read_parquet(run)
    frame.drop("last_token_s").write_parquet(tmp_path / "less.parquet")
    frame.reverse().write_parquet(tmp_path / "unsorted.parquet")
    cases = [
        (["calibrate", str(tmp_path / "less.parquet"), "-o", str(out)], "last_token_s"),
        (["calibrate", str(tmp_path / "unsorted.parquet"), "-o", str(out)], "not sorted"),
        (["calibrate", str(tmp_path / "nowhere.parquet"), "-o", str(out)], "cannot be read"),
        (["calibrate", str(run), "-o", str(tmp_path / "no" / "r.json")], "cannot write"),
        (["calibrate", str(run), "-o", str(out), "--fit-frac", "2"], "fit fraction"),
        (["validate", str(run), "-r", str(out)], "replica.json"),
    ]
    for arguments, says in cases:
        assert main(arguments) == 2, arguments
        message = capsys.readouterr().err
        assert says in message
        assert "Traceback" not in message
    assert not out.exists()
