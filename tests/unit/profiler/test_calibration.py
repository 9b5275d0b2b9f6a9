from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import made_runs
import msgspec
import numpy as np
import polars as pl
import pytest

from baseload.base.errors import BadInputError, OutputError, UnknownNameError
from baseload.profiler.calibration import Options, _with_measured, calibrate_run
from baseload.profiler.energy import EnergyFit, fit_energy, step_logs
from baseload.profiler.limits import saturation
from baseload.profiler.measured import MeasuredRun, PowerSeries, RunMeta, read_run
from baseload.profiler.validation import validate_run
from baseload.sources.replicas import ReplicaFile, read_replica, read_replica_file, write_replica

SHARED = Path(__file__).parents[4] / "shared" / "data" / "traces"
SETTINGS = Options(max_batch=24, max_step_tokens=2048)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> MeasuredRun:
    return read_run(made_runs.write(tmp_path_factory.mktemp("runs"), made_runs.frame()))


@pytest.fixture(scope="module")
def file(run: MeasuredRun) -> ReplicaFile:
    return calibrate_run(run, SETTINGS)


def test_a_run_of_known_numbers_is_predicted(run: MeasuredRun, file: ReplicaFile) -> None:
    """The oracle's own run, fitted on one half: the other half comes out within a few per cent."""
    result = validate_run(run, file)
    assert result.ttft_error_frac < 0.05
    assert result.tpot_error_frac < 0.02
    assert result.makespan_error_frac < 0.02
    assert result.trained_on
    true = made_runs.KIND.costs
    assert file.replica.costs.time_s_per_step == pytest.approx(true.time_s_per_step, rel=0.25)
    assert file.fit.rows_fitted == 60
    assert file.energy == "absent"
    assert all(number.value >= 0 for number in file.fit.numbers)


def test_only_the_first_half_of_the_measured_times_is_used(run: MeasuredRun) -> None:
    """Garbage in the second half's measured times changes no fitted number."""
    rows = len(run) // 2
    spoilt = {}
    for name in ("scheduled_s", "first_token_s", "last_token_s"):
        spoilt[name] = getattr(run, name).copy()
        spoilt[name][rows:] *= 3.0
    one, other = calibrate_run(run, SETTINGS), calibrate_run(replace(run, **spoilt), SETTINGS)
    assert msgspec.json.encode(one) == msgspec.json.encode(other)


