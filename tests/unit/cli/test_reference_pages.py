"""The pages of reference know every field and flag, and no others."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import msgspec
import pytest
import typer

from baseload.cli.gateway_summary import ReplicasLine, Summary
from baseload.cli.main import app
from baseload.cli.policy_specs import settable
from baseload.cli.scenario_file import FleetEntry, ScenarioFile, TierEntry
from baseload.cli.scenario_trace import GenerateEntry, TraceEntry
from baseload.gateway import config as gateway_config
from baseload.planner import curves, figures, records, simulated
from baseload.report import plan_result
from baseload.routing.policies import POLICIES
from baseload.simulator.sweeps import Sweep, SweepPoint

PAGES = Path(__file__).parents[3] / "docs" / "reference"
STRUCTS = {
    "Scenario": ScenarioFile,
    "Fleet entry": FleetEntry,
    "Trace": TraceEntry,
    "Generate": GenerateEntry,
    "Tier": TierEntry,
}


def section(page: str, heading: str) -> str:
    """The text under a heading, down to the next of the same level."""
    text = (PAGES / page).read_text(encoding="utf-8")
    return text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def first_cells(text: str) -> list[str]:
    """What the first column of the section's tables names, in order."""
    cells = [row.split("|")[1] for row in text.splitlines() if row.startswith("| `")]
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.parametrize("heading", STRUCTS)
def test_the_scenario_page_names_every_field_and_its_default(heading):
    fields = msgspec.structs.fields(STRUCTS[heading])
    text = section("scenario.md", heading).split("\n### ", 1)[0]
    rows = {first_cells(row)[0]: row for row in text.splitlines() if row.startswith("| `")}
    assert set(rows) == {field.name for field in fields}
    for field in fields:
        if field.required:
            assert "needed" in rows[field.name], field.name
        elif isinstance(field.default, int | float) and not isinstance(field.default, bool):
            assert f"`{field.default:g}`" in rows[field.name], field.name


def gateway_sections():
    """Every record of the gateway's file."""
    for name, record in inspect.getmembers(gateway_config, inspect.isclass):
        if issubclass(record, msgspec.Struct) and record.__module__ == gateway_config.__name__:
            yield name, record


@pytest.mark.parametrize(("name", "record"), list(gateway_sections()))
def test_the_gateway_page_names_every_field_and_its_default(name, record):
    text = section("gateway-config.md", name)
    rows = {first_cells(row)[0]: row for row in text.splitlines() if row.startswith("| `")}
    assert set(rows) == set(record.__struct_fields__)
    for field in msgspec.structs.fields(record):
        default = field.default
        if field.required:
            assert "needed" in rows[field.name], field.name
        elif isinstance(default, int | float | str) and not isinstance(default, bool):
            told = default if isinstance(default, int | str) else f"{default:g}"
            assert f"`{told}`" in rows[field.name], field.name


def test_the_page_of_the_gateways_summary_names_every_field():
    text = section("gateway-config.md", "Summary")
    for record in (Summary, ReplicasLine):
        for field in record.__struct_fields__:
            assert f"`{field}`" in text, field


COMMANDS = {command.name: command for command in typer.main.get_command(app).commands.values()}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_command_page_names_every_flag(name):
    text = section("command-line.md", f"baseload {name}").split("\n### ", 1)[0]
    written = {flag for cell in first_cells(text) for flag in re.findall(r"--?[a-z][a-z-]*", cell)}
    known = {
        flag
        for parameter in COMMANDS[name].params
        for flag in parameter.opts
        if flag.startswith("-") and flag not in ("--help", "-h")
    }
    assert written == known


@pytest.mark.parametrize("record", [Sweep, SweepPoint], ids=lambda record: record.__name__)
def test_the_sweep_page_names_every_field(record):
    assert first_cells(section("sweep.md", record.__name__)) == list(record.__struct_fields__)


def records_of_a_plan():
    """Every record of ``plan --json``, the plan itself with what is drawn."""
    for module in (plan_result, records, figures, curves, simulated):
        for name, record in inspect.getmembers(module, inspect.isclass):
            own = record.__module__ == module.__name__
            if own and issubclass(record, msgspec.Struct) and record is not records.Plan:
                yield name, record


@pytest.mark.parametrize(("name", "record"), list(records_of_a_plan()))
def test_the_plan_page_names_every_field(name, record):
    text = section("plan.md", "JSON").split(f"\n### {name}\n", 1)[1].split("\n### ", 1)[0]
    rows = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert sorted(rows) == sorted(record.__struct_fields__)


def test_the_command_page_names_every_parameter_of_policies():
    text = section("command-line.md", "baseload simulate")
    for policy in POLICIES.values():
        for name in settable(policy):
            assert f"`{name}`" in text
