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
    points = trade_off(comparison)
    if not points:
        return "No request was answered, so there is nothing to weigh."
    names = [points[place][0].label for place in front([(x, y) for _, x, y in points])]
    if len(names) == 1:
        return f"Lower left is better: no policy beats {names[0]} in either respect."
    said = f"the policies that no other beats in both: {wording.listing(names)}"
    rest = (
        "; any other is no faster and no cheaper than one of these"
        if len(names) < len(points)
        else ""
    )
    return f"Lower left is better. The grey line joins {said}{rest}."


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
