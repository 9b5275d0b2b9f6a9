"""The clairvoyant dispatch at a site: exact on small instances, below every schedule."""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec
import numpy as np
import pytest
from scipy.optimize import linprog

from baseload.base.errors import ArgumentError, BadInputError
from baseload.base.streams import stream
from baseload.simulator import dispatch_blocks, dispatch_program
from baseload.simulator.dispatch import dispatch
from baseload.supply.accounts import settle
from baseload.supply.baseline import Constant
from baseload.supply.carbon import carbon_signal
from baseload.supply.site import Site
from baseload.supply.store import Store
from baseload.supply.tariff import FlatPrice, SpotPrice, Tariff, demand_charge_per_kw

CLOSE = 1e-6
"""What the tolerances of the solver leave, relative."""
EACH = 80


class Case(NamedTuple):
    """One instance: the site and the arguments of ``dispatch``."""

    site: Site
    given: dict[str, np.ndarray]


def case(seed, *, slots=None, delays=False, signed=False):
    """The instance of a seed: one to eight slots, one to three classes, one to four options.
    ``signed``: prices of any sign.
    """
    rng = stream(seed, "tests", "dispatch")
    slots = int(rng.integers(1, 9)) if slots is None else slots
    classes, options = int(rng.integers(1, 4)), int(rng.integers(1, 5))
    slot_s = float(rng.choice([10.0, 900.0]))
    lengths = slot_s * (np.ones(slots) if rng.random() < 0.7 else rng.uniform(0.5, 2.0, slots))
    edges = np.concatenate(([0.0], np.cumsum(lengths)))
    joules = np.sort(rng.uniform(10.0, 500.0, (classes, options)))
    right = np.sort(rng.uniform(0.0, 1.0, (classes, options)))
    arrivals = rng.poisson(rng.uniform(0, 6), (slots, classes)).astype(float)
    mean_j = float((arrivals @ joules.mean(axis=1)).mean()) + 1.0
    low = -2.0 if signed else 0.0
    prices = rng.uniform(low, 6.0, math.ceil(edges[-1] / slot_s)) * 1e-5
    flat = rng.random() < 0.3
    finite = rng.random() < 0.4
    site = Site(
        baseline=Constant(value_w=0.0),
        store=made_store(rng, mean_j, slot_s),
        auxiliary_limit_w=float(rng.uniform(0.0, 1.5)) * mean_j / slot_s if finite else math.inf,
        unserved_usd_per_j=float(rng.choice([1e-5, 1e-3])) if finite else None,
        pue=float(rng.choice([1.0, 1.3])),
        overhead_w=float(rng.choice([0.0, 0.1])) * mean_j / slot_s,
        baseline_usd_per_j=1e-6,
        tariff=Tariff(
            energy=FlatPrice(usd_per_j=float(prices[0]))
            if flat
            else SpotPrice(usd_per_j=prices, step_s=slot_s),
            demand=demand_charge_per_kw(3.0) if rng.random() < 0.2 else None,
            fixed_usd_per_month=5.0,
        ),
        waste_usd_per_j=float(rng.choice([0.0, 2e-6, -2e-6]))
        if rng.random() < 0.6
        else SpotPrice(usd_per_j=rng.uniform(-5e-6, 5e-6, len(prices)), step_s=slot_s),
        carbon_usd_per_g=1e-4 if rng.random() < 0.5 else None,
        auxiliary_carbon=carbon_signal("average", rng.uniform(0, 600, len(prices)), step_s=slot_s),
        baseline_carbon=carbon_signal("average", 40.0) if rng.random() < 0.5 else None,
        slot_s=slot_s,
    )
    given = {
        "edges_s": edges,
        "arrivals": arrivals,
        "joules": joules,
        "right_frac": right,
        "right_usd": rng.uniform(0.0, 0.02, classes),
        "fee_usd": rng.uniform(0.0, 0.002, (classes, options)),
        "floor_w": rng.uniform(0.0, 0.2, slots) * mean_j / slot_s,
        "baseline_w": rng.uniform(-0.2, 2.5, slots) * mean_j / slot_s,
    }
    if delays:
        given["delay_s"] = rng.choice([0.0, 0.4, 1.0, 2.5, 40.0], classes) * slot_s
    return Case(site, given)


