"""``baseload replay``: open-loop load from a trace at a live end-point."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import msgspec
import typer

from baseload.base.errors import BadInputError, unknown_name
from baseload.cli import options
from baseload.cli.progress import Report

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Sequence

    from baseload.gateway.load.figures import Asked, ReplayResult
    from baseload.gateway.load.plan import LoadPlan
    from baseload.gateway.load.run import Outcome
    from baseload.workload.tiers import Tier
    from baseload.workload.trace import TraceSource


AUTO = "auto"
MODELS_SHOWN = 12


def replay(
    trace: Annotated[
        str,
        typer.Argument(
            help="A built-in trace (azure-chat), a trace file, or a scenario whose trace it is.",
            metavar="TRACE",
            show_default=False,
        ),
    ],
    url: Annotated[
        str,
        typer.Option(metavar="URL", help="Where the OpenAI-compatible server is."),
    ] = "http://127.0.0.1:8080",
    rate: Annotated[
        float | None,
        typer.Option(
            metavar="PER_S",
            help=(
                "Requests a second, mean: copies are added or requests left out, the movement of "
                "the rate stays. Default: as recorded."
            ),
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(metavar="S", help="How long to send.")] = 60.0,
    start: Annotated[
        float, typer.Option(metavar="S", help="Where in the trace to begin [s].")
    ] = 0.0,
    speed: Annotated[
        float, typer.Option(metavar="TIMES", help="Play the trace so many times as fast.")
    ] = 1.0,
    max_requests: Annotated[
        int | None, typer.Option(metavar="N", help="Stop sending after so many requests.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The model to ask for. Default: auto where the server has it, else its only one.",
        ),
    ] = None,
    effort: Annotated[
        str | None,
        typer.Option(metavar="EFFORT", help="reasoning_effort of each request (low, auto, ...)."),
    ] = None,
    tier: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help=(
                "The tier of all requests, or CLASS=NAME of one class (repeat for more); none says "
                "nothing. Default: as the scenario says, else chat interactive, batch bulk."
            ),
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(metavar="env:NAME", help="The environment variable that holds the key."),
    ] = None,
    free_lengths: Annotated[
        bool,
        typer.Option(
            "--free-lengths",
            help=(
                "Let answers end where the model ends them, at most as long as recorded; for "
                "servers that refuse ignore_eos and min_tokens."
            ),
        ),
    ] = False,
    no_stream: Annotated[
        bool, typer.Option("--no-stream", help="Ask for whole answers (no time to first token).")
    ] = False,
    timeout: Annotated[
        float, typer.Option(metavar="S", help="How long an answer may take.")
    ] = 600.0,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Of prompts, and of what --rate adds or leaves out.")
    ] = 0,
    json: options.Json = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help=(
                "Write into this folder: result.json, requests.parquet (one row each) and "
                "trace.parquet (what was sent, for `baseload simulate`)."
            ),
        ),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Send a trace's requests to a live server, each at its instant, and measure the answers.

    Says latency by tier, counted from when each request was due; errors by kind; tokens; and the
    energy that answers and meters tell. Ctrl-C ends it early and shows what was measured so far.

    \b
    Examples:
      baseload replay azure-chat --url http://127.0.0.1:8080 --rate 20 --seconds 60
      baseload replay synthetic-day --start 36000 --rate 10 --out run
      baseload replay my.csv --url https://llm.example.org --key env:LLM_KEY --model qwen3-14b
      baseload replay azure-chat --rate 2 --effort auto --json - | jq .total.ttft_s.p99
    """
    _check_flags(url, timeout, seed, json, out)
    secret = _secret(key)
    with Report(quiet=quiet) as report:
        report.say(f"reading {trace}")
        source, tiers = _source(trace, seed)
        from baseload.gateway.load.plan import planned

        plan = planned(
            source,
            tiers=tiers,
            tier_names=_tier_names(tier or []),
            start_s=start,
            seconds=seconds,
            rate_per_s=rate,
            speed=speed,
            most_requests=max_requests,
            seed=seed,
        )
    from baseload.gateway.load.figures import Asked

    asked = Asked(
        url=_shown(url),
        model=model or AUTO,
        effort=effort,
        stream=not no_stream,
        fixed_lengths=not free_lengths,
        rate_per_s=rate,
        speed=speed,
        start_s=start,
        duration_s=seconds,
        seed=seed,
    )
    result, outcomes = _run(plan, asked, url, secret, timeout, any_model=model is None, quiet=quiet)
    _write(result, outcomes, plan, json, out)
    if result.interrupted:
        raise KeyboardInterrupt


def _check_flags(url: str, timeout_s: float, seed: int, json: str | None, out: Path | None) -> None:
    """Refuse now what could not be used or written."""
    from baseload.sources.files import check_folder, check_writable

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
        raise BadInputError(
            "--url",
            found=repr(url),
            allowed="http://HOST:PORT or https://HOST, with or without /v1",
        )
    if not 0 < timeout_s < float("inf"):
        raise BadInputError("--timeout", found=f"{timeout_s:g}", allowed="seconds above 0")
    if seed < 0:
        raise BadInputError("--seed", found=str(seed), allowed="a whole number, 0 or more")
    if json not in (None, "-"):
        check_writable(Path(json or ""))
    if out is not None:
        check_folder(out)


