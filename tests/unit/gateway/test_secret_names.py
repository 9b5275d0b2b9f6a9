"""Secrets stand in the environment, and no message repeats one."""

from __future__ import annotations

import pytest

from baseload.base.errors import BadInputError
from baseload.gateway.config import ReplicasEntry
from baseload.gateway.secret_names import secret_of, upstream_headers, variable_of


@pytest.mark.parametrize(
    "text", ["", "KEY", "env:", "env:A B", "env:1A", "ENV:A", "env:A-B", "sk-x"]
)
def test_only_env_name_names_a_variable(text):
    assert variable_of(text) is None
    assert variable_of("env:MY_KEY2") == "MY_KEY2"


@pytest.mark.parametrize(
    ("text", "environ", "words"),
    [
        ("sk-hush", {}, "not shown"),
        ("env:KEY", {}, "not set"),
        ("env:KEY", {"KEY": "  "}, "empty"),
        ("env:KEY", {"KEY": "hush\nhush"}, "header"),
        ("env:KEY", {"KEY": "hushé"}, "printable"),
    ],
)
def test_what_cannot_be_used_is_refused_without_showing_it(text, environ, words):
    with pytest.raises(BadInputError, match=words) as caught:
        secret_of(text, environ)
    assert "hush" not in str(caught.value)


def test_headers_of_an_engine_are_filled_in():
    entry = ReplicasEntry(
        model="a", api_key="env:KEY", headers={"X-Team": "ops", "X-Token": "env:TOKEN"}
    )
    assert upstream_headers(entry, {"KEY": "k1\n", "TOKEN": "t1"}) == {
        "x-team": "ops",
        "x-token": "t1",
        "authorization": "Bearer k1",
    }
    assert upstream_headers(ReplicasEntry(model="a"), {}) == {}
