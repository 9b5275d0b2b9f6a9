"""`baseload emulate`: its list and its errors; tests/e2e/test_emulate.py serves."""

from __future__ import annotations

import pytest


def test_the_list_has_types_of_every_device(cli):
    outcome = cli("emulate", "--list")
    assert outcome.code == 0
    for name in ("h100-llama-8b", "a100-llama-8b", "l4-qwen3-8b", "h100-qwen3-32b", "b200-kimi-k2"):
        assert f"\n{name} " in outcome.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--type", "h100-lama-8b"), "nearest: h100-llama-8b"),
        (("--type", "l4-llama-70b-x2"), "does not fit"),
        (("--replicas", "0"), "from 1 to 1000"),
        (("--speed", "0"), "from 0.001 to 1000"),
        (("--port", "65536"), "from 1 to 65535"),
        (("--seed", "-1"), "from 0"),
        (("--reasoning-field", "thoughts"), "reasoning_content"),
        (("--replica", "absent.json"), "absent.json"),
    ],
)
def test_misuse_is_one_clear_message(cli, arguments, words):
    cli("emulate", *arguments).refused(words)
