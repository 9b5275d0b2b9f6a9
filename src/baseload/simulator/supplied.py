"""A run at a site: the fleet's energy, slot by slot, meets what feeds it.

The engine's time bins are the slots of the site, so what the fleet drew in a slot is what the site
settles there. One run is settled under several scales of the baseline: a policy that does not look
at the supply draws the same under all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from baseload.base.errors import BadInputError
from baseload.base.units import S_PER_DAY, S_PER_HOUR
from baseload.simulator.records import SERIES_BINS, Engine
from baseload.simulator.results import SupplyDay, SupplyResult, SupplySeries
from baseload.simulator.statistics import interval
from baseload.supply.accounts import SupplyAccount, settle
from baseload.supply.baseline import Scaled
from baseload.supply.series import step_means
from baseload.supply.site import Site
from baseload.supply.slot import BALANCE_LIMIT, SLOT_RESIDUAL_LIMIT, slot_residual_frac

MOST_SLOTS = 4_000_000
_MOST_SCALE = 1000.0
_FEWEST_BLOCKS = 8
_SAME_DEMAND = 1e-9


class Supplied(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The supply side of a scenario: a ``site``, and the factors on its baseline under which each
    run is settled, ``scales``, in the order asked for.
    """

    site: Site
    scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        """Refuse scales that are none, twice, or no factors."""
        for scale in self.scales:
            if not 0 <= scale <= _MOST_SCALE:
                raise BadInputError(
                    "supply scale", found=repr(scale), allowed=f"0 to {_MOST_SCALE:g}"
                )
        if not self.scales or len(set(self.scales)) < len(self.scales):
            found = ", ".join(f"{scale:g}" for scale in self.scales) or "none"
            raise BadInputError("supply scales", found=found, allowed="one or more, each once")

    @property
    def main(self) -> int:
        """Place of the scale nearest to 1: the one that series and single figures are about."""
        return min(range(len(self.scales)), key=lambda place: abs(self.scales[place] - 1.0))


def slots_of(span_s: float, slot_s: float) -> int:
    """Slots that a run of ``span_s`` has; raises ``BadInputError`` for more than ``MOST_SLOTS``."""
    slots = max(1, math.ceil(span_s / slot_s))
    if slots > MOST_SLOTS:
        raise BadInputError(
            "supply: slot_s",
            found=f"{slot_s:g} s: {slots:,} slots in {span_s:,.0f} s",
            allowed=f"at most {MOST_SLOTS:,} slots",
            todo="use longer slots",
        )
    return slots


