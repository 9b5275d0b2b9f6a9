"""What ``baseload theory`` says: the catalogue, one formula, a value; as text and as JSON."""

from __future__ import annotations

import inspect
import math
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from baseload.theory import catalogue, symbols

if TYPE_CHECKING:
    from baseload.cli.theory_inputs import Inputs
    from baseload.theory.entry import Entry
    from baseload.theory.ladder import SupplyRates

Point = tuple[Any, "SupplyRates | None"]

_STANDING = {
    "exact": "exact for the stated model",
    "asymptotic": "asymptotic: its error is stated and goes to 0 in a limit",
    "heuristic": "heuristic: checked by simulation only, or not at all",
}
_RATIOS = (
    ("storage_per_slot_noise", "noise of one slot", "supply_rates takes slot"),
    (
        "storage_per_overshoot",
        "mean overshoot of one request",
        "supply_rates takes lam, dist, mean",
    ),
    ("storage_per_episode", "one correlated episode", "supply_rates takes episode_j"),
)
WIDTH = 100


def catalogue_text() -> str:
    """The formulas by topic, a line or two each."""
    lines: list[str] = []
    topic = ""
    width = max(len(name) for name in catalogue.ENTRIES)
    for entry in catalogue.ENTRIES.values():
        if entry.topic != topic:
            topic = entry.topic
            lines += ["", topic.upper()]
        tail = f"({entry.section}, {entry.standing})"
        lines += _hanging(f"{entry.gives} {tail}", f"  {entry.name:{width}}  ")
    lines += [
        "",
        "exact: for the stated model; asymptotic: with a stated error; heuristic: simulation only.",
        "`baseload theory NAME` explains one, `baseload theory NAME INPUT=VALUE ...` evaluates it.",
    ]
    return "\n".join(lines[1:])


def _hanging(text: str, first: str) -> list[str]:
    """``text`` behind ``first``, wrapped under itself."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_on_hyphens=False,
        break_long_words=False,
    )


def catalogue_fields() -> list[dict[str, Any]]:
    """The same for JSON."""
    return [entry_fields(entry, short=True) for entry in catalogue.ENTRIES.values()]


def entry_text(entry: Entry) -> str:
    """One formula: what it gives, its inputs, an example, its docstring."""
    lines = [
        *_hanging(entry.gives, f"{entry.name}: "),
        f"{_STANDING[entry.standing]}; section {entry.section}, {entry.topic}",
        "",
        "inputs:",
    ]
    named = input_fields(entry)
    width = max((len(each["name"]) for each in named), default=0)
    for each in named:
        unit = f" [{each['unit']}]" if each["unit"] else ""
        lines += _hanging(each["means"] + unit + _default(each), f"  {each['name']:{width}}  ")
    lines += ["", "example:", f"  {example_command(entry)}"]
    if entry.explanation:
        lines += ["", entry.explanation]
    lines += ["", *python_lines(entry)]
    return "\n".join(lines)


def _default(field: Mapping[str, Any]) -> str:
    """What is taken where an input is left out."""
    if field["required"]:
        return ""
    default = field["default"]
    return "; may be left out" if default is None else f"; {_plain(default)} unless given"


def python_lines(entry: Entry) -> list[str]:
    """How to call the formula from Python."""
    lines = [f'in Python: baseload.theory.catalogue["{entry.name}"](...)']
    typed = entry.typed
    if typed is not None and typed.__module__.startswith("baseload.theory."):
        lines.append(f"typed:     {typed.__module__}.{typed.__qualname__}")
    return lines


def input_fields(entry: Entry) -> list[dict[str, Any]]:
    """Name, meaning, unit and default of every input, those of the example included."""
    fields = []
    known = entry.inputs
    for name in [*known, *(name for name in entry.example if name not in known)]:
        symbol = symbols.input_symbol(entry.name, name)
        parameter = known.get(name)
        default = inspect.Parameter.empty if parameter is None else parameter.default
        required = default is inspect.Parameter.empty
        fields.append(
            {
                "name": name,
                "means": symbol.means if symbol else "",
                "unit": symbol.unit if symbol else "",
                "required": required,
                "default": None if required else default,
            }
        )
    return fields


def entry_fields(entry: Entry, *, short: bool = False) -> dict[str, Any]:
    """One formula for JSON; ``short`` leaves out inputs and docstring."""
    fields: dict[str, Any] = {
        "name": entry.name,
        "gives": entry.gives,
        "topic": entry.topic,
        "section": entry.section,
        "standing": entry.standing,
        "example": entry.example,
    }
    if short:
        return fields
    return {**fields, "inputs": input_fields(entry), "explanation": entry.explanation}


def example_command(entry: Entry) -> str:
    """The command that evaluates the example."""
    words = [f"{name}={argument(value)}" for name, value in entry.example.items()]
    return f"baseload theory {entry.name} {' '.join(words)}"


def argument(value: Any) -> str:
    """``value`` as a shell word that ``baseload theory`` reads back."""
    if isinstance(value, list | tuple):
        return "[" + ",".join(argument(item) for item in value) + "]"
    if isinstance(value, str):
        return value if value.isalnum() else f'"{value}"'
    return _plain(value)


def _plain(value: Any) -> str:
    """A number in few digits, a truth value in small letters."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def value_text(entry: Entry, said: Inputs, points: list[Point]) -> str:
    """The value of a formula with its unit and standing, or a table of values."""
    if said.sweep is not None:
        return _table(entry, said, points)
    value, ladder = points[0]
    if isinstance(value, dict):
        units = symbols.result_units(entry, value)
        width = max(len(key) for key in value)
        lines = [f"{entry.name}: {entry.gives}"]
        for key, item in value.items():
            lines += _hanging(_with_unit(item, units[key]), f"  {key:{width}} = ")
    else:
        lines = [f"{entry.name} = {_with_unit(value, symbols.result_unit(entry))}", entry.gives]
    lines.append(f"{_STANDING[entry.standing]}; section {entry.section}")
    if ladder is not None:
        lines += ["", *ladder_lines(ladder)]
    return "\n".join(lines)


