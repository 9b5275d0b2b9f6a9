"""The engine's seconds: laws of the fit, and what is asked of the engine."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.base.errors import ServiceError
from baseload.cli.gateway_file import load_builtin
from baseload.gateway.local_calibration import Timings, calibrated, fitted

KIND = load_builtin("local").kinds[0]
seconds = st.floats(1e-4, 10.0)


@given(prompt_s=seconds, alone_s=seconds, more=st.floats(0.0, 1.0))
def test_the_fit_gives_back_what_was_measured(prompt_s, alone_s, more):
    step_s = alone_s * (1 + more)
    alone = Timings(prompt_s_per_token=prompt_s, output_s_per_token=alone_s)
    costs = fitted(KIND, alone, step_s=step_s).costs
    one = costs.time_s_per_step + costs.time_s_per_sequence
    full = costs.time_s_per_step + KIND.max_batch * costs.time_s_per_sequence
    assert one == pytest.approx(alone_s, rel=0.02)
    assert full == pytest.approx(step_s, rel=0.05)
    assert costs.time_s_per_prefill_token == prompt_s


@given(prompt_s=seconds, alone_s=seconds, step_s=seconds)
def test_every_term_keeps_its_watts_and_the_result_stays_assumed(prompt_s, alone_s, step_s):
    """Even where a busy machine made the batch look faster than one alone, or absurdly slow."""
    alone = Timings(prompt_s_per_token=prompt_s, output_s_per_token=alone_s)
    got = fitted(KIND, alone, step_s=step_s)
    for term in ("step", "sequence", "context_token", "prefill_token"):
        old, new = (
            getattr(kind.costs, f"energy_j_per_{term}") / getattr(kind.costs, f"time_s_per_{term}")
            for kind in (KIND, got)
        )
        assert new == pytest.approx(old)
    assert got.method == "assumed"
    assert "measured" in got.basis


class Recorded(BaseHTTPRequestHandler):
    """Answers as llama.cpp does."""

    said: ClassVar[object] = {
        "prompt_ms": 48.0,
        "prompt_n": 24,
        "predicted_ms": 160.0,
        "predicted_n": 8,
    }

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, asked))
        body = json.dumps({"timings": self.said}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def llama():
    with ThreadingHTTPServer(("127.0.0.1", 0), Recorded) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_one_answer_alone_and_a_full_batch_are_asked_for(llama):
    got = calibrated(f"http://127.0.0.1:{llama.server_port}", KIND)
    assert len(llama.asked) == 1 + KIND.max_batch
    assert {path for path, _ in llama.asked} == {"/completion"}
    prompts = [tuple(asked["prompt"]) for _, asked in llama.asked]
    assert len(set(prompts)) == len(prompts)  # or the second would be in the engine's cache
    assert all(asked["ignore_eos"] for _, asked in llama.asked)
    assert got.costs.time_s_per_prefill_token == pytest.approx(0.002)
    assert got.costs.time_s_per_step == pytest.approx(0.020, rel=0.01)


@pytest.mark.parametrize("said", [{}, {"prompt_ms": 1.0, "prompt_n": 0}, []])
def test_an_engine_that_says_nothing_useful_is_one_clear_error(llama, monkeypatch, said):
    monkeypatch.setattr(Recorded, "said", said)
    with pytest.raises(ServiceError, match="timings"):
        calibrated(f"http://127.0.0.1:{llama.server_port}", msgspec.structs.replace(KIND))
