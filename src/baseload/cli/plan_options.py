"""What a plan makes of a scenario with options: the demand under the reference, which is the option
that answers where nobody weighs right answers.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from baseload.fleet.replica_type import ReplicaType
from baseload.simulator.choices import Choice
from baseload.simulator.scenario import Group
from baseload.workload.trace import Trace, TraceSource


def answered_by(choice: Choice, source: TraceSource) -> TraceSource:
    """The trace with the output tokens that the option writes."""
    factor = np.array([choice.tokens(label) for label in source.classes])

    def chunks() -> Iterator[Trace]:
        for piece in source.chunks():
            written = np.maximum(1.0, np.rint(piece.output_tokens * factor[piece.class_code]))
            tokens = written.astype(piece.output_tokens.dtype)
            yield msgspec.structs.replace(piece, output_tokens=tokens, reason_tokens=None)

    return msgspec.structs.replace(source, chunks=chunks)


def serving(
    choice: Choice, groups: tuple[Group, ...], *, parking: bool
) -> tuple[list[tuple[ReplicaType, int]], float]:
    """Types and counts of the replicas that the option runs on, and what the others draw: asleep
    where they may sleep, else idle [W].
    """
    busy: list[tuple[ReplicaType, int]] = []
    rest_w = 0.0
    for group in groups:
        if choice.model is None or group.kind.model == choice.model:
            busy.append((group.kind, group.replicas))
            continue
        power = group.kind.power
        asleep = parking or group.park_after_s is not None
        rest_w += group.replicas * (power.power_w_parked if asleep else power.power_w_idle)
    return busy, rest_w
