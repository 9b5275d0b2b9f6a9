"""The whole gateway but for its sockets: the real machine over emulated engines in this process."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec
import pytest
from fake_gateway import Client, chat

from baseload.base.errors import BadInputError, OutputError
from baseload.gateway.config import (
    GatewayConfig,
    HealthEntry,
    KeyEntry,
    ModelEntry,
    ReplicasEntry,
    TelemetryEntry,
)
from baseload.gateway.emulated.fleet import EmulatedFleet, is_emulated
from baseload.gateway.event_log import retrace
from baseload.gateway.listeners import Metering
from baseload.gateway.live_fleet import LiveFleet
from baseload.gateway.replica_types import replica_type_of
from baseload.gateway.service import Service
from baseload.gateway.warm import needs_compiling, warm

MODEL = "meta-llama/Llama-3.1-8B"
QUIET = HealthEntry(metrics_s=0.0)


def fleet_of(*, count=2, **changes):
    config = GatewayConfig(
        models=(ModelEntry(name="m", upstream_name=MODEL),),
        replicas=(
            ReplicasEntry(
                model="m", engine="emulated", count=count, device="H100-SXM-80GB", weights=MODEL
            ),
        ),
        health=QUIET,
        telemetry=TelemetryEntry(log="off"),
    )
    config = msgspec.structs.replace(config, **changes)
    models = {model.name: model for model in config.models}
    kinds = [replica_type_of(entry, models[entry.model], Path()) for entry in config.replicas]
    return LiveFleet(config, kinds)


def drive(test, fleet=None, **options):
    async def run():
        service = Service(fleet or fleet_of(), **options)
        service.start()
        try:
            await test(service)
            assert service.driver.lives == {}
            assert service.core.lives == {}
        finally:
            await service.close()

    asyncio.run(run())


async def call(service, *args, **options):
    client = Client(service.surface)
    await client.call(*args, **options)
    return client


def test_a_request_goes_through_the_real_machine():
    async def test(service):
        body = chat(max_tokens=4)
        found = await call(service, "/v1/chat/completions", body)
        assert found.status == 200
        assert found.json["usage"]["completion_tokens"] <= 4
        assert found.json["energy"]["energy_joules"] > 0
        assert found.headers[b"x-baseload-replica"] in (b"0-0", b"0-1")
        streamed = await call(service, "/v1/chat/completions", body | {"stream": True})
        assert streamed.body.endswith(b"data: [DONE]\n\n")
        assert b": energy {" in streamed.body
        name = streamed.headers[b"x-baseload-decision"].decode()
        said = (await call(service, f"/v1/energy/decisions/{name}")).json
        assert said["outcome"]["reason"] == "answered"
        assert said["decisions"][0]["replica"] == said["chosen"]["replica"]

    drive(test)


def test_metrics_show_what_was_served():
    async def test(service):
        await call(service, "/v1/chat/completions", chat(max_tokens=2))
        await call(service, "/v1/chat/completions", b"{")
        page = (await call(service, "/metrics")).body.decode()
        served = [line for line in page.splitlines() if "baseload_requests_total{" in line]
        answered = [line for line in served if 'reason="answered"' in line]
        assert sum(float(line.rsplit(" ", 1)[1]) for line in answered) == 1
        assert 'replica="0-1"' in page

    drive(test)


def test_another_fleet_is_taken_over_while_a_stream_runs():
    async def test(service):
        body = chat(max_tokens=40, stream=True)
        stream = asyncio.create_task(call(service, "/v1/chat/completions", body))
        while not service.driver.lives:
            await asyncio.sleep(0)
        engine = service.emulated.engine("0-0")
        service.reconfigure(fleet_of(count=3))
        assert service.emulated.engine("0-0") is engine
        assert len(service.driver.ways) == 3
        found = await stream
        assert found.status == 200
        assert found.body.endswith(b"data: [DONE]\n\n")
        assert (await call(service, "/v1/chat/completions", chat(max_tokens=2))).status == 200

    drive(test)


def test_a_fleet_whose_secret_is_missing_is_not_taken_over():
    async def test(service):
        entry = KeyEntry(name="k", value="env:BASELOAD_TEST_NO_SUCH_VARIABLE")
        with pytest.raises(BadInputError, match="BASELOAD_TEST_NO_SUCH_VARIABLE"):
            service.reconfigure(fleet_of(keys=(entry,)))
        assert service.driver.config.keys == ()
        assert (await call(service, "/v1/chat/completions", chat(max_tokens=2))).status == 200

    drive(test)


def test_draining_takes_no_more():
    async def test(service):
        service.driver.drain()
        found = await call(service, "/v1/chat/completions", chat())
        assert found.status == 503
        assert found.json["error"]["code"] == "draining"
        assert (await call(service, "/ready")).status == 503

    drive(test)


def test_a_log_that_cannot_be_written_is_said_to_be(tmp_path):
    async def run():
        with pytest.raises(OutputError, match="record events"):
            Service(fleet_of(), record=tmp_path / "missing" / "e")

    asyncio.run(run())


def test_events_are_recorded(tmp_path):
    record = tmp_path / "events"

    async def test(service):
        for stream in (False, True):
            await call(service, "/v1/chat/completions", chat(max_tokens=3, stream=stream))

    drive(test, record=record)
    found = retrace(record)
    assert found.identical
    assert found.events > 5


def test_faults_are_logged_by_place_without_their_words():
    metering = Metering(fleet_of(telemetry=TelemetryEntry(log="json")))
    lines = []
    metering.log._write = lines.append
    try:
        raise ValueError("the words of a prompt")
    except ValueError as error:
        metering.failed("request", error)
    metering.close()
    said = json.loads(b"".join(lines))
    assert said["kind"] == "ValueError"
    assert "test_service.py" in said["at_code"]
    assert "prompt" not in json.dumps(said)


def test_emulated_engines_stay_as_long_as_they_are_configured():
    async def run():
        fleet = fleet_of()
        assert all(is_emulated(replica) for replica in fleet.replicas)
        emulated = EmulatedFleet(fleet)
        first = emulated.engine("0-0")
        emulated.configured(fleet_of(count=1))
        assert emulated.engine("0-0") is first
        with pytest.raises(KeyError):
            emulated.engine("0-1")
        emulated.configured(fleet_of(seed=9))
        assert emulated.engine("0-0") is not first
        await emulated.close()

    asyncio.run(run())


def test_warming_leaves_the_fleet_as_it_was():
    fleet = fleet_of()
    warm(fleet)
    assert fleet.lanes == []
    assert not needs_compiling()
