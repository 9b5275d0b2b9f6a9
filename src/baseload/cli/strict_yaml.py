"""YAML as people mean it, read strictly: a mistake is reported with its line or the path of its
field.

PyYAML follows YAML 1.1, where ``1e6`` is text, ``010`` is eight, ``1:30`` is ninety and ``on`` is
true. Here numbers, truth values and nothing follow YAML 1.2, dates stay text, and a field that
stands twice is an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from typing import Any, TypeVar

import msgspec
import yaml

from baseload.base.errors import BadInputError
from baseload.cli.yaml_places import explained, fields_at, said, type_name

T = TypeVar("T")

_SEE = "see docs/reference/scenario.md"
_INT = re.compile(r"^[-+]?[0-9][0-9_]*$")
_FLOAT = re.compile(
    r"^[-+]?(([0-9][0-9_]*\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|\.(inf|Inf|INF))$|^\.(nan|NaN|NAN)$"
)
_LARGEST_EXACT = 2**53


class _Loader(yaml.SafeLoader):
    """The safe loader with the scalars of YAML 1.2 and without fields that stand twice."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own protocol

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._flat: set[int] = set()  # mappings whose ``<<`` is done, by ``id``

    def flatten_mapping(self, node: Any) -> None:
        """Bring in what ``<<`` names, once; a field that stands nearer replaces a merged one.
        PyYAML keeps both, which grows without bounds where merged mappings merge others.
        """
        if id(node) in self._flat:
            return
        self._flat.add(id(node))
        seen = set()
        for key, _ in node.value:
            if _name(key) in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the field {key.value!r} stands here twice", key.start_mark
                )
            seen.add(_name(key))
        super().flatten_mapping(node)
        node.value = list({_name(field[0]): field for field in node.value}.values())


def _name(key: Any) -> tuple[str, object]:
    """What tells a key from others; a key that is no scalar is none, which is found later."""
    return key.tag, key.value if isinstance(key, yaml.ScalarNode) else id(key)


def _whole(loader: yaml.SafeLoader, node: Any) -> int:
    return int(loader.construct_scalar(node).replace("_", ""))


def _decimal(loader: yaml.SafeLoader, node: Any) -> float | int:
    """A number; ``2e7`` is whole where it can be."""
    text = loader.construct_scalar(node).replace("_", "").lower()
    value = float(text.replace(".inf", "inf").replace(".nan", "nan"))
    whole = "e" in text and math.isfinite(value) and value.is_integer()
    return int(value) if whole and abs(value) < _LARGEST_EXACT else value


def _text(loader: yaml.SafeLoader, node: Any) -> str:
    """Text; characters that JSON writes as a pair of escapes are one again, half a pair is none."""
    text: str = loader.construct_scalar(node)
    if text.isascii():
        return text
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError as error:
        raise yaml.constructor.ConstructorError(
            None, None, "half of a pair of escapes (a surrogate)", node.start_mark
        ) from error


for _tag, _pattern, _first in (
    ("bool", re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    ("int", _INT, "-+0123456789"),
    ("float", _FLOAT, "-+0123456789."),
    ("null", re.compile(r"^(~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("merge", re.compile(r"^<<$"), "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, list(_first))
_Loader.add_constructor("tag:yaml.org,2002:str", _text)
_Loader.add_constructor("tag:yaml.org,2002:int", _whole)
_Loader.add_constructor("tag:yaml.org,2002:float", _decimal)


_QUOTED = re.compile(r"'[^']{9,}'")  # words of the file: an alias or a tag may hold a secret


def load_yaml(text: str, *, where: str, todo: str = _SEE) -> Any:
    """The content of a YAML ``text``, whatever it is; ``where`` names it in messages.

    Raises ``BadInputError`` with the line of a mistake.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # a subclass of the safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        said = _QUOTED.sub("(not shown)", f"{error.problem or error.context}")
        raise BadInputError(f"{where} is no YAML", found=f"{said}{place}", todo=todo) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        first = (str(error).splitlines() or [type_name(error)])[0]
        raise BadInputError(f"{where} is no YAML", found=first, todo=todo) from error


def decode_yaml(
    text: str,
    *,
    type: type[T],  # noqa: A002 - msgspec's word
    where: str,
    todo: str = _SEE,
    hidden: Collection[str] = (),
) -> T:
    """The content of a YAML ``text`` as a ``type``; ``where`` names it in messages, ``todo`` is
    what they end with.

    Raises ``BadInputError`` with the line of a mistake in the YAML, or ``FieldError`` with the path
    of a field that the type does not know, needs, or wants otherwise. Content of fields whose names
    are in ``hidden``, and of all below them, is not shown.
    """
    data = load_mapping(text, type=type, where=where, todo=todo)
    return convert_data(data, type=type, where=where, todo=todo, hidden=hidden)


def load_mapping(
    text: str,
    *,
    type: type[Any],  # noqa: A002 - msgspec's word
    where: str,
    todo: str = _SEE,
) -> dict[Any, Any]:
    """The content of a YAML ``text`` that is to become a ``type``. Raises ``BadInputError``."""
    data = load_yaml(text, where=where, todo=todo)
    if not isinstance(data, dict):
        raise BadInputError(
            f"{where}: content",
            found="an empty file" if data is None else said(data),
            allowed=f"fields: {', '.join(fields_at(type, []))}",
            todo=todo,
        )
    return data


def convert_data(
    data: dict[Any, Any],
    *,
    type: type[T],  # noqa: A002 - msgspec's word
    where: str,
    todo: str = _SEE,
    hidden: Collection[str] = (),
) -> T:
    """Content of a YAML as a ``type``. Raises as ``decode_yaml``."""
    try:
        return msgspec.convert(data, type)
    except msgspec.ValidationError as error:
        raise explained(error, data, type, where=where, todo=todo, hidden=hidden) from error
