import io
import re

import pytest
from rich.console import Console

from baseload.report import inline_svg
from baseload.report.joulesched import (
    claim_text,
    energy_panel,
    findings,
    joulesched_section,
    joulesched_text,
    lines_of,
    print_joulesched,
)
from baseload.report.page import page_html
from baseload.simulator.joulesched import joulesched_study


@pytest.fixture(scope="module")
def study():
    return joulesched_study(seeds=2, requests=60_000)


@pytest.fixture
def simulation(make_simulation, make_policy, study):
    policies = [make_policy("round_robin"), make_policy("least_loaded", saving_frac=0.03, seed=1)]
    return make_simulation(policies, joulesched=study)


def test_every_published_figure_stands_beside_both_others(simulation):
    lines = lines_of(simulation)
    assert len(lines) == 18
    by_name = {}
    for line in lines:
        by_name[line.scheduler, line.figure] = line
    energy = by_name["round_robin", "energy [MJ/h]"]
    assert energy.published == "1,872"
    assert energy.measured != "–"
    assert by_name["joulesched", "energy [MJ/h]"].measured == "–"  # was not simulated
    assert by_name["joulesched", "latency p99 [ms]"].published == "1,721"
    assert by_name["least_loaded", "H100 utilisation"].published == "–"
    assert by_name["round_robin", "bulk that runs on L4"].measured == "40.0 %"
    assert [line.first for line in lines] == [place % 6 == 0 for place in range(18)]


def test_the_text_fits_a_hundred_columns_and_says_what_cannot_be(simulation, study):
    text = joulesched_text(simulation, width=100)
    assert max(map(len, text.splitlines())) <= 100
    words = " ".join(text.split())
    assert "474 t a year" in words
    assert "1,710 t" in words
    assert "chosen:" in words
    assert "What cannot be true:" in words
    assert text.count("\n- ") == len(study.impossible)
    assert "…" not in text
    assert "None" not in text


def test_a_pipe_is_not_narrower_than_a_hundred(simulation):
    out = io.StringIO()
    print_joulesched(simulation, console=Console(file=out, width=60))
    assert max(map(len, out.getvalue().splitlines())) > 60


def test_claims_say_how_far_off_they_are(study):
    text = claim_text(study.impossible[0])
    assert "1,872 MJ/h; at most 561.3 MJ/h (3.34 times)" in text


def test_the_saving_is_said_with_its_bound(simulation):
    words = " ".join(findings(simulation))
    assert "published 24.8 %" in words
    assert "allow at most 16.0 %" in words
    assert "2 to 4" in words
    assert "least_loaded" in words


def test_the_page_gets_one_section_with_a_drawing(simulation, make_simulation):
    section = joulesched_section(simulation)
    assert section.count("<section>") == section.count("</section>") == 1
    assert "<svg" in section
    page = page_html(simulation)
    assert section in page
    assert not re.search(r"\bNone\b|\bnan\b", re.sub(r"<[^>]*>", " ", section))
    assert joulesched_section(make_simulation()) == ""


def test_names_are_escaped(make_simulation, make_policy, study):
    hostile = "<script>"
    policies = [make_policy("round_robin"), make_policy(hostile, saving_frac=0.2, seed=1)]
    section = joulesched_section(make_simulation(policies, joulesched=study))
    assert hostile not in section


def test_a_drawing_without_measured_policies(make_simulation, make_policy, study):
    simulation = make_simulation([make_policy("mine")], joulesched=study)
    assert inline_svg.panel_svgs([energy_panel(simulation)], prefix="x", alt=["energy"])
    assert len(findings(simulation)) == 3


def test_without_a_study_there_is_nothing(make_simulation):
    simulation = make_simulation()
    assert lines_of(simulation) == []
    assert findings(simulation) == []
    assert joulesched_text(simulation) == "\n"
