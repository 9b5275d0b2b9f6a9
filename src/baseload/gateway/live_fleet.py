"""The fleet that a configuration describes, as routing sees it: replicas, options, and lanes.

An **option** is a model at an effort; effort ``None`` passes the request's own words on. A **lane**
is a kind of request: its tier and the options that may answer it. Lanes are found as requests come:
what a client asks for (model or alias, effort, images, tools) only decides which options are left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from baseload.base.units import J_PER_KWH
from baseload.fleet.replica_type import ReplicaType
from baseload.gateway.config import (
    EFFORTS,
    TOKENS_FACTOR,
    Effort,
    Engine,
    GatewayConfig,
    LiveTierEntry,
    ModelEntry,
    ReplicasEntry,
)
from baseload.gateway.errors import RequestError, bad_field, unknown_model
from baseload.routing.fleet_state import FleetState, fleet_state, keep_index
from baseload.routing.pick import PolicyState
from baseload.routing.policies import policy as policy_of
from baseload.routing.policy import Policy
from baseload.routing.position import NODES
from baseload.routing.price import BARRED, OPTION
from baseload.simulator.supplied import Supplied
from baseload.workload.tiers import Tier

if TYPE_CHECKING:
    from baseload.gateway.bodies import Asked

AUTO = "auto"
NONE = "none"
"""The alias over all models, and the effort that leaves the choice to the gateway."""

_THINK = ("chat", "responses")
"""End-points on which an engine can be told how much to think."""

LEAST_LANES, MOST_LANES = 64, 1024
"""Bounds on the lanes that a fleet keeps apart; what would need more of them is refused."""

_LANE_BYTES = 64 * 1024 * 1024  # most that all prices of joules by lane may take


class LiveReplica(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One engine: its ``number`` in the fleet's arrays, ``name`` for headers and metrics."""

    number: int
    name: str
    url: str
    kind: int
    engine: Engine
    model: ModelEntry
    entry: ReplicasEntry