class Settled(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The books of one run at one scale, without their columns, and what was made of those.
    ``service_usd``: what wrong answers and broken promises cost, by part.
    """

    account: SupplyAccount
    criticality: float | None
    service_usd: Mapping[str, float] = {}
    series: SupplySeries | None = None
    day: SupplyDay | None = None

    @property
    def total_usd(self) -> float:
        """Cost of the run [$]: what the site pays, and what its service cost."""
        return self.account.costs.total_usd + math.fsum(self.service_usd.values())


BookSink = Callable[[float, SupplyAccount], None]
"""Called with each scale and the books under it, columns included."""


def settled(
    supplied: Supplied,
    engine: Engine,
    *,
    end_s: float,
    seed: int,
    service_usd: Mapping[str, float] | None = None,
    check: bool = False,
    sink: BookSink | None = None,
) -> tuple[Settled, ...]:
    """The books of a finished run up to ``end_s`` [s], under each scale of the baseline, with what
    its service cost.

    The last slot ends with the run; a run that goes on after its last slot has one more, as long as
    it takes. ``check`` holds the books against the law of the balance (``AssertionError``).
    """
    site = supplied.site
    fleet_j, lengths_s = _slots(engine, end_s)
    edges_s = np.concatenate(([0.0], np.cumsum(lengths_s)))
    power_w = baseline_between_w(site, edges_s, slots=len(engine.power_j) - 1, seed=seed)
    found = []
    for place, scale in enumerate(supplied.scales):
        scaled = msgspec.structs.replace(site, baseline=Scaled(source=site.baseline, factor=scale))
        account = settle(scaled, fleet_j, slot_s=lengths_s, baseline_w=scale * power_w)
        if sink is not None:
            sink(scale, account)
        if check:
            supply_balances(scaled, account, fleet_j=float(engine.power_j.sum()))
        main = place == supplied.main
        found.append(
            Settled(
                account=msgspec.structs.replace(account, columns=None, edges_s=edges_s[:0]),
                criticality=_criticality(site, account),
                service_usd=service_usd or {},
                series=_series(account) if main else None,
                day=_day(site, account) if main else None,
            )
        )
    return tuple(found)


def supply_balances(site: Site, account: SupplyAccount, *, fleet_j: float) -> None:
    """Law 1: supply + auxiliary = demand served + waste + change in store + losses, over the run
    and in every slot; and the demand is the fleet's.
    """
    residual = account.balance_residual_frac
    assert residual <= BALANCE_LIMIT, f"the supply is out of balance by {residual} of its flows"
    columns = account.columns
    assert columns is not None
    worst = slot_residual_frac(columns, account.level_start_j, site.store.usable_j).max()
    assert worst <= SLOT_RESIDUAL_LIMIT, f"a slot is out of balance by {worst} of its magnitudes"
    expected_j = site.pue * fleet_j + site.overhead_w * account.span_s
    assert math.isclose(account.demand_j, expected_j, rel_tol=_SAME_DEMAND), (
        f"the site saw {account.demand_j} J of demand, the fleet makes {expected_j} J"
    )


def baseline_between_w(
    site: Site, edges_s: NDArray[np.float64], *, slots: int, seed: int
) -> NDArray[np.float64]:
    """Mean baseline between ``edges_s`` [W], drawn on the whole slots of the trace: so all policies
    of a seed meet the same one, whenever their last answer ends.
    """
    count = max(slots, math.ceil(edges_s[-1] / site.slot_s))
    grid_s = np.arange(count + 1) * site.slot_s
    return step_means(grid_s, site.baseline.power_w(grid_s, (seed, "supply")), edges_s)


def _slots(engine: Engine, end_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Joules of the fleet in each slot, and the slots' lengths [s]."""
    slot_s = float(engine.bin_s[0])
    fleet_j = engine.power_j.sum(axis=(1, 2))
    regular = len(fleet_j) - 1
    starts_s = np.arange(len(fleet_j)) * slot_s
    lengths_s = np.minimum(slot_s, np.maximum(0.0, end_s - starts_s))
    lengths_s[regular] = max(0.0, end_s - starts_s[regular])
    kept = lengths_s > 0.0
    kept[0] = True
    lengths_s[0] = max(lengths_s[0], 1e-6)
    last = int(np.flatnonzero(kept)[-1])
    fleet_j[last] += fleet_j[last + 1 :].sum()  # what fell on the last edge
    return fleet_j[kept], lengths_s[kept]


def supply_result(supplied: Supplied, place: int, books: Sequence[Settled]) -> SupplyResult:
    """What a policy cost at the scale of ``place``, mean over the books of all seeds."""
    from baseload.theory.regime import label_of  # scipy: a gateway has no results

    accounts = [one.account for one in books]
    figures = [_figures(one) for one in books]
    mean = {name: _mean([figure[name] for figure in figures]) for name in figures[0]}
    first = accounts[0]
    names = [*first.costs.__struct_fields__, *books[0].service_usd]
    parts = {name: mean[f"cost.{name}"] for name in names}
    seconds = _some(_mean([account.span_s for account in accounts]))
    demand_w, baseline_w = _some(mean["demand_j"]) / seconds, _some(mean["baseline_j"]) / seconds
    criticality = _mean([one.criticality for one in books])
    return SupplyResult(
        scale=supplied.scales[place],
        baseline_w=baseline_w,
        demand_w=demand_w,
        baseline_over_demand=baseline_w / demand_w if demand_w > 0 else None,
        **{name: _some(mean[name]) for name in _FLOWS},
        peak_w=max(account.peak_w for account in accounts),
        equivalent_cycles=_some(mean["equivalent_cycles"]),
        carbon_kg=mean["carbon_kg"],
        carbon_missing=list(first.carbon_missing),
        marginal_carbon_kg=mean["marginal_carbon_kg"],
        total_cost_usd=mean["total_cost_usd"],
        cost_usd={name: value for name, value in parts.items() if value is not None},
        cost_missing=list(first.costs.missing),
        balance_residual_frac=max(account.balance_residual_frac for account in accounts),
        regime=None if criticality is None else label_of(criticality),
        criticality=criticality,
        interval=_intervals(figures),
        series=books[0].series,
        day=books[0].day,
    )


def _intervals(figures: Sequence[dict[str, float | None]]) -> dict[str, list[float]]:
    """Intervals over seeds of the figures that all seeds have; empty for one seed."""
    if len(figures) < 2:
        return {}
    found = {}
    for name in figures[0]:
        values = [figure[name] for figure in figures]
        present = [value for value in values if value is not None]
        if len(present) == len(values):
            found[name] = interval(present)
    return found


_FLOWS = (
    "demand_j",
    "baseline_j",
    "baseline_used_j",
    "auxiliary_j",
    "waste_j",
    "unserved_j",
    "store_change_j",
    "leak_j",
    "loss_j",
)


def _figures(books: Settled) -> dict[str, float | None]:
    """The figures of one run that are averaged over seeds."""
    account, service = books.account, books.service_usd
    inventory, marginal = account.location_based, account.marginal_effect
    return {
        **{name: getattr(account, name) for name in _FLOWS},
        "equivalent_cycles": account.equivalent_cycles,
        "carbon_kg": None if inventory is None else inventory.mass_g / 1000.0,
        "marginal_carbon_kg": None if marginal is None else marginal.mass_g / 1000.0,
        "total_cost_usd": books.total_usd,
        **{f"cost.{name}": usd for name, usd in service.items()},
        **{
            f"cost.{name}": getattr(account.costs, name) for name in account.costs.__struct_fields__
        },
    }


def _some(value: float | None) -> float:
    """A figure that is there."""
    assert value is not None
    return value


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean; ``None`` where one is missing."""
    present = [value for value in values if value is not None]
    return math.fsum(present) / len(values) if len(present) == len(values) else None


def _criticality(site: Site, account: SupplyAccount) -> float | None:
    """The index ``y = 2 theta B / sigma2`` of a run, from the net energy of whole days (of slots in
    a run of few days); ``None`` where there are too few, or no store that fills and empties.
    """
    columns = account.columns
    assert columns is not None
    slot_s = float(account.edges_s[1] - account.edges_s[0])
    net_j = columns.supply_j - columns.demand_j
    per_block = max(1, round(S_PER_DAY / slot_s))
    if len(net_j) // per_block < _FEWEST_BLOCKS:
        per_block = max(1, len(net_j) // (2 * _FEWEST_BLOCKS))
    blocks = len(net_j) // per_block
    capacity_j = site.store.usable_j
    if blocks < _FEWEST_BLOCKS or not 0 < capacity_j < math.inf:
        return None
    block_j = net_j[: blocks * per_block].reshape(blocks, per_block).sum(axis=1)
    variance_j2 = float(block_j.var(ddof=1))
    if variance_j2 == 0.0:
        return None
    return 2.0 * float(block_j.mean()) * capacity_j / variance_j2


def _series(account: SupplyAccount) -> SupplySeries:
    """The run in at most ``SERIES_BINS`` stretches; those of a long run are whole days, so that
    none has more night than another.
    """
    columns = account.columns
    assert columns is not None
    count = len(columns.demand_j)
    slots = -(-count // SERIES_BINS)
    per_day = max(1, round(S_PER_DAY / float(account.edges_s[1])))
    if slots > per_day // 2:
        slots = -(-slots // per_day) * per_day
    starts = np.arange(0, count, slots)
    ends = np.append(starts[1:], count)
    lengths_s = account.edges_s[ends] - account.edges_s[starts]

    def power_w(column: NDArray[np.float64]) -> list[float]:
        return [float(value) for value in np.add.reduceat(column, starts) / lengths_s]

    return SupplySeries(
        t_s=account.edges_s[starts].tolist(),
        baseline_w=power_w(columns.supply_j),
        demand_w=power_w(columns.demand_j),
        auxiliary_w=power_w(columns.auxiliary_j),
        waste_w=power_w(columns.waste_j),
        unserved_w=power_w(columns.unserved_j),
        level_j=columns.level_j[ends - 1].tolist(),
    )


def _day(site: Site, account: SupplyAccount) -> SupplyDay | None:
    """The mean day of a run of a day or more, by the hour of UTC."""
    columns = account.columns
    assert columns is not None
    if account.span_s < S_PER_DAY:
        return None
    middles_s = 0.5 * (account.edges_s[1:] + account.edges_s[:-1]) + site.start_unix_s
    hour = np.floor(middles_s % S_PER_DAY / S_PER_HOUR).astype(int)
    seconds = np.bincount(hour, weights=np.diff(account.edges_s), minlength=24)
    if (seconds == 0).any():
        return None

    def power_w(column: NDArray[np.float64]) -> list[float]:
        return [float(one) for one in np.bincount(hour, weights=column, minlength=24) / seconds]

    lengths_s = np.diff(account.edges_s)
    return SupplyDay(
        baseline_w=power_w(columns.supply_j),
        demand_w=power_w(columns.demand_j),
        auxiliary_w=power_w(columns.auxiliary_j),
        waste_w=power_w(columns.waste_j),
        level_j=power_w(columns.level_j * lengths_s),
    )
