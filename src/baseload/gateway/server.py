"""The server: uvicorn in our own loop, signals, reload, drain."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import uvicorn

from baseload.base.errors import BadInputError, BaseloadError
from baseload.gateway.config import GatewayConfig, ListenEntry
from baseload.gateway.http_protocol import GatewayProtocol
from baseload.gateway.live_fleet import LiveFleet
from baseload.gateway.memory import give_back
from baseload.gateway.reload import Watch
from baseload.gateway.service import Service
from baseload.gateway.workers import Place

KEEP_ALIVE_S = 75
BACKLOG = 2048
WATCH_S = 1.0
GIVE_BACK_S = 1.0
LOOK_S = 0.02
LAST_WORDS_S = 2
"""What requests have to say their end in, after the time for draining is over."""
SECOND_SIGNAL = 130

_COLLECT_AFTER = 20_000

Announce = Callable[[str], None]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line adds. ``record``: file for the log of events. ``place``: among several
    workers; ``None`` where there is one.
    """

    record: Path | None = None
    place: Place | None = None


def run(
    fleet: LiveFleet,
    options: Options,
    *,
    sock: socket.socket,
    watch: Watch[LiveFleet] | None = None,
    announce: Announce,
    complain: Announce,
) -> int:
    """Serve ``fleet`` on ``sock`` until a signal says otherwise; gives the exit code, 0 after a
    drain.

    ``watch`` looks at the configuration's file. ``announce`` is told the one line that the gateway
    is ready, ``complain`` what a person has to know later. Raises ``BaseloadError`` for what cannot
    be served.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        server = GatewayServer(fleet, options, watch=watch, announce=announce, complain=complain)
        return runner.run(server.run(sock))


def listening(listen: ListenEntry, *, shared: bool = False, serves: bool = True) -> socket.socket:
    """A socket bound to where the gateway listens; ``shared``: with other processes
    (SO_REUSEPORT); without ``serves`` it only holds the port for them. Raises ``BadInputError``
    where that cannot be, so that nothing else is begun.
    """
    where = f"{listen.host}:{listen.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise BadInputError(f"listen on {where}", found=str(error)) from error
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
        if serves:
            sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        taken = error.errno == errno.EADDRINUSE
        raise BadInputError(
            f"listen on {where}",
            found="the port is taken by another program" if taken else str(error.strerror),
            allowed="a free address of this machine",
            todo=f"stop the other one, or take another port: --port {(listen.port or 8080) + 1}",
        ) from error
    sock.setblocking(False)
    return sock


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    if sys.platform == "win32":
        return asyncio.new_event_loop
    import uvloop

    return uvloop.new_event_loop


def _rest_the_collector() -> None:
    """What is here now stays: the collector of cycles need not walk it with every few requests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 10, 10)


class _Uvicorn(uvicorn.Server):
    """uvicorn without its own hold on signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to us."""
        yield


