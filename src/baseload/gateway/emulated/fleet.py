"""The emulated engines of a configuration, in the gateway's own process."""

from __future__ import annotations

from baseload.gateway.emulated.engine import EmulatedEngine
from baseload.gateway.emulated.upstream import SCHEME, EmulatedUpstream
from baseload.gateway.live_fleet import LiveFleet, LiveReplica


class EmulatedFleet:
    """Engines by the name in their URL. One that stays in the configuration stays as it is, with
    what it runs; one that goes ends what it has. Make it inside a running loop.
    """

    def __init__(self, fleet: LiveFleet) -> None:
        self._engines: dict[str, tuple[object, EmulatedEngine]] = {}
        self.upstream = EmulatedUpstream({})
        self.configured(fleet)

    def configured(self, fleet: LiveFleet) -> None:
        """Have the engines of ``fleet``, and no others."""
        before, self._engines = self._engines, {}
        for replica in fleet.replicas:
            if not is_emulated(replica):
                continue
            name = replica.url.removeprefix(SCHEME)
            kind = fleet.kinds[replica.kind]
            spoken = replica.model.upstream_name or replica.model.name
            what = (kind, spoken, fleet.config.seed)
            old = before.get(name)
            if old is not None and old[0] == what:
                self._engines[name] = old
                continue
            engine = EmulatedEngine(
                kind, model_name=spoken, seed=fleet.config.seed, number=replica.number
            )
            self._engines[name] = (what, engine)
        self.upstream = EmulatedUpstream({name: one for name, (_, one) in self._engines.items()})

    def engine(self, name: str) -> EmulatedEngine:
        """The engine of that name; raises ``KeyError``."""
        return self._engines[name][1]

    async def close(self) -> None:
        """Stop all engines."""
        await self.upstream.close()


def is_emulated(replica: LiveReplica) -> bool:
    """Whether a replica is emulated in this process."""
    return replica.url.startswith(SCHEME)
