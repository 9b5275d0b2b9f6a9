"""A few hundred cases of the fuzz of the gateway's file, each run; more by
``python -m tests.fuzz.config``.
"""

from __future__ import annotations

from tests.fuzz import config


def test_some_hundred_cases_are_well(capsys):
    assert config.main(["--cases", "400", "--seed", "11"]) == 0
    said = capsys.readouterr().out
    assert "400 cases of seed 11: all well" in said
    for met in ("imported", "loaded", "refused"):
        assert met in said


def test_a_failing_case_prints_how_to_replay_it(monkeypatch, capsys):
    def fail(content):
        raise KeyError("ours")

    monkeypatch.setattr(config, "gateway_case", fail)
    monkeypatch.setattr(config, "litellm_case", fail)
    assert config.main(["--cases", "2", "--seed", "3"]) == 1
    assert "python -m tests.fuzz.config --seed 3 --only 0" in capsys.readouterr().out


def test_the_same_case_is_the_same_each_time():
    contents = [config.content_of(config.random.Random("1/2"), config.GATEWAY) for _ in range(2)]
    assert contents[0] == contents[1]
    assert config.gateway_case(config.GATEWAY.encode()) == "loaded"
    assert config.litellm_case(config.LITELLM.encode()) == "imported"