class GatewayServer:
    """One serving process."""

    def __init__(
        self,
        fleet: LiveFleet,
        options: Options,
        *,
        watch: Watch[LiveFleet] | None,
        announce: Announce,
        complain: Announce,
    ) -> None:
        self._fleet, self._options, self._watch = fleet, options, watch
        self._announce, self._complain = announce, complain
        self._stopping = False
        self._leaving: asyncio.Task[None] | None = None
        self._reloading = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, sock: socket.socket) -> int:
        """Serve on ``sock`` until stopped."""
        config = self._fleet.config
        self.service = service = Service(
            self._fleet, record=self._options.record, place=self._options.place
        )
        self._server = _Uvicorn(self._uvicorn_config(config))
        loop = asyncio.get_running_loop()
        self._handle_signals(loop)
        try:
            service.start()
            _rest_the_collector()
            serving = loop.create_task(self._server.serve(sockets=[sock]))
            watching = loop.create_task(self._watch_file())
            while not self._server.started and not serving.done():
                await asyncio.sleep(0.005)
            if self._server.started:
                self._say_ready(config, sock)
            await serving
            watching.cancel()
        finally:
            await service.close()
        return 0

    def _say_ready(self, config: GatewayConfig, sock: socket.socket) -> None:
        """Say that requests may come, and let go of what only the start needed."""
        if self._options.place is None:
            self._announce(ready_line(config, sock, len(self._fleet.replicas)))
        else:
            self._options.place.ready()
        asyncio.get_running_loop().call_later(GIVE_BACK_S, give_back)

    def _uvicorn_config(self, config: GatewayConfig) -> uvicorn.Config:
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        listen, limits = config.listen, config.limits
        protocol = type("_Protocol", (GatewayProtocol,), {"head_bytes": limits.header_bytes})
        made = uvicorn.Config(
            self.service.surface,
            http=protocol,
            ws="none",
            loop="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=LAST_WORDS_S,
            backlog=BACKLOG,
            ssl_certfile=listen.tls_cert,
            ssl_keyfile=listen.tls_key,
        )
        try:
            made.load()
        except (OSError, ssl.SSLError, ValueError) as error:
            raise BadInputError(
                f"TLS with {listen.tls_cert} and {listen.tls_key}",
                found=str(error),
                allowed="a certificate and its key, both PEM, without a password",
            ) from error
        if made.ssl is not None:
            made.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
        return made

    # Signals

    def _handle_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        if hasattr(signal, "SIGHUP"):
            loop.add_signal_handler(signal.SIGHUP, self._begin_reload)

    def stop(self) -> None:
        """First: refuse what comes, let what runs end, leave. Again: leave at once."""
        if self._stopping:
            sys.stderr.flush()
            os._exit(SECOND_SIGNAL)
        self._stopping = True
        driver = self.service.driver
        drain_s = driver.config.limits.drain_s
        running = len(driver.lives)
        if running:
            self._complain(
                f"shutting down: {running} requests have {drain_s:g} s to end; "
                "again to leave at once"
            )
        driver.drain()
        loop = asyncio.get_running_loop()
        self._leaving = loop.create_task(self._leave(loop.time() + drain_s))

    async def _leave(self, until_s: float) -> None:
        """Answer new connections (503) as long as something runs, then end."""
        loop, driver = asyncio.get_running_loop(), self.service.driver
        while driver.lives and loop.time() < until_s:
            await asyncio.sleep(LOOK_S)
        driver.give_up()
        self._server.should_exit = True

    # Reload

    def _begin_reload(self) -> None:
        task = asyncio.get_running_loop().create_task(self.reload(forced=True))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def reload(self, *, forced: bool = False) -> None:
        """Take the configuration over where it has changed, or whatever it is where ``forced``:
        whole or not at all. What runs goes on.
        """
        watch = self._watch
        if watch is None or self._stopping:
            if forced:
                self._complain("reload: there is no configuration file to read again")
            return
        async with self._reloading:
            begun_s = time.monotonic()
            try:
                seen = await asyncio.to_thread(watch.look, forced=forced)
                error: BaseException | None = seen.error
                if seen.value is not None:
                    self._take(seen.value, begun_s)
            except BaseloadError as found:
                error = found
            except Exception as found:
                self.service.driver.trouble("reload", found)
                error = RuntimeError(f"the gateway failed at it: {type(found).__name__}")
            if error is not None:
                self.service.metering.reloaded(ok=False)
                self._complain(f"reload failed, the old configuration stays: {error}")

    def _take(self, fleet: LiveFleet, begun_s: float) -> None:
        """Serve another fleet from now on."""
        self.service.reconfigure(fleet)
        self.service.metering.reloaded(ok=True)
        if fleet.config.listen != self._fleet.config.listen:
            self._complain("reload: another address or TLS file needs a restart; the old ones stay")
        self._fleet = fleet
        self._complain(
            f"reloaded in {time.monotonic() - begun_s:.2f} s: {len(fleet.config.models)} models, "
            f"{len(fleet.replicas)} replicas"
        )

    async def _watch_file(self) -> None:
        """Look at the configuration's file now and then."""
        while self._watch is not None:
            await asyncio.sleep(WATCH_S)
            await self.reload()


def ready_line(config: GatewayConfig, sock: socket.socket, replicas: int) -> str:
    """That the gateway is ready, where, and how to try it."""
    host, port = sock.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    scheme = "https" if config.listen.tls_cert else "http"
    url = f"{scheme}://{shown}:{port}"
    flag = "-k " if config.listen.tls_cert else ""
    key = " -H 'Authorization: Bearer YOUR_KEY'" if config.keys else ""
    chats = "chat" in config.models[0].endpoints
    name, path = ("auto", "chat/completions") if chats else (config.models[0].name, "embeddings")
    content = '"messages":[{"role":"user","content":"Hello"}]' if chats else '"input":"Hello"'
    return (
        f"baseload serve: ready on {url} ({len(config.models)} models, {replicas} replicas)\n"
        f"  try: curl {flag}{url}/v1/{path} -H 'Content-Type: application/json'{key} "
        f'-d \'{{"model":"{name}",{content}}}\''
    )
