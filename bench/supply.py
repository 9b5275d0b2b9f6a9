"""Slots of the supply per CPU-second: a year of PV and load through a battery, over and over, and
what a run costs with all its columns, slot by slot from Python, and settled with prices and grams.

The year is made by the bench (sun by the clock under random clouds, gamma load) in slots of 15
minutes. Writes bench/results/supply.json.
"""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np

from baseload.base.streams import stream
from baseload.supply.accounts import settle
from baseload.supply.baseline import PvYear
from baseload.supply.carbon import carbon_signal
from baseload.supply.site import Site
from baseload.supply.slot import (
    balance_residual_frac,
    limits_record,
    run_slots,
    slot_residual_frac,
    state_record,
    step,
)
from baseload.supply.store import lithium_battery
from baseload.supply.tariff import FlatPrice, Tariff, demand_charge_per_kw
from common import Bench, answer_task, child, measure, pin, ratios, timed

SLOT_S = 900.0
YEAR_SLOTS = 35_040
GOAL_PER_S = 20e6
INSTALLED_W, MEAN_LOAD_W = 500e3, 100e3
STORE = lithium_battery(1_000.0)


def sun(slots: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Capacity factors: a sine by day, shorter in winter, times a random clearness."""
    hours = np.arange(slots) * SLOT_S / 3600.0
    day = 12.0 + 3.0 * np.sin((hours / 24.0 - 80.0) / 365.0 * 2.0 * math.pi)
    height = np.cos((hours % 24.0 - 12.0) / day * math.pi) * (np.abs(hours % 24.0 - 12.0) < day / 2)
    return np.maximum(0.0, height) * stream(0, "bench.supply.sun").beta(4.0, 2.0, slots)


def load_j(slots: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Energy of a bursty load in each slot [J]."""
    return stream(0, "bench.supply.load").gamma(4.0, MEAN_LOAD_W * SLOT_S / 4.0, slots)


def site() -> Site:
    """A site with everything that settling looks at."""
    return Site(
        baseline=PvYear(capacity_factor=sun(YEAR_SLOTS), installed_w=INSTALLED_W, step_s=SLOT_S),
        store=STORE,
        pue=1.2,
        baseline_usd_per_j=0.04 / 3.6e6,
        tariff=Tariff(energy=FlatPrice(usd_per_j=0.2 / 3.6e6), demand=demand_charge_per_kw(12.0)),
        auxiliary_carbon=carbon_signal("average", np.full(8760, 350.0)),
    )


def twins_task(slots: int) -> dict[str, Any]:
    """In a process of its own: slots per CPU-second of the loop, compiled or
    (``NUMBA_DISABLE_JIT``) plain.
    """
    pin()
    supply_j, demand_j = sun(slots) * INSTALLED_W * SLOT_S, load_j(slots)

    def loop() -> Any:
        return run_slots(supply_j, demand_j, SLOT_S, store=STORE, columns=False)

    loop()
    return {"per_s": slots / timed(loop)[0]}


def speeds(bench: Bench) -> None:
    """The compiled loop in its modes."""
    years = 4 if bench.quick else 60
    slots = years * YEAR_SLOTS
    supply_j = np.tile(sun(YEAR_SLOTS) * INSTALLED_W * SLOT_S, years)
    demand_j = load_j(slots)
    lengths = np.where(np.arange(slots) % 2 == 0, SLOT_S, 0.5 * SLOT_S)
    modes = {
        "totals and levels": (SLOT_S, False),
        "all columns": (SLOT_S, True),
        "totals and levels, every slot of another length": (lengths, False),
    }
    bench.inputs = {
        "slots": slots,
        "slot_s": SLOT_S,
        "installed_w": INSTALLED_W,
        "mean_load_w": MEAN_LOAD_W,
        "store": "1,000 kWh lithium battery: window, efficiencies, power limits, self-discharge",
    }
    for name, (length, columns) in modes.items():
        found = []
        run_slots(supply_j[:10], demand_j[:10], SLOT_S, store=STORE)
        for _ in range(bench.repeats(9)):
            spent_s, done = timed(
                lambda length=length, columns=columns: run_slots(
                    supply_j, demand_j, length, store=STORE, columns=columns
                )
            )
            found.append(slots / spent_s)
        goal = GOAL_PER_S if name == "totals and levels" else None
        residual = balance_residual_frac(done.totals)
        bench.add(
            measure(
                f"slots per CPU-second, {name}",
                "1/s",
                found,
                at_least=goal,
                balance_residual_frac=residual,
            )
        )


def exactness(bench: Bench) -> None:
    """How far from balance slots and runs are."""
    supply_j, demand_j = sun(YEAR_SLOTS) * INSTALLED_W * SLOT_S, load_j(YEAR_SLOTS)
    done = run_slots(supply_j, demand_j, SLOT_S, store=STORE)
    assert done.columns is not None
    eps = float(np.finfo(np.float64).eps)
    worst = float(slot_residual_frac(done.columns, STORE.start_j, STORE.usable_j).max()) / eps
    bench.add(
        measure("worst slot out of balance, of supply + demand + store", "eps", [worst], at_most=4),
        measure(
            "run out of balance, of its largest flow",
            "1",
            [balance_residual_frac(done.totals)],
            at_most=1e-12,
        ),
    )


def calls(bench: Bench) -> None:
    """A slot at a time from Python, as the simulator does it, and a year settled."""
    supply_j, demand_j = sun(YEAR_SLOTS) * INSTALLED_W * SLOT_S, load_j(YEAR_SLOTS)
    state, limits = state_record(STORE), limits_record(STORE)
    count = 2_000 if bench.quick else YEAR_SLOTS
    pairs = list(zip(supply_j[:count].tolist(), demand_j[:count].tolist(), strict=True))

    def slot_by_slot() -> None:
        for have_j, want_j in pairs:
            step(state, limits, have_j, want_j, SLOT_S)

    slot_by_slot()
    steps = [1e6 * timed(slot_by_slot)[0] / count for _ in range(bench.repeats(5))]
    place = site()
    settle(place, demand_j)
    years = [1e3 * timed(lambda: settle(place, demand_j))[0] for _ in range(bench.repeats(5))]
    bench.add(
        measure("a call of step from Python", "us", steps),
        measure("a year of 15-minute slots settled, with bill and grams", "ms", years),
    )


def twins(bench: Bench) -> None:
    """How much faster the loop is than the same Python source uncompiled."""
    fast, slow = [], []
    for turn in range(bench.repeats(3)):
        fast.append(child(__file__, "twins", {"slots": 40 * YEAR_SLOTS})["per_s"])
        slow.append(child(__file__, "twins", {"slots": 2_000}, NUMBA_DISABLE_JIT="1")["per_s"])
        bench.say(f"kernel and plain twin, round {turn + 1}")
    bench.add(
        measure(
            "kernel / plain twin, totals and levels",
            "times",
            ratios(fast, slow),
            plain_per_s=statistics.median(slow),
            kernel_per_s=statistics.median(fast),
        )
    )


def main() -> None:
    """Measure and write the result."""
    bench = Bench("supply", __doc__ or "")
    speeds(bench)
    exactness(bench)
    calls(bench)
    twins(bench)
    bench.notes += [
        "Checks of the arrays and compensated sums of nine flows are in every figure.",
        "The plain twin runs in a process where numba compiles nothing.",
    ]
    bench.write()


if __name__ == "__main__" and not answer_task({"twins": twins_task}):
    main()
