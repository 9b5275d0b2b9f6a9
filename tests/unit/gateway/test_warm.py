"""After warming nothing is compiled in the middle of a request."""

from __future__ import annotations

from made_fleets import Told, fleet_of

from baseload.gateway import decision, live_kernels
from baseload.gateway.warm import needs_compiling, warm


def variants():
    """How many signatures of each kernel are compiled."""
    kernels = (live_kernels.route, live_kernels.begin, live_kernels.end, decision.meter)
    return [len(kernel.signatures) for kernel in kernels]


def test_the_fleet_itself_is_not_touched():
    live = fleet_of()
    warm(live)
    assert live.lanes == []
    assert not needs_compiling()


def test_real_requests_meet_no_kernel_that_is_not_there():
    live = fleet_of()
    warm(live)
    before = variants()
    told = Told(live)
    told.arrive(input_tokens=5, cap_tokens=9, stream=True)
    told.end(1, output_tokens=7)
    told.arrive(ttft_s=1.0, session=3)
    told.fail(2)
    assert variants() == before
