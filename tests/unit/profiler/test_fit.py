from __future__ import annotations

import made_runs
import numpy as np
import pytest

from baseload.profiler.fit import NUMBERS, Structure, fit_times, predict, regression, scales
from baseload.profiler.measured import MeasuredRun, read_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> MeasuredRun:
    return read_run(made_runs.write(tmp_path_factory.mktemp("runs"), made_runs.frame()))


STRUCTURE = Structure(max_batch=24, max_step_tokens=2048, kv_tokens=10_000_000)


def test_the_true_numbers_predict_the_run_exactly(run: MeasuredRun) -> None:
    costs = made_runs.KIND.costs
    numbers = np.array([getattr(costs, name) for name in NUMBERS[:4]] + [0.0])
    first_s, last_s, preemptions = predict(run, numbers, STRUCTURE)
    assert first_s == pytest.approx(run.first_token_s, abs=1e-9)
    assert last_s == pytest.approx(run.last_token_s, abs=1e-9)
    assert preemptions.sum() == 0


def test_the_regression_is_a_start_of_the_right_size(run: MeasuredRun) -> None:
    start = regression(run, STRUCTURE, 60)
    assert (start > 0).all()
    assert start[0] == pytest.approx(made_runs.KIND.costs.time_s_per_step, rel=0.6)


def test_a_fit_ends_near_the_truth(run: MeasuredRun) -> None:
    fit = fit_times(run, STRUCTURE, 60)
    assert fit.cost < 2.0
    assert fit.value("time_s_per_prefill_token") == pytest.approx(5e-5, rel=0.2)
    assert fit.value("time_s_all_experts") == 0.0
    assert scales(run, 60).shape == (len(NUMBERS),)
