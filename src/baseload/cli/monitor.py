"""``baseload monitor``: is a site still at its critical point? Drift, variance, regime, alarms."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from baseload.base.errors import BadInputError

if TYPE_CHECKING:
    from baseload.sources.energy_log import EnergyLog
    from baseload.theory.watch import Watched

SCHEMA = "baseload-monitor/1"
PLOT = "monitor.png"


def monitor(
    file: Annotated[Path, typer.Argument(help="Log, .parquet or .csv.", metavar="FILE")],
    storage_kwh: Annotated[
        float | None,
        typer.Option(
            "--storage-kwh",
            help="Usable capacity of the storage [kWh]. Default: what a slot log says.",
        ),
    ] = None,
    target_kw: Annotated[
        float, typer.Option("--target-kw", help="Wanted supply less demand [kW]; 0 is critical.")
    ] = 0.0,
    block_s: Annotated[
        float | None,
        typer.Option("--block-s", help="Length of a block [s]; a day is 86400. Default: found."),
    ] = None,
    variance: Annotated[
        float | None, typer.Option("--variance", help="Variance rate, if it is known [J^2/s].")
    ] = None,
    slack: Annotated[
        float, typer.Option("--slack", help="Slack of the charts [standard deviations].")
    ] = 0.25,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", help="Threshold of the charts [standard deviations]."),
    ] = None,
    confidence: Annotated[float, typer.Option("--confidence", help="Of the intervals.")] = 0.95,
    policy: Annotated[str | None, typer.Option("--policy", help="Run to choose.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Run to choose.")] = None,
    scale: Annotated[float | None, typer.Option("--scale", help="Run to choose.")] = None,
    baseline_kw: Annotated[
        float | None, typer.Option("--baseline-kw", help="Supply, for a log of requests [kW].")
    ] = None,
    slot_s: Annotated[
        float | None,
        typer.Option("--slot-s", help="Slots of a log of requests, or rows without a time [s]."),
    ] = None,
    time_column: Annotated[
        str | None, typer.Option("--time-column", help="Times: seconds or dates.")
    ] = None,
    length_column: Annotated[
        str | None, typer.Option("--length-column", help="Lengths of the rows [s].")
    ] = None,
    net_column: Annotated[
        str | None, typer.Option("--net-column", help="Supply less demand.")
    ] = None,
    supply_column: Annotated[str | None, typer.Option("--supply-column", help="Supply.")] = None,
    demand_column: Annotated[str | None, typer.Option("--demand-column", help="Demand.")] = None,
    aux_column: Annotated[
        str | None, typer.Option("--aux-column", help="Cumulative meter of auxiliary energy.")
    ] = None,
    waste_column: Annotated[
        str | None, typer.Option("--waste-column", help="Cumulative meter of waste.")
    ] = None,
    unit: Annotated[
        str | None,
        typer.Option("--unit", help="Of these columns: J, kJ, Wh, kWh, MWh a row, or W, kW."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help=f"Write {PLOT} into this folder.")
    ] = None,
    json: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE", help="Write JSON here ('-': standard output)."),
    ] = None,
) -> None:
    """Read a log of energy: regime, variance rate, alarms, and the change that makes it critical.

    FILE is the slot log of a simulation (--slots), its request log (--requests), or any table whose
    columns you name: net energy, or supply and demand, or the two meters of auxiliary energy and
    waste. The unit of a column is the ending of its name (_j, _kwh, _w, _kw) or --unit. A slot log
    holds the size of its storage. A request log has no supply: without --baseline-kw its mean
    demand stands for it, and only variance and changes of the demand are told.

    \b
    Examples:
      baseload monitor run.parquet
      baseload monitor slots.parquet
      baseload monitor run.parquet --baseline-kw 12 --slot-s 60 --storage-kwh 2
      baseload monitor site.csv --supply-column pv_kw --demand-column load_kw --storage-kwh 50
      baseload monitor meters.csv --aux-column grid_kwh --waste-column spill_kwh --storage-kwh 50
    """
    from baseload.base.units import J_PER_KWH
    from baseload.sources.energy_log import ColumnNames, RunChoice, read_energy_log
    from baseload.sources.files import check_folder

    if out is not None:
        check_folder(out)
    storage_j = _scaled("--storage-kwh", storage_kwh, J_PER_KWH, above_0=True)
    log = read_energy_log(
        file,
        run=RunChoice(policy=policy, seed=seed, scale=scale),
        columns=ColumnNames(
            time=time_column,
            length=length_column,
            net=net_column,
            supply=supply_column,
            demand=demand_column,
            auxiliary=aux_column,
            waste=waste_column,
            unit=unit,
        ),
        baseline_w=_scaled("--baseline-kw", baseline_kw, 1e3),
        slot_s=slot_s,
    )
    if storage_j is None:
        storage_j = log.capacity_j
    for flag, asked in (("--storage-kwh", storage_kwh), ("--target-kw", target_kw or None)):
        if asked is not None and not log.supply_known:
            raise BadInputError(
                f"request log {file} with {flag}",
                found="energies of requests, no supply",
                allowed="requests with the supply they draw on",
                todo="give the baseline, for example --baseline-kw 12",
            )
    settings: dict[str, Any] = {"confidence": confidence}
    for name, value in (("variance", variance), ("block-s", block_s), ("threshold", threshold)):
        _scaled(f"--{name}", value, 1.0, above_0=True)
    if not 0.5 <= confidence < 1:
        raise BadInputError("--confidence", found=f"{confidence:g}", allowed="from 0.5, below 1")
    if log.net_j is None:
        _meters(log, storage_j, {**settings, "var": variance}, out, json)
        return
    _net(
        log,
        storage_j,
        {
            **settings,
            "target_w": 1e3 * target_kw,
            "var": variance,
            "block_s": block_s,
            "slack": slack,
            "threshold": threshold,
        },
        out,
        json,
    )


def _scaled(
    flag: str, value: float | None, factor: float, *, above_0: bool = False
) -> float | None:
    """A flag's value in SI units; raises BadInputError below 0 (or at 0)."""
    if value is None:
        return None
    if not (0 <= value < float("inf")) or (above_0 and value == 0):
        limit = "above 0" if above_0 else "from 0"
        raise BadInputError(flag, found=f"{value:g}", allowed=f"a finite number {limit}")
    return value * factor


