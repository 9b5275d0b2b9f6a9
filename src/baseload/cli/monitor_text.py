"""What ``baseload monitor`` says of a log, as text and as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import numpy as np

from baseload.base.units import J_PER_KWH
from baseload.cli.theory_text import WIDTH
from baseload.report.wording import number, percent
from baseload.sources.energy_log import EnergyLog
from baseload.theory.ladder import SupplyRates
from baseload.theory.monitor import Alarm
from baseload.theory.monitoring import MeterReading
from baseload.theory.normal import quantile
from baseload.theory.seasons import PeriodicUse
from baseload.theory.two_sided import rate_errors
from baseload.theory.watch import NO_STORAGE, Watched, WatchedMeters

_MOST_ALARMS = 10
_OF_SUPPLY = frozenset(
    f"{name}{end}" for name in ("theta", "theta_w", "change_w") for end in ("", "_low", "_high")
)
"""Fields that nobody knows without the supply."""
_KINDS = {
    "slots": "slots of a simulated site",
    "requests": "slots of a simulation's requests",
    "columns": "rows",
    "meters": "intervals between meter readings",
}


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """All that is said of a log with net energy."""

    log: EnergyLog
    watched: Watched
    storage_j: float | None
    expected: SupplyRates | None
    daily: PeriodicUse | None
    confidence: float


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """A metered rate [W] since the last change, half its interval, and what the theory expects."""

    observed_w: float
    half_w: float | None
    expected_w: float | None


def text(found: Findings) -> str:
    """The findings in lines."""
    watched, state = found.watched, found.watched.state
    near = power(_towards(state.change_w, state.change_w_low, state.change_w_high))
    far = power(_towards(state.change_w, state.change_w_high, state.change_w_low))
    lines = [_head(found.log), "", title(found)]
    since = ""
    if state.segment_s < 0.999 * state.time_s:
        since = f", since the last change {span(state.segment_s)} before the end"
    variance = _row(
        "variance rate",
        rate(state.sigma2),
        rate(state.sigma2_low),
        rate(state.sigma2_high),
        "of days about their season" if watched.seasonal else state.sigma2_source,
    )
    if not found.log.supply_known:
        lines.append(variance)
    else:
        lines += [
            _row("drift theta", power(state.theta_w), power(state.theta_w_low),
                 power(state.theta_w_high), f"supply less demand{since}"),
            variance,
            _row("index y", plain(state.y), plain(state.y_low), plain(state.y_high),
                 "2 theta B / var"),
            _row("to the target", _change(state.change_w), near, far, "change of baseline supply"),
        ]  # fmt: skip
    lines += ["", *_rates(found), "", *_alarms(watched.alarms, found.log)]
    lines += ["", *(f"how: {each}" for each in watched.how)]
    lines += [f"missing: {each}" for each in _missing(found)]
    lines += [f"note: {each}" for each in (*found.log.remarks, *_notes(found))]
    return "\n".join(_wrapped(lines))


def title(found: Findings) -> str:
    """The answer in one sentence."""
    state = found.watched.state
    if state.regime is None:
        return "The regime is not known."
    side = ""
    if state.regime == "near-critical" and state.y is not None:
        side = " on the side of surplus" if state.y > 0 else " on the side of deficit"
    return (
        f"The site is {state.regime}{side} (confidence {percent(state.confidence_frac)}), "
        f"index y = {plain(state.y)}."
    )


def _head(log: EnergyLog) -> str:
    start = "" if log.start is None else f" from {log.start:%Y-%m-%d %H:%M}"
    return f"{len(log.length_s):,} {_KINDS[log.kind]}, {span(log.time_s)}{start}"


def _row(name: str, value: str, low: str, high: str, words: str) -> str:
    interval = f"[{low}, {high}]" if "not known" not in (low, high) else ""
    return f"{name:15} {value:>17}  {interval:34} {words}".rstrip()


def power(value_w: float | None) -> str:
    """A power with four digits and its unit."""
    if value_w is None:
        return "not known"
    if math.isinf(value_w):
        return f"{value_w} W"
    for factor, unit in ((1e6, "MW"), (1e3, "kW")):
        if abs(value_w) >= factor:
            return f"{value_w / factor:.4g} {unit}"
    return f"{value_w:.4g} W"


def rate(value: float | None) -> str:
    """A variance rate."""
    return "not known" if value is None else f"{value:.4g} J^2/s"


def plain(value: float | None) -> str:
    """A number with three digits."""
    return "not known" if value is None else f"{value:.3g}"


def span(time_s: float) -> str:
    """A time in the unit a reader would choose."""
    for unit_s, name in ((86_400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if time_s >= 2 * unit_s:
            return f"{number(time_s / unit_s)} {name}"
    return f"{number(time_s)} s"


def _change(change_w: float | None) -> str:
    if change_w is None:
        return "not known"
    return f"{'raise' if change_w > 0 else 'lower'} by {power(abs(change_w))}"


def _towards(change_w: float | None, end_w: float | None, other_w: float | None) -> float | None:
    """An end of the interval of a change, counted in the direction of the change."""
    if change_w is None or end_w is None or other_w is None:
        return None
    return end_w if change_w > 0 else -other_w


def observed(found: Findings) -> dict[str, Observed]:
    """Metered auxiliary use ``u`` and waste ``w`` since the last change, where they are metered."""
    log, state = found.log, found.watched.state
    if log.auxiliary_j is None or log.waste_j is None:
        return {}
    ends = np.cumsum(log.length_s)
    late = ends > (ends[-1] - state.segment_s) * (1 + 1e-12)
    time_s = float(log.length_s[late].sum())
    halves: dict[str, float | None] = {"u": None, "w": None}
    known = state.sigma2 is not None and state.theta_w is not None and found.storage_j is not None
    if known:
        errors = rate_errors(
            state.theta_w or 0.0, state.sigma2 or 0.0, B=found.storage_j or 0.0, T=time_s
        )
        z = quantile(0.5 + 0.5 * found.confidence)
        halves = {"u": z * errors.u_error_w, "w": z * errors.w_error_w}
    wanted: dict[str, float | None] = {"u": None, "w": None}
    if found.daily is not None:
        wanted = {"u": found.daily.u, "w": found.daily.w}
    elif found.expected is not None:
        wanted = {"u": found.expected.u_w, "w": found.expected.w_w}
    metered = {"u": log.auxiliary_j, "w": log.waste_j}
    return {
        name: Observed(
            observed_w=float(energy[late].sum()) / time_s,
            half_w=halves[name],
            expected_w=wanted[name],
        )
        for name, energy in metered.items()
    }


def _rates(found: Findings) -> list[str]:
    """Auxiliary use and waste: observed and expected."""
    lines = []
    seen = observed(found)
    for name, words in (("u", "auxiliary u"), ("w", "waste w")):
        parts = []
        if name in seen:
            half = seen[name].half_w
            error = "" if half is None else f" +- {power(half)}"
            parts.append(f"observed {power(seen[name].observed_w)}{error}")
        expected = _expected(found, name)
        if expected is not None:
            parts.append(f"expected {power(expected)}")
        if parts:
            lines.append(f"{words:15} {', '.join(parts)}")
    rung = found.expected
    if found.daily is not None:
        lines.append(
            "expected from the mean day since the last change and the variance rate around it"
        )
    elif rung is not None:
        error = "not known" if rung.error_frac is None else f"{100 * rung.error_frac:.2g} %"
        lines.append(f"expected from the rung {rung.rung} ({rung.standing}, error {error})")
    if rung is not None:
        ratios = (
            ("noise of one slot", rung.storage_per_slot_noise),
            ("mean overshoot of one request", rung.storage_per_overshoot),
            ("one correlated episode", rung.storage_per_episode),
        )
        said = ", ".join(f"{words} {plain(ratio)}" for words, ratio in ratios)
        lines.append(f"validity: storage over {said}")
    return lines or ["auxiliary use and waste: not in this log, nor to be expected of it"]


def _expected(found: Findings, name: str) -> float | None:
    if found.daily is not None:
        return found.daily.u if name == "u" else found.daily.w
    if found.expected is not None:
        return found.expected.u_w if name == "u" else found.expected.w_w
    return None


def runs_of_alarms(alarms: Sequence[Alarm]) -> list[list[Alarm]]:
    """Alarms grouped while their direction stays the same."""
    runs: list[list[Alarm]] = []
    for alarm in alarms:
        if runs and runs[-1][-1].direction == alarm.direction:
            runs[-1].append(alarm)
        else:
            runs.append([alarm])
    return runs


def _alarms(alarms: Sequence[Alarm], log: EnergyLog) -> list[str]:
    """The first alarm of each run, with how many followed."""
    if not alarms:
        return ["no alarm"]
    runs = runs_of_alarms(alarms)
    lines = []
    for run in runs[:_MOST_ALARMS]:
        first = run[0]
        more = f"; {len(run) - 1} more until {_at(run[-1].time_s, log)}" if len(run) > 1 else ""
        lines.append(
            f"alarm: {first.direction} at {_at(first.time_s, log)}, since about "
            f"{_at(first.since_s, log)}: {power(first.drift_w)} off the target{more}"
        )
    if len(runs) > _MOST_ALARMS:
        lines.append(f"alarm: {len(runs) - _MOST_ALARMS} more changes of direction")
    return lines


def _at(time_s: float, log: EnergyLog) -> str:
    """An instant of the log: a date where it has dates."""
    if log.start is not None:
        return f"{log.start + timedelta(seconds=time_s):%Y-%m-%d %H:%M}"
    return span(time_s)


def _missing(found: Findings) -> list[str]:
    """What is not known, and why."""
    said = list(found.watched.missing)
    if not found.log.supply_known:
        said = [each for each in said if each != NO_STORAGE]
        said.insert(0, "No drift, index and regime: the supply is not given (--baseline-kw).")
    if found.log.auxiliary_j is None and found.log.waste_j is None:
        said.append("Auxiliary use and waste are not in this log.")
    return said


def _notes(found: Findings) -> list[str]:
    """What to know before trusting the numbers."""
    notes = list(found.expected.warnings) if found.expected is not None else []
    log = found.log
    if found.storage_j is None and log.highest_level_j:
        level = log.highest_level_j / J_PER_KWH
        notes.append(f"The highest level in the log is {level:.4g} kWh: try --storage-kwh.")
    if found.storage_j is not None and (log.highest_level_j or 0.0) > found.storage_j * 1.000001:
        level = (log.highest_level_j or 0.0) / J_PER_KWH
        notes.append(f"The log reaches a level of {level:.4g} kWh, above --storage-kwh.")
    if found.watched.seasonal:
        notes.append("The season moves the drift: the regime is that since the last change.")
    if log.unserved_j > 0:
        share = f"{log.unserved_j / J_PER_KWH:.4g} kWh"
        notes.append(f"Auxiliary use counts {share} of demand that nothing served.")
    return notes


def _wrapped(lines: Sequence[str]) -> list[str]:
    """Sentences wrapped; rows of numbers left as they are."""
    import textwrap

    wrapped: list[str] = []
    for line in lines:
        head = line.partition(": ")[0]
        if head in ("how", "missing", "note", "alarm", "validity"):
            indent = " " * (len(head) + 2)
            wrapped += textwrap.wrap(line, WIDTH, subsequent_indent=indent)
        else:
            wrapped.append(line)
    return wrapped


def fields(found: Findings) -> dict[str, Any]:
    """The findings for JSON."""
    watched = found.watched
    unknown = () if found.log.supply_known else _OF_SUPPLY
    return {
        "kind": found.log.kind,
        "rows": len(found.log.length_s),
        "time_s": found.log.time_s,
        "start": None if found.log.start is None else found.log.start.isoformat(),
        "storage_j": found.storage_j,
        "state": {
            name: None if name in unknown else value
            for name, value in _plain_fields(watched.state).items()
            if name != "latest_alarms"
        },
        "whole": {
            name: None if name in unknown else value
            for name, value in _plain_fields(watched.whole).items()
        },
        "alarms": [_plain_fields(alarm) for alarm in watched.alarms],
        "block_s": watched.block_s,
        "blocks": watched.blocks,
        "threshold": watched.threshold,
        "daily": {
            "found": watched.cycle.found,
            "swing_j": watched.cycle.swing_j,
            "profile_w": watched.cycle.profile_w,
        },
        "rates": {name: _plain_fields(each) for name, each in observed(found).items()},
        "ladder": None if found.expected is None else _plain_fields(found.expected),
        "expected_by_day": None
        if found.daily is None
        else {"u_w": found.daily.u, "w_w": found.daily.w},
        "how": watched.how,
        "missing": _missing(found),
        "notes": [*found.log.remarks, *_notes(found)],
    }


def _plain_fields(record: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.structs.asdict(record)
    return found


def meter_title(watched: WatchedMeters) -> str:
    """The answer of two meters in one sentence."""
    reading = watched.reading
    if reading.regime is None:
        return f"The regime is not known: {reading.says}."
    return (
        f"The site is {reading.regime} (confidence {percent(reading.confidence_frac)}), "
        f"index y = {plain(reading.y)}."
    )


def meter_text(log: EnergyLog, watched: WatchedMeters) -> str:
    """What two meters say, in lines."""
    reading: MeterReading = watched.reading
    assert log.auxiliary_j is not None
    assert log.waste_j is not None
    lines = [
        _head(log),
        "",
        meter_title(watched),
        _row("index y", plain(reading.y), plain(reading.y_low), plain(reading.y_high), "ln(W / U)"),
        _row("variance rate", rate(reading.sigma2), rate(reading.sigma2_low),
             rate(reading.sigma2_high), "from u + w"),
        _row("drift theta", power(reading.theta), "not known", "not known", "w - u"),
        _row("to critical", _change(-reading.theta), "not known", "not known",
             "change of baseline supply"),
        "",
        f"auxiliary u     observed {power(float(log.auxiliary_j.sum()) / log.time_s)}",
        f"waste w         observed {power(float(log.waste_j.sum()) / log.time_s)}",
        "",
        f"how: {reading.says}; lossless storage assumed.",
        "missing: Charts: they need the net energy, meters alone do not have it.",
    ]  # fmt: skip
    return "\n".join(_wrapped(lines))


def meter_fields(log: EnergyLog, watched: WatchedMeters, storage_j: float) -> dict[str, Any]:
    """What two meters say, for JSON."""
    assert log.auxiliary_j is not None
    assert log.waste_j is not None
    return {
        "kind": log.kind,
        "rows": len(log.length_s),
        "time_s": log.time_s,
        "start": None if log.start is None else log.start.isoformat(),
        "storage_j": storage_j,
        "meters": {
            **_plain_fields(watched.reading),
            "u_w": float(log.auxiliary_j.sum()) / log.time_s,
            "w_w": float(log.waste_j.sum()) / log.time_s,
        },
        "how": [watched.reading.says],
        "missing": ["Charts need the net energy."],
    }
