import re
from html.parser import HTMLParser

import pytest

from baseload.report import inline_svg
from baseload.report.page import page_html

VOID = {"meta", "br", "img", "input", "hr", "link"}


class Reader(HTMLParser):
    """Collects tags, ids and text, and holds the page to being well-formed."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.tags, self.text, self.links = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        attributes = dict(attrs)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        self.links += [value for name, value in attrs if name in ("href", "src")]
        assert not any(name.startswith("on") for name in attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(page):
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


@pytest.mark.slow
def test_every_odd_page_is_well_formed_safe_and_alone(odd):
    page = page_html(odd)
    reader = read(page)
    assert len(page) < 1_500_000
    assert "script" not in reader.tags
    assert "img" not in reader.tags
    assert len(reader.ids) == len(set(reader.ids))
    assert all(link.startswith("#") for link in reader.links)
    assert not re.search(r"url\(['\"]?(?!#)", page)
    words = " ".join(reader.text)
    assert "None" not in words
    assert "nan" not in words.split()


def test_says_what_a_reader_must_know(make_simulation):
    simulation = make_simulation()
    words = " ".join(read(page_html(simulation)).text)
    for expected in (
        "used the fewest joules",
        "below about 5 % of GPU energy",
        "measured",
        "modelled",
        "assumed",
        simulation.trace.sha256,
        simulation.version,
        simulation.notes[0],
        "Time to first token",
    ):
        assert expected in words


def test_every_drawing_has_a_description(make_simulation):
    page = page_html(make_simulation())
    drawings = re.findall(r"<svg[^>]*>", page)
    assert len(drawings) == 2 + 3 + 1 + 2 + 3 + 3
    assert all(
        'role="img"' in tag and re.search(r'aria-label="[^"]{20,}"', tag) for tag in drawings
    )


def test_drawings_follow_light_and_dark(make_simulation):
    page = page_html(make_simulation())
    assert "prefers-color-scheme:dark" in page
    body = page.split("<body>")[1]
    assert "var(--p1)" in body
    assert "var(--s-idle)" in body
    assert "#000000" not in body


def test_files_beside_are_linked(make_simulation):
    assert 'href="result.json"' in page_html(make_simulation(), beside=["result.json"])


def test_ids_are_prefixed_so_that_two_drawings_do_not_share_them():
    svgs = inline_svg.panel_svgs([lambda axes: axes.plot([1, 2])] * 2, prefix="x", alt=["a", "b"])
    ids = [set(re.findall(r'id="([^"]+)"', svg)) for svg in svgs]
    assert ids[0]
    assert not ids[0] & ids[1]
    for svg, own in zip(svgs, ids, strict=True):
        assert set(re.findall(r"url\(#([^)]+)\)", svg)) <= own
