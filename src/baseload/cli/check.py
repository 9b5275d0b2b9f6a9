"""``baseload check``: is a gateway's file good, and what does it say?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from baseload.cli.output import write_json

if TYPE_CHECKING:
    from rich.table import Table

    from baseload.cli.gateway_file import LoadedConfig
    from baseload.cli.gateway_summary import Summary
    from baseload.gateway.faults import ConfigError

SCHEMA = "baseload-check/1"


def check(
    file: Annotated[
        str | None,
        typer.Argument(
            help="A gateway file (YAML). Default: the built-in configuration.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    json: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE", help="Write JSON here ('-': standard output)."),
    ] = None,
    show: Annotated[
        bool,
        typer.Option("--show", help="Print the built-in configuration, to copy, and stop."),
    ] = False,
) -> None:
    """Check a gateway's file whole, and say what it describes: models, replicas and what a token
    costs there, tiers, keys. Leaves with 2 where the gateway would refuse it.

    Looks at files and environment variables that the file names, and opens no connection.

    \b
    Examples:
      baseload check baseload.yaml
      baseload check --show > baseload.yaml
      baseload check baseload.yaml --json - | jq .replicas
    """
    from baseload.cli.gateway_file import builtin_gateway, load_builtin, load_gateway
    from baseload.cli.gateway_summary import summary_of
    from baseload.gateway.faults import ConfigError

    if show:
        typer.echo(builtin_gateway("default"), nl=False)
        return
    try:
        loaded = load_builtin() if file is None else load_gateway(Path(file))
    except ConfigError as error:
        if json is not None:
            write_json(_refusal(error), json)
        raise
    summary = summary_of(loaded)
    if json is not None:
        write_json({"schema": SCHEMA, "good": True, "faults": [], **_fields(summary)}, json)
    if json != "-":
        _print(loaded, summary)


def _fields(summary: Summary) -> dict[str, object]:
    import msgspec

    return msgspec.structs.asdict(summary)


def _refusal(error: ConfigError) -> dict[str, object]:
    """What a script is told of a file that is not good."""
    return {"schema": SCHEMA, "good": False, "faults": list(error.faults)}


def _print(loaded: LoadedConfig, summary: Summary) -> None:
    """Say it to people."""
    from rich.console import Console

    console = Console()
    head = loaded.where[0].upper() + loaded.where[1:]
    console.print(f"{head} is good.", highlight=False, markup=False)
    scheme = "https" if loaded.config.listen.tls_cert else "http"
    host = f"[{summary.host}]" if ":" in summary.host else summary.host
    console.print(
        f"Listens on {scheme}://{host}:{summary.port}; routes by {summary.policy}.",
        highlight=False,
        markup=False,
    )
    for table in (_models(summary), _replicas(summary), _tiers(summary), _keys(summary)):
        if table.row_count:
            console.print()
            console.print(table)
    for note in summary.notes:
        console.print(f"note: {note}", highlight=False, markup=False)


def _models(summary: Summary) -> Table:
    table = _table("model", "at its engines", "efforts", "takes", "end-points", "engines")
    for model in summary.models:
        table.add_row(
            *_plain(
                model.name,
                model.upstream_name,
                " ".join(model.efforts) or "-",
                " ".join([*model.inputs, *(["tools"] if model.tools else [])]),
                " ".join(model.endpoints),
                str(model.engines),
            )
        )
    for alias, members in summary.aliases.items():
        table.add_row(*_plain(alias, f"any of: {', '.join(members)}", "", "", "", ""))
    return table


def _replicas(summary: Summary) -> Table:
    from baseload.cli.gateway_summary import TYPICAL_BATCH, TYPICAL_CONTEXT_TOKENS

    table = _table(
        "replicas",
        "model",
        "engine",
        "costs as",
        "how",
        "J/token",
        "ms/token",
        title=f"Modelled, at a batch of {TYPICAL_BATCH} and {TYPICAL_CONTEXT_TOKENS:,} tokens each",
    )
    for entry in summary.replicas:
        table.add_row(
            *_plain(
                str(entry.engines),
                entry.model,
                entry.engine,
                entry.kind,
                entry.method,
                f"{entry.energy_j_per_token:.3g}",
                f"{entry.tpot_s * 1000:.3g}",
            )
        )
    return table


def _tiers(summary: Summary) -> Table:
    table = _table("tier", "first token", "each token", "whole answer", "when full", "means")
    for tier in summary.tiers:
        table.add_row(
            *_plain(
                tier.name,
                _time(tier.ttft_s),
                _time(tier.tpot_s),
                _time(tier.e2e_s),
                "waits" if tier.bulk else "refused early",
                " ".join(
                    [*tier.objectives, *(f"service_tier={one}" for one in tier.service_tiers)]
                ),
            )
        )
    return table


def _keys(summary: Summary) -> Table:
    table = _table("key", "may", "models", "tier", "requests/min", "tokens/min", "streams")
    for key in summary.keys:
        table.add_row(
            *_plain(
                key.name,
                " ".join(key.scopes),
                "all" if key.models is None else " ".join(key.models),
                key.tier or "as asked",
                *(
                    "no limit" if value is None else f"{value:,}"
                    for value in (key.requests_per_min, key.tokens_per_min, key.max_streams)
                ),
            )
        )
    return table


def _table(*columns: str, title: str | None = None) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for at, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=at == 0)
    return table


def _plain(*cells: str) -> tuple[str, ...]:
    """Cells whose brackets are not taken for styles."""
    from rich.markup import escape

    return tuple(map(escape, cells))


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1000:g} ms"
