"""What a replica type refuses: terms of a step that draw less than the static power."""

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.base.errors import BadInputError
from baseload.fleet.replica_type import ReplicaType, most_static_power_w
from baseload.fleet.step import cost_table, step
from baseload.testing import fleets, strategies

TERMS = ("per_step", "per_sequence", "per_context_token", "per_prefill_token", "all_experts")


@pytest.mark.parametrize("term", TERMS)
def test_a_term_below_the_static_power_is_refused(term: str) -> None:
    """Found by its effect: under a binding cap a longer prompt made a step *shorter*."""
    numbers = {"expert_hit_frac": 0.1, "time_s_all_experts": 0.01, "energy_j_all_experts": 3.0}
    power = {"power_w_active_static": 90.0}
    fleets.replica_type("fine", **numbers, **power)
    seconds = getattr(fleets.replica_type(**numbers).costs, f"time_s_{term}")
    numbers[f"energy_j_{term}"] = 89 * seconds
    with pytest.raises(BadInputError, match=r"static 90 W, 89 W in that part"):
        fleets.replica_type("wrong", **numbers, **power)


def test_the_most_that_a_step_can_carry() -> None:
    costs = fleets.replica_type().costs
    assert most_static_power_w(costs) == pytest.approx(100.0)
    timeless = {name: 0.0 for name in costs.__struct_fields__ if name.startswith("time_s_per")} | {
        "time_s_per_step": 1e-16
    }
    assert most_static_power_w(msgspec.structs.replace(costs, **timeless)) == math.inf


@settings(max_examples=100)
@given(
    strategies.replica_types(name="x", model="m", most_batch=4),
    st.tuples(*(st.floats(min_value=0, max_value=high) for high in (64, 1e5, 4096))),
    st.tuples(*(st.floats(min_value=0, max_value=high) for high in (64, 1e5, 4096))),
)
def test_more_work_never_takes_less_time_or_energy(
    kind: ReplicaType, work: tuple[float, ...], more: tuple[float, ...]
) -> None:
    row = cost_table([kind])[0]
    time_s, energy_j = step(row, *work)
    more_s, more_j = step(row, *(a + b for a, b in zip(work, more, strict=True)))
    assert more_s >= time_s * (1 - 1e-5)
    assert more_j >= energy_j * (1 - 1e-5)
