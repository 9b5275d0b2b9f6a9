"""Cells shared by files: no count is lost or doubled, whoever dies."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.gateway import metric_names as names
from baseload.gateway.cells import (
    SCRATCH,
    Cells,
    add_counters,
    clear_folder,
    read_folder,
    retire_dead,
    together,
)

ANSWERED = ("interactive", "small", "default", "answered")


def count(cells, number=1.0, labels=ANSWERED):
    cells.values[cells.at(names.REQUESTS, labels)] += number


def total(folder, own=None):
    return together(read_folder(folder, own=own))


def test_series_do_not_overlap():
    cells = Cells()
    places = [
        (cells.at(metric, ("x",) * len(metric.labels)), metric.width) for metric in names.METRICS
    ]
    taken = [cell for at, width in places for cell in range(at, at + width)]
    assert len(set(taken)) == len(taken)
    assert min(taken) == SCRATCH
    again = cells.at(names.QUEUE, ("x", "x", "x"))
    assert (again, names.QUEUE.width) in places
    cells.close()


def test_a_full_array_counts_into_nothing_and_says_so():
    cells = Cells(capacity=SCRATCH + 1)
    count(cells)
    assert cells.at(names.QUEUE, ("a", "b", "c")) == 0
    cells.values[names.QUEUE.width - 1] += 1.0
    assert cells.refused == 1
    assert cells.sums() == {("baseload_requests_total", ANSWERED): [1.0]}


def test_the_dead_keep_their_counts_and_lose_their_gauges(tmp_path):
    alive, dead = Cells(tmp_path, name="a"), Cells(tmp_path, name="b")
    for cells in (alive, dead):
        count(cells)
        cells.values[cells.at(names.IN_FLIGHT)] = 1.0
    assert total(tmp_path)[("baseload_requests_in_flight", ())] == [2.0]
    dead.close()
    before = total(tmp_path)
    assert before[("baseload_requests_in_flight", ())] == [1.0]
    assert before[("baseload_requests_total", ANSWERED)] == [2.0]
    assert retire_dead(tmp_path) == 1
    assert total(tmp_path, own=alive) == before
    assert retire_dead(tmp_path) == 0
    alive.close()
    assert retire_dead(tmp_path) == 1
    assert total(tmp_path) == {("baseload_requests_total", ANSWERED): [2.0]}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "lock",
        "retired.cells",
        "retired.index",
    ]


@pytest.mark.parametrize("harm", [b"", b"junk", b'[1,{}]\n["x"', b"\xff\n"])
def test_files_that_are_broken_or_of_another_version_are_left_out(tmp_path, harm):
    cells = Cells(tmp_path, name="a")
    count(cells)
    (tmp_path / "b.index").write_bytes(harm)
    (tmp_path / "b.cells").write_bytes(b"12345")
    (tmp_path / "c.index").write_bytes(harm)
    assert total(tmp_path) == {("baseload_requests_total", ANSWERED): [1.0]}
    cells.close()
    retire_dead(tmp_path)
    assert total(tmp_path) == {("baseload_requests_total", ANSWERED): [1.0]}


def test_a_half_written_line_is_left_out(tmp_path):
    cells = Cells(tmp_path, name="a")
    count(cells)
    with (tmp_path / "a.index").open("ab") as file:
        file.write(b'["baseload_refused_total",["4')
    assert total(tmp_path) == {("baseload_requests_total", ANSWERED): [1.0]}
    cells.close()


def test_a_new_start_forgets(tmp_path):
    folder = tmp_path / "metrics"
    clear_folder(folder)
    cells = Cells(folder, name="a")
    count(cells)
    cells.close()
    clear_folder(folder)
    assert total(folder) == {}


numbers = st.lists(st.integers(0, 1000).map(float), min_size=1, max_size=5)


@given(st.lists(numbers, min_size=1, max_size=4))
def test_counters_add_up_in_any_order(workers):
    key = ("baseload_requests_total", ANSWERED)
    one, other = {}, {}
    for values in workers:
        add_counters(one, {key: values[:1]})
    for values in reversed(workers):
        add_counters(other, {key: values[:1]})
    assert one == other
    assert one[key] == [sum(values[0] for values in workers)]


@pytest.mark.parametrize(
    ("metric", "result"),
    [
        (names.IN_FLIGHT, 6.0),
        (names.GENERATION, 1.0),
        (names.REPLICA_AGE, 3.0),
        (names.JOULE_PRICE, 2.0),
    ],
)
def test_each_rule_of_gauges(metric, result):
    key = (metric.name, ("x",) * len(metric.labels))
    said = [(True, {key: [value]}) for value in (1.0, 3.0, 2.0, math.nan)]
    assert together([*said, (False, {key: [0.5]})]) == {key: [result]}
    assert together([(True, {key: [math.nan]})]) == {}


WORKER = """
import sys, time
from baseload.gateway import metric_names as names
from baseload.gateway.cells import Cells
cells = Cells(__import__("pathlib").Path(sys.argv[1]))
cells.values[cells.at(names.WORKERS)] = 1.0
at = cells.at(names.REQUESTS, ("interactive", "small", "default", "answered"))
print("up", flush=True)
for _ in range(20_000):
    cells.values[at] += 1.0
print("done", flush=True)
sys.stdin.read()
"""


@pytest.mark.e2e
def test_real_processes_count_together_and_one_is_killed(tmp_path):
    clear_folder(tmp_path)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    key, seen = ("baseload_requests_total", ANSWERED), [0.0]
    try:
        assert [worker.stdout.readline() for worker in workers] == ["up\n"] * 3
        while seen[-1] < 60_000.0:
            seen.append(total(tmp_path)[key][0])
        assert seen == sorted(seen)
        assert total(tmp_path)[("baseload_workers", ())] == [3.0]
        workers[0].kill()
        workers[0].wait()
        assert total(tmp_path)[("baseload_workers", ())] == [2.0]
        assert retire_dead(tmp_path) == 1
        assert total(tmp_path)[key] == [60_000.0]
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    assert retire_dead(tmp_path) == 2
    assert total(tmp_path) == {key: [60_000.0]}
