"""When a configuration file is taken anew."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.base.errors import BadInputError
from baseload.gateway.reload import Judge, Watch


def hash_of(content):
    return sha256(content).hexdigest()


def load(content):
    if b"bad" in content:
        raise BadInputError("file", found="bad")
    return content.decode()


@pytest.fixture
def watched(tmp_path):
    path = tmp_path / "gateway.yaml"
    path.write_bytes(b"one")
    return path, Watch(path, load, loaded=hash_of(b"one"))


def outcome(watch, **arguments):
    found = watch.look(**arguments)
    return found.value, None if found.error is None else found.error.found


NOTHING = (None, None)


def test_a_file_that_stays_is_left_alone(watched):
    _, watch = watched
    assert [outcome(watch) for _ in range(3)] == [NOTHING] * 3


def test_new_content_is_taken_once_when_it_has_settled(watched):
    path, watch = watched
    outcome(watch)
    path.write_bytes(b"two!")
    assert outcome(watch) == NOTHING
    assert outcome(watch) == ("two!", None)
    assert outcome(watch) == NOTHING


def test_a_half_written_file_is_never_loaded(watched):
    """The half of a YAML file may be good YAML: a fleet with half of its replicas."""
    path, watch = watched
    for content in (b"", b"tw", b"two and a"):
        path.write_bytes(content)
        assert outcome(watch) == NOTHING
    path.write_bytes(b"two and a half")
    assert outcome(watch) == NOTHING
    assert outcome(watch) == ("two and a half", None)


def test_a_touched_file_and_one_that_is_put_back_change_nothing(watched):
    path, watch = watched
    outcome(watch)
    path.write_bytes(b"two!")
    assert outcome(watch) == NOTHING
    path.write_bytes(b"one")
    assert [outcome(watch) for _ in range(3)] == [NOTHING] * 3


def test_an_error_is_told_once_and_the_old_stays_until_it_is_mended(watched):
    path, watch = watched
    path.write_bytes(b"bad!")
    assert outcome(watch) == NOTHING
    assert outcome(watch) == (None, "bad")
    assert [outcome(watch) for _ in range(3)] == [NOTHING] * 3
    path.write_bytes(b"one")
    assert [outcome(watch) for _ in range(3)] == [NOTHING] * 3
    path.write_bytes(b"bad!")
    assert outcome(watch) == NOTHING
    assert outcome(watch) == (None, "bad")
    path.write_bytes(b"good")
    outcome(watch)
    assert outcome(watch) == ("good", None)


def test_when_asked_it_loads_at_once_whatever_is_there(watched):
    path, watch = watched
    assert outcome(watch, forced=True) == ("one", None)
    path.write_bytes(b"bad!")
    assert outcome(watch, forced=True) == (None, "bad")
    assert outcome(watch, forced=True) == (None, "bad")
    path.write_bytes(b"two!")
    assert outcome(watch, forced=True) == ("two!", None)
    assert [outcome(watch) for _ in range(2)] == [NOTHING] * 2


def test_a_file_that_is_gone_is_told_once_and_taken_when_it_is_back(watched):
    path, watch = watched
    outcome(watch)
    path.unlink()
    assert outcome(watch) == NOTHING
    assert outcome(watch) == (None, "No such file or directory")
    assert outcome(watch) == NOTHING
    assert outcome(watch, forced=True) == (None, "No such file or directory")
    path.write_bytes(b"two!")
    assert outcome(watch) == NOTHING
    assert outcome(watch) == ("two!", None)


def test_a_file_replaced_by_another_of_the_same_size_and_time_is_seen(watched, tmp_path):
    """Editors write a neighbour and rename it, as configuration maps do with their links."""
    import os

    path, watch = watched
    outcome(watch)
    before = path.stat()
    other = tmp_path / "other"
    other.write_bytes(b"TWO")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    assert outcome(watch) == NOTHING
    assert outcome(watch) == ("TWO", None)


@given(st.lists(st.sampled_from("abcde"), max_size=40))
def test_only_settled_content_is_loaded_and_no_content_twice_in_a_row(looks):
    judge, used, before = Judge("a"), "a", "a"
    for content in looks:
        verdict = judge.judge(content)
        if verdict == "load":
            assert content == before != used
            judge.took(content)
            used = content
        else:
            assert content == used or content != before
        before = content
    used = before if judge.judge(before) == "load" else used
    assert used == before
