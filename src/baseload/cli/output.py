"""Results as JSON that a script can parse, to a file or to standard output."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec


def encode_json(value: Any) -> bytes:
    """``value`` as indented JSON with a final newline; numbers that are not finite become null."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def write_json(value: Any, file: str) -> None:
    """Write ``value`` as JSON to ``file``, or to standard output when it is ``-``."""
    data = encode_json(value)
    if file != "-":
        from baseload.sources.files import write_whole

        write_whole(Path(file), data)
        return
    sys.stdout.flush()
    raw = getattr(sys.stdout, "buffer", None)
    if raw is None:
        sys.stdout.write(data.decode())
    else:
        raw.write(data)  # JSON is UTF-8, whatever the terminal speaks
    sys.stdout.flush()