def made_store(rng, mean_j, slot_s):
    """No store, or one of some slots' energy, with or without losses and limits."""
    if rng.random() < 0.2:
        return Store()
    lossless, limited = rng.random(2) < 0.4
    return Store(
        capacity_j=float(rng.uniform(0.2, 4.0)) * mean_j,
        charge_efficiency=1.0 if lossless else 0.9,
        discharge_efficiency=1.0 if lossless else 0.85,
        leak_per_s=0.0 if rng.random() < 0.5 else 0.05 / slot_s,
        charge_limit_w=0.6 * mean_j / slot_s if limited else math.inf,
        discharge_limit_w=0.6 * mean_j / slot_s if limited else math.inf,
        soc_min_frac=0.1,
        soc_start_frac=float(rng.uniform(0.1, 1.0)),
        wear_usd_per_j=float(rng.choice([0.0, 3e-6])),
    )


def plain_program(made):
    """The same program in another form: a variable for each class, option, slot of arrival and slot
    of drawing; levels as sums; dollars and joules as they are.
    """
    site, given, store = made.site, made.given, made.site.store
    edges = given["edges_s"]
    lengths = np.diff(edges)
    slots, (classes, options) = len(lengths), given["joules"].shape
    delay = given.get("delay_s", np.zeros(classes))
    prices = site.tariff.energy.slot_usd_per_j(edges)
    if site.carbon_usd_per_g:
        prices = prices + site.carbon_usd_per_g * site.auxiliary_carbon.slots(edges)[0]
    demand = (site.pue * given["floor_w"] + site.overhead_w) * lengths
    waste = dispatch_blocks.waste_prices(site, edges)
    ways = [  # (come, drawn, class, option)
        (s, t, k, j)
        for s in range(slots)
        for t in range(s, slots)
        for k in range(classes)
        for j in range(options)
        if t == s or edges[t] < edges[s + 1] + delay[k]
    ]
    flows = 5 * slots
    cost, bounds, balance = [], [], np.zeros((slots, flows + len(ways)))
    room_j, held_j = (
        store.usable_j / store.charge_efficiency,
        (store.usable_j * store.discharge_efficiency),
    )
    wear = store.wear_usd_per_j or 0.0
    limited = math.isfinite(site.auxiliary_limit_w)
    for t in range(slots):
        supply_j = given["baseline_w"][t] * lengths[t]
        cost += [prices[t], waste[t], wear * store.charge_efficiency]
        cost += [wear / store.discharge_efficiency, site.unserved_usd_per_j or 0.0]
        bounds += [
            (0, site.auxiliary_limit_w * lengths[t]),
            (0, max(0.0, supply_j)),
            (0, min(store.charge_limit_w * lengths[t], room_j)),
            (0, min(store.discharge_limit_w * lengths[t], held_j)),
            (0, None if limited else 0),
        ]
        balance[t, 5 * t : 5 * t + 5] = 1.0, -1.0, -1.0, 1.0, 1.0
        demand[t] -= supply_j
    served = np.zeros((slots * classes, flows + len(ways)))
    for at, (s, t, k, j) in enumerate(ways, start=flows):
        wrong = given["right_usd"][k] * (1 - given["right_frac"][k, j])
        cost.append(wrong + given["fee_usd"][k, j])
        bounds.append((0, None))
        balance[t, at] = -site.pue * given["joules"][k, j]
        served[s * classes + k, at] = 1.0
    levels = np.zeros((slots, flows + len(ways)))
    start = np.zeros(slots)
    kept, level = store.start_j, np.zeros(flows + len(ways))
    for t in range(slots):
        factor = math.exp(-store.leak_per_s * lengths[t])
        kept, level = kept * factor, level * factor
        level[5 * t + 2] += store.charge_efficiency
        level[5 * t + 3] -= 1.0 / store.discharge_efficiency
        levels[t], start[t] = level, kept
    scale = 1e5
    found = linprog(
        np.array(cost) * scale,
        A_eq=np.vstack([balance, served]),
        b_eq=np.concatenate([demand, given["arrivals"].ravel()]),
        A_ub=np.vstack([levels, -levels]),
        b_ub=np.concatenate([store.usable_j - start, start]),
        bounds=bounds,
        method="highs-ds",
    )
    assert found.status == 0, found.message
    return found.fun / scale


