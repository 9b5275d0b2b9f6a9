"""What an emulated engine says: words and JSON that only a seed and the request decide.

A text is a row of **pieces**, one for each token, kept as they stand inside a JSON string, so that
a chunk of a stream is three byte strings put together.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Protocol

_TOLD = (
    "the power of a wind farm and the sun, when a cloud goes over, we store some heat at night "
    "so that a fleet can run by day. each watt counts: one pump, two lamps, ten fans in a row. "
    "rain fills the dam; water turns a wheel, a wheel moves air. load falls late, price falls "
    "too, then batch work begins. no step is free, yet most are cheap if they wait for a good "
    "hour. put it off, park what rests, wake it soon enough. tell how much was used, who asked "
    "for it, why it was so. north sea, calm week, long queue, short words, true sums, even "
    "pay again."
)
WORDS = tuple(f" {word}".encode() for word in _TOLD.split())
"""Words of an emulated answer; their number is a prime, so that any stride meets all of them."""
assert all(len(WORDS) % n for n in range(2, len(WORDS))), len(WORDS)

PIECE_CHARACTERS = 4
"""Of a token of JSON."""
_MASK = (1 << 64) - 1
_DEEP = 8
_MOST_VALUES = 1000


class Draws:
    """Random numbers that only ``names`` decide (splitmix64 over a hash of them)."""

    __slots__ = ("_state",)

    def __init__(self, *names: bytes | str | int | None) -> None:
        told = (name if isinstance(name, bytes) else str(name).encode() for name in names)
        digest = blake2b(b"\x00".join(told), digest_size=8).digest()
        self._state = int.from_bytes(digest, "little")

    def next(self) -> int:
        """64 bits."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return mixed ^ (mixed >> 31)

    def below(self, bound: int) -> int:
        """From 0 to ``bound`` - 1."""
        return self.next() % bound

    def share(self) -> float:
        """In (0, 1)."""
        return (self.next() + 0.5) * 2.0**-64

    def lognormal(self, mean: float, log_spread: float) -> float:
        """A lognormal number with this mean and standard deviation of the logarithm."""
        normal = math.sqrt(-2.0 * math.log(self.share())) * math.cos(math.tau * self.share())
        return mean * math.exp(log_spread * normal - 0.5 * log_spread * log_spread)


class Text(Protocol):
    """Pieces of a text, by number from 0, each as it stands inside a JSON string."""

    def piece(self, number: int) -> bytes:
        """Piece ``number``."""

    def whole(self, count: int) -> bytes:
        """The first ``count`` of them."""


class Prose:
    """Words without end."""

    __slots__ = ("_start", "_stride")

    def __init__(self, draws: Draws) -> None:
        self._start = draws.below(len(WORDS))
        self._stride = 1 + draws.below(len(WORDS) - 1)

    def piece(self, number: int) -> bytes:
        """Piece ``number``."""
        word = WORDS[(self._start + number * self._stride) % len(WORDS)]
        return word if number else word[1:]

    def whole(self, count: int) -> bytes:
        """The first ``count`` of them."""
        start, stride, most = self._start, self._stride, len(WORDS)
        return b"".join([WORDS[(start + n * stride) % most] for n in range(count)])[1:]


class Pieces:
    """A text of its own length; after its end, blanks."""

    __slots__ = ("pieces",)

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = pieces

    def piece(self, number: int) -> bytes:
        """Piece ``number``."""
        return self.pieces[number] if number < len(self.pieces) else b" "

    def whole(self, count: int) -> bytes:
        """The first ``count`` of them."""
        return b"".join(self.pieces[:count]) + b" " * (count - len(self.pieces))


def stopped(text: Text, tokens: int, stops: Sequence[str]) -> tuple[Text, int] | None:
    """``text`` of ``tokens`` cut before the first of the words ``stops`` in it, and how many tokens
    were made until then; ``None`` where none occurs.
    """
    said = text.whole(tokens).decode()
    found = [(at, at + len(word)) for word in stops if (at := said.find(_escaped(word))) >= 0]
    if not found:
        return None
    begin, end = min(found)
    pieces: list[bytes] = []
    at = 0
    while at < end:
        piece = text.piece(len(pieces)).decode()
        pieces.append(piece[: max(0, begin - at)].encode())
        at += len(piece)
    return Pieces(pieces), len(pieces)


def _escaped(text: str) -> str:
    return json.dumps(text)[1:-1]


def json_pieces(value: Any) -> Pieces:
    """The pieces of ``value`` as JSON."""
    said = json.dumps(value, separators=(",", ":"))
    cuts = range(0, len(said), PIECE_CHARACTERS)
    return Pieces([_escaped(said[at : at + PIECE_CHARACTERS]).encode() for at in cuts])