def test_of_a_long_run_only_so_much_is_fitted_and_replayed(
    run: MeasuredRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("baseload.profiler.calibration.MOST_FITTED", 30)
    file = calibrate_run(run, SETTINGS)
    assert file.fit.rows_fitted == 30
    assert 30 < file.fit.rows_load < len(run)
    assert file.fit.sha256 == run.sha256
    assert validate_run(run, file).tpot_error_frac < 0.05


def test_an_unknown_batch_limit_is_found(tmp_path: Path) -> None:
    busy = read_run(made_runs.write(tmp_path, made_runs.frame(rate_per_s=20.0)))
    shown = saturation(busy, 60)
    assert shown.flat
    assert shown.running == 24
    file = calibrate_run(busy, Options(max_step_tokens=2048, model="Qwen/Qwen3-8B"))
    limits = {limit.name: (limit.value, limit.how) for limit in file.fit.limits}
    assert limits["max_batch"] == (24, "estimated")
    assert validate_run(busy, file).ttft_error_frac < 0.1


@pytest.mark.slow
def test_an_unknown_cache_limit_is_found(tmp_path: Path) -> None:
    small = msgspec.structs.replace(made_runs.KIND, kv_tokens=9000, max_batch=64)
    tight = read_run(made_runs.write(tmp_path, made_runs.frame(kind=small, rate_per_s=16.0)))
    file = calibrate_run(tight, Options(max_batch=64, max_step_tokens=2048, model="Qwen/Qwen3-8B"))
    limits = {limit.name: (limit.value, limit.how) for limit in file.fit.limits}
    assert limits["kv_tokens"][1] == "estimated"
    assert limits["kv_tokens"][0] == pytest.approx(9000, rel=0.05)
    assert validate_run(tight, file).ttft_error_frac < 0.1


def test_modelled_energy_keeps_the_cap_at_measured_times(run: MeasuredRun) -> None:
    options = replace(SETTINGS, model="meta-llama/Llama-3.1-8B", device="H100-SXM-80GB")
    bare = calibrate_run(run, replace(options, device=None))
    file = calibrate_run(run, options)
    assert bare.energy == "absent"
    assert file.energy == "modelled"
    assert file.replica.method != "measured"
    assert file.replica.costs.energy_j_per_step > 0
    assert file.replica.costs.time_s_per_step == pytest.approx(
        bare.replica.costs.time_s_per_step, rel=1e-12
    )
    assert validate_run(run, file).tpot_error_frac < 0.05
    with pytest.raises(UnknownNameError, match="H100"):
        calibrate_run(run, replace(options, device="H100-SXM-81GB"))


def _with_power(run: MeasuredRun) -> MeasuredRun:
    """The power that the true replica draws, in half-second bins."""
    kind = made_runs.KIND
    logs, _, _, _ = step_logs(run, kind, 1, 0.0)
    edges_s = np.arange(-1.0, run.last_token_s.max() + 2.0, 0.5)
    work, busy_s = logs[0].until(edges_s)
    costs = kind.costs
    prices = np.array(
        [
            costs.energy_j_per_step,
            costs.energy_j_per_sequence,
            costs.energy_j_per_context_token,
            costs.energy_j_per_prefill_token,
        ]
    )
    idle_s = 0.5 - np.diff(busy_s)
    joules = np.diff(work, axis=0) @ prices + kind.power.power_w_idle * idle_s
    return replace(run, power=PowerSeries(end_s=edges_s[1:], power_w=joules / 0.5))


def test_a_power_series_gives_measured_energy(run: MeasuredRun) -> None:
    measured = fit_energy(_with_power(run), made_runs.KIND, 1, 0.0, len(run))
    assert measured is not None
    assert measured.error_frac < 1e-6
    true = made_runs.KIND.costs
    assert measured.costs_j["energy_j_per_step"] == pytest.approx(true.energy_j_per_step, rel=1e-4)
    assert measured.power_w_idle == pytest.approx(90.0, rel=1e-4)
    file = calibrate_run(_with_power(run), SETTINGS)
    assert file.energy == "measured"
    assert file.replica.error_frac is not None
    assert file.replica.error_frac < 0.1


def test_energy_per_request_gives_measured_energy(run: MeasuredRun) -> None:
    joules = 2.0 * run.output_tokens + 0.05 * run.input_tokens
    file = calibrate_run(replace(run, energy_j=joules.astype(float)), SETTINGS)
    assert file.energy == "measured"
    assert file.replica.method == "modelled"
    assert any("idle power assumed" in note for note in file.fit.notes)


def test_the_replica_file_reads_back_and_refuses_what_it_is_not(
    file: ReplicaFile, tmp_path: Path
) -> None:
    path = tmp_path / "replica.json"
    write_replica(file, path)
    assert read_replica_file(path) == file
    assert read_replica(path, need_energy=False) == file.replica
    with pytest.raises(BadInputError, match="no energy numbers"):
        read_replica(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["replica.json"]
    path.write_text(path.read_text().replace("baseload-replica/1", "baseload-replica/9"))
    with pytest.raises(BadInputError, match="baseload-replica/9"):
        read_replica_file(path)
    with pytest.raises(BadInputError, match="nowhere"):
        read_replica_file(tmp_path / "nowhere.json")
    with pytest.raises(OutputError, match="cannot write"):
        write_replica(file, tmp_path / "no" / "replica.json")
    with pytest.raises(OutputError, match="cannot write"):
        write_replica(file, tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["replica.json"]


def test_options_that_make_no_sense_are_refused(run: MeasuredRun, file: ReplicaFile) -> None:
    for options in (Options(fit_frac=0.0), Options(fit_frac=0.05), Options(max_batch=0)):
        with pytest.raises(BadInputError):
            calibrate_run(run, options)
    with pytest.raises(BadInputError, match="validate from"):
        validate_run(run, file, from_frac=1.0)
    short = msgspec.structs.replace(file.replica, kv_tokens=100)
    with pytest.raises(BadInputError, match="longer than the replica takes"):
        validate_run(run, msgspec.structs.replace(file, replica=short))


def test_answers_of_one_token_have_no_pace(tmp_path: Path) -> None:
    content = made_runs.frame(60).with_columns(
        pl.lit(1).alias("output_tokens"), pl.col("first_token_s").alias("last_token_s")
    )
    path = made_runs.write(tmp_path, content)
    with pytest.raises(BadInputError, match="two tokens"):
        calibrate_run(read_run(path), SETTINGS)


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("rtxpro6000_llama-3.1-8b", True),
        ("rtxpro6000_qwen3-30b-a3b-instruct-2507", True),
        ("rtxpro6000_qwen3-30b-a3b-instruct-2507", False),
        ("rtx4090_llama-3.1-8b", True),
    ],
)
def test_measured_runs_are_predicted_within_ten_per_cent(name: str, known: bool) -> None:
    """Fit the first half of a measured vLLM run, predict the second; ``known``: with its meta file.

    bench/calibration.py does more of these.
    """
    path = SHARED / f"vllm_measured_{name}.parquet"
    if not path.exists():
        pytest.skip("shared development data is not here")
    measured = read_run(path)
    measured = measured if known else replace(measured, meta=RunMeta())
    result = validate_run(measured, calibrate_run(measured, Options()))
    assert result.ttft_error_frac <= 0.1
    assert result.tpot_error_frac <= 0.1
    assert result.makespan_error_frac <= 0.1


def test_static_power_gives_way_to_a_term_that_was_fitted_to_fewer_joules() -> None:
    """Joules and seconds are fitted apart; a static power above a term's watts would let more work
    shorten a capped step.
    """
    costs_j = {
        "energy_j_per_step": 4.0,
        "energy_j_per_sequence": 0.0016,  # 20 W over its 80 us
        "energy_j_per_context_token": 3e-5,
        "energy_j_per_prefill_token": 0.02,
    }
    fit = EnergyFit(
        costs_j=costs_j, power_w_idle=90.0, power_w_peak=500.0, error_frac=0.1, source="power_w"
    )
    kind, _, _ = _with_measured(made_runs.KIND, fit, None, [])
    assert kind.power.power_w_active_static == pytest.approx(20.0)
    assert kind.power.power_w_idle == 90.0
    assert kind.costs.energy_j_per_sequence == 0.0016
