"""A plan in words, tables, plots and on the page."""

from __future__ import annotations

import json
import re

import msgspec
import pytest
from plan_instances import HOSTILE, SITE, make_plan, plans
from test_page import read

from baseload.base.errors import OutputError
from baseload.planner.curves import Chart, Line
from baseload.planner.figures import Figure, figure
from baseload.report import plan_sections, plan_wording
from baseload.report.plan_page import plan_html, write_plan_report
from baseload.report.plan_plots import chart_draws, file_name, handles, legend_places, panels_of
from baseload.report.plan_result import PlanResult
from baseload.report.plan_text import plan_text
from baseload.report.plots import drawing, panel_grid

NAMES = sorted(plans())


@pytest.fixture(params=NAMES)
def plan(request) -> PlanResult:
    return plans()[request.param]


def test_every_table_is_whole(plan):
    sections = plan_sections.sections_of(plan)
    assert len({section.title for section in sections}) == len(sections) >= 5
    for section in sections:
        for row in section.rows:
            assert len(row) == len(section.heads)
            for cell in row:
                assert isinstance(cell, str)
                assert not re.search(r"\b(nan|None|inf)\b", cell), cell


def test_every_number_says_how_it_is_known(plan):
    marks = {mark for mark, _ in plan_wording.STANDINGS}
    for section in plan_sections.sections_of(plan):
        if section.heads[-1] == plan_sections.HOW:
            for row in section.rows:
                known = {*re.findall(r"[a-z]+", row[-1])}
                given = row[-1].startswith(("given", "mean of", "usable"))
                assert known & marks or given or "–" in row[1:-1], row


@pytest.mark.parametrize("width", [60, 100, 200])
def test_no_number_is_cut_at_any_width(plan, width):
    text = plan_text(plan, width=width)
    assert "…" not in text
    for word in ("Critical supply", "Best supply", "What randomness costs"):
        assert word in text
    if width >= 100:
        assert max(map(len, text.splitlines())) <= width


def test_the_answer_comes_first():
    words = plan_sections.headline(plans()["site"])
    assert "1.02 kW, 1.02 of the critical 1.00 kW" in words
    assert "over-supplied" in words
    assert "the best supply is" in words
    assert "a year" in words
    assert "draws 1.00 kW on average" in plan_sections.headline(plans()["no-site"])
    assert "the hour and the season" in plan_sections.headline(plans()["panels"])


def test_rates_come_with_the_three_ratios():
    text = " ".join(plan_text(plans()["site"]).split())
    assert re.search(r"The store holds [\d,.]+ times the overshoot of a slot, [\d,.]+ times", text)
    assert "one slow episode" in text
    assert "There is no store" in plan_text(plans()["no-site"])
    assert "at the critical supply" in plan_text(plans()["no-site"])


def test_a_run_is_held_against_the_model():
    text = plan_text(plans()["site"])
    assert "1,000 requests under least_loaded, 2 seeds" in text
    assert "+1.0 %" in text
    assert "−7.7 %" in text


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (figure(1234.0, "W", "exact"), "1.23 kW"),
        (figure(-3.0, "W", "exact"), "−3.00 W"),
        (figure(7.2e6, "J", "exact"), "2.00 kWh"),
        (figure(1.8e10, "J", "exact"), "5.00 MWh"),
        (figure(36.0, "J", "exact"), "0.0100 Wh"),
        (figure(86_400.0 * 30, "s", "exact"), "30.0 days"),
        (figure(3.2e9, "s", "exact"), "101 years"),
        (figure(1e20, "s", "exact"), "more than a million years"),
        (figure(float("inf"), "s", "exact"), "without limit"),
        (figure(-1234.5, "$/year", "exact"), "−$1,234 a year"),
        (figure(40.0, "$/year", "exact"), "$40 a year"),
        (figure(0.08, "$/h", "exact"), "$0.08 an hour"),
        (figure(3.2e9, "J^2/s", "exact"), "3.20 x 10^9 J^2/s"),
        (None, "–"),
    ],
)
def test_numbers_come_in_the_unit_of_a_reader(made, words):
    assert plan_wording.value(made) == words


