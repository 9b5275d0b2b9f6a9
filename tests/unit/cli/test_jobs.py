"""Jobs in processes give what jobs in this process give, and end as one."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time

import msgspec
import pytest

from baseload.base.errors import BadInputError
from baseload.cli import jobs as module
from baseload.cli.jobs import (
    FEW_REQUESTS,
    Job,
    gathered,
    jobs_at_once,
    jobs_of,
    longest_first,
    run_jobs,
    title,
    usable_cpus,
)
from baseload.cli.policy_specs import policy_of
from baseload.cli.scenario_file import Overrides, load_scenario
from baseload.simulator.run import simulate

SPECS = ["least_loaded", "power_of_two:choices=3"]
KILLER = "import os\nclass My:\n    def choose(self, request, fleet):\n        os._exit(3)\n"
FAILS = "class My:\n    def choose(self, request, fleet):\n        return 1 / 0\n"


@pytest.fixture(name="scenario")
def _scenario(folder):
    rows = "".join(f"{at * 40_000},{100 + at},{20 + at % 30}\n" for at in range(200))
    (folder / "t.csv").write_text("t_us,input_tokens,output_tokens\n" + rows)
    fleet = "fleet:\n  - {device: H100-SXM-80GB, model: Qwen/Qwen3-14B, replicas: 2}\n"
    (folder / "s.yaml").write_text("trace: {file: t.csv}\n" + fleet)
    return "s.yaml"


def without_speed(simulation):
    """A simulation without how long it took."""
    policies = [
        msgspec.structs.replace(result, cpu_s=0.0, requests_per_cpu_s=0.0)
        for result in simulation.policies
    ]
    return msgspec.structs.replace(simulation, policies=policies)


@pytest.mark.parametrize("at_once", [1, 2])
def test_jobs_give_the_simulation_that_simulate_gives(scenario, at_once):
    asked = Overrides(load_frac=0.6, parking="all", forecast="perfect")
    made = load_scenario(scenario, overrides=asked)
    policies = [policy_of(spec) for spec in SPECS]
    wanted = jobs_of(scenario, SPECS, seeds=2, overrides=asked, check=True)
    ended = []
    results = run_jobs(wanted, at_once=at_once, done=lambda job, _: ended.append(job))
    assert sorted(ended, key=wanted.index) == wanted
    alone = simulate(made, policies, seeds=2, check=True)
    assert alone.policies[1].interval["energy_change_frac"]
    assert without_speed(gathered(made, policies, results)) == without_speed(alone)


def test_jobs_are_one_a_policy_and_seed_and_one_a_file():
    wanted = jobs_of("s", ["a", "mine.py:My"], seeds=3)
    assert [(job.policy, job.seeds) for job in wanted] == [
        ("a", (0,)), ("a", (1,)), ("a", (2,)), ("mine.py:My", (0, 1, 2)),
    ]  # fmt: skip
    assert [job.watch for job in wanted] == [True, False, False, False]
    assert title(wanted[0]) == "a"
    assert title(
        Job(scenario="s", policy="a", seeds=(0, 1), overrides=Overrides(load_frac=0.5))
    ) == ("a, load 0.5, seeds 0, 1")


def test_the_longest_jobs_start_first_and_all_start():
    loads = [Overrides(load_frac=load_frac) for load_frac in (0.3, 0.6)]
    specs = ["least_loaded", "baseload", "mine.py:My"]
    wanted = [job for one in loads for job in jobs_of("s", specs, seeds=1, overrides=one)]
    assert longest_first(wanted) == [4, 3, 5, 1, 0, 2]


def test_processes_are_many_only_where_there_is_much_to_do():
    assert jobs_at_once(None, requests=FEW_REQUESTS) == 1
    assert jobs_at_once(None, requests=FEW_REQUESTS + 1) == usable_cpus()
    assert jobs_at_once(3, requests=1) == 3


def test_a_mistake_in_a_policy_file_comes_out_with_its_line(scenario, folder):
    (folder / "mine.py").write_text(FAILS)
    wanted = jobs_of(scenario, ["mine.py:My", "least_loaded"], seeds=1)
    with pytest.raises(BadInputError, match=r"ZeroDivisionError.*mine.py, line 3"):
        run_jobs(wanted, at_once=2)
    assert multiprocessing.active_children() == []


def test_a_process_that_dies_is_no_traceback_of_ours(scenario, folder):
    (folder / "mine.py").write_text(KILLER)
    wanted = jobs_of(scenario, ["mine.py:My", "least_loaded"], seeds=1)
    with pytest.raises(ChildProcessError, match="--jobs 1"):
        run_jobs(wanted, at_once=2)
    assert multiprocessing.active_children() == []


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="needs POSIX signals")
def test_an_interrupt_ends_the_processes_too(scenario, folder, monkeypatch):
    (folder / "mine.py").write_text(
        "class My:\n    def choose(self, request, fleet):\n        while True:\n            pass\n"
    )
    wanted = jobs_of(scenario, ["mine.py:My", "least_loaded"], seeds=1)
    main = threading.main_thread().ident

    def interrupt(_job, _result):
        threading.Thread(target=signal.pthread_kill, args=(main, signal.SIGINT)).start()

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_jobs(wanted, at_once=2, done=interrupt)
    assert time.monotonic() - started < 60
    assert multiprocessing.active_children() == []


def test_an_interrupt_that_python_forgets_is_heard_all_the_same(scenario, folder):
    """KeyboardInterrupt raised while an object is taken apart is printed and forgotten: a run that
    waited for a policy without end then never ended.
    """
    (folder / "mine.py").write_text(
        "class My:\n    def choose(self, request, fleet):\n        while True:\n            pass\n"
    )
    wanted = jobs_of(scenario, ["mine.py:My", "least_loaded"], seeds=1)

    def forgotten(_job, _result):
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_jobs(wanted, at_once=2, done=forgotten)
    assert multiprocessing.active_children() == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_worker_keeps_what_the_next_job_needs_and_no_more(scenario, monkeypatch):
    asked = []

    def counted(*arguments, **options):
        asked.append(options["overrides"].load_frac)
        return load_scenario(*arguments, **options)

    monkeypatch.setattr(module, "load_scenario", counted)
    wanted = [
        job
        for load_frac in (0.3, 0.6)
        for job in jobs_of(scenario, SPECS, seeds=2, overrides=Overrides(load_frac=load_frac))
    ]
    run_jobs(wanted, at_once=1)
    assert asked == [0.3, 0.6]


def test_processes_hear_no_interrupt_of_their_own():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with module._interrupts_held():
        assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    assert usable_cpus() <= (os.cpu_count() or 1)