def instance_of(schema: Any, draws: Draws) -> Any:
    """A value that satisfies the JSON schema ``schema``, of what is common in schemas of tools and
    answers (types, properties, required, enum, const, anyOf, oneOf, allOf, references inside, the
    least of lengths and numbers). Anything else, and what would be too large or too deep, is taken
    for an object with one text.
    """
    if isinstance(schema, dict):
        try:
            return _Maker(schema, draws).value(schema, 0)
        except (OverflowError, RecursionError):
            pass
    return {"answer": _words(draws)}


class _Maker:
    """Makes values of the schema ``root``, at most ``_MOST_VALUES`` of them."""

    def __init__(self, root: Mapping[str, Any], draws: Draws) -> None:
        self._root, self._draws, self._left = root, draws, _MOST_VALUES

    def value(self, schema: Any, depth: int) -> Any:
        """A value of ``schema``, which is part of the root."""
        self._left -= 1
        if self._left < 0:
            raise OverflowError
        if not isinstance(schema, dict):
            return _words(self._draws)
        if "$ref" in schema:
            return self.value(_referred(schema["$ref"], self._root), depth + 1)
        if "const" in schema:
            return schema["const"]
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            return schema["enum"][self._draws.below(len(schema["enum"]))]
        for union in ("anyOf", "oneOf"):
            if isinstance(schema.get(union), list) and schema[union]:
                choices = schema[union]
                chosen = choices[self._draws.below(len(choices))]
                if depth >= _DEEP:  # ends a schema that holds itself
                    chosen = next(filter(_is_plain, choices), chosen)
                return self.value(chosen, depth + 1)
        if isinstance(schema.get("allOf"), list) and schema["allOf"]:
            return self.value(_merged(schema["allOf"], self._root), depth + 1)
        return self._typed(schema, depth)

    def _typed(self, schema: Mapping[str, Any], depth: int) -> Any:
        """A value of a schema with a type, or with what only one type has."""
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = kind[self._draws.below(len(kind))] if kind else None
        if kind == "array" or (kind is None and "items" in schema):
            least = _whole(schema.get("minItems"), 0)
            count = least if depth >= _DEEP else max(least, 1)
            most = _whole(schema.get("maxItems"), count)
            items = schema.get("items", {"type": "string"})
            return [self.value(items, depth + 1) for _ in range(min(count, most))]
        if kind in ("number", "integer"):
            return _number(schema, self._draws, whole=kind == "integer")
        if kind == "boolean":
            return self._draws.below(2) == 1
        if kind == "null":
            return None
        if kind == "string":
            return _text(schema, self._draws)
        return self._object(schema, depth)

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties")
        if not isinstance(properties, dict):
            properties = {}
        required = schema.get("required")
        if not isinstance(required, list):
            required = []
        required = [name for name in required if isinstance(name, str)]
        names = required if depth >= _DEEP else dict.fromkeys([*properties, *required])
        return {name: self.value(properties.get(name), depth + 1) for name in names}


def _is_plain(schema: Any) -> bool:
    """Whether a value of it holds no other."""
    inner = ("$ref", "properties", "items", "anyOf", "oneOf", "allOf")
    return isinstance(schema, dict) and not any(key in schema for key in inner)


def _number(schema: Mapping[str, Any], draws: Draws, *, whole: bool) -> float | int:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    low = low if isinstance(low, int | float) else (min(0, high - 100) if _is_number(high) else 0)
    high = high if isinstance(high, int | float) else low + 100
    if whole:
        least = math.ceil(low) + ("minimum" not in schema and "exclusiveMinimum" in schema)
        most = math.floor(high) - ("maximum" not in schema and "exclusiveMaximum" in schema)
        return least + draws.below(max(1, most - least + 1))
    value = low + draws.share() * (high - low)
    if not math.isfinite(value):
        raise OverflowError
    return min(max(round(value, 6), low), high)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _text(schema: Mapping[str, Any], draws: Draws) -> str:
    least = _whole(schema.get("minLength"), 0)
    text = _words(draws)
    while len(text) < least:
        text += " " + _words(draws)
    return text[: _whole(schema.get("maxLength"), len(text))]


def _words(draws: Draws) -> str:
    count = 1 + draws.below(4)
    return Prose(draws).whole(count).decode()


def _whole(value: Any, default: int) -> int:
    return value if isinstance(value, int) and 0 <= value <= 10_000 else default


def _referred(reference: Any, root: Mapping[str, Any]) -> Any:
    """What ``#/$defs/Name`` says."""
    found: Any = root
    for step in str(reference).removeprefix("#").split("/"):
        if step:
            found = found.get(step) if isinstance(found, dict) else None
    return found


def _merged(parts: Sequence[Any], root: Mapping[str, Any]) -> dict[str, Any]:
    """One schema of several that all hold."""
    merged: dict[str, Any] = {"properties": {}, "required": []}
    for part in parts:
        part = _referred(part["$ref"], root) if isinstance(part, dict) and "$ref" in part else part
        if isinstance(part, dict):
            merged["properties"].update(part.get("properties") or {})
            merged["required"] += part.get("required") or []
            merged.update({k: v for k, v in part.items() if k not in ("properties", "required")})
    return merged
