"""A few worlds of the fault simulator, fast; ``python -m tests.faults`` runs as many as wanted."""

from __future__ import annotations

import pytest
from tests.faults.__main__ import main
from tests.faults.laws import Broken
from tests.faults.world import World


@pytest.mark.parametrize("seed", range(40))
def test_no_request_is_lost_whatever_fails(seed: int) -> None:
    """Exactly one end each, no answer twice, books that add up. Again, alone:
    ``python -m tests.faults --seed SEED --trace``.
    """
    tally = World(seed).run()
    assert sum(tally.ended.values()) == tally.requests == 100


def test_the_same_seed_is_the_same_world() -> None:
    first, second = World(11), World(11)
    assert first.run() == second.run()
    assert first.recent == second.recent


def test_all_kinds_of_ends_are_met() -> None:
    ends: set[str] = set()
    for seed in range(40):
        ends |= World(seed, requests=50).run().ended.keys()
    assert ends >= {
        "answered", "cancelled", "upstream", "rejected", "saturated", "expired", "no_replica",
        "too_long", "draining",
    }  # fmt: skip


def test_the_command_counts_and_names_the_replay(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["--seeds", "3:5", "--requests", "20"]) == 0
    assert '"requests": 40' in capsys.readouterr().out

    def break_down(world: World) -> None:
        raise Broken(world.replay_with())

    monkeypatch.setattr(World, "run", break_down)
    assert main(["--seed", "7", "--requests", "20", "--trace"]) == 1
    said = capsys.readouterr().err
    assert "again: python -m tests.faults --seed 7 --requests 20 --trace" in said
