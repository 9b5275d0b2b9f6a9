"""The configuration as data."""

from __future__ import annotations

import msgspec
import pytest

from baseload.gateway.config import EFFORTS, GatewayConfig


def test_the_least_file_is_a_model_and_its_replicas() -> None:
    said = {"models": [{"name": "m"}], "replicas": [{"model": "m", "urls": ["http://h:1"]}]}
    config = msgspec.convert(said, GatewayConfig)
    assert [tier.name for tier in config.tiers] == ["interactive", "bulk"]
    assert config.listen.host == "127.0.0.1"
    assert EFFORTS[0] == "none"


def test_a_field_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(msgspec.ValidationError, match="polcy"):
        msgspec.convert({"models": [], "replicas": [], "polcy": "x"}, GatewayConfig)
