"""Decisions of other workers, over a socket of each in the folder where they meet."""

from __future__ import annotations

import asyncio
import socket

import msgspec
import pytest

from baseload.gateway.fellows import Fellows, Told, place_of

A, B = "0000aaaa", "0000bbbb"
SEEN = Told(client="me", page=msgspec.Raw(b'{"id":"0000bbbb-7","price":[1,2]}'))


def with_two(folder, test, tell=lambda number: SEEN if number == 7 else None):
    async def run():
        asks = Fellows(folder, A, lambda _: None)
        told = Fellows(folder, B, tell)
        asks.start()
        told.start()
        try:
            await test(asks, told)
        finally:
            await asks.close()
            await told.close()
        assert list(folder.iterdir()) == []

    asyncio.run(run())


def test_another_worker_s_decision_comes_as_it_has_it(tmp_path):
    async def test(asks, _):
        assert await asks.ask(B, 7) == SEEN
        assert await asks.ask(B, 8) is None
        found = await asyncio.gather(*(asks.ask(B, 7) for _ in range(50)))
        assert found == [SEEN] * 50

    with_two(tmp_path, test)


def test_one_s_own_and_those_of_nobody_are_not_asked_for(tmp_path):
    async def test(asks, _):
        assert await asks.ask(A, 7) is None
        assert await asks.ask("0000cccc", 7) is None

    with_two(tmp_path, test)


def test_a_worker_that_died_without_a_word_has_no_decisions(tmp_path):
    async def run():
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(tmp_path / f"decisions-{B}"))
        assert await Fellows(tmp_path, A, lambda _: None).ask(B, 7) is None

    asyncio.run(run())


def test_a_worker_that_fails_at_it_or_says_nonsense_has_none(tmp_path):
    async def test(asks, told):
        assert await asks.ask(B, 7) is None
        reader, writer = await asyncio.open_unix_connection(told._path(B))
        writer.write(b"x" * 4000 + b"\n")
        assert await reader.read() == b""
        writer.close()

    def fails(_):
        raise ValueError("not kept well")

    with_two(tmp_path, test, fails)


@pytest.mark.parametrize("given", ["0000aaaa-1f", "ffffffff-0"])
def test_a_decision_s_id_says_whose_it_is(given):
    mark, number = place_of(given)
    assert f"{mark}-{number:x}" == given


@pytest.mark.parametrize(
    "given",
    [
        "", "x", "-", "0000aaaa", "0000aaaa-", "0000aaaa-g", "0000AAAA-1", "../../aa-1", "aaa-1",
        "0000aaaa-1-1", "0000aaaa--1", "0000aaaa-+1", "0000aaaa- 1", "0000aaaa-1_1",
        "0000aaaa-" + "1" * 16, "\u0661000aaaa-1",
    ],
)  # fmt: skip
def test_what_is_no_id_leads_nowhere(given):
    assert place_of(given) is None
