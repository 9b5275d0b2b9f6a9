"""A small language for functions of time: ``1.5*sin(2*pi*t/24)-0.1``.

Read once into a tree of NumPy calls; nothing of Python is reachable from it. Allowed are numbers,
``t``, ``pi``, ``e``, the functions of ``FUNCTIONS``, ``+ - * / **``, signs and parentheses.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from baseload.base.errors import ArgumentError, nearest_names
from baseload.theory.inputs import Floats

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sin": np.sin,
    "cos": np.cos,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "min": lambda *values: reduce(np.minimum, values),
    "max": lambda *values: reduce(np.maximum, values),
}
"""Functions by name; ``min`` and ``max`` take two or more values, the others one."""

CONSTANTS = {"pi": math.pi, "e": math.e}
"""Constants by name."""

_OPERATORS: dict[type[ast.operator] | type[ast.unaryop], Callable[..., Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
    ast.UAdd: np.positive,
    ast.USub: np.negative,
}
_MOST_CHARACTERS = 1000
_MOST_DEPTH = 100

Node = Callable[[Floats], Any]


class TimeExpression:
    """A function of time ``t`` [s] read from text; call it with an array of times.

    Gives one value a time, float64 of the same shape. Raises ArgumentError (field ``field``) for
    text that is not of the language, and at the call where a value is not finite.
    """

    def __init__(self, text: str, *, field: str = "theta") -> None:
        self.text = text
        self._field = field
        self._node = self._read(self._parsed(), 0)

    def __call__(self, times_s: Floats) -> Floats:
        """Values at ``times_s``."""
        times = np.asarray(times_s, dtype=np.float64)
        with np.errstate(all="ignore"):
            values: Floats = np.broadcast_to(
                np.asarray(self._node(times), dtype=np.float64), times.shape
            ).copy()
        wrong = ~np.isfinite(values)
        if wrong.any():
            found = f"{values[wrong].flat[0]} at t = {times[wrong].flat[0]:g}"
            raise ArgumentError(self._field, found=found, allowed="finite values at every time")
        return values

    def _parsed(self) -> ast.expr:
        if len(self.text) > _MOST_CHARACTERS:
            raise self._refused(
                f"{len(self.text)} characters", f"at most {_MOST_CHARACTERS} characters"
            )
        try:
            return ast.parse(self.text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise self._refused(repr(self.text), "an expression in t") from error

    def _read(self, node: ast.expr, depth: int) -> Node:
        if depth > _MOST_DEPTH:
            raise self._refused("a deeply nested expression", f"at most {_MOST_DEPTH} levels")
        if isinstance(node, ast.Constant):
            return self._constant(node)
        if isinstance(node, ast.Name):
            return self._name(node)
        if isinstance(node, ast.UnaryOp | ast.BinOp):
            operator = _OPERATORS.get(type(node.op))
            if operator is None:
                raise self._refused(ast.unparse(node), "+ - * / **")
            parts = [node.operand] if isinstance(node, ast.UnaryOp) else [node.left, node.right]
            return self._applied(operator, parts, depth)
        if isinstance(node, ast.Call):
            return self._call(node, depth)
        raise self._refused(ast.unparse(node), "numbers, t, pi, e, functions, + - * / **")

    def _constant(self, node: ast.Constant) -> Node:
        try:
            value = np.float64("nan" if isinstance(node.value, bool) else node.value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            value = np.float64("nan")
        if isinstance(node.value, str | bytes | bool) or not np.isfinite(value):
            raise self._refused(repr(node.value), "finite numbers")
        return lambda _: value

    def _name(self, node: ast.Name) -> Node:
        if node.id == "t":
            return lambda times: times
        if node.id in CONSTANTS:
            value = np.float64(CONSTANTS[node.id])
            return lambda _: value
        raise self._refused(node.id, "t, pi, e", node.id, ["t", *CONSTANTS, *FUNCTIONS])

    def _call(self, node: ast.Call, depth: int) -> Node:
        known = ", ".join(FUNCTIONS)
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
            raise self._refused(ast.unparse(node.func), f"functions: {known}")
        name, count = node.func.id, len(node.args)
        wanted = count >= 2 if name in ("min", "max") else count == 1
        starred = any(isinstance(part, ast.Starred) for part in node.args)
        if node.keywords or starred or not wanted:
            two = "two or more values" if name in ("min", "max") else "one value"
            raise self._refused(ast.unparse(node), f"{name} of {two}")
        return self._applied(FUNCTIONS[name], node.args, depth)

    def _applied(self, function: Callable[..., Any], parts: list[ast.expr], depth: int) -> Node:
        nodes = [self._read(part, depth + 1) for part in parts]
        return lambda times: function(*(node(times) for node in nodes))

    def _refused(
        self, found: str, allowed: str, name: str = "", known: list[str] | None = None
    ) -> ArgumentError:
        near = ", ".join(nearest_names(name, known)) if known else ""
        todo = f"nearest: {near}" if near else ""
        return ArgumentError(self._field, found=found[:80], allowed=allowed, todo=todo)
