"""The desk of a simulated site: what it shows is what the books say, nobody sees the future, and a
policy that does not look is left alone.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from made_scenarios import groups_of
from sites import CHOICES, LOOKING, at_site, days, site, steady

from baseload.base.errors import BadInputError
from baseload.routing.policies import policy
from baseload.routing.supply_control import SupplyControl
from baseload.simulator import run as running
from baseload.simulator import site_desk
from baseload.simulator.choices import Choice
from baseload.simulator.run import run_once, run_scales, simulate
from baseload.supply.baseline import Constant
from baseload.supply.baseline import Trace as RecordedPower
from baseload.supply.carbon import carbon_signal
from baseload.supply.store import Store
from baseload.supply.tariff import FlatPrice, Tariff


def decisions(scenario, name, *, seed=0):
    """Replica of every request and tokens of its answer, which tell its option (-1: refused), and
    the totals.
    """
    rows = []
    source = scenario.requests(seed)
    run = run_once(
        scenario, policy(name), source, seed=seed, log=lambda *ended: rows.append(ended[2])
    )
    found = np.full((source.requests, 2), -1)
    for row in rows:
        found[row.number] = np.stack([row.replica, row.output_tokens], axis=1)
    return found, run


@pytest.fixture
def shown(monkeypatch):
    """What controllers are shown, and the level that the desk keeps, in the order of slots."""
    seen = []

    class Noting(SupplyControl):
        def look(self, signals):
            seen.append(signals)
            super().look(signals)

    monkeypatch.setattr(site_desk, "SupplyControl", Noting)
    return seen


@pytest.mark.parametrize("slot_s", [300.0, 900.0, 5400.0])
def test_the_desk_shows_what_the_books_will_say(shown, slot_s):
    """Within the step that crosses the end of a slot."""
    books = []
    scenario = at_site(site(slot_s=slot_s, pue=1.2, overhead_w=10.0))
    run_once(
        scenario,
        policy("variance_aware"),
        scenario.requests(0),
        check=True,
        slots=lambda *one: books.append(one[-1]),
    )
    columns = books[0].columns
    step_j = 1.2 * max(
        group.replicas * group.kind.power.power_w_cap * 0.1 for group in scenario.groups
    )
    count = min(len(shown), len(columns.level_j) - 1)
    assert count > 30
    for slot in range(count):
        signals = shown[slot]
        assert signals.now_s == pytest.approx((slot + 1) * slot_s)
        assert signals.baseline_j == pytest.approx(columns.supply_j[slot])
        assert signals.demand_j == pytest.approx(columns.demand_j[slot], abs=2 * step_j)
        assert signals.level_j == pytest.approx(columns.level_j[slot], abs=2 * step_j)
    whole_j = math.fsum(one.demand_j for one in shown[:count])
    assert whole_j == pytest.approx(columns.demand_j[:count].sum(), abs=2 * step_j)


def test_promises_and_picks_add_up(shown):
    scenario = at_site()
    found, run = decisions(scenario, "variance_aware")
    assert sum(one.picked.sum() for one in shown) <= len(found)
    assert sum(one.picked.sum() for one in shown) >= len(found) - 10
    assert all(one.promised_j >= 0 for one in shown)
    assert run.refused.sum() == 0


@pytest.mark.parametrize("name", LOOKING)
def test_the_same_run_twice(name):
    one, two = (decisions(at_site(), name)[0] for _ in range(2))
    assert (one == two).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", LOOKING)
@pytest.mark.parametrize("at_s", [50_400.0, 129_600.0])
def test_no_policy_sees_the_future(name, at_s):
    """Two worlds that are one up to an instant: other requests, other sun, other carbon after."""
    hours = np.concatenate((site().baseline.profile_w, site().baseline.profile_w))
    grams = np.linspace(200.0, 500.0, 72)
    worlds = []
    for other in (False, True):
        power, trace, carbon = np.tile(hours, 2)[:72].copy(), days(), grams.copy()
        if other:
            later = np.arange(72) * 3600.0 >= at_s
            power[later], carbon[later] = 900.0, 30.0
            after = trace.t_us > at_s * 1e6
            trace = msgspec.structs.replace(
                trace,
                input_tokens=np.where(after, 180, trace.input_tokens).astype(np.int32),
                output_tokens=np.where(after, 7, trace.output_tokens).astype(np.int32),
                class_code=np.where(after, 0, trace.class_code).astype(np.int16),
            )
        place = site(
            baseline=RecordedPower(values_w=power, step_s=3600.0),
            auxiliary_carbon=carbon_signal("average", carbon, hold_s=1e6),
            carbon_usd_per_g=1e-3,
        )
        worlds.append(decisions(at_site(place, trace=trace), name)[0])
    before = days().t_us <= at_s * 1e6
    assert (worlds[0][before] == worlds[1][before]).all()
    assert (worlds[0][~before] != worlds[1][~before]).any()


def test_a_run_begins_with_the_carbon_of_its_first_instant():
    """The mean of the first slot was known before it had passed."""
    worlds = []
    for later in (300.0, 3000.0):
        place = site(
            slot_s=7200.0,
            auxiliary_carbon=carbon_signal("average", np.array([300.0, later] + [300.0] * 70)),
            carbon_usd_per_g=1e-3,
        )
        worlds.append(decisions(at_site(place), "variance_aware")[0])
    first = days().t_us <= 7200 * 1e6
    assert (worlds[0][first] == worlds[1][first]).all()


def test_doubled_joules_at_half_their_price_change_no_decision():
    """Law 7, through whole runs. Lambda is in joules' worth a second, so it doubles with them."""
    twice = tuple(
        msgspec.structs.replace(group, kind=_double(group.kind)) for group in groups_of(1, 2)
    )
    kept, _ = decisions(at_site(), "variance_aware")
    place = site()
    doubled = site(
        baseline=type(place.baseline)(profile_w=2.0 * place.baseline.profile_w),
        store=Store(capacity_j=8e6, soc_start_frac=0.5),
        tariff=Tariff(energy=FlatPrice(usd_per_j=0.5e-6)),
        waste_usd_per_j=0.5e-7,
    )
    other, _ = decisions(at_site(doubled, groups=twice), "variance_aware")
    assert (kept == other).all()
    factor = kept[:, 1] / next(at_site().requests(0).chunks()).output_tokens
    assert factor.min() < 0.5 < 2.0 < factor.max()


