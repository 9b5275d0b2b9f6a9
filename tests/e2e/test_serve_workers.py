"""``baseload serve`` as operators run it: workers, TLS, keys; emulated engines as processes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path

import openai
import pytest

pytestmark = pytest.mark.e2e

MODEL = "meta-llama/Llama-3.1-8B"
MESSAGES = [{"role": "user", "content": "Say hello."}]
CONFIG = """
models: [{{name: m, upstream_name: {model}}}]
replicas: [{{model: m, urls: [{urls}], device: H100-SXM-80GB, weights: {model}}}]
tiers: [{{name: interactive, ttft_s: 30, tpot_s: 5}}]
health: {{period_s: 0.5, metrics_s: 0}}
limits: {{drain_s: 5}}
{more}
"""


@contextmanager
def process(command, folder, name, ready):
    """A running command that has said that it is ready; gives it and that line."""
    with (folder / f"{name}.err").open("w") as errors:
        found = subprocess.Popen(
            [sys.executable, "-m", "baseload", *command],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            for line in found.stdout:
                if ready in line:
                    break
            else:
                raise AssertionError((folder / f"{name}.err").read_text())
            yield found, line
        finally:
            found.terminate()
            try:
                found.wait(15)
            except subprocess.TimeoutExpired:
                found.kill()
                found.wait()
            found.stdout.close()


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """URLs of two emulated engines, each a process."""
    folder = tmp_path_factory.mktemp("engines")
    with ExitStack() as stack:
        urls = []
        for number in range(2):
            command = ["emulate", "--type", "h100-llama-8b", "--port", "0", "--speed", "20"]
            made = process(command, folder, f"engine-{number}", "ready: ")
            urls.append(stack.enter_context(made)[1].split("ready: ")[1].strip())
        yield urls


@contextmanager
def gateway(tmp_path, engines, *flags, more=""):
    """A gateway in front of the engines; gives its process and URL."""
    urls = ", ".join(f'"{url}"' for url in engines)
    (tmp_path / "gateway.yaml").write_text(CONFIG.format(model=MODEL, urls=urls, more=more))
    command = ["serve", "--config", str(tmp_path / "gateway.yaml"), "--port", "0", *flags]
    with process(command, tmp_path, "gateway", "ready on ") as (found, line):
        yield found, line.split("ready on ")[1].split()[0]


def client_of(url, **options):
    options = {"api_key": "-", "max_retries": 0, "timeout": 30, **options}
    return openai.OpenAI(base_url=f"{url}/v1", **options)


def ask(client, **fields):
    return client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=8, **fields)


def page(url, path, headers=None):
    """A page, over a connection of its own: any worker may get it."""
    asked = urllib.request.Request(url + path, headers={"connection": "close", **(headers or {})})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return answer.read().decode()


def answered(url):
    """Requests that were answered, by the metrics."""
    rows = re.findall(r'^baseload_requests_total\{[^}]*reason="answered"[^}]*\} (\S+)', page(
        url, "/metrics"), re.MULTILINE)  # fmt: skip
    return sum(map(float, rows))


def in_flight(url):
    rows = re.findall(r"^baseload_replica_in_flight\{[^}]*\} (\S+)", page(url, "/metrics"), re.M)
    assert rows
    return sum(map(float, rows))


def children(parent):
    """Processes of a parent."""
    said = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return sorted(int(one) for one in said.split())


def wait_until(true, within_s=30.0):
    end_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end_s
        time.sleep(0.05)


def test_whichever_worker_is_asked_explains_every_decision(tmp_path, engines):
    with gateway(tmp_path, engines, "--workers", "3", "--log", "off") as (_, url):
        ids = set()
        for _ in range(30):
            with client_of(url) as client:
                raw = client.chat.completions.with_raw_response.create(
                    model="m", messages=MESSAGES, max_tokens=4
                )
                ids.add(raw.headers["x-baseload-decision"])
        assert len({one.partition("-")[0] for one in ids}) == 3, "all three have answered"
        for one in ids:
            for _ in range(4):
                assert json.loads(page(url, f"/v1/energy/decisions/{one}"))["id"] == one
        with pytest.raises(urllib.error.HTTPError, match="404"):
            page(url, "/v1/energy/decisions/0123abcd-1")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
def test_workers_share_the_load_and_one_that_dies_comes_back(tmp_path, engines):
    with gateway(tmp_path, engines, "--workers", "2", "--log", "off") as (parent, url):
        before = children(parent.pid)
        assert len(before) == 2
        for _ in range(24):
            with client_of(url) as client:
                ask(client)
        wait_until(lambda: answered(url) == 24)
        wait_until(lambda: answered(url) == 24)  # another worker's page says the same
        served = [cpu_s(child) for child in before]
        assert min(served) > 0

        stop, ends, failed = threading.Event(), [], []

        def load():
            while not stop.is_set():
                with client_of(url) as client:
                    try:
                        ends.append(ask(client, stream=False).usage.completion_tokens)
                    except openai.APIError as error:
                        failed.append(error)

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(ends) > 8)
        os.kill(before[1], signal.SIGKILL)
        count = len(ends)
        wait_until(lambda: len(ends) > count + 8)  # the other goes on
        wait_until(lambda: len(children(parent.pid)) == 2 and before[1] not in children(parent.pid))
        count = len(ends)
        wait_until(lambda: len(ends) > count + 8)
        stop.set()
        for thread in threads:
            thread.join(60)
        assert len(failed) <= 2 * len(threads)  # what the dead one had, and what it had accepted
        assert all(isinstance(error, openai.APIConnectionError) for error in failed)
        wait_until(lambda: in_flight(url) == 0)
        wait_until(lambda: answered(url) >= 24 + len(ends) - 1)
        assert "worker 1 ended with code -9" in (tmp_path / "gateway.err").read_text()
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(20) == 0


def cpu_s(number):
    """CPU of a process so far, in ticks."""
    fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of 127.0.0.1 that signs itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("makes a certificate with openssl, which is not here")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
            "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
            "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )  # fmt: skip
    return cert, key


def test_tls_with_a_certificate_of_ones_own(tmp_path, engines, certificate):
    cert, key = certificate
    flags = ("--tls-cert", str(cert), "--tls-key", str(key))
    with gateway(tmp_path, engines, *flags) as (_, url):
        assert url.startswith("https://127.0.0.1:")
        trust = ssl.create_default_context(cafile=str(cert))
        trusting = openai.DefaultHttpxClient(verify=trust)
        with client_of(url, http_client=trusting) as client:
            assert ask(client).choices[0].message.content
            assert sum(1 for _ in ask(client, stream=True)) > 1
        with client_of(url) as client, pytest.raises(openai.APIConnectionError):
            ask(client)
        with pytest.raises((urllib.error.URLError, ConnectionError, OSError)):
            page(url.replace("https", "http"), "/health")


def test_keys_say_who_may_call_what_and_how_often(tmp_path, engines):
    def key_of(name):
        said = subprocess.run(
            [sys.executable, "-m", "baseload", "key", "--name", name],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        return re.search(r"bl-[\w-]+|sk-[\w-]+", said)[0], re.search(r"sha256:\w+", said)[0]

    (few, few_hash), (look, look_hash) = key_of("few"), key_of("look")
    more = (
        f'keys: [{{name: few, hash: "{few_hash}", scopes: [infer], requests_per_min: 2}},'
        f' {{name: look, hash: "{look_hash}", scopes: [energy]}}]'
    )
    with gateway(tmp_path, engines, more=more) as (_, url):
        with client_of(url) as nobody, pytest.raises(openai.AuthenticationError):
            ask(nobody)
        with client_of(url, api_key=look) as client:
            with pytest.raises(openai.PermissionDeniedError):
                ask(client)
            totals = json.loads(
                page(url, "/v1/energy/summary", {"authorization": f"Bearer {look}"})
            )
            assert totals["totals"]["requests"] == 0
        with client_of(url, api_key=few) as client:
            ask(client)
            ask(client)
            with pytest.raises(openai.RateLimitError) as limited:
                ask(client)
            assert 1 <= int(limited.value.response.headers["retry-after"]) <= 60
            assert limited.value.code == "rate_limit_requests_per_min"
            with pytest.raises(urllib.error.HTTPError) as refused:
                page(url, "/v1/energy/summary", {"authorization": f"Bearer {few}"})
            assert refused.value.code == 403
            refused.value.close()
