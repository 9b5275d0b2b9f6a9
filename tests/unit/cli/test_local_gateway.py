"""``serve --local``: the shipped file with what was started and measured filled in."""

from __future__ import annotations

import msgspec
import pytest

from baseload.cli.gateway_file import load_builtin
from baseload.cli.local_gateway import local_gateway
from baseload.gateway import local_calibration, local_model

URL = "http://127.0.0.1:4711"


def test_address_and_seconds_are_filled_in_and_the_engine_stops(monkeypatch):
    started = []

    def start(**flags):
        started.append(flags)
        return local_model.LocalModel(object(), url=URL, **flags)

    def calibrated(url, kind):
        return msgspec.structs.replace(kind, basis=f"measured at {url}")

    closed = []
    monkeypatch.setattr(local_model, "start", start)
    monkeypatch.setattr(local_model.LocalModel, "close", lambda self: closed.append(self.url))
    monkeypatch.setattr(local_calibration, "calibrated", calibrated)
    loaded = load_builtin("local")
    with local_gateway(loaded) as got:
        assert got.config.replicas[0].urls == (URL,)
        assert got.kinds[0].basis == f"measured at {URL}"
        assert started == [{"slots": 4, "context_tokens": 2048}]
        assert not closed
    assert closed == [URL]


def test_the_engine_stops_where_serving_fails(monkeypatch):
    closed = []
    monkeypatch.setattr(
        local_model, "start", lambda **flags: local_model.LocalModel(object(), url=URL, **flags)
    )
    monkeypatch.setattr(local_model.LocalModel, "close", lambda self: closed.append(self.url))
    monkeypatch.setattr(local_calibration, "calibrated", lambda url, kind: kind)
    with pytest.raises(OSError, match="no"), local_gateway(load_builtin("local")):
        raise OSError("no")
    assert closed == [URL]
