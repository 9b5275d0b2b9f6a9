"""The judge of the trials under load finds what it is there to find."""

from __future__ import annotations

import pytest
from tests.e2e.gateway.outcomes import BROKEN, LEFT, LOST, REFUSED, WHOLE, Seen, same_words, verdict


def line(name: str, reason: str) -> dict:
    return {"event": "request", "id": name, "reason": reason}


GOOD = [Seen(id="a", kind=WHOLE), Seen(id="b", kind=REFUSED), Seen(id="c", kind=LEFT)]
LOG = [line("a", "answered"), line("b", "saturated"), line("c", "cancelled")]


def test_what_agrees_has_no_faults():
    found = verdict(GOOD, LOG)
    assert found.faults == []
    assert found.kinds == {WHOLE: 1, REFUSED: 1, LEFT: 1}
    assert found.reasons["saturated"] == 1


@pytest.mark.parametrize(
    ("seen", "log", "said"),
    [
        (GOOD, LOG[1:], "a has no end"),
        (GOOD, [*LOG, line("a", "answered")], "a ended twice"),
        (GOOD, [*LOG, line("x", "answered")], "nobody sent"),
        (GOOD, [line("a", "cancelled"), *LOG[1:]], "client answered, gateway cancelled"),
        ([*GOOD, Seen(id="d", kind=BROKEN)], [*LOG, line("d", "answered")], "client broken"),
        ([*GOOD, Seen(id="d", kind=LOST)], [*LOG, line("d", "answered")], "d is lost"),
        ([*GOOD, Seen(id="d", kind=REFUSED)], [*LOG, line("d", "")], "gateway "),
    ],
)
def test_each_fault_is_found(seen, log, said):
    faults = verdict(seen, log).faults
    assert len(faults) == 1
    assert said in faults[0]


def test_who_left_before_anybody_heard_of_him_needs_no_line():
    assert verdict(GOOD, LOG[:2]).faults == []


def test_an_answer_with_a_piece_twice_is_found():
    words = {"a": "q", "b": "q", "c": "q"}
    whole = [Seen(id=name, kind=WHOLE, text="one two") for name in "ab"]
    assert same_words(whole, words) == []
    assert same_words([*whole, Seen(id="c", kind=WHOLE, text="one one two")], words)
    assert same_words([*whole, Seen(id="c", kind=BROKEN, text="one")], words) == []