def _double(kind):
    """A type that draws twice as much for everything."""

    def doubled(record):
        fields = {
            name: 2.0 * getattr(record, name)
            for name in record.__struct_fields__
            if name.startswith(("energy_j", "power_w", "wake_j"))
        }
        return msgspec.structs.replace(record, **fields)

    return msgspec.structs.replace(kind, costs=doubled(kind.costs), power=doubled(kind.power))


@pytest.mark.parametrize("name", ["energy_greedy", "baseload", "least_loaded"])
def test_who_does_not_look_decides_as_ever(name):
    """A site changes nothing for them but the dollars of a joule; nor do its store and its sun."""
    one, _ = decisions(at_site(site()), name)
    two, _ = decisions(at_site(steady(store=Store(capacity_j=1.0))), name)
    assert (one == two).all()


def test_a_policy_that_looks_away_is_one_that_does_not_look():
    one, _ = decisions(at_site(site()), "variance_aware:supply=0")
    two, _ = decisions(at_site(steady(store=Store(capacity_j=1.0))), "variance_aware:supply=0")
    assert (one == two).all()


@pytest.mark.slow
def test_scales_are_runs_of_their_own_where_the_policy_looks():
    scenario = at_site(scales=(0.5, 1.0, 3.0))
    results = simulate(scenario, [policy("variance_aware"), policy("energy_greedy")], check=True)
    looking, blind = results.policies
    assert len({one.demand_j for one in looking.supply}) == 3
    assert len({one.demand_j for one in blind.supply}) == 1
    assert [one.scale for one in looking.supply] == [0.5, 1.0, 3.0]
    assert [one.series is None for one in looking.supply] == [True, False, True]
    low, _, high = looking.supply
    assert low.demand_j < high.demand_j  # what costs nothing is used
    for scale, seen in zip((0.5, 3.0), (low, high), strict=True):
        alone = simulate(at_site(scales=(scale,)), [policy("variance_aware")]).policies[0]
        assert alone.supply[0].demand_j == seen.demand_j
        assert alone.supply[0].total_cost_usd == seen.total_cost_usd


def test_one_run_serves_all_scales_where_the_policy_does_not_look(monkeypatch):
    called = []
    kept = running.run_once
    monkeypatch.setattr(
        running, "run_once", lambda *args, **more: called.append(1) or kept(*args, **more)
    )
    scenario = at_site(scales=(0.5, 1.0, 2.0))
    for name, runs in (("least_loaded", 1), ("variance_aware", 3)):
        called.clear()
        done = run_scales(scenario, policy(name), scenario.requests(0), seed=0)
        assert (len(called), len(done.supply)) == (runs, 3)


