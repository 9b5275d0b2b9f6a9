from __future__ import annotations

import math

import numpy as np
import pytest

from baseload.base.errors import BadInputError
from baseload.supply.carbon import (
    CarbonSignal,
    Emissions,
    carbon_signal,
    embodied_g,
    g_per_kwh_of,
    location_based,
    marginal_effect,
    same_kind,
    software_carbon_intensity,
)
from baseload.supply.series import slot_edges

HOUR, KWH = 3600.0, 3.6e6
AVERAGE = carbon_signal("average", [100.0, 300.0], source="made up")
MARGINAL = carbon_signal("marginal", [500.0, -20.0])


def test_grams_are_energy_times_average_intensity():
    found = location_based(AVERAGE, slot_edges(HOUR, 2), [KWH, 2 * KWH])
    assert found == Emissions(kind="average", mass_g=pytest.approx(700.0))
    across = location_based(AVERAGE, [0.5 * HOUR, 1.5 * HOUR], [KWH])
    assert across.mass_g == pytest.approx(200.0)


def test_the_effect_of_a_decision_is_change_times_marginal_intensity():
    found = marginal_effect(MARGINAL, slot_edges(HOUR, 2), [-KWH, KWH])
    assert found == Emissions(kind="marginal", mass_g=pytest.approx(-520.0))


def test_average_and_marginal_never_meet():
    edges, energy = slot_edges(HOUR, 2), [KWH, KWH]
    with pytest.raises(BadInputError, match="inventory"):
        location_based(MARGINAL, edges, energy)
    with pytest.raises(BadInputError, match="decision"):
        marginal_effect(AVERAGE, edges, energy)
    inventory = location_based(AVERAGE, edges, energy)
    effect = marginal_effect(MARGINAL, edges, energy)
    for mix in (lambda: inventory - effect, lambda: inventory + effect):
        with pytest.raises(BadInputError, match="never subtract"):
            mix()
    assert (inventory + inventory).mass_g == pytest.approx(2 * inventory.mass_g)
    assert (effect - effect).mass_g == 0.0
    same_kind("nothing", ("average", "average"))


def test_a_reading_carries_kind_age_source_and_doubt():
    signal = carbon_signal(
        "average", [100.0, 300.0], start_unix_s=1000.0, estimated=[False, True], source="grid"
    )
    first, second = signal.at(1000.0 + 600.0), signal.at(1000.0 + HOUR)
    assert g_per_kwh_of(first.intensity_g_per_j) == pytest.approx(100.0)
    assert (first.kind, first.age_s, first.estimated, first.source) == (
        "average",
        600.0,
        False,
        "grid",
    )
    assert (second.age_s, second.estimated) == (0.0, True)


def test_the_age_of_a_forecast_counts_from_when_it_was_made():
    forecast = carbon_signal(
        "marginal", [1.0, 2.0], start_unix_s=HOUR, estimated=True, issued_unix_s=0.0
    )
    assert forecast.at(2 * HOUR).age_s == 2 * HOUR
    found = forecast.slots([0.0, HOUR, 2 * HOUR], start_unix_s=HOUR)
    assert found.age_s.tolist() == [2 * HOUR, 3 * HOUR]
    assert found.estimated.all()


def test_the_last_value_may_be_held_for_a_while_and_says_so():
    signal = carbon_signal("average", [100.0, 300.0], hold_s=5400.0)
    reading = signal.at(2.5 * HOUR)
    assert reading.estimated
    assert reading.age_s == 1.5 * HOUR
    found = signal.slots([0.0, HOUR, 2 * HOUR, 3 * HOUR, 3.5 * HOUR])
    assert found.intensity_g_per_j * KWH == pytest.approx([100.0, 300.0, 300.0, 300.0])
    assert found.estimated.tolist() == [False, False, True, True]
    assert found.age_s.tolist() == [HOUR, HOUR, 2 * HOUR, 2.5 * HOUR]
    for too_late in (lambda: signal.at(3.6 * HOUR), lambda: signal.slots([0.0, 3.6 * HOUR])):
        with pytest.raises(BadInputError, match=r"carbon signal \(average\)"):
            too_late()


@pytest.mark.parametrize("now_s", [-1.0, 2 * HOUR, 9 * HOUR])
def test_outside_of_a_signal_there_is_no_reading(now_s):
    with pytest.raises(BadInputError, match="made up"):
        AVERAGE.at(now_s)


def test_readings_and_slots_agree():
    signal = carbon_signal("average", [100.0, 300.0, 50.0], estimated=[True, False, True])
    for at in (0.0, 1.5, 2.9):
        reading = signal.at(at * HOUR)
        slot = signal.slots([at * HOUR, at * HOUR + 1.0])
        assert slot.intensity_g_per_j[0] == reading.intensity_g_per_j
        assert slot.estimated[0] == reading.estimated
        assert slot.age_s[0] == pytest.approx(reading.age_s + 1.0)


def test_one_value_stands_for_all_times():
    always = carbon_signal("average", 420.0)
    assert always.at(-5e9).age_s == 0.0
    assert location_based(always, [0.0, 1e9], [KWH]).mass_g == pytest.approx(420.0)


def test_embodied_emissions_and_sci():
    mass_g = embodied_g(total_g=1e6, used_s=10.0, lifetime_s=1e4, share_frac=0.5)
    assert mass_g == pytest.approx(500.0)
    score = software_carbon_intensity(
        operational=Emissions(kind="average", mass_g=1_500.0),
        embodied_g=mass_g,
        functional_units=100.0,
    )
    assert score == pytest.approx(20.0)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("kind", lambda: carbon_signal("mean", [1.0])),
        ("kind", lambda: Emissions(kind="both", mass_g=1.0)),
        ("intensity", lambda: carbon_signal("average", [-1.0])),
        ("intensity", lambda: carbon_signal("average", [math.nan])),
        ("intensity", lambda: carbon_signal("average", [])),
        ("step_s", lambda: carbon_signal("average", [1.0], step_s=0.0)),
        ("hold_s", lambda: carbon_signal("average", [1.0], hold_s=-1.0)),
        (
            "always",
            lambda: CarbonSignal(kind="average", intensity_g_per_j=np.ones(2), always=True),
        ),
        ("share_frac", lambda: embodied_g(total_g=1.0, used_s=1.0, lifetime_s=1.0, share_frac=2)),
        ("estimated", lambda: carbon_signal("average", [1.0, 2.0], estimated=[True] * 3)),
    ],
)
def test_signals_that_cannot_be_are_refused_by_name(field, wrong):
    with pytest.raises(BadInputError, match=field):
        wrong()
