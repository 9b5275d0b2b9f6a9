"""Truth: what only the end of a request reveals. It lives here, where no policy can import it.

The simulator turns a trace into rows of ``ARRIVAL``; ``output_tokens`` of a row goes into the
engine alone, and routing is shown ``routing.price.REQUEST``, which has no room for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from baseload.workload.forecasts import Forecast, foreseen
from baseload.workload.trace import Trace

ARRIVAL = np.dtype(
    [
        ("arrival_s", np.float64),
        ("deadline_s", np.float64),
        ("forecast_tokens", np.float64),
        ("forecast_spread", np.float64),
        ("input_tokens", np.int32),
        ("output_tokens", np.int32),
        ("class_code", np.int16),
        ("model", np.int16),
    ],
    align=True,
)
"""One request as the engine takes it: when it comes [s], its own end-to-end deadline [s] or inf,
the forecast of its output and its standard deviation [tokens] (NaN: ask what was learned online),
lengths, class, model or -1.
"""


def arrivals(
    trace: Trace, *, forecast: Forecast | None = None, seed: int = 0, first_number: int = 0
) -> np.recarray[Any, Any]:
    """The requests of a trace as rows of ``ARRIVAL``. ``forecast``: who says how long answers will
    be, by default what is learned online; ``first_number``: the first request's number in the run.
    """
    rows = np.zeros(len(trace), dtype=ARRIVAL).view(np.recarray)
    rows.arrival_s = trace.t_us / 1e6
    rows.deadline_s = np.inf if trace.deadline_us is None else trace.deadline_us / 1e6
    rows.input_tokens = trace.input_tokens
    rows.output_tokens = trace.output_tokens
    rows.class_code = trace.class_code
    rows.model = -1 if trace.model_code is None else trace.model_code
    if forecast is None or forecast.method == "online":
        rows.forecast_tokens = np.nan
    else:
        rows.forecast_tokens, rows.forecast_spread = foreseen(
            forecast, trace.output_tokens, seed=seed, first_number=first_number
        )
    return rows
