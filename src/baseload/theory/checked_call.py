"""Calls by keyword, as the catalogue makes them: wrong names are refused by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from baseload.base.errors import ArgumentError, nearest_names


def by_keyword(
    function: Callable[..., Any],
    *,
    name: str = "",
    also: Mapping[str, str] | None = None,
    rest: Callable[..., Any] | None = None,
) -> Callable[..., Any]:
    """``function`` as a formula of the catalogue: inputs by keyword, ``also`` maps further
    spellings to parameters (those of other functions are left out). Where ``function`` hands its
    further keywords on, ``rest`` is the function that takes them.

    The call raises ArgumentError for an unknown input (naming it and the nearest one), for one
    given twice and for one that is missing.
    """
    title = name or function.__name__
    signature = _signature(function, rest)
    parameters = signature.parameters
    needed = [key for key, item in parameters.items() if item.default is inspect.Parameter.empty]
    others = {key: means for key, means in (also or {}).items() if means in parameters}
    spellings = {**others, **{key: key for key in parameters}}

    def call(**given: Any) -> Any:
        inputs: dict[str, Any] = {}
        for key, value in given.items():
            if key not in spellings:
                near = ", ".join(nearest_names(key, parameters)) or ", ".join(parameters)
                raise ArgumentError(
                    f"{title}: unknown input {key!r}",
                    found=key,
                    allowed=", ".join(parameters),
                    todo=f"nearest: {near}",
                )
            if spellings[key] in inputs:
                raise ArgumentError(
                    f"{title}: {spellings[key]} is given twice", found=key, allowed="once"
                )
            inputs[spellings[key]] = value
        missing = [key for key in needed if key not in inputs]
        if missing:
            raise ArgumentError(
                f"{title}: missing input {', '.join(missing)}",
                found=", ".join(given) or "nothing",
                allowed=", ".join(parameters),
            )
        return function(**inputs)

    call.__name__ = title
    call.__doc__ = function.__doc__
    call.__signature__ = signature  # type: ignore[attr-defined]
    return call


def _signature(function: Callable[..., Any], rest: Callable[..., Any] | None) -> inspect.Signature:
    """Inputs by keyword: those of ``function``, then the others of ``rest``, which are optional
    where ``function`` has an input ``instance`` that may bring them all.
    """
    own = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for each in inspect.signature(function).parameters.values()
        if each.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    names = {each.name for each in own}
    if rest is None:
        return inspect.Signature(own)
    optional = "instance" in names
    for each in inspect.signature(rest).parameters.values():
        if each.name not in names:
            bare = each.default is inspect.Parameter.empty
            own.append(each.replace(default=None) if optional and bare else each)
    return inspect.Signature(own)
