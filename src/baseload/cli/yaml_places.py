"""Where in a file a mistake is: what msgspec says of a value that does not fit its type, as an
error with the path of the field, its content and what may stand there.
"""

from __future__ import annotations

import re
import types
from collections.abc import Collection
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from baseload.base.errors import BadInputError, nearest_names

_SHOWN_CHARACTERS = 60
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|(\[\.\.\.\])")
_HIDDEN = "a value that is not shown: it may be a secret"
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "fields with values",
    "null": "null",
}

Key = str | int


class FieldError(BadInputError):
    """A field that its type does not know, needs, or wants otherwise: ``path`` of the field, and
    ``says``, what is wrong in a word or two.
    """

    def __init__(
        self,
        where: str,
        *,
        keys: list[Key],
        says: str,
        found: str = "",
        allowed: str = "",
        todo: str = "",
    ) -> None:
        path = path_of(keys)
        super().__init__(
            f"{where}: {says} {path}".rstrip(), found=found, allowed=allowed, todo=todo
        )
        self.keys, self.path, self.says = keys, path, says


def explained(
    error: msgspec.ValidationError,
    data: Any,
    root: type[Any],
    *,
    where: str,
    todo: str,
    hidden: Collection[str] = (),
) -> BadInputError:
    """The error that msgspec found in ``data``, with the field's path, its content and what may
    stand there.
    """
    message, _, place = str(error).rpartition(" - at ")
    if not message:
        message, place = str(error), "`$`"
    of_key = place.startswith("`key` in ")
    keys, kind = _walk(place.removeprefix("`key` in ").strip("`"), data, root)
    if of_key:
        return _bad_name(keys, kind, data, where=where, todo=todo)
    if unknown := re.match(r"Object contains unknown field `(.*)`", message, re.DOTALL):
        known = fields_at(root, keys)
        near = nearest_names(unknown[1], known)
        return FieldError(
            where,
            says="unknown field",
            keys=[*keys, unknown[1]],
            found=unknown[1],
            allowed=f"nearest: {', '.join(near)}" if near else ", ".join(known),
            todo=todo,
        )
    found = at(data, keys)
    if missing := re.match(r"Object missing required field `(.*)`", message):
        return FieldError(
            where,
            says="missing field",
            keys=[*keys, missing[1]],
            found=f"only {', '.join(map(str, found))}" if found else "nothing",
            todo=todo,
        )
    secret = any(key in hidden for key in keys)
    shown = _HIDDEN if secret else said(found)
    expected = re.match(r"Expected `(.*?)`(, got `.*`)?$", message)
    if expected:
        kinds = expected[1].split(" | ")
        quotes = "str" in kinds and isinstance(found, int | float) and not secret
        allowed = " or ".join(_WORDS.get(word, word) for word in kinds)
        todo = "put it in quotes" if quotes else todo
    else:
        allowed = ", ".join(_choices(kind)) or message
    return FieldError(where, says="field", keys=keys, found=shown, allowed=allowed, todo=todo)


def _bad_name(keys: list[Key], kind: Any, data: Any, *, where: str, todo: str) -> BadInputError:
    """The error for a name of a field that may not be one."""
    names = get_args(kind)[0] if get_origin(kind) is dict else str
    bad = next((key for key in at(data, keys) if not _fits(key, names)), None)
    return FieldError(
        where,
        says="names of fields",
        keys=keys,
        found=said(bad),
        allowed=", ".join(_choices(names)) or "text",
        todo=todo if isinstance(bad, str) else "put it in quotes",
    )


def type_name(value: object) -> str:
    """The name of a value's type."""
    return value.__class__.__name__


def said(value: Any) -> str:
    """What stands there, in words and short."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, dict):
        names = ", ".join(map(str, value))
        return f"fields {_short(names)}" if value else "no fields"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, str):
        return f"the text {_short(value)!r}"
    return str(value).lower() if isinstance(value, bool) else _short(repr(value))


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


def path_of(keys: list[Key]) -> str:
    """``fleet[0].replicas`` of its keys."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return text.removeprefix(".")


def at(data: Any, keys: list[Key]) -> Any:
    """The value at a path."""
    for key in keys:
        data = data[key]
    return data


def take_out(data: Any, keys: list[Key]) -> bool:
    """Take the field at a path out of ``data``; says whether that can be done (entries of a list
    cannot: those after it would have other places).
    """
    if not keys or isinstance(keys[-1], int):
        return False
    fields = at(data, keys[:-1])
    if keys[-1] not in fields:
        return False
    del fields[keys[-1]]
    return True


def fields_at(root: type[Any], keys: list[Key]) -> list[str]:
    """Names of the fields that the struct at a path has."""
    kind: Any = root
    for key in keys:
        kind = _below(kind, key)
    return [field.encode_name for field in msgspec.structs.fields(_not_null(kind))]


def _walk(place: str, data: Any, root: type[Any]) -> tuple[list[Key], Any]:
    """The keys of msgspec's path to a value, and the type there. It writes ``[...]`` for some value
    of a mapping: the first that does not fit is meant.
    """
    keys: list[Key] = []
    kind: Any = root
    for name, index, some in _STEP.findall(place.removeprefix("$")):
        key: Key = name or (int(index) if index else "")
        if some:
            values = _value_type(kind)
            here = at(data, keys)
            wrong = (one for one, value in here.items() if not _fits(value, values))
            key = next(wrong, "")
            if key not in here:
                break
        keys.append(key)
        kind = _below(kind, key)
    return keys, kind


def _fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _below(kind: Any, key: Key) -> Any:
    """The type of what stands at ``key`` in a ``kind``."""
    kind = _not_null(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return next(one.type for one in msgspec.structs.fields(kind) if one.encode_name == key)
    return _value_type(kind)


def _value_type(kind: Any) -> Any:
    """The type of the values of a list or mapping."""
    inside = get_args(_container(kind))
    return (inside[1] if get_origin(_container(kind)) is dict else inside[0]) if inside else Any


def _container(kind: Any) -> Any:
    """The list or mapping among the types of a union, else its first that is not null."""
    if get_origin(kind) in (Union, types.UnionType):
        parts = [one for one in get_args(kind) if one is not type(None)]
        return next((one for one in parts if get_origin(one) in (dict, list, tuple)), parts[0])
    return kind


def _not_null(kind: Any) -> Any:
    """The struct among the types of a union, else its first that is not null."""
    if get_origin(kind) in (Union, types.UnionType):
        parts = [one for one in get_args(kind) if one is not type(None)]
        structs = (
            one for one in parts if isinstance(one, type) and issubclass(one, msgspec.Struct)
        )
        return next(structs, _container(kind))
    return kind


def _choices(kind: Any) -> list[str]:
    """The values of a type that is a choice among some; empty for others."""
    if get_origin(kind) in (Union, types.UnionType):
        return [text for one in get_args(kind) for text in _choices(one)]
    if get_origin(kind) is Literal:
        return [str(value) for value in get_args(kind)]
    return []