class LiveOption(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A model at an effort (``None``: as the request says). ``tokens_factor``: output tokens over
    those of the model's default; ``right_frac``: ``None`` where nobody has said.
    """

    name: str
    model: ModelEntry
    effort: Effort | None
    tokens_factor: float
    right_frac: float | None


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of request: ``tier`` (its place in the file) and ``allowed`` options, in order."""

    tier: int
    allowed: tuple[int, ...]


class LiveFleet:
    """What a configuration describes. ``kinds[i]`` is the replica type of ``config.replicas[i]``,
    and ``supplied`` the site that feeds the fleet. Immutable but for the lanes that it has met.
    """

    def __init__(
        self,
        config: GatewayConfig,
        kinds: Sequence[ReplicaType],
        *,
        supplied: Supplied | None = None,
    ) -> None:
        self.config, self.supplied = config, supplied
        self.models = {model.name: model for model in config.models}
        self.kinds = tuple(
            msgspec.structs.replace(kind, model=entry.model)
            for kind, entry in zip(kinds, config.replicas, strict=True)
        )
        self.replicas = tuple(self._replicas())
        self.options = tuple(option for model in config.models for option in options_of(model))
        self.policy: Policy = policy_of(config.policy)
        self.tiers = tuple(tier_of_entry(entry) for entry in config.tiers)
        self.aliases = {AUTO: self._chatting(), **config.aliases}
        self.most_lanes = self._most_lanes()
        self.lanes: list[Lane] = []
        self._codes: dict[Lane, int] = {}
        self._asked: dict[tuple[Any, ...], int] = {}

    def _chatting(self) -> tuple[str, ...]:
        """Models that answer more than embeddings."""
        return tuple(
            model.name for model in self.config.models if model.endpoints != ("embeddings",)
        )

    def _most_lanes(self) -> int:
        """How many lanes clients could ask for: efforts of what a name stands for, and what of it
        is left by inputs, endpoint and tools, in each tier.
        """
        names = {name: (name,) for name in self.models} | self.aliases
        count = 0
        for models in map(list, names.values()):
            entries = [self.models[name] for name in models]
            efforts = {effort for entry in entries for effort in entry.efforts}
            abilities = {(entry.inputs, entry.endpoints, entry.tools) for entry in entries}
            subsets = min(32, 2 ** len(abilities) - 1)
            count += subsets * (2 + len(efforts))
        most = MOST_LANES
        if self.supplied is not None:
            most = min(most, _LANE_BYTES // (8 * NODES * len(self.options)))
        return max(LEAST_LANES, min(most, count * len(self.tiers)))

    def _replicas(self) -> list[LiveReplica]:
        found: list[LiveReplica] = []
        for kind, entry in enumerate(self.config.replicas):
            for url in urls_of(entry, kind):
                found.append(
                    LiveReplica(
                        number=len(found),
                        name=name_of_url(url),
                        url=url.rstrip("/"),
                        kind=kind,
                        engine=entry.engine,
                        model=self.models[entry.model],
                        entry=entry,
                    )
                )
        return found

    def names(self) -> list[str]:
        """What clients may ask for: aliases, then models."""
        return [*self.aliases, *(name for name in self.models if name not in self.aliases)]

    def lane(self, asked: Asked, tier: int) -> int:
        """The code of the lane of a request in the tier at place ``tier``.

        Raises ``RequestError`` for an unknown model (404, with the list), and for what no model of
        those asked for can do (400).
        """
        key = (
            tier, asked.model, asked.effort, asked.endpoint,
            asked.images > 0, asked.audios > 0, asked.tools,
        )  # fmt: skip
        code = self._asked.get(key)
        if code is None:
            code = self.code_of(Lane(tier=tier, allowed=self._allowed(asked, tier)))
            if len(self._asked) < 64 * self.most_lanes:
                self._asked[key] = code
        return code

    def code_of(self, lane: Lane) -> int:
        """The code of a lane, new or met. Raises ``RequestError`` for one too many."""
        code = self._codes.get(lane)
        if code is None:
            if len(self.lanes) >= self.most_lanes:
                said = f"the gateway keeps {self.most_lanes} kinds of requests apart, and this"
                raise RequestError(503, f"{said} is one more")
            code = self._codes[lane] = len(self.lanes)
            self.lanes.append(lane)
        return code

    def _allowed(self, asked: Asked, tier: int) -> tuple[int, ...]:
        """Options that may answer, the reference first."""
        models = [self.models[name] for name in self._models(asked)]
        able = [model for model in models if lack(model, asked) is None]
        if not able:
            raise self._unable(asked)
        if asked.effort not in (None, AUTO):
            found = self._places(able, {asked.effort})
            if asked.effort == NONE:  # who never thinks does not think
                found = sorted(found + self._places([m for m in able if not m.efforts], {None}))
            if not found:
                rungs = {rung for model in able for rung in model.efforts}
                known: list[str] = sorted(rungs, key=EFFORTS.index)
                raise bad_field(
                    asked.effort_field or "reasoning_effort",
                    found=str(asked.effort),
                    allowed=", ".join([AUTO, *(known or [NONE])]) + f" for {asked.model!r}",
                    code="unsupported_value",
                )
            return self._above_floor(found, tier)
        found = self._places(able, {None})
        if asked.effort == AUTO and asked.endpoint in _THINK and self._weighs_answers(tier):
            judged = [model for model in able if model.right_frac]
            found += self._places(judged, set(EFFORTS))
        return self._above_floor(found, tier)

    def _weighs_answers(self, tier: int) -> bool:
        """Whether the policy prices wrong answers of a tier."""
        return self.policy.rates.get("quality", 0.0) > 0.0 and self.tiers[tier].right_usd > 0.0

    def _above_floor(self, found: list[int], tier: int) -> tuple[int, ...]:
        """Options that are right often enough for the tier."""
        floor = self.tiers[tier].right_floor
        if floor is None:
            return tuple(found)
        kept = [
            place for place in found
            if (right := self.options[place].right_frac) is None or right >= floor
        ]  # fmt: skip
        if not kept:
            raise RequestError(
                400,
                f"no option asked for is right as often as tier {self.tiers[tier].name!r} wants "
                f"({floor:g})",
                param="model",
                code="below_quality_floor",
            )
        return tuple(kept)

    def _models(self, asked: Asked) -> tuple[str, ...]:
        """The models that a name stands for."""
        if asked.model in self.aliases:
            return self.aliases[asked.model]
        if asked.model in self.models:
            return (asked.model,)
        raise unknown_model(asked.model, self.names())

    def _unable(self, asked: Asked) -> RequestError:
        """The error for a request that none of the models asked for can answer."""
        lacks = [lack(self.models[name], asked) for name in self._models(asked)]
        found = next(one for one in lacks if one is not None)
        return RequestError(
            400,
            f"no model of {asked.model!r} can do {found[0]}",
            param=found[1],
            code="unsupported_input",
        )

    def _places(self, models: Sequence[ModelEntry], efforts: set[Any]) -> list[int]:
        """Places of options of models at efforts."""
        names = {model.name for model in models}
        return [
            place
            for place, option in enumerate(self.options)
            if option.model.name in names and option.effort in efforts
        ]

    def state(self) -> FleetState:
        """The idle fleet as routing keeps it, with room for all lanes."""
        found = fleet_state(
            self.kinds,
            [len(urls_of(entry, kind)) for kind, entry in enumerate(self.config.replicas)],
            classes=["chat"] * self.most_lanes,
            max_queue=max(entry.max_queue for entry in self.config.replicas),
            models=tuple(self.models),
        )
        for kind, entry in enumerate(self.config.replicas):
            found.limits[kind].max_in_flight = self.kinds[kind].max_batch + entry.max_queue
        keep_index(found, levels=not self.policy.by_tokens, tokens=self.policy.by_tokens)
        return found

    def policy_state(self, fleet: FleetState) -> PolicyState:
        """A fresh state of the policy, whose options are yet to be filled in (``fill``)."""
        site = None if self.supplied is None else self.supplied.site
        usd_per_j, store_j = self.config.energy_usd_per_kwh / J_PER_KWH, None
        if site is not None:  # scipy: only where there is a site
            from baseload.routing.supply_control import reference_usd_per_j, table_capacity_j

            usd_per_j, store_j = reference_usd_per_j(site), table_capacity_j(site)
        table = np.zeros((self.most_lanes, len(self.options)), dtype=OPTION).view(np.recarray)
        table[...] = (BARRED, 1.0, np.inf, 0.0, 0.0, 0.0, 1.0)
        table["model"][:, 0] = 0
        made = self.policy.state(
            fleet,
            seed=self.config.seed,
            options=table,
            tiers=len(self.tiers),
            usd_per_j=usd_per_j,
            store_j=store_j,
        )
        # one that does not weigh answers chooses among all that a lane allows
        return made._replace(options=table)

    def fill(self, policy: PolicyState, code: int) -> None:
        """Write the options of lane ``code`` into the policy's table."""
        lane, row = self.lanes[code], policy.options[code]
        right_usd = self.tiers[lane.tier].right_usd
        names = list(self.models)
        row["model"] = BARRED
        for place in lane.allowed:
            option = self.options[place]
            right = 1.0 if option.right_frac is None else option.right_frac
            row[place] = (
                names.index(option.model.name), option.tokens_factor, np.inf, 1.0 - right,
                right_usd, 0.0, 1.0,
            )  # fmt: skip


def lack(model: ModelEntry, asked: Asked) -> tuple[str, str] | None:
    """What of a request a model cannot do: in words, and the field it stands in."""
    if asked.endpoint not in model.endpoints:
        path = "chat/completions" if asked.endpoint == "chat" else asked.endpoint
        return f"/v1/{path}", "model"
    if asked.images and "image" not in model.inputs:
        return "an image", "messages"
    if asked.audios and "audio" not in model.inputs:
        return "audio", "messages"
    if asked.tools and not model.tools:
        return "tools", "tools"
    return None


def options_of(model: ModelEntry) -> list[LiveOption]:
    """A model's options: its default first, then its efforts, least thinking first."""
    default = default_effort(model)
    found = [
        LiveOption(
            name=model.name,
            model=model,
            effort=None,
            tokens_factor=1.0,
            right_frac=model.right_frac.get("default", model.right_frac.get(default or "", None)),
        )
    ]
    for effort in sorted(model.efforts, key=EFFORTS.index):
        factor = TOKENS_FACTOR[effort] / TOKENS_FACTOR[default or effort]
        found.append(
            LiveOption(
                name=f"{model.name}@{effort}",
                model=model,
                effort=effort,
                tokens_factor=model.tokens_factor.get(effort, factor),
                right_frac=model.right_frac.get(effort),
            )
        )
    return found


def default_effort(model: ModelEntry) -> Effort | None:
    """What a model does when nobody says: as the file says, else ``medium`` or the middle of what
    it can; ``None`` where effort is not its matter.
    """
    if model.default_effort is not None or not model.efforts:
        return model.default_effort
    if "medium" in model.efforts:
        return "medium"
    ladder = sorted(model.efforts, key=EFFORTS.index)
    return ladder[len(ladder) // 2]


def tier_of_entry(entry: LiveTierEntry) -> Tier:
    """The tier as the rest of the project knows it."""
    return Tier(
        name=entry.name,
        classes=(entry.name,),
        priority=entry.priority,
        ttft_s=entry.ttft_s,
        tpot_s=entry.tpot_s,
        e2e_s=entry.e2e_s,
        target_miss_frac=entry.target_miss_frac,
        right_usd=entry.right_usd,
        miss_usd=entry.miss_usd,
        right_floor=entry.right_floor,
    )


def urls_of(entry: ReplicasEntry, place: int) -> tuple[str, ...]:
    """Where an entry's engines are; emulated ones by number."""
    if entry.urls:
        return entry.urls
    return tuple(f"emulated://{place}-{number}" for number in range(entry.count or 1))


def name_of_url(url: str) -> str:
    """A replica's name, from its URL: host, port and path."""
    return url.split("://", 1)[-1].rstrip("/")
