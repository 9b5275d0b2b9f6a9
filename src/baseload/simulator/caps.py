"""Runs side by side under several caps on the tokens of an answer."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from baseload.routing.policy import AnyPolicy, name_of, parameters_of
from baseload.simulator.scenario import Scenario
from baseload.workload.trace import Trace, TraceSource


class Case(NamedTuple):
    """A policy in the scenario with one of its caps in force. ``bounded``: the first policy under
    this cap, whose runs carry the clairvoyant bound.
    """

    scenario: Scenario
    policy: AnyPolicy
    bounded: bool


def cases_of(scenario: Scenario, policies: Sequence[AnyPolicy]) -> list[Case]:
    """Every policy under every cap of the scenario: caps of a policy beside each other, in their
    order; one case a policy where no caps were asked for.
    """
    under = [at_cap(scenario, cap) for cap in scenario.caps] or [scenario]
    return [
        Case(capped, policy, bounded=place == 0)
        for place, policy in enumerate(policies)
        for capped in under
    ]


def at_cap(scenario: Scenario, cap_tokens: int | None) -> Scenario:
    """The scenario with a cap in force (``None``: none)."""
    return msgspec.structs.replace(scenario, cap_tokens=cap_tokens)


def listed_name(scenario: Scenario, policy: AnyPolicy) -> str:
    """How results call a policy: by its name, and the cap in force where caps were asked for."""
    if not scenario.caps:
        return name_of(policy)
    cap = scenario.cap_tokens
    return f"{name_of(policy)} {'uncapped' if cap is None else f'cap {cap}'}"


def listed_parameters(
    scenario: Scenario, policy: AnyPolicy
) -> dict[str, float | int | str | bool | None]:
    """A policy's parameters as results list them: with ``cap_tokens`` where caps were asked for."""
    asked = {"cap_tokens": scenario.cap_tokens} if scenario.caps else {}
    return parameters_of(policy) | asked


def cut_at(source: TraceSource, cap_tokens: int | None) -> TraceSource:
    """The requests with no answer longer than a cap: what a schedule under it has to do."""
    if cap_tokens is None:
        return source
    return msgspec.structs.replace(source, chunks=functools.partial(_cut, source, cap_tokens))


def _cut(source: TraceSource, cap_tokens: int) -> Iterator[Trace]:
    """The pieces of a source, cut."""
    for piece in source.chunks():
        shorter = np.minimum(piece.output_tokens, min(cap_tokens, np.iinfo(np.int32).max))
        yield msgspec.structs.replace(
            piece, output_tokens=shorter.astype(piece.output_tokens.dtype)
        )
