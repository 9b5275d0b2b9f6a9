"""``baseload serve``: the gateway."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from baseload.base.errors import BadInputError, unknown_name

if TYPE_CHECKING:
    from baseload.cli.gateway_file import LoadedConfig
    from baseload.gateway.live_fleet import LiveFleet
    from baseload.gateway.reload import Watch

LOGS = ("text", "json", "off")
MOST_WORKERS = 64


def serve(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            help="What to serve (YAML). Default: emulated engines, to try things out.",
        ),
    ] = None,
    local: Annotated[
        bool, typer.Option("--local", help="Serve a small real model on this machine's CPU.")
    ] = False,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. Default: 127.0.0.1.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0: any that is free.")] = None,
    workers: Annotated[int, typer.Option(metavar="N", help="Processes that share the port.")] = 1,
    tls_cert: Annotated[
        str | None, typer.Option("--tls-cert", metavar="FILE", help="Certificate chain (PEM).")
    ] = None,
    tls_key: Annotated[
        str | None, typer.Option("--tls-key", metavar="FILE", help="Its key (PEM).")
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write a log of events that can be replayed (no prompts in it)."
        ),
    ] = None,
    log: Annotated[
        str | None,
        typer.Option(metavar="|".join(LOGS), help="One line a request, on standard error."),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option("--policy", "-p", metavar="NAME", help="Who picks; see baseload policies."),
    ] = None,
) -> None:
    """Serve an OpenAI-compatible endpoint that sends each request where it costs the fewest joules.

    Change the file, or send SIGHUP, to reload; SIGTERM or Ctrl-C lets what runs end and leaves.

    \b
    Examples:
      baseload serve
      baseload serve --local
      baseload serve --config baseload.yaml
      baseload serve --config baseload.yaml --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem
      baseload serve --port 8000 --log json --record events.bin
    """
    if not 1 <= workers <= MOST_WORKERS:
        raise BadInputError("--workers", found=f"{workers}", allowed=f"from 1 to {MOST_WORKERS}")
    if log is not None and log not in LOGS:
        raise unknown_name("log", log, LOGS)
    if local and config is not None:
        raise BadInputError("--local with --config", found="both", allowed="one of them")
    if local and workers > 1:
        raise BadInputError("--local with --workers", found=f"{workers}", allowed="one process")
    flags: dict[str, Any] = {
        "listen": {
            "host": host,
            "port": port,
            "tls_cert": _whole(tls_cert),
            "tls_key": _whole(tls_key),
        },
        "telemetry": {"log": log},
    }
    raise typer.Exit(
        _run(config, flags, policy=policy, local=local, record=record, workers=workers)
    )


def _whole(path: str | None) -> str | None:
    """A path of the command line counts from here, not from the file's folder."""
    return None if path is None else str(Path(path).resolve())


def _run(
    path: Path | None,
    flags: dict[str, Any],
    *,
    policy: str | None,
    local: bool,
    record: Path | None,
    workers: int,
) -> int:
    """Load, bind, serve; gives the exit code."""
    import msgspec

    from baseload.cli.gateway_file import load_builtin, load_gateway
    from baseload.gateway.memory import without_linear_algebra

    without_linear_algebra()
    loaded = load_builtin("local" if local else "default") if path is None else load_gateway(path)
    loaded = with_flags(loaded, flags, policy)

    from baseload.cli.local_gateway import local_gateway
    from baseload.gateway.server import Options, listening, run
    from baseload.gateway.workers import own_place

    place = own_place()
    if workers > 1 and place is None:
        return _supervise(loaded, workers)
    listen = loaded.config.listen
    if place is not None:
        listen = msgspec.structs.replace(listen, port=place.port)
        record = None if record is None else record.with_name(f"{record.name}.{place.worker}")
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(listening(listen, shared=place is not None))
        if local:
            loaded = stack.enter_context(local_gateway(loaded))
        fleet = fleet_of(loaded)
        _warm(fleet)
        return run(
            fleet,
            Options(record=record, place=place),
            sock=sock,
            watch=None if path is None else watch_of(path, loaded, flags, policy),
            announce=_say,
            complain=_complain,
        )


def _supervise(loaded: LoadedConfig, workers: int) -> int:
    """Be the parent of several workers; gives the exit code."""
    from baseload.gateway.server import LAST_WORDS_S, listening, ready_line
    from baseload.gateway.workers import Supervisor, own_command

    config = loaded.config
    if any(entry.engine == "emulated" and not entry.urls for entry in config.replicas):
        _complain("each worker has emulated engines of its own: their load is not shared")
    fleet = fleet_of(loaded)
    _warm(fleet, only_compile=True)
    with listening(config.listen, shared=True, serves=False) as sock:
        return Supervisor(
            own_command(),
            workers,
            port=sock.getsockname()[1],
            drain_s=config.limits.drain_s + 2 * LAST_WORDS_S,
            announce=lambda: _say(ready_line(config, sock, len(fleet.replicas))),
            complain=_complain,
        ).run()


def _warm(fleet: LiveFleet, *, only_compile: bool = False) -> None:
    """Have the kernels compiled, and loaded unless ``only_compile``; say so if it takes long."""
    import time

    from baseload.gateway.warm import needs_compiling, warm

    compiling, begun_s = needs_compiling(), time.monotonic()
    if compiling:
        _complain("compiling the kernels of the decision, once on this machine: about a minute")
    if compiling or not only_compile:
        warm(fleet)
    if compiling:
        _complain(f"compiled in {time.monotonic() - begun_s:.0f} s")


def with_flags(loaded: LoadedConfig, flags: dict[str, Any], policy: str | None) -> LoadedConfig:
    """The configuration with what the command line says instead. Raises ``ConfigError``."""
    import msgspec

    from baseload.cli.gateway_file import checked_again

    changes: dict[str, Any] = {} if policy is None else {"policy": policy}
    for section, fields in flags.items():
        given = {name: value for name, value in fields.items() if value is not None}
        if given:
            changes[section] = msgspec.structs.replace(getattr(loaded.config, section), **given)
    return checked_again(loaded, **changes) if changes else loaded


def fleet_of(loaded: LoadedConfig) -> LiveFleet:
    """The fleet of a configuration."""
    from baseload.gateway.live_fleet import LiveFleet

    return LiveFleet(loaded.config, loaded.kinds, supplied=loaded.supplied)


def watch_of(
    path: Path, loaded: LoadedConfig, flags: dict[str, Any], policy: str | None
) -> Watch[LiveFleet]:
    """Looks at the file of a configuration, and gives its fleet with the same flags."""
    from baseload.cli.gateway_file import load_content
    from baseload.gateway.reload import Watch

    def load(content: bytes) -> LiveFleet:
        again = load_content(content, folder=loaded.folder, where=loaded.where)
        return fleet_of(with_flags(again, flags, policy))

    return Watch(path, load, loaded=loaded.text_hash)


def _say(line: str) -> None:
    typer.echo(line)


def _complain(line: str) -> None:
    typer.echo(f"baseload serve: {line}", err=True)
