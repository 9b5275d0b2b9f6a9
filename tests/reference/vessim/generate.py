"""Runs Vessim's microgrid (pip package vessim, MIT licence) on a few sites with a battery without
losses, and writes what it found to microgrid.json beside this file.

Run: python tests/reference/vessim/generate.py (with vessim and its dependencies installed).
"""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

HERE = Path(__file__).parent
SLOT_S = 900
SLOTS = 192  # two days

CASES = {
    "free": {"capacity_wh": 2_000.0, "initial_soc": 0.5, "min_soc": 0.0, "c_rate": None},
    "slow": {"capacity_wh": 2_000.0, "initial_soc": 0.3, "min_soc": 0.2, "c_rate": 0.125},
    "small": {"capacity_wh": 150.0, "initial_soc": 1.0, "min_soc": 0.1, "c_rate": 1.0},
    "large": {"capacity_wh": 50_000.0, "initial_soc": 0.0, "min_soc": 0.0, "c_rate": None},
}


def powers_w() -> tuple[list[int], list[int]]:
    """Whole watts of sun and load in each slot: a triangle by day under broken clouds, a load with
    an evening peak. No random library, so that anybody gets the same.
    """
    sun, load, state = [], [], 12345
    for slot in range(SLOTS):
        state = (1_103_515_245 * state + 12_345) % 2**31
        hour = slot * SLOT_S / 3600 % 24
        clear = 30 + state // 65_536 % 71
        sun.append(max(0, round((600 - 100 * abs(hour - 12)) * clear / 100)))
        state = (1_103_515_245 * state + 12_345) % 2**31
        load.append(100 + state // 65_536 % 90 + (160 if 17 <= hour < 22 else 0))
    return sun, load


def microgrid(sun: list[int], load: list[int], case: dict) -> dict[str, list[float]]:
    """Level of the battery above its floor after each slot [Wh] and exchange with the grid in each
    slot [W], positive out of the site.
    """
    import pandas as pd
    import vessim as vs

    times_s = [slot * SLOT_S for slot in range(SLOTS)]
    battery = vs.SimpleBattery(
        "battery",
        capacity=case["capacity_wh"],
        initial_soc=case["initial_soc"],
        min_soc=case["min_soc"],
        c_rate=case["c_rate"],
    )
    grid = vs.Microgrid(
        SLOT_S,
        [
            vs.Producer("sun", vs.Trace(pd.Series(sun, index=times_s, dtype=float))),
            vs.Consumer("load", vs.Trace(pd.Series(load, index=times_s, dtype=float))),
        ],
        [battery, vs.GridConnection()],
        vs.DefaultDispatchPolicy(),
    )
    floor_wh = case["min_soc"] * case["capacity_wh"]
    level_wh, grid_w = [], []
    for now_s in times_s:
        grid.sample(now_s)
        grid.advance(now_s)
        grid_w.append(grid.p_grid)
        grid.finish(now_s + SLOT_S)
        level_wh.append(battery.charge_level - floor_wh)
    return {"level_wh": level_wh, "grid_w": grid_w}


def results() -> dict:
    """Everything that the file holds."""
    sun, load = powers_w()
    return {
        "made_by": f"vessim {importlib.metadata.version('vessim')}, MIT licence",
        "slot_s": SLOT_S,
        "sun_w": sun,
        "load_w": load,
        "cases": {name: case | microgrid(sun, load, case) for name, case in CASES.items()},
    }


if __name__ == "__main__":
    text = json.dumps(results(), separators=(",", ":"))
    (HERE / "microgrid.json").write_text(text + "\n", encoding="utf-8")
