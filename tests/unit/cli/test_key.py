"""``baseload key``: a key that is shown once, and its hash."""

from __future__ import annotations

import hashlib
import io
import re

import pytest
import yaml

from baseload.gateway.config import GatewayConfig, KeyEntry, ModelEntry, ReplicasEntry
from baseload.gateway.gateway_checks import faults_of


def test_a_key_comes_with_the_line_that_opens_the_gateway_to_it(cli):
    out = cli("key", "--name", "ci").out
    key = out.splitlines()[0]
    assert re.fullmatch(r"bl-[A-Za-z0-9_-]{43}", key)
    (entry,) = yaml.safe_load(out[out.index("keys:") :])["keys"]
    assert entry == {"name": "ci", "hash": "sha256:" + hashlib.sha256(key.encode()).hexdigest()}
    config = GatewayConfig(
        models=(ModelEntry(name="a"),),
        replicas=(ReplicasEntry(model="a", urls=("http://a",)),),
        keys=(KeyEntry(**entry),),
    )
    assert faults_of(config).found == []


def test_no_key_is_made_twice(cli):
    assert len({cli("key").out.splitlines()[0] for _ in range(20)}) == 20


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_key_of_your_own_is_hashed_from_standard_input(cli, monkeypatch, ending):
    monkeypatch.setattr("sys.stdin", io.StringIO("my-own-key-that-is-long" + ending))
    expected = hashlib.sha256(b"my-own-key-that-is-long").hexdigest()
    assert cli("key", "--hash").out == f"sha256:{expected}\n"


@pytest.mark.parametrize(
    "text", ["", "hush", "hush " * 20, "hush\nhush" * 9, "hushé" * 9, "hush" * 400]
)
def test_a_key_that_is_weak_or_no_header_can_hold_is_refused_unseen(cli, monkeypatch, text):
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    done = cli("key", "--hash")
    done.refused("--hash", "printable ASCII")
    assert "hush" not in done.err


@pytest.mark.parametrize("name", ["", " x", "a\nb"])
def test_a_name_that_no_label_can_hold_is_refused(cli, name):
    cli("key", "--name", name).refused("--name", "printable")
