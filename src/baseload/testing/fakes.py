"""Stand-ins that let a policy be tried without a simulator, a gateway or a clock."""

from __future__ import annotations

from typing import Any

import numpy as np

from baseload.routing.fleet_state import enter, learn, leave
from baseload.routing.pick import admits
from baseload.routing.policy import FleetView, fleet_view
from baseload.routing.price import request_row
from baseload.testing.fleets import Fleet
from baseload.workload.requests import Request


def request(
    *,
    input_tokens: int = 100,
    output_tokens_forecast: float = 250.0,
    arrival_s: float = 0.0,
    class_name: str = "chat",
    tier: str = "interactive",
    model: str | None = None,
    deadline_ttft_s: float | None = None,
    deadline_tpot_s: float | None = None,
    deadline_e2e_s: float | None = None,
) -> Request:
    """A request as a policy sees it, with unremarkable defaults; fields and units as in
    ``workload.requests.Request``.
    """
    return Request(
        arrival_s=arrival_s,
        input_tokens=input_tokens,
        class_name=class_name,
        tier=tier,
        output_tokens_forecast=output_tokens_forecast,
        model=model,
        deadline_ttft_s=deadline_ttft_s,
        deadline_tpot_s=deadline_tpot_s,
        deadline_e2e_s=deadline_e2e_s,
    )


class FakeFleet:
    """A fleet that takes requests and ends them when told, and shows policies the same view as the
    real drivers.

    ``state`` is what compiled policies see, ``view`` what policies in plain Python see. Nothing
    runs: there is no time, only ``send`` and ``finish``.
    """

    def __init__(self, fleet: Fleet, *, classes: int = 1, max_queue: int = 1024) -> None:
        self.fleet = fleet
        self.state = fleet.state(classes=classes, max_queue=max_queue)
        self.view: FleetView = fleet_view(self.state, fleet.types)

    def row(self, request: Request, *, grid_g_per_j: float = 0.0) -> np.recarray[Any, Any]:
        """The request as the compiled pick takes it: one row of ``routing.price.REQUEST``.

        The deadline is the earlier of the whole answer's and of first token plus forecast tokens
        [s].
        """
        ttft, tpot, e2e = (
            np.inf if value is None else value
            for value in (request.deadline_ttft_s, request.deadline_tpot_s, request.deadline_e2e_s)
        )
        models = self.fleet.models
        asked = (
            -1
            if request.model is None
            else models.index(request.model)
            if request.model in models
            else len(models)
        )
        return request_row(
            input_tokens=request.input_tokens,
            output_tokens=request.output_tokens_forecast,
            deadline_s=min(e2e, ttft + tpot * request.output_tokens_forecast),
            grid_g_per_j=grid_g_per_j,
            model=asked,
        )

    def free_for(self, request: Request) -> list[int]:
        """The replicas that can take the request now."""
        state, row = self.state, self.row(request)[0]
        served = np.array([admits(state, kind, row) for kind in range(len(self.fleet.types))])
        room = state.in_flight < state.limits.max_in_flight[state.type_of]
        return [int(replica) for replica in np.flatnonzero(served[state.type_of] & room)]

    def send(self, request: Request, replica: int) -> int:
        """The request goes to ``replica``; gives the tokens to hand back to ``finish``. The caller
        knows it has room.
        """
        tokens = int(request.input_tokens) + int(request.output_tokens_forecast)
        enter(self.state, replica, tokens)
        return tokens

    def finish(
        self,
        replica: int,
        tokens: int,
        *,
        input_tokens: float,
        output_tokens: float,
        class_code: int = 0,
    ) -> None:
        """A request ends at ``replica``: its ``tokens`` are forgotten, its lengths learnt."""
        leave(self.state, replica, tokens)
        learn(self.state, class_code, float(input_tokens), float(output_tokens))


class FirstFree:
    """The simplest policy in plain Python: the first replica that has room."""

    name = "first_free"

    def choose(self, request: Request, fleet: FleetView) -> int | None:
        """The lowest-numbered replica that can take the request."""
        for replica, kind in enumerate(fleet.type_of):
            served = request.model is None or fleet.types[kind].model == request.model
            fits = request.input_tokens <= fleet.limits["max_input_tokens"][kind]
            if served and fits and fleet.in_flight[replica] < fleet.max_in_flight[kind]:
                return replica
        return None
