"""YAML as people mean it, read strictly: a mistake is reported with its line or the path of its
field.

PyYAML follows YAML 1.1, where ``1e6`` is text, ``010`` is eight, ``1:30`` is ninety and ``on`` is
true. Here numbers, truth values and nothing follow YAML 1.2, dates stay text, and a field that
stands twice is an error.
"""

from __future__ import annotations

import math
import re
from typing import Any, TypeVar

import msgspec
import yaml

from baseload.base.errors import BadInputError, nearest_names

T = TypeVar("T")

_SEE = "see docs/reference/scenario.md"
_INT = re.compile(r"^[-+]?[0-9][0-9_]*$")
_FLOAT = re.compile(
    r"^[-+]?(([0-9][0-9_]*\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|\.(inf|Inf|INF))$|^\.(nan|NaN|NAN)$"
)
_LARGEST_EXACT = 2**53
_SHOWN_CHARACTERS = 60


class _Loader(yaml.SafeLoader):
    """The safe loader with the scalars of YAML 1.2 and without fields that stand twice."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own protocol

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """A mapping whose fields differ."""
        seen = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            name = (key.tag, str(key.value))
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the field {key.value!r} stands here twice", key.start_mark
                )
            seen.add(name)
        return super().construct_mapping(node, deep=deep)


def _whole(loader: yaml.SafeLoader, node: Any) -> int:
    return int(loader.construct_scalar(node).replace("_", ""))


def _decimal(loader: yaml.SafeLoader, node: Any) -> float | int:
    """A number; ``2e7`` is whole where it can be."""
    text = loader.construct_scalar(node).replace("_", "").lower()
    value = float(text.replace(".inf", "inf").replace(".nan", "nan"))
    whole = "e" in text and math.isfinite(value) and value.is_integer()
    return int(value) if whole and abs(value) < _LARGEST_EXACT else value


for _tag, _pattern, _first in (
    ("bool", re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    ("int", _INT, "-+0123456789"),
    ("float", _FLOAT, "-+0123456789."),
    ("null", re.compile(r"^(~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("merge", re.compile(r"^<<$"), "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, list(_first))
_Loader.add_constructor("tag:yaml.org,2002:int", _whole)
_Loader.add_constructor("tag:yaml.org,2002:float", _decimal)


def load_yaml(text: str, *, where: str, todo: str = _SEE) -> Any:
    """The content of a YAML ``text``, whatever it is; ``where`` names it in messages.

    Raises ``BadInputError`` with the line of a mistake.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # a subclass of the safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise BadInputError(
            f"{where} is no YAML", found=f"{error.problem or error.context}{place}", todo=todo
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        first = (str(error).splitlines() or [type_name(error)])[0]
        raise BadInputError(f"{where} is no YAML", found=first, todo=todo) from error


def decode_yaml(text: str, *, type: type[T], where: str) -> T:  # noqa: A002 - msgspec's word
    """The content of a YAML ``text`` as a ``type``; ``where`` names it in messages.

    Raises ``BadInputError`` with the line of a mistake in the YAML, or the path of a field that
    the type does not know, needs, or wants otherwise.
    """
    data = load_yaml(text, where=where)
    if not isinstance(data, dict):
        raise BadInputError(
            f"{where}: content",
            found="an empty file" if data is None else _said(data),
            allowed=f"fields: {', '.join(_fields(type, []))}",
            todo=_SEE,
        )
    try:
        return msgspec.convert(data, type)
    except msgspec.ValidationError as error:
        raise _explained(error, data, type, where) from error


def type_name(value: object) -> str:
    """The name of a value's type."""
    return value.__class__.__name__


def _explained(
    error: msgspec.ValidationError, data: Any, root: type[Any], where: str
) -> BadInputError:
    """The error that msgspec found, with the field's path, its content and what may stand there."""
    message, _, path = str(error).partition(" - at `$")
    steps = re.findall(r"\.([^.\[\]]+)|\[(\d+)\]", path.rstrip("`"))
    keys: list[str | int] = [name or int(index) for name, index in steps]
    field = _path(keys) + (", one of its values" if "[...]" in path else "")
    if unknown := re.match(r"Object contains unknown field `(.*)`", message):
        known = _fields(root, keys)
        near = nearest_names(unknown[1], known)
        return BadInputError(
            f"{where}: unknown field {_path([*keys, unknown[1]])}",
            found=unknown[1],
            allowed=f"nearest: {', '.join(near)}" if near else ", ".join(known),
            todo=_SEE,
        )
    if missing := re.match(r"Object missing required field `(.*)`", message):
        return BadInputError(
            f"{where}: missing field {_path([*keys, missing[1]])}",
            found=f"only {', '.join(map(str, _at(data, keys)))}" if _at(data, keys) else "nothing",
            todo=_SEE,
        )
    if expected := re.match(r"Expected `(.*)`, got `.*`", message):
        kinds = expected[1].split(" | ")
        found = _at(data, keys)
        quotes = "str" in kinds and isinstance(found, int | float)
        return BadInputError(
            f"{where}: field {field}",
            found=_said(found),
            allowed=" or ".join(_WORDS.get(kind, kind) for kind in kinds),
            todo="put it in quotes" if quotes else _SEE,
        )
    place = f"field {field}" if field else "names of fields"
    return BadInputError(f"{where}: {place}", found=message, todo=_SEE)


_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "fields with values",
    "null": "null",
}


def _said(value: Any) -> str:
    """What stands there, in words and short."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, dict):
        return f"fields {', '.join(map(str, value))}" if value else "no fields"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, str):
        shown = value if len(value) <= _SHOWN_CHARACTERS else value[:_SHOWN_CHARACTERS] + "..."
        return f"the text {shown!r}"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _path(keys: list[str | int]) -> str:
    """``fleet[0].replicas`` of its keys."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return text.removeprefix(".")


def _at(data: Any, keys: list[str | int]) -> Any:
    """The value at a path."""
    for key in keys:
        data = data[key]
    return data


def _fields(root: type[Any], keys: list[str | int]) -> list[str]:
    """Names of the fields that the struct at a path has."""
    info: Any = msgspec.inspect.type_info(root)
    for key in keys:
        info = _struct_or_list(info)
        if isinstance(info, msgspec.inspect.StructType):
            info = next(field.type for field in info.fields if field.encode_name == key)
        else:
            info = info.item_type
    info = _struct_or_list(info)
    return [field.encode_name for field in info.fields]


def _struct_or_list(info: Any) -> Any:
    """The part of a type that is not null."""
    if isinstance(info, msgspec.inspect.UnionType):
        return next(one for one in info.types if not isinstance(one, msgspec.inspect.NoneType))
    return info
