"""A routing plan in words, tables and on the page."""

from __future__ import annotations

import re

import pytest
from plan_instances import HOSTILE, make_routing, plans
from test_page import read

from baseload.report.plan_page import plan_html
from baseload.report.plan_sections import headline
from baseload.report.plan_text import plan_text
from baseload.report.routing_sections import CHARTS, routing_sections
from baseload.report.section import HOW, Section

NAMES = sorted(name for name in plans() if name.startswith("routing"))


def table(name: str, title: str) -> Section:
    routing = plans()[name].routing
    return next(one for one in routing_sections(routing) if title in one.title)


@pytest.mark.parametrize("name", NAMES)
def test_every_table_is_whole(name):
    sections = routing_sections(plans()[name].routing)
    assert len({section.title for section in sections}) == len(sections) >= 3
    for section in sections:
        for row in section.rows:
            assert len(row) == len(section.heads), section.title
            for cell in row:
                assert not re.search(r"\b(nan|None|inf)\b", cell), cell
            if section.heads[-1] == HOW:
                assert re.search(r"exact|asymptotic|heuristic", row[-1]), row


def test_the_first_table_says_what_it_buys_and_how_sure_the_forecast_is():
    found = table("routing", "buys")
    routing = plans()["routing"].routing
    assert found.words.startswith(routing.statements[0])
    rows = {row[0]: row[1:] for row in found.rows}
    static = rows["best static: never looks at the store"]
    ours = next(row for name, row in rows.items() if name.startswith("this plan"))
    assert static[1] == "0 %"
    assert float(ours[1].removesuffix(" %")) > 0
    assert float(ours[2].removesuffix(" %")) > float(ours[1].removesuffix(" %"))
    assert re.search(r"asymptotic ±[\d.]+ %", rows["forecast of the optimality equation"][-1])
    small = {row[0]: row[1:] for row in table("routing-small", "buys").rows}
    assert small["forecast of the optimality equation"][-1] == "asymptotic more than 11 %"
    assert "less than one" in table("routing-small", "buys").words
    assert "exact optimum on a lattice of" in table("routing-small", "buys").words
    lattice = [row[0] for row in table("routing-lattice", "buys").rows]
    assert "this plan: exact optimum on a lattice" in lattice


def test_a_joule_is_worth_auxiliary_energy_when_empty_and_waste_when_full():
    rows = table("routing", "worth").rows
    assert [row[0] for row in rows] == [
        "empty", "a quarter full", "half full", "three quarters full", "full",
    ]  # fmt: skip
    assert rows[0][1] == "$0.30/kWh"
    assert rows[-1][1] == "$0/kWh"


def test_bands_cover_the_store_class_by_class():
    rows = table("routing", "which level").rows
    for name in ("chat", "batch"):
        mine = [row for row in rows if row[0] == name]
        assert mine[0][2].startswith("0 %")
        assert mine[-1][3].startswith("100 %")
        assert [row[3] for row in mine[:-1]] == [row[2] for row in mine[1:]]
    assert "best static" in table("routing-one-option", "which level").words


def test_the_frontier_in_words_and_numbers():
    found = table("routing", "frontier")
    names = [row[0] for row in found.rows]
    assert {"only o0", "routing of today", "best static routing"} <= set(names)
    assert names[0].startswith("corner 1 of")
    assert "The best static routing" in found.words
    assert "One mean demand is possible" in table("routing-one-option", "frontier").words


def test_options_that_are_not_allowed_say_why():
    rows = table("routing", "Options").rows
    assert [row[5] for row in rows if row[-1] == "o2"] == ["not right\noften enough"] * 2


def test_an_endless_store_says_why_it_is_static():
    made, charts = make_routing(jobs=float("inf"))
    assert [chart.name for chart in charts] == ["frontier"]
    assert "endless" in routing_sections(made)[0].words
    assert "without end" in str(routing_sections(made)[1].rows)


@pytest.mark.parametrize("width", [100, 140])
def test_the_terminal_tells_it_all(width):
    text = plan_text(plans()["routing"], width=width)
    for words in ("What routing by the store buys", "What a stored joule is worth", "best static"):
        assert words in text
    assert max(map(len, text.splitlines())) <= width
    assert plans()["routing"].routing.notes[0][:40] in " ".join(text.split())


def test_the_answer_ends_with_what_routing_buys():
    plan = plans()["routing"]
    assert headline(plan).endswith(plan.routing.statements[0])
    assert "routing" not in headline(plans()["site"])


@pytest.mark.slow
def test_the_page_has_a_part_on_routing_with_its_charts():
    plan = plans()["routing"]
    page = plan_html(plan)
    at = page.index("What routing by the store buys")
    titles = [chart.title for chart in plan.charts if chart.name in CHARTS]
    assert len(titles) == 3
    places = [page.index(f"<h2>{title}") for title in titles]
    assert at < min(places)
    assert max(places) < page.index("What a stored joule is worth")
    assert page.index("What one more would be worth") < at
    assert "worth of a joule" in page
    assert "routing by the store" not in plan_html(plans()["site"])
    assert HOSTILE in " ".join(read(plan_html(plans()["routing-hostile"])).text)
