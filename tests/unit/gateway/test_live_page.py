"""The page needs nothing from outside, and names only what the summary has."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import msgspec
import pytest

from baseload.gateway import summary
from baseload.gateway.page import PAGE_TYPE, page, page_headers

TEXT = page().decode()


class Elements(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.open, self.attributes = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in ("meta", "input", "path"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag == "path", "only in SVG may an element close itself"

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag


@pytest.fixture(scope="module")
def elements():
    found = Elements()
    found.feed(TEXT)
    assert found.open == []
    return found


def test_it_loads_nothing_from_outside(elements):
    assert not re.search(r"https?:|//[a-z]|@import|url\(", TEXT.replace("</", ""))
    assert not {"link", "img", "iframe", "object"} & set(elements.tags)
    for tag, name, value in elements.attributes:
        assert name not in ("src", "style"), tag
        assert not name.startswith("on"), "a handler in the markup would be refused by the policy"
        if name == "href":
            assert value.startswith("/")
    assert len(page()) < 32_000


def test_the_policy_allows_what_is_there_and_no_more():
    policy = dict(page_headers())[b"content-security-policy"].decode()
    for name in ("script", "style"):
        (inside,) = re.findall(rf"<{name}>(.*?)</{name}>", TEXT, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert b"html" in PAGE_TYPE


def test_no_word_of_a_client_is_taken_for_markup():
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(", TEXT)


def fields(record):
    """The fields of a record and of those inside it."""
    names = set(record.__struct_fields__)
    for field in msgspec.structs.fields(record):
        for inner in (field.type, *getattr(field.type, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                names |= fields(inner)
    return names


def test_it_reads_only_fields_that_the_summary_has():
    """Names with a unit cannot be methods of JavaScript; the others are looked up by record."""
    (script,) = re.findall(r"<script>(.*?)</script>", TEXT, re.DOTALL)
    shown = script.partition("function show(s)")[2].partition("function state(")[0]
    known = fields(summary.Summary)
    with_unit = re.findall(r"\.(\w+_(?:s|j|w|frac|p50|p95|age_s|per_\w+|tokens))\b", shown)
    assert with_unit
    assert set(with_unit) <= known
    for name, record in (("r", summary.Recent), ("t", summary.Totals), ("s", summary.Summary)):
        used = set(re.findall(rf"\b{name}\.(\w+)", shown))
        assert used <= set(record.__struct_fields__), used


def test_it_can_be_used_without_eyes_or_mouse(elements):
    assert ("html", "lang", "en") in elements.attributes
    assert TEXT.count("<caption>") == 4
    assert all(
        f'aria-label="{words}"' in TEXT
        for words in ("Requests a second, last minutes", "Modelled power, last minutes")
    )
    labelled = {value for _, name, value in elements.attributes if name == "aria-labelledby"}
    ids = {value for _, name, value in elements.attributes if name == "id"}
    assert labelled <= ids
    assert ("label", "for", "key") in elements.attributes
    assert len(ids) == sum(name == "id" for _, name, _ in elements.attributes)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_ground(scheme):
    """WCAG AA: 4.5 to 1."""
    blocks = re.findall(r":root\{(.*?)\}", TEXT)
    colours = dict(re.findall(r"--([\w-]+):(#\w+)", blocks[0]))
    if scheme == "dark":
        colours |= dict(re.findall(r"--([\w-]+):(#\w+)", blocks[1]))

    def light(colour):
        digits = colour[1:] if len(colour) == 7 else "".join(c * 2 for c in colour[1:])
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(one, other):
        low, high = sorted((light(colours[one]), light(colours[other])))
        return (high + 0.05) / (low + 0.05)

    pairs = [("ink", "page"), ("ink", "card"), ("muted", "page"), ("muted", "card")]
    pairs += [("accent", "page"), ("accent", "card"), ("power", "card")]
    pairs += [(f"{kind}-ink", kind) for kind in ("good", "warn", "bad", "quiet")]
    assert {pair: contrast(*pair) for pair in pairs if contrast(*pair) < 4.5} == {}