EDGES = {
    "a slot of more than an hour": site(slot_s=5400.0),
    "a slot of a day": site(slot_s=86_400.0),
    "a slot that divides no hour": site(slot_s=1000.0),
    "a run of less than a slot": site(slot_s=80_000.0),
    "islanded": site(auxiliary_limit_w=0.0, unserved_usd_per_j=5e-6),
    "no store": site(store=Store()),
    "a store of part of an answer": site(store=Store(capacity_j=20.0)),
    "a store without end": site(store=Store(capacity_j=math.inf)),
    "always short": steady(overhead_w=1000.0),
    "no baseline at all": steady(baseline=Constant(value_w=0.0)),
    "free waste": site(waste_usd_per_j=0.0),
    "paid feed-in": site(waste_usd_per_j=-0.9e-6),
}


@pytest.mark.parametrize("name", LOOKING)
@pytest.mark.parametrize("edge", EDGES)
def test_edges(name, edge):
    """Every request is answered, the balance holds, whatever the site."""
    span_s = 30_000.0 if edge == "a run of less than a slot" else 120_000.0
    scenario = at_site(EDGES[edge], trace=days(150, span_s=span_s))
    run = run_once(scenario, policy(name), scenario.requests(0), check=True)
    assert int(run.tally.completed.sum()) == 150
    assert math.isfinite(run.supply[0].account.costs.total_usd)


@pytest.mark.parametrize("name", LOOKING)
def test_one_class_and_an_option_that_nobody_serves(name):
    trace = days(120, span_s=120_000.0, class_code=np.zeros(120, np.int16), classes=("chat",))
    nobody = Choice(name="nobody", model="model-nobody-serves", right_frac={"": 1.0})
    scenario = at_site(trace=trace, choices=(*CHOICES, nobody))
    run = decisions(scenario, name)[1]
    assert int(run.tally.completed.sum()) == 120
    assert run.chosen[..., 3].sum() == 0


def test_hours_of_sun_are_used_for_thought():
    """What the rules are for: more tokens when the store is full than when it is empty."""
    scenario = at_site(trace=days(3000, span_s=500_000.0))
    found, run = decisions(scenario, "variance_aware")
    trace = next(scenario.requests(0).chunks())
    at_s, factor = trace.t_us / 1e6, found[:, 1] / trace.output_tokens
    learned = at_s > 2 * 86_400
    noon = learned & ((at_s % 86_400 / 3600) // 6 == 1)
    night = learned & ((at_s % 86_400 / 3600) // 6 == 3)
    assert factor[noon].mean() > 1.05 * factor[night].mean()
    assert run.supply[0].account.waste_j >= 0.0


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (site(tariff=None), "supply.auxiliary.price_usd_per_kwh"),
        (site(auxiliary_limit_w=0.0), "supply.prices.unserved_usd_per_kwh"),
        (site(waste_usd_per_j=-1e-6), "supply.prices.waste_usd_per_kwh"),
        (site(waste_usd_per_j=-2e-6), "0 hours into the run"),
        (
            site(tariff=Tariff(energy=FlatPrice(usd_per_j=0.0)), waste_usd_per_j=0.0),
            "a sum above 0",
        ),
    ],
)
def test_prices_that_leave_nothing_to_weigh_are_refused_before_anything_runs(place, said):
    done = []
    both = [policy("least_loaded"), policy("variance_aware")]
    with pytest.raises(BadInputError, match=said.replace(".", r"\.")) as error:
        simulate(at_site(place), both, done=done.append)
    assert done == []
    assert "'variance_aware'" in str(error.value)
    assert error.value.todo
    assert simulate(at_site(place), both[:1]).policies[0].completed == 400


@pytest.mark.parametrize(
    ("store", "said"),
    [
        (Store(), "has no store"),
        (Store(capacity_j=10.0), "mean answers"),
        (Store(capacity_j=math.inf), "has no end"),
        (Store(capacity_j=4e6), None),
    ],
)
def test_a_store_that_tables_are_not_made_for_is_noted(store, said):
    scenario = at_site(site(store=store), trace=days(60, span_s=20_000.0))
    notes = simulate(scenario, [policy("variance_aware")]).notes
    assert any(said in note for note in notes) if said else not notes
    blind = simulate(scenario, [policy("least_loaded")]).notes
    assert not any("store" in note for note in blind)
