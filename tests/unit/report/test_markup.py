import pytest
from test_page import read

from baseload.report import markup

HOSTILE = '<script>alert("x")</script> & " onload="evil()'


@pytest.mark.parametrize(
    "piece",
    [
        markup.notes([HOSTILE]),
        markup.facts(HOSTILE, [(HOSTILE, HOSTILE)]),
        markup.lines(HOSTILE),
        markup.footer(HOSTILE, [HOSTILE]),
        markup.policy_legend([HOSTILE], [3]),
        markup.figure_section(HOSTILE, HOSTILE, "", []),
        markup.table(HOSTILE, [HOSTILE], []),
        markup.document(HOSTILE, ""),
    ],
)
def test_every_text_of_a_user_is_escaped(piece):
    reader = read(piece)
    assert "script" not in reader.tags
    assert HOSTILE in "".join(reader.text)


def test_line_breaks_are_kept():
    assert markup.lines("a\nb") == "a<br>b"


def test_a_document_is_whole_and_has_its_style():
    page = markup.document("t", "<main></main>")
    assert page.startswith("<!doctype html>")
    assert "LIGHT_VARIABLES" not in page
    assert "<main></main>" in page
