"""The built-in scenario ``joulesched``: the note's fleet, and its own model beside the result."""

import json

import pytest

from baseload.cli.scenario_file import load_scenario
from baseload.simulator import joulesched
from baseload.simulator.joulesched_note import CARBON_G_PER_KWH, DEVICE_COUNTS


def test_the_scenario_has_the_fleet_and_the_carbon_of_the_note():
    scenario = load_scenario("joulesched")
    assert tuple(group.replicas for group in scenario.groups) == DEVICE_COUNTS
    assert scenario.grid_g_per_j * 3.6e6 == CARBON_G_PER_KWH
    assert scenario.policies[:2] == ("round_robin", "least_loaded")
    assert scenario.requests(0).span_s == 86_400


@pytest.mark.slow
def test_the_note_stands_beside_the_result(cli, folder, monkeypatch):
    real = joulesched.joulesched_study
    monkeypatch.setattr(joulesched, "joulesched_study", lambda: real(seeds=1, requests=30_000))
    done = cli("simulate", "joulesched", "--load", "0.0002", "-q", "--json", "r.json", "--out", "o")
    assert done.code == 0, done.err
    assert "What cannot be true:" in done.out
    result = json.loads((folder / "r.json").read_text())
    assert result["joulesched"]["carbon"]["published_kg"] == 1_710_000
    assert "The JouleSched note" in (folder / "o" / "index.html").read_text()


def test_another_scenario_has_no_study(simulate):
    done = simulate("--json", "-")
    assert json.loads(done.out)["joulesched"] is None