def constants_usd(made):
    """What no choice changes: baseline, its carbon, the fixed fee."""
    site, given = made.site, made.given
    lengths = np.diff(given["edges_s"])
    supply_j = given["baseline_w"] * lengths
    found = site.baseline_usd_per_j * supply_j.sum()
    found += 5.0 * lengths.sum() / (31 * 86400.0)
    if site.carbon_usd_per_g and site.baseline_carbon is not None:
        found += site.carbon_usd_per_g * (40.0 / 3.6e6) * supply_j.sum()
    return found


def solved(made, **changes):
    return dispatch(made.site, **(made.given | changes))


def size_usd(made, found):
    """What an error of a solver is to be measured by."""
    return max(sum(abs(part) for part in found.cost_usd.values()), 1e-4)


@pytest.mark.parametrize("delays", [False, True])
@pytest.mark.parametrize("signed", [False, True])
def test_the_same_program_in_another_form_has_the_same_value(delays, signed):
    for seed in range(EACH):
        made = case(seed, delays=delays, signed=signed)
        found = solved(made)
        expected = plain_program(made) + constants_usd(made)
        error = abs(found.total_cost_usd - expected) / size_usd(made, found)
        assert error < CLOSE, (seed, found, expected)


def random_choice(made, rng):
    """Requests answered at random: joules of the fleet in each slot, dollars of the answers."""
    given = made.given
    fleet_j = given["floor_w"] * np.diff(given["edges_s"])
    usd = 0.0
    options = given["joules"].shape[1]
    favourite = rng.dirichlet(np.full(options, 0.4))
    for t, counts in enumerate(given["arrivals"].astype(int)):
        for k, count in enumerate(counts):
            chosen = rng.multinomial(count, favourite)
            fleet_j[t] += chosen @ given["joules"][k]
            wrong = given["right_usd"][k] * (1 - given["right_frac"][k])
            usd += chosen @ (wrong + given["fee_usd"][k])
    return fleet_j, usd


