"""From ``--policy`` to a policy: a built-in name, or a user's own in a Python file.

A user's file is code that we run: whatever it does wrong is reported as its mistake, with its line,
and never as ours.
"""

from __future__ import annotations

import inspect
import sys
import traceback
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec

from baseload.base.errors import BadInputError, nearest_names, unknown_name
from baseload.routing.policies import policy
from baseload.routing.policy import AnyPolicy, ChoosesInPython, Policy, Rule
from baseload.routing.price import PARTS

_KINDS = "a baseload.Policy, or a class or object with choose(request, fleet)"


def policy_of(spec: str) -> AnyPolicy:
    """The policy that ``spec`` names: ``name``, ``name:parameter=value,...`` or ``file.py:Name``.

    With parameters the policy is called as ``spec`` says, so that two settings can be compared.
    Runs the user's file. Raises ``UnknownNameError`` or ``BadInputError`` saying what was found
    there.
    """
    path, name, text = _parts(spec)
    made = policy(name) if path is None else _from_file(path, name)
    if text is None:
        return made
    if not isinstance(made, Policy):
        raise BadInputError(
            f"policy {spec!r}",
            found=f"parameters {text!r} for a policy in plain Python",
            allowed="parameters of policies that are records (baseload.Policy)",
            todo="set them in the file",
        )
    changed = made.with_parameters(_parameters(made, text, spec))
    return msgspec.structs.replace(changed, name=f"{made.name}:{text}")


def _parts(spec: str) -> tuple[Path | None, str, str | None]:
    """File (if any), name and parameters (if any) of a spec."""
    file, in_file, rest = spec.partition(".py:")
    if spec.endswith(".py"):
        raise BadInputError(
            f"policy {spec!r}",
            found="a file without a name",
            allowed="file.py:Name",
            todo=f"say {spec}:MyPolicy, with the name of your class or record",
        )
    name, colon, text = (rest if in_file else spec).partition(":")
    return Path(f"{file}.py") if in_file else None, name, text if colon else None


def _parameters(base: Policy, text: str, spec: str) -> dict[str, str]:
    """Parameters by name; each given once, known, and of use to this policy."""
    allowed = settable(base)
    values: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not (name and equals and value):
            raise BadInputError(
                f"parameters of policy {spec!r}",
                found=repr(part),
                allowed="name=value, with commas between several",
                todo=f"`baseload policies {base.name}` lists its parameters",
            )
        if name in values:
            raise BadInputError(
                f"parameters of policy {spec!r}", found=f"{name} twice", allowed="each once"
            )
        if name not in allowed:
            near = nearest_names(name, allowed)
            raise BadInputError(
                f"policy {base.name!r} has no parameter {name!r}",
                found=part.strip(),
                allowed=", ".join(near or allowed) or "none: nothing of it can be set",
            )
        _check_value(base, name, value)
        values[name] = value
    return values


_SHAPES = {
    "backlog": ("deadline_factor",),
    "headroom": ("margin_frac", "ttft_weight"),
    "tiles": ("margin_frac", "tile_requests"),
    "size": ("short_input_tokens", "short_output_tokens"),
}
"""Which of ``price.KNOBS`` shape which part of the price."""


def settable(base: Policy) -> list[str]:
    """Names of the parameters that change what a policy does."""
    if base.rule not in ("price", "sample"):
        slow = base.slow.settable()
        return ["weight", *slow] if base.rule == "weighted_round_robin" else slow
    rates = [] if base.price is not None else [f"rate_{part}" for part in PARTS]
    shaped = [knob for part, knobs in _SHAPES.items() if base.rates.get(part) for knob in knobs]
    choices = ["choices"] if base.rule == "sample" else []
    return [*choices, *rates, *dict.fromkeys(shaped), *base.slow.settable()]


def _check_value(base: Policy, name: str, value: str) -> None:
    """Refuse values that would be cut, or would make the policy look in the wrong place."""
    if name == "choices" and not (value.isascii() and value.isdigit()):
        raise BadInputError(
            f"policy {base.name!r}: choices", found=value, allowed="a whole number, 1 to 1024"
        )
    if name == "weight" and value not in ("capacity", "equal"):
        raise BadInputError(
            f"policy {base.name!r}: weight", found=value, allowed="capacity or equal"
        )
    if name.startswith("rate_") and value.startswith("-"):
        raise BadInputError(
            f"policy {base.name!r}: {name}", found=value, allowed="a number >= 0", todo="drop the -"
        )


