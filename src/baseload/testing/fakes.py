"""Stand-ins that let a policy be tried without a simulator, a gateway or a clock."""

from __future__ import annotations

from typing import Any

import numpy as np

from baseload.routing.fleet_state import (
    close_replica,
    enter,
    first_token,
    learn,
    leave,
    open_replica,
    pending_levels,
    take_in,
)
from baseload.routing.pick import takes
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
    runs: there is no time, only ``send``, ``first_token`` and ``finish``, ``open`` and ``close``.
    """

    def __init__(self, fleet: Fleet, *, classes: int = 1, max_queue: int = 1024) -> None:
        self.fleet = fleet
        self.state = fleet.state(classes=classes, max_queue=max_queue)
        self.view: FleetView = fleet_view(self.state, fleet.types)
        # of each replica: (input tokens, levels) of the requests whose first token is not out
        self._unanswered: list[list[tuple[int, int]]] = [[] for _ in self.state.type_of]

    def row(
        self,
        request: Request,
        *,
        grid_g_per_j: float = 0.0,
        output_spread: float = 0.0,
        lateness_weight: float = 1.0,
    ) -> np.recarray[Any, Any]:
        """The request as the compiled pick takes it: one row of ``routing.price.REQUEST``.

        The deadline is the earlier of the whole answer's and of first token plus forecast tokens
        [s]. ``output_spread``: standard deviation of the forecast [tokens]; ``lateness_weight``:
        lambda of its tier, as a slow controller would set it.
        """
        ttft_s, tpot_s, e2e_s = (
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
            output_spread=output_spread,
            deadline_s=min(e2e_s, ttft_s + tpot_s * request.output_tokens_forecast),
            ttft_s=ttft_s,
            tpot_s=tpot_s,
            e2e_s=e2e_s,
            lateness_weight=lateness_weight,
            grid_g_per_j=grid_g_per_j,
            model=asked,
        )

    def free_for(self, request: Request) -> list[int]:
        """The replicas that can take the request now: open, with room, and of its model."""
        row = self.row(request)[0]
        count = len(self.state.type_of)
        return [replica for replica in range(count) if takes(self.state, row, replica)]

    def send(self, request: Request, replica: int) -> int:
        """The request goes to ``replica``; gives the tokens to hand back to ``finish``. The caller
        knows it has room.
        """
        prompt = int(request.input_tokens)
        tokens = prompt + int(request.output_tokens_forecast)
        levels = pending_levels(self.state, prompt)
        enter(self.state, replica, tokens, levels)
        take_in(self.state, self.state.type_of[replica], float(prompt), request.arrival_s)
        self._unanswered[replica].append((prompt, levels))
        return tokens

    def first_token(self, replica: int, *, input_tokens: int) -> None:
        """The first token is out of a request with so many ``input_tokens`` at ``replica``. Does
        nothing when there is none such.
        """
        waiting = self._unanswered[replica]
        for at, (prompt, levels) in enumerate(waiting):
            if prompt == input_tokens:
                del waiting[at]
                first_token(self.state, replica, levels)
                return

    def finish(
        self,
        replica: int,
        tokens: int,
        *,
        input_tokens: float,
        output_tokens: float,
        class_code: int = 0,
    ) -> None:
        """A request ends at ``replica``: its ``tokens`` are forgotten, its lengths learnt. Its
        first token comes with the last, unless ``first_token`` came before.
        """
        self.first_token(replica, input_tokens=int(input_tokens))
        leave(self.state, replica, tokens)
        learn(self.state, class_code, float(input_tokens), float(output_tokens))

    def close(self, replica: int) -> None:
        """The replica may not be sent requests any more, as when it is about to sleep."""
        close_replica(self.state, replica)

    def open(self, replica: int) -> None:
        """The replica may be sent requests again."""
        open_replica(self.state, replica)


class FirstFree:
    """The simplest policy in plain Python: the first open replica that has room."""

    name = "first_free"

    def choose(self, request: Request, fleet: FleetView) -> int | None:
        """The lowest-numbered replica that can take the request."""
        for replica, kind in enumerate(fleet.type_of):
            served = request.model is None or fleet.types[kind].model == request.model
            fits = request.input_tokens <= fleet.limits["max_input_tokens"][kind]
            room = fleet.in_flight[replica] < fleet.max_in_flight[kind]
            if served and fits and room and fleet.open[replica]:
                return replica
        return None
