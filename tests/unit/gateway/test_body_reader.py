"""Bodies are read whole, up to a size and within a time."""

from __future__ import annotations

import asyncio

import pytest

from baseload.gateway.body_reader import BodyReader, ClientLeftError
from baseload.gateway.errors import RequestError


def hearing(*parts, then=None):
    left = list(parts)

    async def hear():
        if left:
            return {"type": "http.request", "body": left.pop(0), "more_body": bool(left) or then}
        if then == "leave":
            return {"type": "http.disconnect"}
        await asyncio.Event().wait()
        raise AssertionError

    return hear


def read(hear, *, announced=-1, most_bytes=100, within_s=60.0, sweep_s=60.0):
    async def run():
        reader = BodyReader(sweep_s=sweep_s)
        try:
            return await reader.read(
                hear, announced=announced, most_bytes=most_bytes, within_s=within_s
            )
        finally:
            reader.close()
            assert asyncio.current_task().cancelling() == 0

    return asyncio.run(run())


@pytest.mark.parametrize("parts", [(b"abc",), (b"a", b"b", b"c"), (b"", b"abc"), (b"abc", b"")])
def test_a_body_is_read_whole(parts):
    assert read(hearing(*parts)) == b"abc"


def test_a_body_may_have_so_many_bytes_and_no_more():
    assert len(read(hearing(b"x" * 60, b"x" * 40))) == 100
    for parts in ((b"x" * 101,), (b"x" * 60, b"x" * 41), (b"x" * 101, b"y")):
        with pytest.raises(RequestError) as found:
            read(hearing(*parts))
        assert found.value.status == 413


def test_what_announces_too_much_is_not_read():
    async def hear():
        raise AssertionError

    with pytest.raises(RequestError) as found:
        read(hear, announced=101)
    assert found.value.status == 413
    assert (b"connection", b"close") in found.value.headers


def test_reading_stops_at_the_limit_not_at_the_end():
    with pytest.raises(RequestError):
        read(hearing(b"x" * 101, then="more"))


def test_a_body_that_does_not_come_is_given_up():
    with pytest.raises(RequestError) as found:
        read(hearing(b"a", then="more"), within_s=0.0, sweep_s=0.001)
    assert found.value.status == 408


def test_a_client_that_leaves_is_no_error_of_ours():
    with pytest.raises(ClientLeftError):
        read(hearing(then="leave"))
    with pytest.raises(ClientLeftError):
        read(hearing(b"a", then="leave"))


def test_who_is_cancelled_by_others_stays_cancelled():
    async def run():
        reader = BodyReader(sweep_s=60.0)
        task = asyncio.create_task(
            reader.read(hearing(then="more"), announced=-1, most_bytes=9, within_s=9.0)
        )
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        reader.close()
        assert reader._reading == {}

    asyncio.run(run())