def greedy_usd(made, fleet_j):
    """What the books say of a run, without the demand charge."""
    given = made.given
    account = settle(
        made.site,
        fleet_j,
        slot_s=np.diff(given["edges_s"]),
        baseline_w=given["baseline_w"],
    )
    return account.costs.total_usd - (account.costs.demand_usd or 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_no_choice_with_a_greedy_store_costs_less(part):
    """Also with slots put together in blocks, with delays, and with prices of any sign."""
    least = math.inf
    for seed in range(1000 + 60 * part, 1060 + 60 * part):
        made = case(seed, signed=part % 2 == 1)
        rng = stream(seed, "tests", "dispatch", "choice")
        runs = [random_choice(made, rng) for _ in range(4)]
        costs = [greedy_usd(made, fleet_j) + usd for fleet_j, usd in runs]
        slots = len(made.given["arrivals"])
        for changes in ({}, {"most_blocks": max(1, slots // 2)}, {"delay_s": 25.0}):
            found = solved(made, **changes)
            slack = CLOSE * size_usd(made, found)
            assert min(costs) >= found.total_cost_usd - slack, (seed, changes)
        least = min(least, (min(costs) - solved(made).total_cost_usd) / size_usd(made, found))
    assert least < 1e-3, "in some instances the bound is nearly reached"


def test_no_use_of_the_store_costs_less():
    """Batteries that charge and discharge at will, also from the grid, one way in each slot."""
    for seed in range(2000, 2100):
        made = case(seed)
        site, given, store = made.site, made.given, made.site.store
        if math.isfinite(site.auxiliary_limit_w):
            continue
        rng = stream(seed, "tests", "dispatch", "store")
        fleet_j, usd = random_choice(made, rng)
        lengths = np.diff(given["edges_s"])
        demand_j = site.pue * fleet_j + site.overhead_w * lengths
        prices = sum(dispatch_blocks.auxiliary_prices(site, given["edges_s"]))
        waste = dispatch_blocks.waste_prices(site, given["edges_s"])
        level_j, cost = store.start_j, usd + constants_usd(made)
        for t, length_s in enumerate(lengths):
            level_j *= math.exp(-store.leak_per_s * length_s)
            supply_j = given["baseline_w"][t] * length_s
            room_j = (store.usable_j - level_j) / store.charge_efficiency
            there_j = level_j * store.discharge_efficiency
            in_j = rng.uniform(0, 1) * min(store.charge_limit_w * length_s, room_j)
            out_j = rng.uniform(0, 1) * min(store.discharge_limit_w * length_s, there_j)
            need_j = demand_j[t] - supply_j
            if rng.random() < 0.5:
                out_j = 0.0
            else:
                in_j, out_j = 0.0, min(out_j, max(0.0, need_j))
            level_j += store.charge_efficiency * in_j - out_j / store.discharge_efficiency
            cost += (store.wear_usd_per_j or 0.0) * store.throughput_j(in_j, out_j)
            net_j = need_j + in_j - out_j
            cost += prices[t] * max(0.0, net_j) + waste[t] * max(0.0, -net_j)
        found = solved(made)
        assert cost >= found.total_cost_usd - CLOSE * size_usd(made, found), seed


def test_whole_joules_by_enumeration():
    """A lossless store, prices and joules in whole numbers: the program is a flow in a network, so
    whole joules suffice and a table over levels and energies finds the same.
    """
    for seed in range(40):
        rng = stream(seed, "tests", "dispatch", "table")
        slots, capacity_j = int(rng.integers(1, 5)), int(rng.integers(0, 7))
        supply_j = rng.integers(0, 9, slots)
        prices = rng.integers(0, 6, slots)
        counts = rng.integers(0, 3, slots)
        joules, wrong = np.array([1, 2, 4]), np.sort(rng.integers(0, 12, 3))[::-1]
        site = Site(
            baseline=Constant(value_w=0.0),
            store=Store(capacity_j=float(capacity_j), soc_start_frac=0.0),
            tariff=Tariff(energy=SpotPrice(usd_per_j=prices.astype(float), step_s=1.0)),
            waste_usd_per_j=1.0,
            slot_s=1.0,
        )
        found = dispatch(
            site,
            edges_s=np.arange(slots + 1.0),
            arrivals=counts[:, None].astype(float),
            joules=[joules],
            right_frac=[1.0 - wrong / 12.0],
            right_usd=[12.0],
            floor_w=0.0,
            baseline_w=supply_j.astype(float),
        )
        hull = np.interp(np.arange(1, 5), *_lower_hull(joules, wrong))
        best = {0: 0.0}
        for t in range(slots):
            reached: dict[int, float] = {}
            for level, cost in best.items():
                for energy in range(counts[t], 4 * counts[t] + 1):
                    each = _split_cost(hull, int(counts[t]), energy)
                    for after in range(capacity_j + 1):
                        net = energy + after - level - supply_j[t]
                        paid = prices[t] * max(0, net) + max(0, -net)
                        if -net > supply_j[t]:
                            continue
                        total = cost + each + paid
                        reached[after] = min(reached.get(after, math.inf), total)
            best = reached
        assert found.total_cost_usd == pytest.approx(min(best.values()), abs=1e-6), seed


def _lower_hull(joules, wrong):
    menu = dispatch_program.menu_of(joules.astype(float), wrong.astype(float))
    return menu.energy_j, menu.cost_usd


def _split_cost(hull, count, energy):
    """Least cost of ``count`` answers with ``energy`` in all, ``hull`` being that of 1 to 4."""
    if count == 0:
        return 0.0
    low, more = divmod(energy, count)
    return (count - more) * hull[low - 1] + (more * hull[low] if more else 0.0)


def test_the_menu_is_the_lower_hull():
    rng = stream(0, "tests", "dispatch", "menu")
    for _ in range(100):
        energy_j, cost_usd = rng.integers(0, 6, (2, int(rng.integers(1, 7)))).astype(float)
        menu = dispatch_program.menu_of(energy_j, cost_usd)
        assert (np.diff(menu.energy_j) > 0).all()
        assert (np.diff(np.diff(menu.cost_usd) / np.diff(menu.energy_j)) > 0).all()
        line = np.interp(energy_j, menu.energy_j, menu.cost_usd)
        assert (line <= cost_usd + 1e-12).all()
        assert {energy_j.min(), energy_j.max()} == {menu.energy_j[0], menu.energy_j[-1]}


ONE_CLASS = {
    "joules": [[10.0, 100.0]],
    "right_frac": [[0.5, 0.9]],
    "right_usd": [1.0],
    "floor_w": 3.0,
}


def flat(slots=5, *, baseline_w=0.0, **changes):
    """A site without variation: 2 requests in each slot of 10 s."""
    fields = {
        "baseline": Constant(value_w=baseline_w),
        "tariff": Tariff(energy=FlatPrice(usd_per_j=0.001)),
        "slot_s": 10.0,
    }
    given = {
        "edges_s": np.arange(slots + 1) * 10.0,
        "arrivals": np.full((slots, 1), 2.0),
        "baseline_w": np.full(slots, baseline_w),
    }
    return Site(**(fields | changes)), ONE_CLASS | given


@pytest.mark.parametrize("usd_per_j", [0.001, 0.004, 0.005, 0.1])
def test_without_variation_each_answer_is_the_cheaper_one(usd_per_j):
    site, given = flat(pue=1.5, tariff=Tariff(energy=FlatPrice(usd_per_j=usd_per_j)))
    found = dispatch(site, **given)
    each = min(0.5 + 15 * usd_per_j, 0.1 + 150 * usd_per_j)
    assert found.total_cost_usd == pytest.approx(10 * each + 5 * 45 * usd_per_j)
    assert found.quality_frac == (0.9 if 135 * usd_per_j < 0.4 else 0.5)
    assert sum(found.choice_frac[0]) == pytest.approx(1.0)
    assert found.cost_missing == ["baseline_usd", "carbon_usd", "wear_usd"]


def test_baseline_above_all_demand_is_wasted_and_costs_no_quality():
    site, given = flat(baseline_w=50.0)
    found = dispatch(site, **given)
    assert found.auxiliary_j == 0.0
    assert found.quality_frac == pytest.approx(0.9)
    assert found.demand_j == pytest.approx(5 * (200 + 30))
    assert found.waste_j == pytest.approx(5 * 500 - found.demand_j)


def test_a_lossless_store_of_any_size_sees_the_mean_of_the_supply_only():
    """Sun first, night after it: the least cost is that of one long slot."""
    store = Store(capacity_j=1e6, soc_start_frac=0.0)
    site, given = flat(4, store=store)
    sunny = given | {"baseline_w": np.array([40.0, 25.0, 5.0, 0.0])}
    one = given | {
        "edges_s": [0.0, 40.0],
        "arrivals": [[8.0]],
        "baseline_w": [17.5],
    }
    found, pooled = dispatch(site, **sunny), dispatch(site, **one)
    assert found.total_cost_usd == pytest.approx(pooled.total_cost_usd)
    none = dispatch(msgspec.structs.replace(site, store=Store()), **sunny)
    assert none.total_cost_usd > found.total_cost_usd * 1.01


def test_a_leaking_store_has_room_again_within_a_block():
    """Where waste costs, a full store takes in every slot what leaked before."""
    store = Store(capacity_j=100.0, soc_start_frac=1.0, leak_per_s=-math.log(0.8) / 10.0)
    site, given = flat(4, store=store, waste_usd_per_j=1.0, baseline_w=2.0)
    idle = given | {"arrivals": np.zeros((4, 1)), "floor_w": 0.0}
    found = dispatch(site, **idle)
    assert found.total_cost_usd == pytest.approx(0.0, abs=1e-9)
    for blocks in (1, 2, 3):
        merged = dispatch(site, **idle, most_blocks=blocks)
        assert merged.total_cost_usd == pytest.approx(0.0, abs=1e-9)


def test_an_islanded_site_leaves_unserved_what_it_cannot_feed_at_its_price():
    site, given = flat(auxiliary_limit_w=0.0, tariff=None, unserved_usd_per_j=1.0, baseline_w=4.0)
    found = dispatch(site, **given)
    assert found.unserved_j == pytest.approx(5 * 10.0)
    assert found.cost_usd["unserved_usd"] == pytest.approx(50.0)
    assert found.quality_frac == 0.5


def test_what_is_short_is_named():
    site, given = flat(auxiliary_limit_w=0.0, tariff=None, baseline_w=5.0)
    dispatch(site, **given)
    weak = given | {"baseline_w": [5.0, 5.0, 4.5, 4.0, 5.0]}
    with pytest.raises(BadInputError, match=r"at least 15 J missing, first between second 20 and"):
        dispatch(site, **weak)


def test_infinite_joules_are_no_option():
    site, given = flat()
    found = dispatch(site, **(given | {"joules": [[math.inf, 100.0]]}))
    assert found.choice_frac == [[0.0, 1.0]]
    with pytest.raises(ArgumentError, match=r"joules\[0\]"):
        dispatch(site, **(given | {"joules": [[math.inf, math.inf]]}))


def test_more_freedom_never_costs_more():
    for seed in range(40):
        made = case(seed)
        found = solved(made)
        slack = CLOSE * size_usd(made, found)
        for changes in (
            {"most_blocks": 1},
            {"delay_s": 1e6},
            {"most_w": 1e4},
            {"joules": 0.9 * made.given["joules"], "most_w": 1e4},
        ):
            freer = solved(made, **changes).total_cost_usd
            assert freer <= found.total_cost_usd + slack, (seed, changes)


def test_drawing_more_pays_only_where_it_is_paid():
    """Without a price below 0 and without a price on waste, the freedom to draw more is worth
    nothing; with one it is used up to its limit.
    """
    site, given = flat()
    free = dispatch(site, **given, most_w=1e3)
    assert free.total_cost_usd == pytest.approx(dispatch(site, **given).total_cost_usd)
    assert free.demand_j == pytest.approx(dispatch(site, **given).demand_j)
    paid = msgspec.structs.replace(site, tariff=Tariff(energy=FlatPrice(usd_per_j=-0.001)))
    found = dispatch(paid, **given, most_w=1e3)
    assert found.cost_usd["energy_usd"] == pytest.approx(-0.001 * 5 * (30 + 200 + 1e4))


def test_no_bound_on_what_a_price_below_nothing_pays():
    site, given = flat(store=Store(capacity_j=math.inf))
    paid = msgspec.structs.replace(site, tariff=Tariff(energy=FlatPrice(usd_per_j=-0.001)))
    with pytest.raises(BadInputError, match="has no bound"):
        dispatch(paid, **given)


def test_the_demand_charge_is_left_out_and_said_so():
    charge = demand_charge_per_kw(10.0)
    energy = FlatPrice(usd_per_j=0.001)
    plain, given = flat(tariff=Tariff(energy=energy))
    charged, _ = flat(tariff=Tariff(energy=energy, demand=charge))
    one, two = dispatch(plain, **given), dispatch(charged, **given)
    assert one.total_cost_usd == two.total_cost_usd
    assert "demand charge" in two.how
    assert "demand charge" not in one.how


def test_no_requests_leave_the_site_alone():
    site, given = flat()
    found = dispatch(site, **(given | {"arrivals": np.zeros((5, 1))}))
    assert found.quality_frac is None
    assert found.total_cost_usd == pytest.approx(5 * 30 * 0.001)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("edges_s", [0.0]),
        ("arrivals", [[1.0]] * 4),
        ("arrivals", [[-1.0]] * 5),
        ("joules", [[1.0, math.nan]]),
        ("joules", [1.0, 2.0]),
        ("right_frac", [[0.5, 1.1]]),
        ("right_usd", [1.0, 2.0]),
        ("fee_usd", [1.0]),
        ("floor_w", -1.0),
        ("delay_s", [-1.0]),
        ("most_w", -1.0),
        ("most_blocks", 0),
        ("baseline_w", [1.0]),
    ],
)
def test_bad_input_is_named(field, value):
    site, given = flat()
    with pytest.raises(ArgumentError, match=field):
        dispatch(site, **(given | {field: value}))
