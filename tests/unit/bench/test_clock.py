"""The figures of docs/explanation/clocks.md are those of the code, and what the page says of them
holds.
"""

from __future__ import annotations

import json

import pytest

from baseload.fleet.clock import CLOCK_ERROR_FRAC
from clock import PAGE, ROOT, figures, on_page

RESULT = figures()
POINTS = {row["point"]: row for row in RESULT["points"]}


def point(*words: str) -> dict[str, float]:
    """The one point whose name has these words."""
    (found,) = [row for name, row in POINTS.items() if all(word in name for word in words)]
    return found


def test_the_page_and_the_result_file_are_up_to_date() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert on_page(text, RESULT) == text, "run python bench/clock.py"
    kept = json.loads((ROOT / "bench" / "results" / "clock.json").read_text(encoding="utf-8"))
    for name in ("points", "optima", "optima_with_knee_at_0.7"):
        for was, now in zip(kept[name], RESULT[name], strict=True):
            assert was.keys() == now.keys()
            for key, value in now.items():
                exact = isinstance(value, str | bool)
                assert was[key] == (value if exact else pytest.approx(value, rel=1e-6)), key


def test_the_points_that_set_the_exponents_come_out() -> None:
    assert point("A100", "as static")["model"] == pytest.approx(86 / 134 - 1, abs=0.01)
    assert point("H100", "as static")["model"] == pytest.approx(139 / 164 - 1, abs=0.01)


def test_the_whole_model_is_as_far_off_as_the_page_says() -> None:
    assert point("8B decode on H100")["model"] == pytest.approx(-0.15, abs=0.04)
    light = POINTS["lightly loaded job on H100, 1785 to 840 MHz: power"]
    assert light["model"] == pytest.approx(light["reported"], abs=0.04)
    light = POINTS["lightly loaded job on A100-40GB, 1410 to 810 MHz: power"]
    assert light["reported"] < 2 * light["model"] < 0
    assert point("H200")["reported"] < point("H200")["model"] < -0.1
    cap = point("as a clock: energy")
    assert cap["reported"] < cap["model"] < -0.1
    assert point("stretched step: energy")["model"] > 0 > cap["reported"]
    assert point("as a clock: time")["model"] < point("stretched step: time")["model"] / 2


def test_the_stated_error_covers_the_largest_miss() -> None:
    for row in RESULT["points"]:
        if "clock: time" in row["point"] or "share" in row["point"] or row["clock_frac"] == 1:
            continue  # times are not what error_frac speaks of; nothing is slowed at full clock
        miss = abs((1 + row["model"]) / (1 + row["reported"]) - 1)
        assert miss <= CLOCK_ERROR_FRAC * (1 - row["clock_frac"]), row["point"]


def test_the_optimum_lies_at_the_knee_when_everything_counts() -> None:
    for row, other in zip(RESULT["optima"], RESULT["optima_with_knee_at_0.7"], strict=True):
        assert row["best_step_s"] <= RESULT["tpot_s"]
        if row["rest"] == "nothing":
            assert row["clock_frac"] == 0.5
            assert 0.5 < other["clock_frac"] <= 0.7
            assert 0.15 < row["saved_frac"] < 0.2
        else:
            assert row["clock_frac"] <= 0.35
