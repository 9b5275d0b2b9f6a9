"""``baseload emulate``: emulated engines as a server of their own, with vLLM's API."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from baseload.base.errors import BadInputError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from baseload.fleet.replica_type import ReplicaType
    from baseload.gateway.emulated.engine import EmulatedEngine
    from baseload.gateway.emulated.engine_server import Served

DEFAULT_TYPE = "h100-llama-8b"
DIED = 70
REASONING_FIELDS = ("reasoning_content", "reasoning", "both")


def emulate(
    name: Annotated[
        str,
        typer.Option("--type", "-t", metavar="TYPE", help="Device and model; see --list."),
    ] = DEFAULT_TYPE,
    port: Annotated[
        int, typer.Option(help="Port of the first replica; 0: any that is free.")
    ] = 9001,
    replicas: Annotated[
        int, typer.Option(metavar="N", help="Replicas, on ports from --port up.")
    ] = 1,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    model_name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What clients call the model. Default: its full name."),
    ] = None,
    replica: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Emulate the replica of `baseload calibrate`, not a --type."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of lengths and words.")] = 0,
    speed: Annotated[
        float, typer.Option(metavar="FACTOR", help="Emulated seconds in one real second.")
    ] = 1.0,
    reasoning_field: Annotated[
        str,
        typer.Option(
            metavar="|".join(REASONING_FIELDS), help="How thinking is called in a message."
        ),
    ] = "reasoning_content",
    faults: Annotated[
        bool, typer.Option("--faults", help="Let POST /emulated/fault break it, for tests.")
    ] = False,
    list_types: Annotated[bool, typer.Option("--list", help="List the types and stop.")] = False,
) -> None:
    """Serve emulated inference engines: vLLM's API and metric names, real timing, made-up words.

    Each replica batches continuously with the seconds and joules of its device and model, as the
    simulator has them. What it says is nonsense of the right length; what it would have drawn is at
    /metrics and /emulated/meters.

    \b
    Examples:
      baseload emulate --type h100-llama-8b --port 9001
      baseload emulate --type l4-qwen3-8b --replicas 4 --model-name small
      baseload emulate --type h100-qwen3-32b-x2 --speed 10
      baseload emulate --list
    """
    from baseload.gateway.emulated.type_names import named_type

    if list_types:
        _list()
        return
    _check(replicas=replicas, speed=speed, port=port, seed=seed)
    if reasoning_field not in REASONING_FIELDS:
        raise unknown_name("reasoning field", reasoning_field, REASONING_FIELDS)
    kind = named_type(name) if replica is None else _calibrated(replica)
    settings: dict[str, Any] = {
        "model_name": model_name,
        "seed": seed,
        "speed": speed,
        "faults": faults,
        "reasoning_field": reasoning_field,
        "precise": replicas == 1 and speed <= 1.0,
    }
    _run(kind, replicas, settings, host=host, port=port)


def _check(*, replicas: int, speed: float, port: int, seed: int) -> None:
    """Raises BadInputError for numbers out of range."""
    if not 1 <= replicas <= 1000:
        raise BadInputError("--replicas", found=f"{replicas}", allowed="from 1 to 1000")
    if not 0.001 <= speed <= 1000:
        raise BadInputError("--speed", found=f"{speed:g}", allowed="from 0.001 to 1000")
    if not (port == 0 or 1 <= port <= 65_536 - replicas):
        allowed = f"0, or from 1 to {65_536 - replicas}"
        raise BadInputError("--port", found=f"{port}", allowed=allowed)
    if seed < 0:
        raise BadInputError("--seed", found=f"{seed}", allowed="from 0")


def _calibrated(path: Path) -> ReplicaType:
    from baseload.sources.replicas import read_replica

    return read_replica(path)


def _run(
    kind: ReplicaType, replicas: int, settings: dict[str, Any], *, host: str, port: int
) -> None:
    """Serve until a signal comes; raises KeyboardInterrupt where it was Ctrl-C."""
    import asyncio
    import os
    import sys

    from baseload.gateway.emulated.engine import EmulatedEngine

    def make(number: int) -> EmulatedEngine:
        return EmulatedEngine(kind, number=number, on_die=lambda: os._exit(DIED), **settings)

    factory = None
    if sys.platform != "win32":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        engines = [make(number) for number in range(replicas)]
        if runner.run(_serve(engines, kind, host=host, port=port)):
            raise KeyboardInterrupt


async def _serve(
    engines: Sequence[EmulatedEngine], kind: ReplicaType, *, host: str, port: int
) -> bool:
    """Serve; whether it was Ctrl-C that ended it."""
    import asyncio
    import contextlib
    import signal

    from baseload.gateway.emulated.engine_server import serve_engines

    stop, interrupted = asyncio.Event(), False

    def end(number: int) -> None:
        nonlocal interrupted
        interrupted = interrupted or number == signal.SIGINT
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, end, number)
    await serve_engines(
        engines, host=host, port=port, stop=stop, ready=lambda served: _ready(served, kind)
    )
    return interrupted


def _ready(served: Sequence[Served], kind: ReplicaType) -> None:
    """Say that it serves, and where: one line a replica, the last begins with ready."""
    from baseload.fleet.step import cost_table, step

    step(cost_table([kind])[0], 1.0, 1.0, 1.0)  # compiled or loaded now, not with a request
    for one in served:
        typer.echo(f"{one.url}/v1  {one.engine.model_name}  ({kind.name}, emulated)")
    many = "" if len(served) == 1 else f" to {served[-1].url}"
    typer.echo(f"ready: {served[0].url}{many}")
    import sys

    sys.stdout.flush()


def _list() -> None:
    """Print every type."""
    from baseload.gateway.emulated.type_names import type_names

    found = list(type_names().values())
    width = max(len(one.name) for one in found)
    for one in found:
        typer.echo(f"{one.name:{width}}  {one.gpus} x {one.device}, {one.model}")
    typer.echo(
        "\nDEVICE-MODEL runs on the fewest GPUs that hold the model; DEVICE-MODEL-x4 on four."
    )