def _with_unit(value: Any, unit: str) -> str:
    text = shown(value)
    return f"{text} {unit}" if unit and isinstance(value, int | float) else text


def shown(value: Any) -> str:
    """A result as text: ten digits, lists in brackets, nothing as ``not known``."""
    if value is None:
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, list | tuple):
        return "; ".join(shown(item) for item in value) or "none"
    return str(value)


def ladder_lines(ladder: SupplyRates) -> list[str]:
    """Rung, rates, error and the three validity ratios."""
    error = "not known" if ladder.error_frac is None else f"{100 * ladder.error_frac:.2g} %"
    lines = [
        f"rung of the accuracy ladder for these inputs: {ladder.rung} ({ladder.standing}, "
        f"error {error})",
        f"  u = {ladder.u_w:.6g} W, w = {ladder.w_w:.6g} W; y = {ladder.y:.6g}, {ladder.regime}",
        "validity: the store over ... (the diffusion wants all three large)",
    ]
    for field, words, hint in _RATIOS:
        ratio = getattr(ladder, field)
        lines.append(
            f"  {words:30}  " + (f"not known ({hint})" if ratio is None else f"{ratio:.4g}")
        )
    for warning in ladder.warnings:
        lines += _hanging(warning, "note: ")
    return lines


def columns_of(value: Any) -> dict[str, Any]:
    """A result as named columns."""
    return value if isinstance(value, dict) else {"value": value}


def _table(entry: Entry, said: Inputs, points: list[Point]) -> str:
    """One row a value of the swept input."""
    assert said.sweep is not None
    first = points[0][0]
    single = not isinstance(first, dict)
    units = {"value": symbols.result_unit(entry)} if single else symbols.result_units(entry, first)
    symbol = symbols.input_symbol(entry.name, said.sweep.name)
    names = [key for key in columns_of(first) if key not in ("warnings", "says")]
    head = [_headed(said.sweep.name, symbol.unit if symbol else "")]
    head += [_headed(entry.name if single else key, units[key]) for key in names]
    rung = any(ladder is not None for _, ladder in points)
    rows = [head + (["rung"] if rung else [])]
    for at, (value, ladder) in zip(said.sweep.values, points, strict=True):
        cells = [f"{at:.6g}", *(_cell(columns_of(value)[key]) for key in names)]
        rows.append(cells + ([ladder.rung if ladder is not None else "-"] if rung else []))
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = ["  ".join(f"{cell:>{w}}" for cell, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([*lines, f"{_STANDING[entry.standing]}; section {entry.section}"])


def _cell(value: Any) -> str:
    return "-" if value is None else shown(value)


def _headed(name: str, unit: str) -> str:
    return f"{name} [{unit}]" if unit else name


def value_fields(entry: Entry, said: Inputs, points: list[Point]) -> dict[str, Any]:
    """A value, or a sweep, for JSON."""
    first = points[0][0]
    single = not isinstance(first, dict)
    fields: dict[str, Any] = {
        "formula": entry.name,
        "gives": entry.gives,
        "section": entry.section,
        "standing": entry.standing,
        "inputs": said.given,
        "unit": symbols.result_unit(entry) if single else symbols.result_units(entry, first),
    }
    if said.sweep is None:
        return {**fields, "value": first, "ladder": _ladder_fields(points[0][1])}
    rows = [
        {"at": at, "value": value, "ladder": _ladder_fields(ladder)}
        for at, (value, ladder) in zip(said.sweep.values, points, strict=True)
    ]
    return {**fields, "sweep": said.sweep.name, "rows": rows}


def _ladder_fields(ladder: SupplyRates | None) -> dict[str, Any] | None:
    return None if ladder is None else msgspec.structs.asdict(ladder)


def with_infinities(value: Any) -> Any:
    """``value`` with infinite numbers as the texts inf and -inf, which JSON has no numbers for."""
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if isinstance(value, Mapping):
        return {key: with_infinities(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [with_infinities(item) for item in value]
    return value
