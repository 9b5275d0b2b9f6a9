"""Random fleets in random states, for the tests of this folder."""

from __future__ import annotations

import numpy as np
import pytest

from baseload.routing.fleet_state import close_replica, enter
from baseload.routing.price import OPTION, request_row
from baseload.testing.instances import random_fleet

CLASSES = 3


class Drawn:
    """A fleet in a random state: some replicas empty, some full, some closed, prompts pending or
    not, traffic learnt, few different token counts.
    """

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.fleet = random_fleet(self.rng)
        self.state = self.fleet.state(max_queue=int(self.rng.choice([0, 2, 30])))
        traffic = self.state.traffic[0]
        traffic["input_tokens"] = self.rng.uniform(1, 3000)
        traffic["output_tokens"] = self.rng.uniform(1, 2000)
        for limits in self.state.limits:
            limits["forecast_batch"] = self.rng.choice([0.0, self.rng.uniform(0, 20)])
            limits["prompt_tokens_per_s"] = self.rng.choice([0.0, self.rng.uniform(0, 30_000)])
        self._load()
        self._close()

    def _load(self):
        """Requests on replicas: none, a few, or up to the limit; some with prompts to process."""
        busy = self.rng.choice([0.0, 0.3, 1.0])
        waits = self.rng.choice([0.0, 0.3])
        for replica, kind in enumerate(self.state.type_of):
            most = int(self.state.limits[kind].max_in_flight)
            high = most if busy == 1.0 else min(most, 4)
            count = int(self.rng.integers(0, high + 1)) if self.rng.random() < busy + 0.2 else 0
            for _ in range(count):
                pending = int(self.rng.integers(1, 9)) if self.rng.random() < waits else 0
                enter(self.state, replica, int(self.rng.choice([1, 10, 500])), pending)

    def _close(self):
        """Nobody, some, a whole type or all of them."""
        frac = self.rng.choice([0.0, 0.0, 0.4, 1.0], p=[0.4, 0.2, 0.35, 0.05])
        whole = int(self.rng.integers(-1, len(self.state.limits)))
        for replica, kind in enumerate(self.state.type_of):
            if self.rng.random() < frac or (frac > 0 and kind == whole):
                close_replica(self.state, replica)

    def request(self):
        """A visible request: any model or one, lengths, promises and lambdas of every size."""
        rng = self.rng
        return request_row(
            input_tokens=float(rng.integers(1, int(rng.choice([10, 500, 4000])))),
            output_tokens=float(rng.uniform(1, 2000)),
            output_spread=float(rng.choice([0.0, rng.uniform(0, 2000)])),
            deadline_s=float(rng.choice([np.inf, rng.uniform(0, 60)])),
            ttft_s=float(rng.choice([np.inf, rng.uniform(0, 3)])),
            tpot_s=float(rng.choice([np.inf, rng.uniform(0.001, 0.2)])),
            lateness_weight=float(rng.choice([0.0, 1.0, 100.0])),
            grid_g_per_j=float(rng.choice([0.0, rng.uniform(0, 2e-4)])),
            model=int(rng.choice([-1, -1, 0, 1])),
            class_code=int(rng.integers(0, CLASSES)),
        )[0]

    def options(self, count=None):
        """One to four options, some equal, some on one model only: the same for every class, or by
        class.
        """
        rng = self.rng
        count = int(rng.integers(1, 5)) if count is None else count
        table = np.zeros((int(rng.choice([1, CLASSES])), count), dtype=OPTION).view(np.recarray)
        models = rng.choice([-1, -1, 0, 1], count)
        for row in table:
            for option, model in zip(row, models, strict=True):
                option.model = int(model)
                option.output_factor = float(rng.choice([1.0, 0.5, 3.0]))
                option.wrong_frac = float(rng.choice([0.0, 0.1, rng.random()]))
                option.right_usd = float(rng.choice([1.0, 0.0, rng.random()]))
                option.cap_tokens = float(rng.choice([np.inf, np.inf, 50.0, 400.0]))
                option.fee_usd = float(rng.choice([0.0, rng.random()]))
                option.joule_factor = float(rng.choice([1.0, 1.0, 0.0, rng.uniform(-1, 4)]))
        return table


@pytest.fixture
def drawn():
    return Drawn
