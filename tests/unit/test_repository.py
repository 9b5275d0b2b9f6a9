"""The house rules that a machine can check, over the files of the repository."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from baseload.simulator import results

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "baseload"
TEXT = {".py", ".md", ".toml", ".yaml", ".yml", ".css", ".json", ".cfg", ""}
MODULES = sorted(SOURCE.rglob("*.py"))
WRITTEN = [
    path
    for folder in ("src", "tests", "bench", "docs", ".ci")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.is_file() and path.suffix in TEXT and "__pycache__" not in path.parts
] + [path for path in sorted(ROOT.iterdir()) if path.is_file() and path.suffix in TEXT]

NOT_IMPORTED = {
    "__main__": "two lines that call cli.main",
    **dict.fromkeys(
        (
            module.relative_to(SOURCE).with_suffix("").as_posix()
            for module in MODULES
            if "cli" in module.parts
        ),
        "tests run commands through cli.main",
    ),
    **dict.fromkeys(
        ("sources/columns", "sources/trace_formats", "sources/trace_writers", "sources/traces"),
        "tests use the names that baseload.sources gathers",
    ),
    **dict.fromkeys(
        ("simulator/boundary", "simulator/drivers", "simulator/jump"),
        "run whole, and held equal to simulator.steps, by tests/properties/test_engines_equal.py",
    ),
    **dict.fromkeys(
        ("testing/fakes", "testing/price_laws", "testing/report"),
        "tests use the names that baseload.testing gathers",
    ),
}
"""Modules that no test imports, and why that is right."""

MOST_LINES = 600
LONG: dict[str, str] = {}
"""Files over the limit, and why."""

NOT_SI = {
    "carbon_g_per_kwh": "the unit of every grid feed; converted at the door",
    "parked_hours": "people count sleep in hours; given to users only",
    **dict.fromkeys(
        (
            "capacity_kwh",
            "replacement_usd_per_kwh",
            "usd_per_kwh",
            "energy_usd_per_kwh",
            "price_usd_per_kwh",
            "adder_usd_per_kwh",
            "baseline_usd_per_kwh",
            "baseline_carbon_g_per_kwh",
            "waste_usd_per_kwh",
            "unserved_usd_per_kwh",
            "storage_usd_per_kwh_year",
        ),
        "the supply section of a scenario file: units that people buy in; converted at the door",
    ),
}
"""Names of fields that users write in another unit, and why."""


def name(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", WRITTEN, ids=name)
def test_text_says_nothing_of_one_machine(path):
    text = path.read_text(encoding="utf-8")
    found = re.search(r"(?<![\w.])/(?:work|root|home|Users|farm|tmp)/\w[\w./-]*", text)
    assert found is None, f"a path of one machine: {found[0]}"
    if path.suffix in (".py", ".md"):
        word = "TO" + "DO"
        assert word not in text, f"{word}: write an issue instead"


@pytest.mark.parametrize("path", [p for p in WRITTEN if p.suffix == ".py"], ids=name)
def test_files_stay_short(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert (lines > MOST_LINES) == (name(path) in LONG), f"{lines} lines"


def imports(path):
    """The modules that a Python file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_module_is_imported_by_a_test():
    tested = {module for path in (ROOT / "tests").rglob("*.py") for module in imports(path)}
    missing = []
    for module in MODULES:
        inside = module.relative_to(SOURCE).with_suffix("").as_posix()
        one_policy = "policies" in module.parts  # one file a policy: all pass the same check
        if module.stem == "__init__" or inside in NOT_IMPORTED or one_policy:
            continue
        if f"baseload.{inside.replace('/', '.')}" not in tested:
            missing.append(inside)
    assert missing == [], "test these, or give the reason in NOT_IMPORTED"


def test_tests_unit_mirrors_the_rooms():
    rooms = {module.relative_to(SOURCE).parts[0] for module in MODULES if module.parent != SOURCE}
    folders = {path.parent.name for path in (ROOT / "tests" / "unit").glob("*/test_*.py")}
    assert sorted(rooms - folders) == []


def test_no_reason_is_left_for_a_module_that_is_gone():
    known = {module.relative_to(SOURCE).with_suffix("").as_posix() for module in MODULES}
    assert [key for key in NOT_IMPORTED if key not in known] == []


def structs():
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                for item in node.body:
                    if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                        yield module, node.name, item.target.id


def test_names_carry_si_units():
    bad = re.compile(
        r"(_percent|_pct|_ms|_kwh|_wh|_kj|_minutes|_hours|_watts?|_joules?|_seconds|_secs?)(_|$)"
    )
    found = [
        f"{name(path)}: {owner}.{field}"
        for path, owner, field in structs()
        if bad.search(field) and field not in NOT_SI
    ]
    assert found == [], "SI units in names: _j _w _s _frac; convert in base/units.py"


def test_the_changelog_has_an_unreleased_section():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    section = re.search(r"^## \[?Unreleased\]?$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section is not None
    assert "- " in section[1], "say what a user will notice"


def contract():
    """Every field of every record of ``simulate --json``, as ``Record.field``."""
    for record_name, record in inspect.getmembers(results, inspect.isclass):
        if issubclass(record, msgspec.Struct) and record.__module__ == results.__name__:
            for field in record.__struct_fields__:
                yield record_name, field


@pytest.mark.parametrize(("record", "field"), list(contract()))
def test_every_field_of_the_result_is_documented(record, field):
    text = (ROOT / "docs" / "reference" / "simulate.md").read_text(encoding="utf-8")
    section = re.search(rf"^### {record}$(.*?)(?=^#{{1,3}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section is not None, f"docs/reference/simulate.md has no section {record}"
    assert re.search(rf"^\| `{field}` \|", section[1], re.MULTILINE), f"{record}.{field}"


def test_no_documented_field_is_gone():
    text = (ROOT / "docs" / "reference" / "simulate.md").read_text(encoding="utf-8")
    known = set(contract())
    for section in re.finditer(r"^### (\w+)$(.*?)(?=^#{1,3} |\Z)", text, re.MULTILINE | re.DOTALL):
        fields = re.findall(r"^\| `(\w+)` \|", section[2], re.MULTILINE)
        if any(record == section[1] for record, _ in known):
            assert [field for field in fields if (section[1], field) not in known] == []


def exports():
    for module in MODULES:
        if module.name != "__init__.py":
            continue
        dotted = ".".join(module.parent.relative_to(SOURCE.parent).parts)
        for export in getattr(importlib.import_module(dotted), "__all__", ()):
            yield dotted, export


@pytest.mark.parametrize(("package", "export"), list(exports()))
def test_every_export_exists_and_says_what_it_is(package, export):
    value = getattr(importlib.import_module(package), export)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert (inspect.getdoc(value) or "").strip(), f"{package}.{export} has no docstring"


def test_every_policy_says_what_it_is_and_where_it_comes_from():
    from baseload.routing.policies import POLICIES

    assert POLICIES
    for key, policy in POLICIES.items():
        assert policy.name == key
        assert policy.summary.strip()
        assert policy.source.strip()


def test_the_layers_of_the_house_hold():
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    done = subprocess.run(
        [*command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
