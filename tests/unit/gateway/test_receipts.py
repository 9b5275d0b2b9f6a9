"""What is said of a request's price, and what is kept when it has ended."""

from __future__ import annotations

import math
from types import SimpleNamespace

from baseload.gateway.events import Close
from baseload.gateway.receipts import Receipts, price_headers


def live(*, routed=True):
    option = SimpleNamespace(model=SimpleNamespace(name="m"), effort="low")
    return SimpleNamespace(
        request_id="r",
        client="k",
        asked=SimpleNamespace(model="auto", stream=True),
        tier="fast",
        option=option if routed else None,
        replica=SimpleNamespace(name="a:1") if routed else None,
    )


def close(request, **fields):
    return Close(request=request, **{"reason": "answered", "attempts": 1, **fields})


def test_the_price_s_parts_are_headers_as_far_as_they_are_numbers():
    parts = {"price_usd": 0.25, "lateness_usd": 0.0, "fee_usd": math.nan, "energy_j": 12345678.0}
    assert price_headers(parts) == [
        (b"x-baseload-price-usd", b"0.25"),
        (b"x-baseload-price-parts", b"energy_j=1.23457e+07"),
    ]
    assert price_headers({}) == []


def test_sums_are_over_all_and_receipts_over_the_last():
    receipts = Receipts(2)
    for number in range(5):
        receipts.add(live(), close(number, energy_j=2.0, wasted_j=0.5, output_tokens=4))
    receipts.add(live(routed=False), close(5, reason="saturated", attempts=0))
    summary = receipts.summary()
    assert summary["requests"] == 6
    assert summary["reasons"] == {"answered": 5, "saturated": 1}
    assert (summary["energy_joules"], summary["wasted_joules"]) == (10.0, 2.5)
    assert summary["joules_per_output_token"] == 0.5
    assert summary["models"] == {
        "m": {"requests": 5, "energy_joules": 10.0, "output_tokens": 20},
    }
    assert [receipts.get(number) is not None for number in range(6)] == [False] * 4 + [True] * 2


def test_nothing_is_divided_by_no_tokens():
    assert Receipts(1).summary()["joules_per_output_token"] is None


def test_receipts_can_be_left_out():
    receipts = Receipts(0)
    receipts.add(live(), close(1))
    assert receipts.get(1) is None
    assert receipts.summary()["requests"] == 1


def test_a_receipt_says_what_was_asked_chosen_and_what_came_of_it():
    receipts = Receipts(1)
    receipts.add(live(), close(1, energy_j=3.0))
    said = receipts.get(1).said(["why"])
    assert said["asked"] == {"model": "auto", "tier": "fast", "stream": True}
    assert said["chosen"] == {"model": "m", "effort": "low", "replica": "a:1"}
    assert said["outcome"]["energy_j"] == 3.0
    assert "request" not in said["outcome"]
    assert said["decisions"] == ["why"]
