"""A few hundred cases of the fuzz of the gateway's file, each run; more by
``python tests/fuzz/config.py``.
"""

from __future__ import annotations

import pytest

from fuzz import config


def test_some_hundred_cases_are_well():
    ends = config.run(seed=11, cases=400)
    assert set(ends) == {"imported", "loaded", "refused"}


def test_a_failing_case_says_how_to_replay_it(monkeypatch):
    def fail(content):
        raise KeyError("ours")

    monkeypatch.setattr(config, "gateway_case", fail)
    monkeypatch.setattr(config, "litellm_case", fail)
    with pytest.raises(AssertionError, match=r"config\.py --seed 3 --case 0"):
        config.run(seed=3, cases=2)


def test_the_same_case_is_the_same_each_time():
    contents = [config.content_of(config.random.Random("1/2"), config.GATEWAY) for _ in range(2)]
    assert contents[0] == contents[1]
    assert config.gateway_case(config.GATEWAY.encode()) == "loaded"
    assert config.litellm_case(config.LITELLM.encode()) == "imported"
