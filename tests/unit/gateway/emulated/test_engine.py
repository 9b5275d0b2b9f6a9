"""The engine without sockets: routes, refusals, leavers, sleep, faults."""

from __future__ import annotations

import asyncio
import json

import pytest
from emulated_engines import ask, chat, engine_on, events_of, read
from emulated_time import FakeTime

from baseload.gateway.emulated.engine import GARBAGE, DroppedError, Fault
from baseload.gateway.emulated.requests import read_wanted

CHAT = "/v1/chat/completions"


def run(go, **settings):
    """Run ``go(time, engine)``."""

    async def inside():
        time = FakeTime()
        return await go(time, engine_on(time, **settings))

    return asyncio.run(inside())


def test_models_health_version_and_what_is_not_there():
    async def go(time, engine):
        models = json.loads(engine.get("/v1/models").body)["data"]
        assert [(model["id"], model["max_model_len"]) for model in models] == [("small", 1500)]
        assert engine.get("/health").status == 200
        assert json.loads(engine.get("/version").body) == {"version": "0.11.1+emulated"}
        assert engine.get("/nowhere").status == 404
        assert (await engine.post("/nowhere", b"")).status == 404
        meters = json.loads(engine.get("/emulated/meters").body)
        assert meters["total_j"] == meters["idle_j"] == 0.0

    run(go)


def test_what_it_does_not_take_is_refused_as_vllm_does():
    async def go(time, engine):
        for body, status, kind, param in (
            (chat(model="other"), 404, "NotFoundError", "model"),
            (chat(text="x" * 8000), 400, "BadRequestError", "messages"),
            (b"{}", 400, "BadRequestError", "messages"),
            (b'{"model":"\\udc80","messages":[{"role":"user"}]}', 400, "BadRequestError", None),
        ):
            reply = await engine.post(CHAT, body)
            error = json.loads(reply.body)["error"]
            assert (reply.status, error["code"]) == (status, status)
            assert (error["type"], error["param"]) == (kind, param)
        assert engine.meters().arrived == 0

    run(go)


def test_the_same_seed_gives_the_same_answer_at_every_replica():
    async def say(time, engine):
        body = json.loads((await ask(time, engine, CHAT, chat(model="small")))[1])
        return body["choices"], body["id"]

    first, second = run(say), run(say, number=7)
    assert first[0] == second[0]
    assert first[1] != second[1]
    assert run(say, seed=1)[0] != first[0]


def test_a_request_keeps_the_name_it_was_given():
    async def go(time, engine):
        body = chat(max_tokens=2)
        for given, kept in (("abc-1", True), ('x"%s', False), ("x" * 65, False)):
            reply = await time.drive(engine.post(CHAT, body, request_id=given))
            assert (json.loads(reply.body)["id"] == f"chatcmpl-{given}") == kept

    run(go)


def test_who_leaves_frees_the_seats_and_the_joules_stay_counted():
    async def go(time, engine):
        reply = await engine.post(CHAT, chat(stream=True, n=2, max_tokens=500, ignore_eos=True))
        time.run_until(time.now + 0.1)
        assert await reply.pipe.get()
        reply.pipe.abandon()
        waiting = asyncio.ensure_future(engine.post(CHAT, chat(max_tokens=500, ignore_eos=True)))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        time.run_until(time.now + 100.0)
        meters = engine.meters()
        assert engine.running.replica.running == 0
        assert (meters.arrived, meters.left, meters.ended) == (3, 3, 0)
        assert meters.requests_j == pytest.approx(meters.active_j) == pytest.approx(meters.left_j)
        assert meters.busy_s < 0.5

    run(go)


def test_sleeping_and_waking():
    async def go(time, engine):
        assert (await engine.post("/sleep", b"")).status == 200
        assert engine.get("/is_sleeping").body == b'{"is_sleeping":true}'
        waiting = asyncio.ensure_future(engine.post(CHAT, chat(max_tokens=2)))
        await asyncio.sleep(0)
        time.run_until(time.now + 50.0)
        assert not waiting.done()
        assert b"vllm:engine_sleep_state" in engine.get("/metrics").body
        began = time.now
        assert (await time.drive(engine.post("/wake_up", b""))).status == 200
        assert time.now - began == pytest.approx(2.0, abs=2e-3)
        assert engine.get("/is_sleeping").body == b'{"is_sleeping":false}'
        assert (await time.drive(waiting)).status == 200
        meters = engine.meters()
        assert meters.asleep_j == pytest.approx(50.0 * 40.0)
        assert meters.waking_j == 300.0

    run(go)


def test_faults_are_off_unless_allowed():
    async def go(time, engine):
        reply = await engine.post("/emulated/fault", b'{"kind":"hang"}')
        assert reply.status == 403
        assert (await ask(time, engine, CHAT, chat(max_tokens=2)))[0] == 200

    run(go)


@pytest.mark.parametrize("body", [b'{"kind":"tired"}', b"{", b'{"kind":"slow","factor":0}'])
def test_a_fault_that_is_none_is_refused(body):
    async def go(time, engine):
        assert (await engine.post("/emulated/fault", body)).status == 400

    run(go, faults=True)


async def break_it(engine, **fault):
    body = json.dumps(fault).encode()
    assert (await engine.post("/emulated/fault", body)).status == 200


