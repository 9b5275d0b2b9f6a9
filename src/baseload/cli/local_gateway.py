"""What ``baseload serve --local`` serves: the shipped file with a real engine behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from baseload.cli.gateway_file import LoadedConfig


@contextmanager
def local_gateway(loaded: LoadedConfig) -> Iterator[LoadedConfig]:
    """``loaded`` (the shipped ``local``) with its engine started in this process: its address and
    its seconds, measured now, are filled in. The engine stops at the end.

    Raises ``BadInputError`` where its packages are not installed.
    """
    from baseload.gateway.local_calibration import calibrated
    from baseload.gateway.local_model import start, with_address

    place = [entry.engine for entry in loaded.config.replicas].index("llama.cpp")
    kinds = list(loaded.kinds)
    kind = kinds[place]
    with start(slots=kind.max_batch, context_tokens=kind.max_context_tokens) as local:
        kinds[place] = calibrated(local.url, kind)
        yield msgspec.structs.replace(
            loaded, config=with_address(loaded.config, local.url), kinds=tuple(kinds)
        )
