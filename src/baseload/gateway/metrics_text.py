"""The page of metrics: Prometheus' text format, or OpenMetrics where it is asked for. Pure."""

from __future__ import annotations

import math

from baseload.gateway.cells import Labels, Sums
from baseload.gateway.metric_names import BY_NAME, METRICS, Metric

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPEN_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


class MetricsText:
    """Writes pages; keeps the beginnings of lines, which do not change, from page to page."""

    def __init__(self) -> None:
        self._heads: dict[tuple[str, Labels], list[str]] = {}

    def page(self, sums: Sums, *, openmetrics: bool = False) -> bytes:
        """All series of ``sums``, metric by metric."""
        by_metric: dict[str, list[str]] = {}
        for key, values in sums.items():
            lines = by_metric.get(key[0])
            if lines is None:
                lines = by_metric[key[0]] = []
            heads = self._heads.get(key)
            if heads is None:
                heads = self._heads[key] = _heads(BY_NAME[key[0]], key[1])
            if len(values) == 1:
                lines.append(heads[0] + _number(values[0]))
            else:
                _histogram(lines, heads, values)
        return _joined(by_metric, openmetrics=openmetrics)


def _joined(by_metric: dict[str, list[str]], *, openmetrics: bool) -> bytes:
    out: list[str] = []
    for metric in METRICS:
        lines = by_metric.get(metric.name)
        if lines:
            family = metric.name
            if openmetrics and metric.kind == "counter":
                family = family.removesuffix("_total")
            out.append(f"# HELP {family} {metric.help}\n# TYPE {family} {metric.kind}")
            out.extend(lines)
    if openmetrics:
        out.append("# EOF")
    out.append("")
    return "\n".join(out).encode()


def _histogram(lines: list[str], heads: list[str], values: list[float]) -> None:
    """Buckets count all at or below their bound; the last value is the sum."""
    count = 0.0
    for head, value in zip(heads, values[:-1], strict=False):
        count += value
        lines.append(head + _number(count))
    lines.append(heads[-2] + _number(count))
    lines.append(heads[-1] + _number(values[-1]))


def _heads(metric: Metric, labels: Labels) -> list[str]:
    """What stands before the number in each line of a series."""
    pairs = [
        f'{name}="{value.translate(_ESCAPES)}"'
        for name, value in zip(metric.labels, labels, strict=True)
    ]
    plain = "{" + ",".join(pairs) + "} " if pairs else " "
    if metric.kind != "histogram":
        return [metric.name + plain]
    bounds = [_number(bound) for bound in (*metric.bounds, math.inf)]
    before = f"{metric.name}_bucket{{" + "".join(pair + "," for pair in pairs)
    heads = [f'{before}le="{bound}"}} ' for bound in bounds]
    return [*heads, f"{metric.name}_count{plain}", f"{metric.name}_sum{plain}"]


def _number(value: float) -> str:
    if value == math.inf:
        return "+Inf"
    return repr(value)


def wants_openmetrics(accept: str) -> bool:
    """Whether an ``Accept`` header names OpenMetrics 1, as Prometheus' does."""
    return any(
        "application/openmetrics-text" in asked and "version=0" not in asked
        for asked in accept.split(",")
    )
