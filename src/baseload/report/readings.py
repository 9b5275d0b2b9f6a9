"""One plain sentence under each plot, computed from the data: what a reader should see in it."""

from __future__ import annotations

from baseload.report import wording
from baseload.report.figures import Comparison, Row, energy_by_state, front, thriftiest, trade_off


def _pair(comparison: Comparison) -> list[Row]:
    """The baseline and the thriftiest policy; one row when they are the same."""
    best = thriftiest(comparison.rows)
    return [comparison.baseline] if best.is_baseline else [comparison.baseline, best]


def latency(comparison: Comparison) -> str:
    """What the two distributions say."""
    said = [
        f"under {row.label} half of the requests had their first token within "
        f"{wording.duration(row.result.ttft_s.p50)} and 99 of 100 within "
        f"{wording.duration(row.result.ttft_s.p99)}"
        for row in _pair(comparison)
        if row.result.ttft_s.p50 is not None
    ]
    if not said:
        return "No request was answered, so there is no latency to show."
    return f"The further left a curve, the faster: {'; '.join(said)}."


def power(comparison: Comparison) -> str:
    """What the stacked power says."""
    said = []
    for row in _pair(comparison):
        mean_w = row.result.energy_mj_per_hour * 1e6 / 3600.0
        said.append(
            f"{wording.power(mean_w)} under {row.label}, of which "
            f"{wording.percent(row.idle_frac)} went into waiting"
        )
    return f"Averaged over the trace the GPUs drew {wording.listing(said)}."


def energy(comparison: Comparison) -> str:
    """What the bars say."""
    said = []
    for row in _pair(comparison):
        if row.result.completed == 0:
            continue
        by_state = energy_by_state(row.result)
        total = sum(by_state.values()) / row.result.completed
        working = by_state.get("active", 0.0) / row.result.completed
        said.append(
            f"under {row.label} an answer cost {wording.number(total)} J, "
            f"{wording.number(working)} J of it for work"
        )
    if not said:
        return "No request was answered, so energy cannot be shared among answers."
    return f"{_upper('; '.join(said))}."


def trade(comparison: Comparison) -> str:
    """What the scatter says."""
    points = trade_off(comparison, "tpot_s")
    if not points:
        return "No request was answered, so there is nothing to weigh."
    names = [points[place][0].label for place in front([(x, y) for _, x, y in points])]
    if len(names) == 1:
        return (
            f"Lower left is better: no policy beats {names[0]} in energy or time per token."
            f"{_bound_words(comparison)}"
        )
    said = f"the policies that no other beats in both: on the left {wording.listing(names)}"
    rest = (
        "; any other is no faster and no cheaper than one of these"
        if len(names) < len(points)
        else ""
    )
    return f"Lower left is better. The grey line joins {said}{rest}.{_bound_words(comparison)}"


def _bound_words(comparison: Comparison) -> str:
    """How far the thriftiest policy is from what no schedule could undercut."""
    best = thriftiest(comparison.rows)
    if best.result.energy_over_bound is None:
        return ""
    return (
        f" The dotted line is what no schedule could undercut; {best.label} used "
        f"{wording.number(best.result.energy_over_bound)} times that."
    )


def replicas(comparison: Comparison, rows: list[Row]) -> str:
    """What the stacked replicas say."""
    total = sum(row.replicas for row in comparison.simulation.fleet)
    hours = comparison.simulation.trace.span_s / 3600.0 * total
    said = [
        f"under {row.label} replicas slept {wording.percent(row.result.parked_hours / hours)} of "
        f"their time and were woken {wording.count(row.result.wakes)} times"
        for row in rows
        if row.result.parked_hours > 0 and hours > 0
    ]
    if not said:
        return "No replica slept under these policies: what has no work waits at idle power."
    return f"{_upper('; '.join(said))}."


def course(rows: list[Row]) -> str:
    """What misses and the price of lateness over time say."""
    said = [
        f"{row.label} missed {wording.percent(row.result.miss_frac)} over the whole run and at "
        f"most {wording.percent(max(known))} in one stretch of {wording.duration(series.bin_s)}"
        for row in rows
        if (series := row.result.series) is not None
        and (known := [one for one in series.miss_frac if one is not None])
    ]
    lead = "Where a curve is above the dotted line, more deadlines were missed than a target allows"
    return f"{lead}: {'; '.join(said)}." if said else f"{lead}."


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
