"""A few thousand cases of the gateway's fuzz, each run; more by ``python -m tests.fuzz.bodies``."""

from __future__ import annotations

import random

import pytest
from tests.fuzz import bodies

from baseload.gateway.bodies import read_body
from baseload.gateway.errors import RequestError


def test_some_thousand_cases_are_well(capsys):
    assert bodies.main(["--cases", "6000", "--seed", "7"]) == 0
    assert "6,000 cases of seed 7: all well" in capsys.readouterr().out


def test_a_failing_case_prints_how_to_replay_it(monkeypatch, capsys):
    def fail(draw):
        raise KeyError("ours")

    monkeypatch.setattr(bodies, "CHECKS", (bodies.check_answer, fail))
    assert bodies.main(["--cases", "10", "--seed", "3"]) == 1
    assert "python -m tests.fuzz.bodies --seed 3 --only 1" in capsys.readouterr().out
    with pytest.raises(KeyError):
        bodies.run_case(3, 1)


def test_a_case_is_the_same_each_time():
    cases = [bodies.body_case(random.Random("1/2")) for _ in range(2)]
    assert cases[0] == cases[1]


def test_the_cases_are_neither_all_good_nor_all_bad():
    taken = 0
    for number in range(1000):
        endpoint, raw = bodies.body_case(random.Random(number))
        try:
            read_body(endpoint, raw)
        except RequestError:
            continue
        taken += 1
    assert 200 < taken < 800
