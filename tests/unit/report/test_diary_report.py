"""What a routing that looks at the supply did: plots, words, page."""

from __future__ import annotations

import re

import msgspec
import pytest
from test_cost_report import priced, site_of
from test_page import read

from baseload.report import diary_plots
from baseload.report.diaries import curves, diarists, diary_of, mean_over, parts_of
from baseload.report.diary_plots import draw_diaries
from baseload.report.diary_section import diary_section
from baseload.report.diary_words import FORESIGHT, words
from baseload.report.figures import compare
from baseload.report.page import page_html
from baseload.report.plots import drawing, panel_grid
from baseload.routing.slow import SUPPLY_KNOBS
from baseload.simulator.results import DiaryDays, DiaryStretch, SupplyDiary
from conftest import make_simulation

KWH = 3.6e6
SUN = [0.0] * 6 + [200.0, 600.0, 900.0, 1000.0, 1000.0, 1000.0, 900.0, 600.0, 200.0] + [0.0] * 9


def make_days(days=3, price=0.25, joules=1500.0, supply_kwh=10.0, **changes):
    fields = {
        "days": days,
        "baseline_j": supply_kwh * KWH,
        "level_frac": 0.12,
        "price_usd_per_j": price / KWH,
        "joules_per_answer": joules,
        "choice_frac": {"chat": {"small": 0.95, "large": 0.05}},
    }
    return DiaryDays(**(fields | changes))


def make_diary(**changes):
    """Dear by night, cheap by day."""
    price = [(0.05 if sun else 0.20) / KWH for sun in SUN]
    fields = {
        "rule": "full_jump",
        "methods": {"by_hour": 216.0, "rollout": 24.0},
        "solved": 12,
        "guarded_away": 2,
        "baseline_w": SUN,
        "price_usd_per_j": price,
        "price_usd_per_j_by_level": [price, [None] * 24, [value / 2 for value in price]],
        "curve_level_frac": [0.0, 0.5, 1.0],
        "curve_usd_per_j": [[2 * value, value, 0.0] for value in price],
        "choice_frac": {
            "chat": {
                "small": [0.2 if sun else 0.9 for sun in SUN],
                "large": [0.8 if sun else 0.1 for sun in SUN],
            },
            "hostile <b>": {"small": [1.0] * 24, "large": [0.0] * 24},
        },
        "joules_per_answer": [3500.0 if sun else 1500.0 for sun in SUN],
        "lowest": make_days(4),
        "highest": make_days(4, 0.06, 2500.0, 28.0),
        "dark": make_days(3),
        "before": make_days(1, 0.11, 2000.0, 26.0),
        "stretch": DiaryStretch(
            t_s=[3600.0 * hour for hour in range(240)],
            baseline_w=SUN * 10,
            demand_w=[400.0] * 240,
            level_j=[KWH] * 240,
            price_usd_per_j=price * 10,
            dark_from_s=4 * 86400.0,
            dark_to_s=7 * 86400.0,
        ),
    }
    return SupplyDiary(**(fields | changes))


def with_diaries(**diaries):
    return site_of(
        *(
            priced(name, [90.0 - place], joule_prices=diary)
            for place, (name, diary) in enumerate(diaries.items())
        )
    )


SHORT = make_diary(lowest=None, highest=None, dark=None, before=None, stretch=None)
BARE = make_diary(
    baseline_w=[None] * 24,
    price_usd_per_j=[None] * 23 + [1e-8],
    price_usd_per_j_by_level=[[None] * 24, [None] * 24, [None] * 23 + [1e-8]],
    curve_usd_per_j=[[None] * 3] * 24,
    choice_frac={},
    joules_per_answer=[None] * 24,
    lowest=None, highest=None, dark=None, before=None, stretch=None,
)  # fmt: skip
NO_STORE = make_diary(before=make_days(1, level_frac=None, joules_per_answer=None))
ODD = {
    "one": with_diaries(variance_aware=make_diary()),
    "three": with_diaries(best_static=make_diary(), none=None, ours=make_diary(), last=SHORT),
    "short": with_diaries(ours=SHORT),
    "bare": with_diaries(ours=BARE),
    "no-store": with_diaries(ours=NO_STORE),
    "flat": with_diaries(ours=make_diary(baseline_w=[500.0] * 24)),
    **{
        rule: with_diaries(ours=make_diary(rule=rule))
        for rule in (*SUPPLY_KNOBS, "taylor", "mean_only")
    },
}


def told(diary):
    row = diarists(compare(with_diaries(ours=diary)))[0]
    return dict(words(row))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ODD))
def test_every_diary_has_words_plots_and_a_page(name, tmp_path):
    comparison = compare(ODD[name])
    reader = read(diary_section(comparison))
    text = " ".join(reader.text)
    assert "In words: what the routing did" in text
    assert not re.search(r"\b(None|nan)\b", text)
    paths = draw_diaries(comparison, tmp_path)
    assert paths[0].name == "joule-price.png"
    assert all(path.stat().st_size > 1000 for path in paths)