def _shown(url: str) -> str:
    """The address without a password that may be in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _secret(key: str | None) -> str | None:
    """The key behind ``env:NAME``."""
    if key is None:
        return None
    kind, _, name = key.partition(":")
    if kind != "env" or not name:
        raise BadInputError(
            "--key",
            found="a word that is not env:NAME",
            allowed="env:NAME, the name of an environment variable: a key itself would be seen in"
            " the list of processes",
        )
    value = os.environ.get(name)
    if not value:
        raise BadInputError(
            f"--key env:{name}",
            found="no such variable, or an empty one",
            todo=f"export {name}=...",
        )
    return value


def _tier_names(words: Sequence[str]) -> dict[str, str] | str | None:
    """What ``--tier`` says: one name for all, or names by class."""
    if not words:
        return None
    if len(words) == 1 and "=" not in words[0]:
        return words[0]
    pairs = dict(word.partition("=")[::2] for word in words)
    if len(pairs) != len(words) or not all(name and value for name, value in pairs.items()):
        raise BadInputError(
            "--tier",
            found=", ".join(words),
            allowed="one NAME for all, or CLASS=NAME once for each class",
        )
    return pairs


def _source(name: str, seed: int) -> tuple[TraceSource, tuple[Tier, ...]]:
    """The trace of a built-in name, a file or a scenario, and what its tiers promise."""
    from baseload.sources import BUILTIN_TRACES, builtin_trace, load_trace
    from baseload.workload.chunks import source_of
    from baseload.workload.tiers import DEFAULT_TIERS

    if name in BUILTIN_TRACES:
        return source_of(builtin_trace(name)), DEFAULT_TIERS
    path = Path(name)
    if path.suffix.lower() not in (".yaml", ".yml") and path.is_file():
        return source_of(load_trace(path).trace), DEFAULT_TIERS
    from baseload.cli.scenario_file import builtin_scenarios, load_scenario

    if not path.is_file() and name not in builtin_scenarios():
        known = [*BUILTIN_TRACES, *builtin_scenarios()]
        raise unknown_name("trace", name, known, todo="give one of them, or a file")
    scenario = load_scenario(name)
    return scenario.requests(seed), scenario.tiers


def _run(
    plan: LoadPlan,
    asked: Asked,
    url: str,
    secret: str | None,
    timeout_s: float,
    *,
    any_model: bool,
    quiet: bool,
) -> tuple[ReplayResult, list[Outcome]]:
    """Send everything and sum up. ``any_model``: nobody said which."""
    import asyncio
    import signal

    from baseload.cli.replay_progress import Bar
    from baseload.gateway.load.bodies import Bodies, Style
    from baseload.gateway.load.client import HttpTransport, RealClock
    from baseload.gateway.load.figures import metered, result_of
    from baseload.gateway.load.run import OpenLoop

    async def whole() -> tuple[ReplayResult, list[Outcome]]:
        async with HttpTransport(url, key=secret, timeout_s=timeout_s) as transport:
            models = await transport.check()
            said = (
                msgspec.structs.replace(asked, model=model_to_ask(models)) if any_model else asked
            )
            style = Style(
                model=said.model,
                stream=said.stream,
                fixed_lengths=said.fixed_lengths,
                effort=said.effort,
            )
            before = await transport.metrics()
            with Bar(len(plan.requests), quiet=quiet) as bar:
                bodies = Bodies(plan, style, seed=asked.seed)
                clock = RealClock()
                load = OpenLoop(
                    plan,
                    bodies,
                    transport=transport,
                    clock=clock,
                    stream=asked.stream,
                    watch=bar.show,
                )
                with contextlib.suppress(NotImplementedError):
                    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, load.stop)
                begin_s = time.process_time()
                outcomes = await load.run()
                cpu_s = time.process_time() - begin_s
                began_unix_ns = load.start_ns + time.time_ns() - clock.now_ns()
            after = await transport.metrics()
        result = result_of(
            outcomes,
            plan,
            said,
            began_unix_ns=began_unix_ns,
            interrupted=load.stopped,
            cpu_s=cpu_s,
            metered_j=metered(before, after),
        )
        return result, outcomes

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(whole())


def model_to_ask(models: Sequence[str]) -> str:
    """What to ask a server for that has ``models`` where nobody said it."""
    if AUTO in models or not models:
        return AUTO
    if len(models) > 1:
        raise BadInputError(
            "--model",
            found="none said, and the server has several",
            allowed=", ".join(models[:MODELS_SHOWN]) + (", ..." * (len(models) > MODELS_SHOWN)),
            todo="say which: --model NAME",
        )
    return models[0]


def _loop_factory() -> Callable[[], AbstractEventLoop] | None:
    """The quicker event loop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _write(
    result: ReplayResult,
    outcomes: Sequence[Outcome],
    plan: LoadPlan,
    json: str | None,
    out: Path | None,
) -> None:
    """Hand out the result."""
    from baseload.cli.output import encode_json, write_json
    from baseload.cli.replay_table import print_replay, write_requests

    if out is not None:
        from baseload.sources import write_parquet
        from baseload.sources.files import write_whole

        out.mkdir(parents=True, exist_ok=True)
        write_whole(out / "result.json", encode_json(result))
        write_requests(outcomes, out / "requests.parquet")
        write_parquet(plan.trace, out / "trace.parquet")
    if json is not None:
        write_json(result, json)
    if json != "-":
        print_replay(result)
        if out is not None:
            typer.echo(f"\nWritten: result.json, requests.parquet, trace.parquet in {out}")