def test_trust_names_error_rung_and_interval():
    made = Figure(
        value=1.0, unit="W", standing="asymptotic", rung="two_pole", error_frac=0.008,
        low=0.9, high=1.1,
    )  # fmt: skip
    assert plan_wording.trust(made) == "asymptotic ±0.80 % (two pole), 0.900 W to 1.10 W"


def test_every_chart_is_drawn_with_units_and_a_title(plan):
    assert "v_shape" in {chart.name for chart in plan.charts}
    with drawing():
        for chart in plan.charts:
            draws = chart_draws(chart)
            fig, grid = panel_grid(len(draws))
            for draw, axes in zip(draws, grid, strict=True):
                draw(axes)
                if axes.axison:
                    assert axes.get_xlabel()
                    assert axes.get_ylabel() or chart.ticks
            fig.canvas.draw()
            assert chart.title
            assert file_name(chart).endswith(".png")


def test_curves_of_one_unit_share_a_panel():
    chart = next(one for one in plans()["site"].charts if one.name == "provisioning")
    labels = [panel.label for panel in panels_of(chart)]
    assert labels == [chart.y_label, "excess cost [$/year]", "best store [kWh]"]
    assert legend_places(chart) == []
    ride = next(one for one in plans()["site"].charts if one.name == "ride_through")
    assert [len(panel.lines) for panel in panels_of(ride)] == [2, 2]


def test_the_v_shows_its_dots_and_its_tip():
    chart = next(one for one in plans()["site"].charts if one.name == "v_shape")
    assert len(chart_draws(chart)) == 2
    names = [name for name, _ in handles(chart)]
    assert "auxiliary, simulated (±2 standard errors)" in names
    places = dict(legend_places(chart))
    assert places["u + w of a steady site without chance"] == 0
    assert [place for place, _ in panels_of(chart)[0].dots] == [1, 2]


def test_a_chart_of_gaps_says_so():
    line = Line(label="a", x=(1.0, 2.0), y=(None, None), standing="exact")
    chart = Chart(name="growth", title="t", x_label="x", y_label="y", lines=(line,), y_log=True)
    with drawing():
        _, grid = panel_grid(1)
        chart_draws(chart)[0](grid[0])
    assert not grid[0].axison


@pytest.mark.slow
def test_every_page_is_well_formed_safe_and_alone(plan):
    page = plan_html(plan)
    reader = read(page)
    assert "script" not in reader.tags
    assert "img" not in reader.tags
    assert len(reader.ids) == len(set(reader.ids))
    assert all(link.startswith("#") for link in reader.links)
    words = " ".join(reader.text).split()
    assert "None" not in words
    assert "nan" not in words
    assert len(re.findall(r"<svg[^>]*role=\"img\"", page)) >= len(plan.charts)
    if plan is plans()["hostile"]:
        assert HOSTILE in " ".join(reader.text)


def test_writes_all_files_and_the_result_can_be_read(tmp_path):
    plan = plans()["site"]
    page = write_plan_report(plan, tmp_path / "new" / "out")
    drawn = {file_name(chart) for chart in plan.charts}
    assert {path.name for path in page.parent.iterdir()} == {"index.html", "result.json", *drawn}
    found = json.loads((page.parent / "result.json").read_bytes())
    assert found["schema"] == plan.schema
    assert found["supply"]["charge_limit_w"] is None
    assert set(found) == set(PlanResult.__struct_fields__)
    for name in drawn:
        assert f'href="{name}"' in page.read_text(encoding="utf-8")


def test_a_folder_that_is_a_file_is_an_output_error(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match="taken"):
        write_plan_report(plans()["no-site"], tmp_path / "taken")


def test_a_ride_of_centuries_is_said_in_words():
    store = msgspec.structs.replace(SITE, store_j=1e9, baseline_w=1100.0)
    chart = next(one for one in make_plan(store).charts if one.name == "ride_through")
    with drawing():
        _, grid = panel_grid(2)
        chart_draws(chart)[0](grid[0])
    assert [text.get_text() for text in grid[0].texts] == ["More than 100 years, however full"]
