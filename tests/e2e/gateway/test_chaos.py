"""The two trials under load, smaller than on their own command lines."""

from __future__ import annotations

import pytest
from tests.e2e.gateway import chaos, reloads

pytestmark = pytest.mark.e2e


def test_none_is_lost_while_engines_are_killed_hung_and_broken(tmp_path):
    found = chaos.run(tmp_path, requests=2000, at_once=128, engines=3, seed=5, hold_s=1.0)
    assert found["faults"] == []
    assert found["clients_saw"]["answered"] > 500
    assert sum(found["disturbances"].values()) > 3


def test_a_hundred_reloads_drop_no_stream_and_mix_nothing(tmp_path):
    found = reloads.run(tmp_path, reloads=100)
    assert found["faults"] == []
    assert found["of_them_bad"] == 10