def _from_file(path: Path, name: str) -> AnyPolicy:
    """The policy called ``name`` in a Python file."""
    found = vars(_module(path))
    if name not in found:
        public = [key for key, value in found.items() if key[0] != "_" and _is_policy(value)]
        raise unknown_name(f"policy in {path}", name, public or ["(no policy in this file)"])
    value, where = found[name], f"policy {path}:{name}"
    if not _is_policy(value):
        what = f"the class {name} without choose" if isinstance(value, type) else _kind(value)
        raise BadInputError(where, found=what, allowed=_KINDS, todo="see `baseload policies`")
    made: Any = _made(value, where)
    if isinstance(made, Policy):
        _check_record(made, where)
    else:
        _check_choose(made, where)
        if not hasattr(made, "name"):
            _call_it(made, name)
    return made  # type: ignore[no-any-return]


def _made(value: Any, where: str) -> Any:
    """An object of the user's class, or the user's object itself."""
    if not isinstance(value, type):
        return value
    try:
        return value()
    except (Exception, SystemExit) as error:
        raise BadInputError(
            f"{where} cannot be made",
            found=f"{_kind(error)}: {error}",
            allowed="a class that needs no arguments",
            todo="give the arguments defaults, or name an object in place of the class",
        ) from error


def _call_it(made: Any, name: str) -> None:
    """Give an object a name, if it can take one; the class's name serves otherwise."""
    try:
        made.name = name
    except (AttributeError, TypeError):
        return


def _check_record(made: Policy, where: str) -> None:
    """Refuse a record that no engine could follow."""
    rules = get_args(Rule)
    if made.rule not in rules:
        raise BadInputError(
            f"{where}: unknown rule", found=repr(made.rule), allowed=", ".join(rules)
        )
    if made.price is not None and not hasattr(made.price, "py_func"):
        raise BadInputError(
            f"{where}: price is not compiled",
            found=f"a plain {_kind(made.price)}",
            allowed="a function with @kernel from baseload.base.kernels",
            todo="put @kernel in the line before its def",
        )


def _check_choose(made: Any, where: str) -> None:
    """Refuse a ``choose`` that cannot be called with a request and a fleet."""
    if inspect.iscoroutinefunction(made.choose):
        raise BadInputError(
            f"{where}: choose is async", found="async def", allowed="def", todo="drop async"
        )
    try:
        inspect.signature(made.choose).bind(None, None)
    except TypeError as error:
        raise BadInputError(
            f"{where}: choose cannot be called",
            found=f"choose{inspect.signature(made.choose)}: {error}",
            allowed="choose(self, request, fleet)",
        ) from error
    except ValueError:
        return  # a compiled callable that does not tell its parameters


def _kind(value: object) -> str:
    return type(value).__name__


def _is_policy(value: Any) -> bool:
    """Whether a value can route: a record, or something that chooses."""
    chooses = callable(getattr(value, "choose", None)) and value is not ChoosesInPython
    return isinstance(value, Policy) or chooses


def _module(path: Path) -> types.ModuleType:
    """The Python file as a module; its own mistakes are reported as such.

    It is compiled here and now: no folder of byte code is left beside it, and no old one is used.
    """
    try:
        source = path.read_bytes()
    except OSError as error:
        raise BadInputError(
            f"policy file {path}",
            found=error.strerror or str(error),
            allowed="a Python file",
            todo="check the path",
        ) from error
    module = types.ModuleType(f"baseload_user_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, str(path), "exec"), vars(module))
    except (Exception, SystemExit) as error:
        line = _line_in(error, [path])
        raise BadInputError(
            f"policy file {path} does not run",
            found=f"{_kind(error)}: {str(error).partition(chr(10))[0]}{line or ''}",
            allowed=getattr(error, "allowed", ""),
            todo="correct the file",
        ) from error
    return module


def failure_in(error: BaseException, specs: Sequence[str]) -> BadInputError | None:
    """The error to show when a run failed in a user's policy; ``None`` when the fault is ours."""
    files = [path for path, _, _ in map(_parts, specs) if path is not None]
    line = _line_in(error, files)
    compiling = bool(files) and type(error).__module__.startswith("numba.")
    if line is None and not compiling:
        return None
    message = str(error)
    if compiling:
        message = next((row for row in message.splitlines() if row.strip()), message)
    return BadInputError(
        "the policy's price does not compile" if compiling else "the policy failed while it chose",
        found=f"{_kind(error)}: {message}{line or ''}",
        allowed="choose(request, fleet) gives a replica number or None, and changes nothing",
        todo="correct the policy; nothing was written",
    )


def _line_in(error: BaseException, files: Sequence[Path]) -> str | None:
    """Where in the user's files an error came from, in words."""
    names = {str(path) for path in files}
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in names
    ]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else None
