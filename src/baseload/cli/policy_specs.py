"""From ``--policy`` to a policy: a built-in name, or a user's own in a Python file."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from baseload.base.errors import BadInputError, unknown_name
from baseload.routing.policies import policy
from baseload.routing.policy import AnyPolicy, ChoosesInPython, Policy


def policy_of(spec: str) -> AnyPolicy:
    """The policy that ``spec`` names: ``name``, ``name:parameter=value,...`` or ``file.py:Name``.

    Runs the user's file. Raises ``UnknownNameError`` or ``BadInputError`` saying what was found
    there.
    """
    path, separator, name = spec.rpartition(":")
    if separator and path.endswith(".py"):
        return _from_file(Path(path), name)
    if spec.endswith(".py"):
        raise BadInputError(
            f"policy {spec!r}",
            found="a file without a name",
            allowed="file.py:Name",
            todo=f"say {spec}:MyPolicy",
        )
    return policy(spec)


def _from_file(path: Path, name: str) -> AnyPolicy:
    """The policy called ``name`` in a Python file."""
    if not path.is_file():
        raise BadInputError(
            f"policy file {path}",
            found="no such file",
            allowed="a Python file",
            todo="check the path",
        )
    found = _module(path)
    public = [
        key for key, value in vars(found).items() if not key.startswith("_") and _is_policy(value)
    ]
    if name not in vars(found):
        raise unknown_name(f"policy in {path}", name, public or ["(no policy in this file)"])
    value = getattr(found, name)
    if not _is_policy(value):
        raise BadInputError(
            f"policy {path}:{name}",
            found=type(value).__name__,
            allowed="a baseload.Policy, or a class or object with choose(request, fleet)",
        )
    made: AnyPolicy = value() if isinstance(value, type) else value
    if not isinstance(made, Policy) and not hasattr(made, "name"):
        vars(made)["name"] = name
    return made


def _is_policy(value: Any) -> bool:
    """Whether a value can route: a record, or something that chooses."""
    return isinstance(value, Policy) or (
        callable(getattr(value, "choose", None)) and value is not ChoosesInPython
    )


def _module(path: Path) -> Any:
    """The Python file as a module; its own mistakes are reported as such."""
    spec = importlib.util.spec_from_file_location(f"baseload_user_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise BadInputError(
            f"policy file {path} does not run",
            found=f"{type(error).__name__}: {error}",
            todo="correct the file",
        ) from error
    return module
