"""A replica type: the eight numbers, the limits and the power states that equal replicas share.

One engine step with ``b`` running sequences that read ``c`` context tokens in total, and ``p``
prefill tokens, takes

    time_s   = time_s_per_step   + b * time_s_per_sequence
             + c * time_s_per_context_token   + p * time_s_per_prefill_token
    energy_j = energy_j_per_step + b * energy_j_per_sequence
             + c * energy_j_per_context_token + p * energy_j_per_prefill_token

and, for a mixture of experts, one more term each: the cost of reading *all* experts times the share
of them that ``b + p`` tokens hit, ``1 - (1 - expert_hit_frac) ** (b + p)``. Where ``energy_j /
time_s`` would exceed the power cap, the step is stretched: its dynamic energy (all but
``power_w_active_static * time_s``) stays, and the time grows until the power meets the cap. Source
of the form: docs/explanation/fleet-physics.md (terms are added, not max-ed).

Every number counts the whole replica: all GPUs of the layout together.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import msgspec

from baseload.base.errors import BadInputError

Method = Literal["measured", "modelled", "assumed"]
"""How a number was obtained. Never mixed silently: a value made of several methods carries the
weakest.
"""


class StepCosts(msgspec.Struct, frozen=True, kw_only=True):
    """The eight numbers [s, J per unit of work in one engine step], and the expert terms of a
    sparse model (else 0).

    ``energy_j_*`` is board energy before the power cap, static active power included.
    """

    time_s_per_step: float
    time_s_per_sequence: float
    time_s_per_context_token: float
    time_s_per_prefill_token: float
    energy_j_per_step: float
    energy_j_per_sequence: float
    energy_j_per_context_token: float
    energy_j_per_prefill_token: float
    time_s_all_experts: float = 0.0
    energy_j_all_experts: float = 0.0
    expert_hit_frac: float = 0.0

    def __post_init__(self) -> None:
        """Refuse numbers no engine can have: negative, not finite, or a step that takes no time."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0:
                raise BadInputError(
                    f"replica costs: {name} = {value!r}",
                    found=repr(value),
                    allowed="a finite number >= 0",
                )
        if self.time_s_per_step + self.time_s_per_sequence <= 0:
            raise BadInputError(
                "replica costs: a step with one sequence takes no time",
                found="time_s_per_step = time_s_per_sequence = 0",
                allowed="a positive sum",
            )
        if self.expert_hit_frac > 1:
            raise BadInputError(
                "replica costs: expert_hit_frac",
                found=repr(self.expert_hit_frac),
                allowed="0 to 1 (top-k / experts)",
            )


class PowerStates(msgspec.Struct, frozen=True, kw_only=True):
    """What a replica draws when it does not work, and what waking costs [W, s, J], whole replica.

    ``idle``: model loaded, no work. ``parked``: engine asleep (weights off the GPU or in host
    memory), process alive. ``off``: no process. ``power_w_active_static`` is what a replica that
    runs steps draws beside the work itself; it is above the idle power
    (docs/explanation/fleet-physics.md).
    """

    power_w_active_static: float
    power_w_cap: float
    power_w_idle: float
    power_w_parked: float
    power_w_off: float = 0.0
    wake_s_from_parked: float = 5.0
    wake_j_from_parked: float = 0.0
    wake_s_from_off: float = 120.0
    wake_j_from_off: float = 0.0

    def __post_init__(self) -> None:
        """Refuse powers out of order: off <= parked <= idle <= cap and active_static < cap."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0:
                raise BadInputError(
                    f"power states: {name}", found=repr(value), allowed="a finite number >= 0"
                )
        ordered = (self.power_w_off, self.power_w_parked, self.power_w_idle, self.power_w_cap)
        if any(low > high for low, high in pairwise(ordered)):
            raise BadInputError(
                "power states are out of order",
                found="off {} W, parked {} W, idle {} W, cap {} W".format(*ordered),
                allowed="off <= parked <= idle <= cap",
            )
        if self.power_w_active_static >= self.power_w_cap:
            raise BadInputError(
                "power cap below the static active power: no step could ever end",
                found=f"active static {self.power_w_active_static} W, cap {self.power_w_cap} W",
                allowed="cap > active static power",
                todo="raise the cap",
            )


_ROUND_OFF_S = 1e-15
_ROUND_OFF_FRAC = 1e-6


def most_static_power_w(costs: StepCosts) -> float:
    """The highest static active power that every term of a step can carry [W]: the least of joules
    over seconds among the terms that take time.

    A static power above it leaves some term with negative dynamic energy; more of that work would
    then shorten a step that is stretched to the power cap.
    """
    names = [name for name in costs.__struct_fields__ if name.startswith("time_s_")]
    terms = [
        (getattr(costs, name), getattr(costs, name.replace("time_s", "energy_j"))) for name in names
    ]
    powers_w = [joules / seconds for seconds, joules in terms if seconds > _ROUND_OFF_S]
    return min(powers_w, default=math.inf)


class ReplicaType(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of replica: what runs, on what, its eight numbers, limits and power states.

    ``max_batch``: sequences that run at once. ``max_step_tokens``: decode plus prefill tokens of
    one step (the chunk of chunked prefill). ``kv_tokens``: context tokens that the KV cache holds.
    ``max_context_tokens``: longest request. ``method`` and ``error_frac`` say how the numbers came
    about and how far off a step's energy may be (mean absolute relative error), ``basis`` says it
    in words.
    """

    name: str
    device: str
    model: str
    costs: StepCosts
    power: PowerStates
    max_batch: int
    max_step_tokens: int
    kv_tokens: int
    max_context_tokens: int
    precision: str = "bf16"
    engine: str = "vllm-0.11.1"
    num_gpus: int = 1
    tensor_parallel: int = 1
    method: Method = "modelled"
    error_frac: float | None = None
    basis: str = ""

    def __post_init__(self) -> None:
        """Refuse limits under which no request could run, and work that draws less than the static
        power: under a binding cap more of it would then take *less* time.
        """
        for name in ("max_batch", "max_step_tokens", "kv_tokens", "max_context_tokens", "num_gpus"):
            if getattr(self, name) < 1:
                raise BadInputError(
                    f"replica type {self.name!r}: {name}",
                    found=repr(getattr(self, name)),
                    allowed="an integer >= 1",
                )
        if self.max_step_tokens <= self.max_batch:
            raise BadInputError(
                f"replica type {self.name!r}: max_step_tokens must exceed max_batch",
                found=f"max_step_tokens {self.max_step_tokens}, max_batch {self.max_batch}",
                allowed="max_step_tokens > max_batch",
            )
        static_w = self.power.power_w_active_static
        most_w = most_static_power_w(self.costs)
        if static_w > most_w * (1.0 + _ROUND_OFF_FRAC):
            raise BadInputError(
                f"replica type {self.name!r}: a part of the step draws less than the static power",
                found=f"power_w_active_static {static_w:g} W, {most_w:.4g} W in that part",
                allowed="energy_j_* >= power_w_active_static * time_s_*, term by term",
                todo="lower power_w_active_static, or raise the joules of that term",
            )
