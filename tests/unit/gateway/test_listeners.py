"""What a request leaves behind: counts, a line of the log, a place in the summary."""

from __future__ import annotations

import asyncio
import json

import pytest
from fake_gateway import GOOD, Client, FakeCore, FakeFleet, FakeUpstream, chat, config_of

from baseload.gateway.config import KeyEntry, TelemetryEntry
from baseload.gateway.driver import Driver
from baseload.gateway.gate import Gate
from baseload.gateway.keys import hash_of_key
from baseload.gateway.listeners import Metering
from baseload.gateway.page import PAGE_TYPE, page, page_headers
from baseload.gateway.surface import Surface

KEYS = {name: f"bl-{name}-0123456789012345678901234567890" for name in ("one", "two", "boss")}


class Counted:
    """A driver whose only listener is a real one, under a surface."""

    def __init__(self, config, upstream):
        self.lines = []
        fleet = FakeFleet(config)
        self.metering = Metering(fleet)
        self.metering.log._write = self.lines.append
        self.core = FakeCore()
        self.driver = Driver(
            self.core, fleet, upstreams=lambda _: upstream, listeners=(self.metering,)
        )
        self.shown = []
        self.surface = Surface(
            self.driver,
            Gate(config, environ={}),
            ready=lambda: True,
            metrics=lambda accept: (b"text/plain", b""),
            summary=self.summary,
        )

    def summary(self, decisions):
        self.shown.append([one.id for one in decisions])
        return b"{}"

    async def call(self, path, body=None, *, key=None):
        headers = [] if key is None else [(b"authorization", f"Bearer {KEYS[key]}".encode())]
        client = Client(self.surface)
        await client.call(path, body, headers=headers)
        return client

    def total(self, name):
        return sum(
            values[0]
            for (metric, _), values in self.metering.metrics.sums().items()
            if metric == name
        )

    def close(self):
        self.surface.close()
        self.driver.close()
        self.metering.close()


def run(test):
    asyncio.run(test)


def test_a_request_is_counted_and_logged_without_its_words():
    config = config_of(telemetry=TelemetryEntry(log="json"))

    async def go():
        counted = Counted(config, FakeUpstream(GOOD))
        await counted.call("/v1/chat/completions", chat())
        assert counted.total("baseload_requests_total") == 1.0
        assert counted.total("baseload_tokens_total") == 5.0
        assert counted.total("baseload_energy_joules_total") == 7.5
        sums = counted.metering.metrics.sums()
        assert sum(sums[("baseload_decision_seconds", ())][:-1]) == 1.0
        counted.close()
        (line,) = b"".join(counted.lines).splitlines()
        assert b"hello there" not in line
        assert b"hi" not in line
        said = json.loads(line)
        assert (said["model"], said["replica"], said["reason"]) == ("m", "a:1", "answered")
        assert (said["input_tokens"], said["output_tokens"], said["energy_j"]) == (3, 2, 7.5)

    run(go())


def test_a_fault_of_our_own_is_counted_and_logged_without_its_words():
    counted = Metering(FakeFleet(config_of()))
    lines = []
    counted.log._write = lines.append
    try:
        raise ValueError("the words of a prompt")
    except ValueError as error:
        counted.failed("relay", error)
    counted.close()
    (line,) = lines
    assert b"fault where=relay kind=ValueError" in line
    assert b"words" not in line
    assert b"test_listeners.py" in line


def test_an_engines_page_is_read():
    metering = Metering(FakeFleet(config_of()))
    found = metering.engine_page(b'vllm:num_requests_running{engine="0"} 3\n', 1)
    assert (found.replica, found.running, found.waiting) == (1, 3.0, -1.0)
    metering.engine_energy(b'{"total_energy_j": 5.0}', 1)
    metering.engine_energy(b'{"error": "off"}', 1)
    assert metering._readings[1].energy_j == 5.0
    assert metering.engine_page(b"nothing of use", 1) is None
    assert metering._readings[1].energy_j == 5.0, "told apart, and not by this page"
    metering.close()


def test_a_key_sees_its_own_decisions_and_an_administrators_all():
    scopes = ("infer", "energy")
    keys = (
        KeyEntry(name="one", hash=hash_of_key(KEYS["one"]), scopes=scopes),
        KeyEntry(name="two", hash=hash_of_key(KEYS["two"]), scopes=scopes),
        KeyEntry(name="boss", hash=hash_of_key(KEYS["boss"]), scopes=(*scopes, "admin")),
    )
    config = config_of(keys=keys, telemetry=TelemetryEntry(log="off"))

    async def go():
        counted = Counted(config, FakeUpstream(GOOD, GOOD, GOOD))
        for name in ("one", "two", "one"):
            await counted.call("/v1/chat/completions", chat(), key=name)
        for name in ("one", "two", "boss"):
            assert (await counted.call("/v1/energy/summary", key=name)).status == 200
        one, two, boss = counted.shown
        assert (len(one), len(two), len(boss)) == (2, 1, 3)
        assert set(one) | set(two) == set(boss)
        assert boss[0] == one[0], "the newest first"
        assert (await counted.call("/v1/energy/summary")).status == 401
        assert (await counted.call("/")).status == 200, "the page itself asks for a key"
        counted.close()

    run(go())


def test_the_page_is_served_with_its_policy():
    async def go():
        counted = Counted(config_of(telemetry=TelemetryEntry(log="off")), FakeUpstream())
        client = await counted.call("/")
        assert client.body == page()
        assert client.headers[b"content-type"] == PAGE_TYPE
        for name, value in page_headers():
            assert client.headers[name] == value
        counted.close()

    run(go())


@pytest.mark.parametrize("form", ["text", "off"])
def test_a_reload_changes_the_log_and_the_names(form):
    metering = Metering(FakeFleet(config_of(telemetry=TelemetryEntry(log="json"))))
    metering.configured(FakeFleet(config_of(telemetry=TelemetryEntry(log=form))))
    metering.reloaded(ok=True)
    metering.refused(401)
    assert metering.log.form == form
    sums = metering.metrics.sums()
    assert sums[("baseload_config_generation", ())] == [2.0]
    assert sums[("baseload_refused_total", ("401",))] == [1.0]
    metering.close()