def test_without_a_diary_nothing_is_said(tmp_path):
    comparison = compare(make_simulation())
    assert diary_section(comparison) == ""
    assert draw_diaries(comparison, tmp_path) == []


def test_the_page_of_a_simulation_has_it_and_escapes_it():
    html = page_html(ODD["one"])
    assert "In words: what the routing did" in " ".join(read(html).text)
    assert "hostile <b>" not in html


def test_the_cheapest_are_shown():
    shown = diarists(compare(ODD["three"]))
    assert [row.label for row in shown] == ["last", "ours"]


def test_night_and_noon_follow_the_supply():
    parts = parts_of(make_diary())
    assert parts.night == (*range(15, 24), *range(6))
    assert parts.noon == (8, 9, 10, 11, 12)
    assert (parts.evening, parts.late) == ((15, 16, 17), (3, 4, 5))
    assert parts_of(make_diary(baseline_w=[500.0] * 24)).night == ()
    assert parts_of(BARE).noon == ()


def test_means_leave_out_what_is_missing():
    assert mean_over([1.0, None, 3.0], (0, 1, 2)) == 2.0
    assert mean_over([None], (0,)) is None


def test_curves_are_means_over_their_hours():
    found = curves(make_diary())
    assert found["noon"] == pytest.approx([0.10 / KWH, 0.05 / KWH, 0.0])
    assert found["evening"] == found["end of the night"]
    assert list(curves(make_diary(baseline_w=[500.0] * 24))) == [
        "00 UTC", "06 UTC", "12 UTC", "18 UTC",
    ]  # fmt: skip
    assert curves(BARE) == {}


def test_words_say_the_numbers_of_the_diary():
    said = told(make_diary())
    assert said["At night"].startswith("From 15 to 06 UTC")
    assert "$0.20 per kWh in the mean, 1,500 J" in said["At night"]
    assert "chat by small 90 % and large 10 %" in said["At night"]
    assert "From 08 to 13 UTC" in said["At noon"]
    assert "dearer by night than at noon" in said["Night against noon"]
    assert "$0.14 per kWh in the lowest and $0.072 per kWh" in said["By the level of the store"]
    assert "begin 4.00 days into the run" in said["Before dark days"]
    assert "gave 26.0 kWh" in said["Before dark days"]
    assert "3 days of 10.0 kWh" in said["In dark days"]
    assert "In dark days it spent 40 % less on an answer." in said["In dark days"]
    assert "2 tables were no better" in said["How it priced"]


def test_words_turn_with_the_numbers():
    flat = told(make_diary(price_usd_per_j=[0.1 / KWH] * 24))
    assert "about the same by night and at noon" in flat["Night against noon"]
    same = told(make_diary(lowest=make_days(4, joules=2450.0)))
    assert "about as much in dark days" in same["In dark days"]
    more = told(make_diary(lowest=make_days(4, joules=5000.0)))
    assert "100 % more on an answer" in more["In dark days"]
    cheap = make_diary(price_usd_per_j=[(0.2 if sun else 0.05) / KWH for sun in SUN])
    assert "cheaper by night than at noon" in told(cheap)["Night against noon"]


@pytest.mark.parametrize("rule", sorted({*SUPPLY_KNOBS, "taylor", "mean_only"}))
def test_no_rule_is_said_to_see_the_weather_coming(rule):
    said = told(make_diary(rule=rule))["Before dark days"]
    assert "It reads no forecast of the weather." in said
    assert FORESIGHT.get(rule, "nothing of what comes") in said


def test_few_days_are_not_judged():
    assert (
        told(SHORT)["Dark days"] == "The run has too few days to tell dark ones from bright ones."
    )


def test_bands_fill_each_hour():
    comparison = compare(ODD["one"])
    with drawing():
        _, grid = panel_grid(1)
        diary_plots.band_panels(comparison)[0](grid[0])
    tops = [patch.get_data() for patch in grid[0].patches]
    assert list(tops[-1].values) == pytest.approx([100.0] * 24)
    assert list(tops[1].baseline) == pytest.approx(list(tops[0].values))


def test_the_price_is_drawn_by_the_kilowatt_hour():
    with drawing():
        _, grid = panel_grid(1)
        diary_plots.price_panels(compare(ODD["one"]))[0](grid[0])
    assert list(grid[0].lines[0].get_ydata()) == pytest.approx([0.4, 0.2, 0.0])
    assert diary_plots.price_names(compare(ODD["one"])) == ["evening", "end of the night", "noon"]


def test_a_single_option_has_no_bands():
    one = make_diary(choice_frac={"all": {"any": [1.0] * 24}})
    comparison = compare(with_diaries(ours=one))
    assert not diary_plots.has_bands(comparison)
    assert "Answers to" not in told(one)["At night"]
    assert diary_of(diarists(comparison)[0]) == one
    assert msgspec.json.decode(msgspec.json.encode(one), type=SupplyDiary) == one