def _net(
    log: EnergyLog,
    storage_j: float | None,
    settings: dict[str, Any],
    out: Path | None,
    json: str | None,
) -> None:
    """A log with net energy: the monitor, and what the theory expects."""
    from baseload.cli import monitor_text
    from baseload.theory.watch import watch
    from baseload.theory.watch_rates import expected_daily_rates, expected_rates

    assert log.net_j is not None
    watched = watch(log.net_j, log.length_s, storage_j=storage_j, **settings)
    expected = daily = None
    if storage_j is not None:
        slot_s = log.time_s / len(log.length_s)
        expected = expected_rates(
            watched, storage_j=storage_j, slot_s=slot_s, third=log.third_j3_per_s
        )
        daily = expected_daily_rates(watched, storage_j=storage_j)
    found = monitor_text.Findings(
        log=log,
        watched=watched,
        storage_j=storage_j,
        expected=expected,
        daily=daily,
        confidence=settings["confidence"],
    )
    if out is not None:
        _draw(out, watched.course, monitor_text.title(found), watched)
    _answer(monitor_text.fields(found), monitor_text.text(found), out, json)


def _meters(
    log: EnergyLog,
    storage_j: float | None,
    settings: dict[str, Any],
    out: Path | None,
    json: str | None,
) -> None:
    """A log of two meters."""
    from baseload.cli import monitor_text
    from baseload.theory.watch import watch_meters

    if storage_j is None:
        raise BadInputError(
            "meters alone need the storage",
            found="nothing",
            allowed="its usable capacity",
            todo="give --storage-kwh",
        )
    assert log.auxiliary_j is not None
    assert log.waste_j is not None
    watched = watch_meters(
        log.auxiliary_j, log.waste_j, log.length_s, storage_j=storage_j, **settings
    )
    fields = monitor_text.meter_fields(log, watched, storage_j)
    text = monitor_text.meter_text(log, watched)
    if out is not None:
        _draw(out, watched.course, monitor_text.meter_title(watched))
    _answer(fields, text, out, json)


def _draw(out: Path, course: Any, title: str, watched: Watched | None = None) -> None:
    """Write the plot into ``out``."""
    from baseload.report.monitor_plots import draw_monitor
    from baseload.report.write import write_folder

    def fill(draft: Path) -> list[str]:
        draw_monitor(
            draft / PLOT,
            course,
            alarms=watched.alarms if watched is not None else (),
            threshold=watched.threshold if watched is not None else None,
            title=title,
        )
        return [PLOT]

    write_folder(out, fill)


def _answer(fields: dict[str, Any], text: str, out: Path | None, json: str | None) -> None:
    """Write the JSON, print the text."""
    from baseload import __version__
    from baseload.cli.output import write_json
    from baseload.cli.theory_text import with_infinities

    if json is not None:
        write_json(with_infinities({"schema": SCHEMA, "version": __version__, **fields}), json)
    if json != "-":
        typer.echo(text + (f"\nplot: {out / PLOT}" if out is not None else ""))
