"""``baseload policies``: what can route, in one line each, or one of them explained."""

from __future__ import annotations

from typing import Annotated

import typer


def policies(
    name: Annotated[
        str | None, typer.Argument(help="A policy to explain.", metavar="NAME", show_default=False)
    ] = None,
    json: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE", help="Write JSON here ('-': standard output)."),
    ] = None,
) -> None:
    """List every routing policy with its source, or explain one.

    \b
    Examples:
      baseload policies
      baseload policies least_loaded
      baseload policies power_of_two --json -
    """
    from baseload.cli.output import write_json
    from baseload.cli.policy_specs import settable
    from baseload.routing.policies import POLICIES, policy

    chosen = list(POLICIES.values()) if name is None else [policy(name)]
    if json is not None:
        rows = [
            {
                "name": one.name,
                "summary": one.summary,
                "source": one.source,
                "parameters": one.parameters(),
            }
            | ({"explanation": one.explanation} if name else {})
            for one in chosen
        ]
        write_json({"schema": "baseload-policies/1", "policies": rows}, json)
        if json == "-":
            return
    if name is None:
        width = max(len(one.name) for one in chosen)
        for one in chosen:
            typer.echo(f"{one.name:{width}}  {one.summary}\n{'':{width}}  source: {one.source}")
        typer.echo("\nYour own: --policy mine.py:MyPolicy (docs/how-to/write-a-policy.md)")
        return
    one = chosen[0]
    typer.echo(
        f"{one.name}: {one.summary}\n\n{one.explanation}\n\nsource: {one.source}\nparameters:"
    )
    for key, value in one.parameters().items():
        typer.echo(f"  {key} = {value}")
    names = settable(one)
    if names:
        typer.echo(f"\nto set: --policy {one.name}:NAME=VALUE,... with {', '.join(names)}")
