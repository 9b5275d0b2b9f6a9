"""Asking over HTTP: retries without sleeping, one clear error, and no secret anywhere in it."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from baseload.base.errors import BadInputError, ServiceError
from baseload.sources import http_client
from baseload.sources.http_client import Connection, HttpClient, Secret, fetch_url

from .fake_web import FakeWeb

URL = "https://api.example.org/v1/now"
TOKEN = "s3cret+token/=="


@pytest.fixture
def web():
    return FakeWeb()


def client(web):
    return HttpClient("Example", web.connection())


def test_a_good_answer_comes_back(web):
    web.answers["v1/now"] = {"a": 1}
    assert client(web).get(URL, params={"zone": "DE LU"}, headers={"x": "y"}) == b'{"a": 1}'
    ((url, headers),) = web.asked
    assert url == URL + "?zone=DE+LU"
    assert headers == {"User-Agent": "baseload", "x": "y"}
    assert web.waited_s == []


def test_passing_faults_are_tried_again_with_growing_pauses(web):
    bad = [(503, {}, b"busy"), TimeoutError("timed out"), (200, {}, b"ok")]
    web.answers["v1"] = lambda url: bad.pop(0)
    assert client(web).get(URL) == b"ok"
    assert web.waited_s == [1.0, 2.0]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((500, {}, b"<html>\n  oops</html>"), "HTTP 500: <html> oops</html>"),
        ((503, {}, b""), "HTTP 503, the service is down for now"),
        (TimeoutError("timed out"), "no answer within 10 s"),
        (OSError("connection refused"), "no connection: connection refused"),
    ],
)
def test_lasting_faults_become_one_error(web, answer, said):
    web.answers["v1"] = answer
    with pytest.raises(ServiceError) as caught:
        client(web).get(URL)
    assert caught.value.found == said
    assert caught.value.asked == f"Example: {URL}"
    assert len(web.asked) == 3
    assert web.waited_s == [1.0, 2.0]


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 418])
def test_a_refusal_is_not_tried_again(web, status):
    web.answers["v1"] = (status, {}, b"no")
    with pytest.raises(ServiceError, match=f"HTTP {status}") as caught:
        client(web).get(URL)
    assert caught.value.status == status
    assert len(web.asked) == 1
    assert ("token" in caught.value.todo) == (status in (401, 403))


def test_a_short_pause_that_the_service_asks_for_is_kept(web):
    answers = [(429, {"Retry-After": "4"}, b""), (200, {}, b"ok")]
    web.answers["v1"] = lambda url: answers.pop(0)
    assert client(web).get(URL) == b"ok"
    assert web.waited_s == [4.0]


@pytest.mark.parametrize("after", ["300", "Tue, 10 Mar 2026 12:25:00 GMT"])
def test_a_long_pause_is_not_waited_for_but_respected(web, after):
    web.answers["v1"] = (429, {"retry-after": after}, b"slow down")
    asking = client(web)
    with pytest.raises(ServiceError, match="too many requests: slow down"):
        asking.get(URL)
    assert (len(web.asked), web.waited_s) == (1, [])
    web.answers["v1"] = "ok"
    web.pass_time(299)
    with pytest.raises(ServiceError, match="another 1 s"):
        asking.get(URL)
    web.pass_time(1)
    assert asking.get(URL) == b"ok"
    assert len(web.asked) == 2


def test_an_unreadable_retry_after_counts_as_none(web):
    web.answers["v1"] = (429, {"Retry-After": "soon"}, b"")
    with pytest.raises(ServiceError):
        client(web).get(URL)
    assert web.waited_s == [1.0, 2.0]


def test_no_secret_is_ever_shown(web):
    quoted = "s3cret%2Btoken%2F%3D%3D"
    for answer in (
        (400, {}, f"bad token {TOKEN} in securityToken={quoted}".encode()),
        OSError(f"failed for {TOKEN}"),
    ):
        web.answers["v1"] = answer
        with pytest.raises(ServiceError) as caught:
            client(web).get(
                URL,
                params={"zone": "FR"},
                secret_params={"securityToken": TOKEN},
                secrets=("x" * 9,),
            )
        assert TOKEN not in str(caught.value)
        assert quoted not in str(caught.value)
        assert caught.value.__cause__ is None
        assert "zone=FR" in caught.value.asked
        assert quoted in web.asked[-1][0]


def test_a_secret_is_not_sent_in_the_clear(web):
    with pytest.raises(BadInputError, match="https"):
        client(web).get("http://api.example.org/v1", secrets=(TOKEN,))
    assert web.asked == []


def test_a_secret_lives_in_the_environment(monkeypatch):
    secret = Secret("env:MY_TOKEN", field="example: token")
    assert repr(secret) == "env:MY_TOKEN"
    monkeypatch.delenv("MY_TOKEN", raising=False)
    with pytest.raises(BadInputError, match=r"example: token[\s\S]*MY_TOKEN is not set"):
        secret.reveal()
    monkeypatch.setenv("MY_TOKEN", f" {TOKEN}\n")
    assert secret.reveal() == TOKEN
    for wrong in (TOKEN, "", "env:", "ENV:X"):
        with pytest.raises(BadInputError) as caught:
            Secret(wrong, field="example: token")
        assert TOKEN not in str(caught.value)


# the default fetch, against a server on this machine


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        status = int(self.path.strip("/").split("?")[0])
        self.send_response(status)
        self.send_header("Location", "/200")
        self.send_header("X-Seen", self.headers.get("auth-token", ""))
        self.end_headers()
        self.wfile.write(f"{status} said".encode())

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def server():
    serving = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=serving.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{serving.server_port}"
    serving.shutdown()
    serving.server_close()
    thread.join()


@pytest.mark.parametrize("status", [200, 302, 404, 503])
def test_the_default_fetch_gives_every_status(server, status):
    found, headers, body = fetch_url(f"{server}/{status}", {"auth-token": "abc"}, 5.0)
    assert (found, body) == (status, f"{status} said".encode())
    assert headers["X-Seen"] == "abc"


def test_a_client_with_the_default_fetch(server):
    asking = HttpClient("Local", Connection(tries=1, timeout_s=5.0))
    assert asking.get(f"{server}/200", secrets=("abc",)) == b"200 said"
    with pytest.raises(ServiceError, match="HTTP 302"):
        asking.get(f"{server}/302")


def test_the_default_fetch_says_when_nobody_is_there(server, monkeypatch):
    with pytest.raises(OSError):  # noqa: PT011 - whatever the system calls it
        fetch_url("http://127.0.0.1:9/", {}, 1.0)
    monkeypatch.setattr(http_client, "MOST_BYTES", 3)
    with pytest.raises(OSError, match="more than 3 bytes"):
        fetch_url(f"{server}/200", {}, 5.0)
