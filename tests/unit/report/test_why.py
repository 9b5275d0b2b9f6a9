import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.report.figures import compare
from baseload.report.page import page_html
from baseload.report.why import CAUSES, cause_words, changes, parts_of


def test_parts_add_up_to_the_change_as_shown(make_simulation):
    comparison = compare(make_simulation())
    found = changes(comparison)
    assert [change.row.label for change in found] == ["least-loaded", "pack-and-park"]
    for change in found:
        assert list(change.by_cause) == list(CAUSES)
        assert change.total_frac == pytest.approx(change.row.change_frac, abs=0.0005 + 1e-12)
        for parts in (change.by_cause, change.by_tier):
            tenths = [round(part * 1000) for part in parts.values()]
            assert sum(tenths) == round(change.total_frac * 1000)


@given(st.lists(st.floats(-2, 2), min_size=1, max_size=8))
def test_rounded_parts_add_up_and_stay_close(values):
    parts = {str(place): value for place, value in enumerate(values)}
    total = sum(values)
    shown = parts_of(parts, total)
    assert sum(round(part * 1000) for part in shown.values()) == round(total * 1000)
    for key, value in parts.items():
        assert abs(shown[key] - value) <= 0.0021


def test_the_words_name_the_thriftiest_and_every_part(make_simulation):
    comparison = compare(make_simulation())
    said = cause_words(changes(comparison), comparison)
    assert said.startswith("The energy of pack-and-park changes by −")
    assert "fuller batches" in said
    assert "less waiting" in said


def test_without_causes_there_is_no_section(make_simulation, make_policy, replace_fields):
    bare = [replace_fields(make_policy(name), energy_j_by_cause={}) for name in "ab"]
    simulation = make_simulation(bare)
    assert changes(compare(simulation)) == []
    assert "Where the difference comes from" not in page_html(simulation)
    assert "Where the difference comes from" in page_html(make_simulation())


def test_odd_simulations_have_words(odd):
    comparison = compare(odd)
    said = cause_words(changes(comparison), comparison)
    assert said.endswith(".")
    assert "nan" not in said
