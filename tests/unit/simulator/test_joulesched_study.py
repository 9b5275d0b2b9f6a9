"""The JouleSched study: arithmetic of the note, its own bound, the shipped constants, the study."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest

from baseload.base.errors import BadInputError
from baseload.simulator import joulesched_fit, joulesched_records
from baseload.simulator.joulesched import impossible_claims, joulesched_study, measured_speeds
from baseload.simulator.joulesched_fit import (
    RANGES,
    at_rate,
    constants_at,
    day_pieces,
    fit_constants,
    sample,
    scaled,
    shipped_constants,
)
from baseload.simulator.joulesched_note import (
    EPS_RATIO,
    PUBLISHED,
    SAVING_FRAC,
    SCHEDULERS,
    carbon_line,
    largest_round_robin_utilization,
    largest_saving,
    needed_eps_ratio,
)
from baseload.simulator.joulesched_records import ChosenConstants

ROOT = Path(__file__).parents[3]


def test_the_carbon_line_is_474_tonnes_and_the_published_one_forgets_3_6():
    carbon = carbon_line()
    assert carbon.saving_mj_per_hour == 464
    assert carbon.mass_kg == pytest.approx(464 / 3.6 * 8760 * 0.42)
    assert carbon.mass_kg / 1e3 == pytest.approx(474.2, abs=0.05)
    assert carbon.mass_kg_unconverted == pytest.approx(3.6 * carbon.mass_kg)
    assert carbon.mass_kg_unconverted == pytest.approx(carbon.published_kg, rel=0.002)


def test_the_published_saving_is_24_8_percent():
    assert pytest.approx(0.2479, abs=5e-5) == SAVING_FRAC


def test_the_largest_saving_by_hand():
    """H100: 0.4 to 0.4 x 0.89 / 0.72 of the tokens. With 4 joules on the A100 and 1 elsewhere the
    L4 fill up to 0.1 / 0.72, and what leaves the A100 saves three quarters of its joules.
    """
    found = largest_saving()
    moved = 0.4 * (0.89 / 0.72 - 1) + 0.1 * (1 / 0.72 - 1)
    assert found.energy_ratios == (4.0, 1.0, 1.0)
    assert found.saving_frac == pytest.approx(3 * moved / (0.5 * 4 + 0.5))
    assert found.saving_frac == pytest.approx(0.16)
    # Without the statement on bulk the L4, at 4 joules, give all they have to the H100s.
    free = largest_saving(l4_bulk_share=None)
    assert free.energy_ratios == (1.0, 1.0, 4.0)
    assert free.saving_frac == pytest.approx(3 * 0.1 / (0.9 + 0.4))


def test_no_shares_by_chance_beat_the_linear_program():
    rng = np.random.default_rng(4)
    best = largest_saving().saving_frac
    even, h100 = np.array([0.5, 0.4, 0.1]), 0.4 * 0.89 / 0.72
    for _ in range(2000):
        eps = 4 ** rng.random(3)
        l4 = rng.uniform(0.49 * 0.08, 0.1 / 0.72)
        shares = np.array([1 - h100 - l4, h100, l4])
        assert 1 - eps @ shares / (eps @ even) <= best + 1e-9


def test_the_published_saving_needs_joules_further_apart_than_the_note_says():
    ratio = needed_eps_ratio()
    assert ratio > EPS_RATIO[1]
    assert largest_saving(eps_ratio=ratio).saving_frac == pytest.approx(SAVING_FRAC)
    assert needed_eps_ratio(0.999) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"eps_ratio": 0.5},
        {"utilization_from": 0.9},
        {"utilization_to": 1.2},
        {"utilization_from": 1.0, "utilization_to": 1.0, "bulk_token_frac": 0.5},
    ],
)
def test_a_bound_over_nonsense_is_refused(wrong):
    with pytest.raises(BadInputError):
        largest_saving(**wrong)


def test_round_robin_is_bound_by_the_slowest_device():
    assert largest_round_robin_utilization((0.5, 1.0, 0.1)) == pytest.approx(0.1)
    a100, h100, l4 = measured_speeds()
    assert h100 > a100 > l4 > 0


def test_every_impossible_claim_is_beyond_its_bound():
    claims = impossible_claims()
    assert len(claims) >= 7
    for claim in claims:
        assert claim.ratio == pytest.approx(claim.claimed / claim.possible)
        assert {"most": claim.ratio > 1, "least": claim.ratio < 1, "exact": claim.ratio != 1}[
            claim.bound
        ], claim.claim
    energy = claims[0]
    assert energy.possible == pytest.approx((160 * 400 + 128 * 700 + 32 * 72) * 3600 / 1e6)
    assert energy.ratio == pytest.approx(3.34, abs=0.01)


def test_the_shipped_constants_are_those_of_the_bench():
    path = ROOT / "bench" / "results" / "joulesched_constants.json"
    found = json.loads(path.read_text())["constants"]
    assert msgspec.convert(found, ChosenConstants) == shipped_constants()


def test_the_page_and_the_result_file_are_of_the_shipped_constants():
    study = json.loads((ROOT / "bench" / "results" / "joulesched.json").read_text())["study"]
    assert msgspec.convert(study["constants"], ChosenConstants) == shipped_constants()
    assert study["time_lapse"] == 1
    assert study["saving"]["within_tolerance"]
    page = (ROOT / "docs" / "explanation" / "joulesched.md").read_text(encoding="utf-8")
    assert f"in its own model {100 * study['saving']['obtained_frac']:.1f} %" in page
    assert f"{study['requests']:,.0f} requests a day" in page


def test_the_shipped_constants_keep_the_words_of_the_note():
    fleet = shipped_constants().fleet
    assert [(g.device, g.devices) for g in fleet.groups] == [
        ("A100", 160),
        ("H100", 128),
        ("L4", 32),
    ]
    a100, h100, l4 = (group.tokens_per_s for group in fleet.groups)
    assert l4 <= a100 <= h100
    joules = [group.energy_j_per_token for group in fleet.groups]
    assert EPS_RATIO[0] - 1e-6 <= max(joules) / min(joules) <= EPS_RATIO[1] + 1e-6
    assert joules[1] <= joules[0]
    assert fleet.deadline_s[0] <= fleet.deadline_s[1]
    assert fleet.forecast_mae_frac == 0.12
    assert fleet.control.target_miss_frac == 0.01


def test_a_point_of_the_search_gives_the_utilisation_it_asks_for():
    taken = sample()
    fleet, rate = constants_at(np.full(len(RANGES), 0.5), taken)
    speed = fleet.groups[1].tokens_per_s
    low, high = RANGES["h100_utilization"]
    assert rate * taken.mean_tokens / 320 / speed == pytest.approx((low + high) / 2)
    assert at_rate(taken, 2 * taken.rate_per_s).t_s[-1] == pytest.approx(taken.arrivals.t_s[-1] / 2)


def test_more_joules_for_all_change_no_choice():
    from baseload.simulator.token_queues import run_queues

    taken = sample()
    head = {
        name: getattr(taken.arrivals, name)[:20_000] for name in taken.arrivals.__struct_fields__
    }
    arrivals = msgspec.structs.replace(taken.arrivals, **head)
    fleet = shipped_constants().fleet
    one = run_queues(fleet, "joulesched", [arrivals])
    two = run_queues(scaled(fleet, 2.0), "joulesched", [arrivals])
    assert np.array_equal(one.requests, two.requests)
    assert two.energy_j == pytest.approx(2 * one.energy_j)


def test_the_search_is_deterministic_and_finds_no_worse(monkeypatch):
    taken = sample()
    head = {name: getattr(taken.arrivals, name)[:3000] for name in taken.arrivals.__struct_fields__}
    small = msgspec.structs.replace(taken, arrivals=msgspec.structs.replace(taken.arrivals, **head))
    monkeypatch.setattr(joulesched_fit, "sample", lambda: small)
    first, again = fit_constants(rounds=1), fit_constants(rounds=1)
    assert first == again
    assert fit_constants(rounds=3).distance <= first.distance


def test_time_lapse_keeps_the_rate_and_the_mix():
    pieces = list(day_pieces(200.0, seed=1, forecast_mae_frac=0.12, window_s=10.0))
    t_s = np.concatenate([piece.t_s for piece in pieces])
    tier = np.concatenate([piece.tier for piece in pieces])
    assert (np.diff(t_s) >= 0).all()
    assert t_s[-1] <= 240.0
    assert len(t_s) / 240.0 == pytest.approx(200.0, rel=0.08)
    assert tier.mean() == pytest.approx(0.08, abs=0.03)


def test_the_study_puts_every_figure_beside_the_published_one():
    study = joulesched_study(seeds=2, requests=100_000)
    again = joulesched_study(seeds=2, requests=100_000)
    assert study == again
    assert [one.scheduler for one in study.figures[::6]] == list(SCHEDULERS)
    assert sum(one.published is not None for one in study.figures) == 12 + 4
    for one in study.figures:
        assert one.interval[0] <= one.obtained <= one.interval[1]
    assert study.time_lapse > 1
    assert study.saving.published_frac == pytest.approx(1 - 1408 / 1872)
    by_name = {(one.scheduler, one.figure): one.obtained for one in study.figures}
    base = by_name["round_robin", "energy_mj_per_hour"]
    assert base == pytest.approx(PUBLISHED[0].energy_mj_per_hour, rel=0.05)
    assert study.saving.obtained_frac == pytest.approx(
        1 - by_name["joulesched", "energy_mj_per_hour"] / base, abs=0.005
    )
    for shares in study.bulk_share_frac.values():
        assert sum(shares.values()) == pytest.approx(1.0)
    assert msgspec.json.decode(msgspec.json.encode(study), type=type(study)) == study


@pytest.mark.parametrize("wrong", [{"seeds": 0}, {"requests": 10}])
def test_a_study_of_nothing_is_refused(wrong):
    with pytest.raises(BadInputError):
        joulesched_study(**wrong)


def records():
    for name, record in vars(joulesched_records).items():
        if isinstance(record, type) and issubclass(record, msgspec.Struct):
            for field in record.__struct_fields__:
                yield name, field


@pytest.mark.parametrize(("record", "field"), list(records()))
def test_every_field_of_the_study_is_documented(record, field):
    text = (ROOT / "docs" / "reference" / "simulate.md").read_text(encoding="utf-8")
    section = re.search(rf"^### {record}$(.*?)(?=^#{{1,3}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section is not None, f"docs/reference/simulate.md has no section {record}"
    assert re.search(rf"^\| `{field}` \|", section[1], re.MULTILINE), f"{record}.{field}"
