"""The slot step against Vessim's microgrid, where a battery without losses makes them comparable.

Vessim's SimpleBattery knows capacity, a floor and a C-rate; it dispatches battery first, then grid,
as the slot step does. Its numbers were written by tests/reference/vessim/generate.py, which runs
again here where vessim is importable (``make test-vessim``).
"""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest

from baseload.supply.slot import run_slots
from baseload.supply.store import Store

FOLDER = Path(__file__).parents[2] / "reference" / "vessim"
REFERENCE = json.loads((FOLDER / "microgrid.json").read_text(encoding="utf-8"))
J_PER_WH = 3600.0


@pytest.mark.parametrize("name", REFERENCE["cases"])
def test_the_slot_step_agrees_with_vessims_microgrid(name):
    case, slot_s = REFERENCE["cases"][name], REFERENCE["slot_s"]
    c_rate = case["c_rate"]
    limit_w = math.inf if c_rate is None else c_rate * case["capacity_wh"]
    store = Store(
        capacity_j=case["capacity_wh"] * J_PER_WH,
        charge_limit_w=limit_w,
        discharge_limit_w=limit_w,
        soc_min_frac=case["min_soc"],
        soc_start_frac=case["initial_soc"],
    )
    sun_j = np.array(REFERENCE["sun_w"], dtype=float) * slot_s
    load_j = np.array(REFERENCE["load_w"], dtype=float) * slot_s
    columns = run_slots(sun_j, load_j, slot_s, store=store).columns
    grid_w = np.array(case["grid_w"])
    scale_j = float(sun_j.max())
    assert columns.level_j == pytest.approx(
        np.array(case["level_wh"]) * J_PER_WH, rel=1e-12, abs=1e-9 * scale_j
    )
    assert columns.waste_j == pytest.approx(np.maximum(grid_w, 0) * slot_s, abs=1e-9 * scale_j)
    assert columns.auxiliary_j == pytest.approx(np.maximum(-grid_w, 0) * slot_s, abs=1e-9 * scale_j)


def test_the_cases_reach_floor_ceiling_and_power_limit():
    """Otherwise the comparison would say nothing about them."""
    cases = REFERENCE["cases"]
    usable_wh = {name: case["capacity_wh"] * (1 - case["min_soc"]) for name, case in cases.items()}
    assert min(cases["free"]["level_wh"]) == pytest.approx(0.0)
    assert max(cases["small"]["level_wh"]) == pytest.approx(usable_wh["small"])
    assert max(cases["large"]["level_wh"]) < usable_wh["large"]
    moves_wh = np.abs(np.diff(cases["slow"]["level_wh"]))
    limit_wh = 0.125 * 2_000 / 4
    assert moves_wh.max() == pytest.approx(limit_wh)
    assert (moves_wh > limit_wh * (1 - 1e-9)).sum() > 10


def test_vessim_still_gives_these_numbers():
    pytest.importorskip("vessim", reason="vessim is not installed: make test-vessim")
    spec = importlib.util.spec_from_file_location("vessim_generate", FOLDER / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    found = generate.results()
    assert found["sun_w"] == REFERENCE["sun_w"]
    assert found["load_w"] == REFERENCE["load_w"]
    for name, case in REFERENCE["cases"].items():
        for column in ("level_wh", "grid_w"):
            assert found["cases"][name][column] == pytest.approx(case[column], rel=1e-12, abs=1e-9)
