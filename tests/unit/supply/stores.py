"""Stores, slots and runs that the supply's tests draw."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from baseload.supply.store import Store

energies = st.floats(0.0, 1e9, allow_subnormal=False)
limits = st.one_of(st.just(math.inf), st.just(0.0), st.floats(0.0, 1e6))
efficiencies = st.one_of(st.just(1.0), st.floats(0.05, 1.0))


@st.composite
def stores(draw, *, lossless=False, leaky=True):
    low = draw(st.floats(0.0, 1.0))
    high = draw(st.floats(low, 1.0))
    if draw(st.integers(0, 9)) == 0:
        window = {"capacity_j": math.inf}
    else:
        start = draw(st.one_of(st.none(), st.floats(low, high)))
        window = {
            "capacity_j": draw(st.one_of(st.just(0.0), st.floats(0.0, 1e10))),
            "soc_min_frac": low,
            "soc_max_frac": high,
            "soc_start_frac": start,
        }
    return Store(
        charge_efficiency=1.0 if lossless else draw(efficiencies),
        discharge_efficiency=1.0 if lossless else draw(efficiencies),
        leak_per_s=draw(st.sampled_from([0.0, 1e-9, 1e-4])) if leaky and not lossless else 0.0,
        charge_limit_w=draw(limits),
        discharge_limit_w=draw(limits),
        **window,
    )


@st.composite
def slots(draw, *, least_supply=-1e8, most=40):
    count = draw(st.integers(0, most))
    supply = draw(npst.arrays(np.float64, count, elements=st.floats(least_supply, 1e9)))
    demand = draw(npst.arrays(np.float64, count, elements=energies))
    lengths = draw(
        st.one_of(
            st.floats(1e-3, 1e5),
            npst.arrays(np.float64, count, elements=st.floats(1e-3, 1e5)),
        )
    )
    return supply, demand, lengths
