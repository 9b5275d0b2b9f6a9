from __future__ import annotations

import json
from pathlib import Path

import made_runs
import numpy as np
import polars as pl
import pytest

from baseload.base.errors import BadInputError
from baseload.profiler.measured import RunMeta, read_run


def test_the_clocks_are_joined_at_the_quickest_request(tmp_path: Path) -> None:
    content = made_runs.frame(40).with_columns(
        pl.col("^(queued|scheduled|first_token|last_token)_s$") + 0.5
    )
    run = read_run(made_runs.write(tmp_path, content))
    assert (run.queued_s - run.arrival_s).min() == pytest.approx(0.0)
    assert run.meta == RunMeta()
    assert len(run) == 40


def test_csv_reads_like_parquet(tmp_path: Path) -> None:
    content = made_runs.frame(40)
    content.write_csv(tmp_path / "run.csv")
    one, other = read_run(made_runs.write(tmp_path, content)), read_run(tmp_path / "run.csv")
    assert one.sha256 == other.sha256


def test_the_meta_file_beside_the_run_gives_the_settings(tmp_path: Path) -> None:
    meta = {
        "model": "some/model",
        "vllm_version": "0.19.0",
        "engine_kwargs": {
            "max_num_seqs": 128,
            "max_num_batched_tokens": 4096,
            "data_parallel_size": 2,
            "enable_expert_parallel": True,
            "dtype": "bfloat16",
            "max_model_len": None,
        },
        "kv_cache": {"num_gpu_blocks": 100, "block_size": 16},
    }
    (tmp_path / "run_meta.json").write_text(json.dumps(meta))
    run = read_run(made_runs.write(tmp_path, made_runs.frame(40)))
    assert run.meta == RunMeta(
        model="some/model",
        engine="vllm-0.19.0",
        precision="bf16",
        max_batch=128,
        max_step_tokens=4096,
        kv_tokens=1600,
        data_parallel=2,
        expert_parallel=True,
    )


@pytest.mark.parametrize("content", ["[]", "{", '{"engine_kwargs": {"max_num_seqs": 0}}'])
def test_a_broken_meta_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "run_meta.json").write_text(content)
    with pytest.raises(BadInputError, match=r"run_meta\.json"):
        read_run(made_runs.write(tmp_path, made_runs.frame(40)))


def _set(content: pl.DataFrame, column: str, row: int, value: float | None) -> pl.DataFrame:
    values = content[column].to_list()
    values[row] = value
    return content.with_columns(pl.Series(column, values, dtype=pl.Float64))


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("first_token_s", None, "data row 6"),
        ("first_token_s", float("nan"), "data row 6"),
        ("last_token_s", float("inf"), "data row 6"),
        ("output_tokens", 0.0, ">= 1"),
        ("input_tokens", -3.0, ">= 1"),
        ("arrival_s", 1e6, "not sorted"),
        ("last_token_s", 0.0, "last_token_s before first_token_s"),
        ("queued_s", 1e6, "before queued_s"),
    ],
)
def test_a_bad_value_is_refused_with_its_place(
    tmp_path: Path, column: str, value: float | None, says: str
) -> None:
    path = made_runs.write(tmp_path, _set(made_runs.frame(40), column, 5, value))
    with pytest.raises(BadInputError, match=says):
        read_run(path)


def test_missing_columns_few_rows_and_no_file_are_refused(tmp_path: Path) -> None:
    content = made_runs.frame(40)
    with pytest.raises(BadInputError, match="missing column last_token_s, input_tokens"):
        read_run(made_runs.write(tmp_path, content.drop("last_token_s", "input_tokens")))
    with pytest.raises(BadInputError, match="too few requests"):
        read_run(made_runs.write(tmp_path, content.head(19)))
    with pytest.raises(BadInputError, match="cannot be read"):
        read_run(tmp_path / "nowhere.parquet")
    (tmp_path / "text.parquet").write_text("not parquet")
    with pytest.raises(BadInputError, match="cannot be read"):
        read_run(tmp_path / "text.parquet")
    words = content.with_columns(pl.lit("soon").alias("first_token_s"))
    with pytest.raises(BadInputError, match="numbers"):
        read_run(made_runs.write(tmp_path, words))


def test_queue_and_schedule_columns_may_be_absent(tmp_path: Path) -> None:
    content = made_runs.frame(40).drop("queued_s", "scheduled_s")
    run = read_run(made_runs.write(tmp_path, content))
    assert np.array_equal(run.queued_s, run.arrival_s)
    assert np.array_equal(run.scheduled_s, run.first_token_s)