def test_errors_so_many_times():
    async def go(time, engine):
        for kind, status in (("error500", 500), ("error429", 429)):
            await break_it(engine, kind=kind, count=2)
            seen = [(await ask(time, engine, CHAT, chat(max_tokens=2)))[0] for _ in range(3)]
            assert seen == [status, status, 200]
        await break_it(engine, kind="error429")
        reply = await engine.post(CHAT, chat())
        assert (b"retry-after", b"1") in reply.headers
        await break_it(engine, kind="none")
        assert (await ask(time, engine, CHAT, chat(max_tokens=2)))[0] == 200

    run(go, faults=True)


def test_a_hung_engine_says_nothing_more_until_its_client_leaves():
    async def go(time, engine):
        for stream, after in ((False, None), (True, None), (False, 3)):
            await break_it(engine, kind="hang", after_tokens=after)
            waiting = asyncio.ensure_future(engine.post(CHAT, chat(stream=stream, max_tokens=9)))
            await asyncio.sleep(0)
            time.run_until(time.now + 100.0)
            await asyncio.sleep(0)
            assert not waiting.done()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await break_it(engine, kind="hang", after_tokens=3)
        reply = await engine.post(CHAT, chat(stream=True, max_tokens=9, ignore_eos=True))
        time.run_until(time.now + 100.0)
        assert (await reply.pipe.get()).count(b"data: ") == 1 + 3
        more = asyncio.ensure_future(reply.pipe.get())
        await asyncio.sleep(0)
        assert not more.done()
        reply.pipe.abandon()
        assert await more is None

    run(go, faults=True)


def test_streams_that_break_off_end_early_or_are_garbage():
    async def go(time, engine):
        body = chat(stream=True, max_tokens=9, ignore_eos=True)
        await break_it(engine, kind="half_close", after_tokens=2)
        stream = (await ask(time, engine, CHAT, body))[1]
        assert stream.count(b"data: ") == 1 + 2
        assert b"[DONE]" not in stream
        await break_it(engine, kind="garbage", after_tokens=2)
        stream = (await ask(time, engine, CHAT, body))[1]
        assert stream.endswith(GARBAGE)
        await break_it(engine, kind="drop_after", after_tokens=2)
        reply = await engine.post(CHAT, body)
        with pytest.raises(DroppedError):
            await time.drive(read(reply.pipe))
        await break_it(engine, kind="none")
        assert len(events_of((await ask(time, engine, CHAT, body))[1])) == 1 + 9
        time.run_until(time.now + 10.0)
        assert engine.meters().left == 3
        assert engine.running.replica.running == 0

    run(go, faults=True)


def test_whole_answers_that_break_off_or_are_garbage():
    async def go(time, engine):
        body = chat(max_tokens=9, ignore_eos=True)
        await break_it(engine, kind="garbage")
        assert await ask(time, engine, CHAT, body) == (200, GARBAGE)
        for kind in ("drop_after", "half_close"):
            await break_it(engine, kind=kind, after_tokens=1)
            reply = await time.drive(engine.post(CHAT, body))
            assert reply.cut
            assert json.loads(reply.body)["usage"]["completion_tokens"] == 9

    run(go, faults=True)


def test_a_slow_engine_is_slow_until_it_is_told_otherwise():
    async def go(time, engine):
        body = chat(max_tokens=20, ignore_eos=True)

        async def taken_s():
            began = time.now
            await ask(time, engine, CHAT, body)
            return time.now - began

        usual_s = await taken_s()
        await break_it(engine, kind="slow", factor=5.0)
        assert await taken_s() == pytest.approx(5.0 * usual_s, rel=0.01)
        await break_it(engine, kind="none")
        assert await taken_s() == pytest.approx(usual_s, abs=2e-3)

    run(go, faults=True)


def test_a_dead_engine_breaks_all_connections():
    died = []

    async def go(time, engine):
        waiting = asyncio.ensure_future(engine.post(CHAT, chat(max_tokens=50)))
        streaming = (await engine.post(CHAT, chat(stream=True, max_tokens=50))).pipe
        await asyncio.sleep(0)
        engine.set_fault(Fault(kind="die"))
        with pytest.raises(DroppedError):
            await waiting
        with pytest.raises(DroppedError):
            await read(streaming)
        with pytest.raises(DroppedError):
            engine.get("/health")
        with pytest.raises(DroppedError):
            await engine.post(CHAT, chat())
        assert died == [True]
        engine.set_fault(Fault(kind="none"))
        assert (await ask(time, engine, CHAT, chat(max_tokens=2)))[0] == 200

    run(go, on_die=lambda: died.append(True))


def test_closing_drops_who_waits():
    async def go(time, engine):
        waiting = asyncio.ensure_future(engine.post(CHAT, chat(max_tokens=50)))
        await asyncio.sleep(0)
        engine.close()
        with pytest.raises(DroppedError):
            await waiting

    run(go)


def test_a_prompt_of_images_counts():
    part = {"type": "image_url", "image_url": {"url": "data:,x"}}
    body = json.dumps({"messages": [{"role": "user", "content": [part]}]}).encode()
    assert read_wanted("chat", body).prompt_tokens[0] > 500
