"""URLs of engines, and hosts to listen on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.gateway.addresses import base_url, is_loopback, url_fault

GOOD = [
    "http://localhost:8000",
    "https://api.example.com",
    "http://10.0.0.1:8000/v1",
    "http://my_engine-1:80/",
    "http://[::1]:8000/v1/",
    "HTTPS://Host/team/openai/v1",
    "emulated://h100-a.1",
]


@pytest.mark.parametrize("url", GOOD)
def test_good_ones_are_good_and_have_one_spelling(url):
    assert url_fault(url) is None
    base = base_url(url)
    assert url_fault(base) is None
    assert base_url(base) == base


@pytest.mark.parametrize(
    "url",
    [
        "", " ", "localhost:8000", "http://", "http://:8000", "ftp://a", "http://a b", "http://a\nb",
        "http://a:99999", "http://a:b", "http://[::1", "http://[zz]", "http://a..b", "http://-a",
        "http://é", "http://a\\b", "http://a?x=1", "http://a#x", "http://u@a", "http://u:p@a",
        "emulated://", "emulated://a/b", "emulated:a", "http://a:0", "x" * 3000,
    ],
)  # fmt: skip
def test_others_are_refused(url):
    found, allowed = url_fault(url)
    assert found
    assert allowed


def test_no_secret_of_a_url_is_repeated():
    for url in ("http://u:hush@h", "http://h?key=hush", "http://h/#hush", "http://hush @h"):
        assert "hush" not in " ".join(url_fault(url))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://h:8000", "http://H:8000/v1"),
        ("http://h:8000/", "HTTP://h:8000/v1/"),
        ("http://h", "http://h:80/v1"),
        ("https://h/a", "https://h:443/a/v1"),
    ],
)
def test_two_spellings_of_one_place_are_one(one, other):
    assert base_url(one) == base_url(other)


def test_other_places_stay_apart():
    urls = [
        "http://h:80",
        "https://h:80",
        "http://h:8080",
        "http://h/a",
        "http://h/A",
        "http://h/v1x",
    ]
    assert len({base_url(url) for url in urls}) == len(urls)
    assert base_url("http://h:8080") == "http://h:8080"


@given(st.text(max_size=40))
def test_any_text_gets_a_verdict(text):
    for url in (text, f"http://{text}", f"emulated://{text}"):
        if url_fault(url) is None:
            assert base_url(base_url(url)) == base_url(url)


@pytest.mark.parametrize(
    ("host", "mine"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("localhost", True), ("LOCALHOST", True),
        ("::1", True), ("[::1]", True), ("0.0.0.0", False), ("::", False), ("", False),
        ("10.0.0.1", False), ("example.com", False), ("localhost.example.com", False),
    ],
)  # fmt: skip
def test_only_loopback_is_this_machine(host, mine):
    assert is_loopback(host) == mine
