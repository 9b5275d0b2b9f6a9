"""The token-queue model: kernel and plain twin, a literal reading of the note, closed forms, PI."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.base.errors import UnknownNameError
from baseload.base.kernels import plain
from baseload.simulator import token_queues
from baseload.simulator.joulesched_records import AbstractFleet, Control, DeviceGroup
from baseload.simulator.token_queues import (
    BULK,
    INTERACTIVE,
    RULES,
    Arrivals,
    TokenQueues,
    advance,
    control_record,
    forecast,
    forecast_mae,
    forecast_sigma,
    run_queues,
)

CONTROL = Control(kp_j_per_s=200.0, ki_j_per_s=10.0, start_j_per_s=30.0, interval_s=2.0)


def fleet(*groups, deadline_s=(1.0, 5.0), control=CONTROL):
    """A fleet of (devices, tokens/s, J/token) groups."""
    return AbstractFleet(
        groups=tuple(
            DeviceGroup(device=f"d{at}", devices=n, tokens_per_s=mu, energy_j_per_token=eps)
            for at, (n, mu, eps) in enumerate(groups)
        ),
        deadline_s=deadline_s,
        control=control,
    )


def arrivals(rng, count, rate_per_s, mean_tokens=200.0):
    """Poisson requests with exponential lengths and a poor forecast."""
    tokens = np.ceil(rng.exponential(mean_tokens, count))
    return Arrivals(
        t_s=np.cumsum(rng.exponential(1 / rate_per_s, count)),
        tokens=tokens,
        estimate=forecast(tokens, 0.2, rng.standard_normal(count)),
        tier=(rng.random(count) < 0.2).astype(np.int64),
    )


def one_by_one(made, rule, requests):
    """The note's listing over a list of devices whose queues are lists of tokens: slow and plain.

    Gives the device of each request.
    """
    devices = [[g, 0.0] for g in made.groups for _ in range(g.devices)]
    lam, total, end_s, seen, missed = made.control.start_j_per_s, 0.0, 2.0, 0, 0
    now_s, chosen = 0.0, []
    for t_s, tokens, estimate, tier in zip(
        requests.t_s, requests.tokens, requests.estimate, requests.tier, strict=True
    ):
        for device in devices:
            device[1] = max(0.0, device[1] - (t_s - now_s) * device[0].tokens_per_s)
        now_s = t_s
        while now_s >= end_s:
            if seen:
                error = missed / seen - 0.01
                total += error if error > 0 or lam > 0 else 0.0
                lam = max(0.0, lam + made.control.kp_j_per_s * error + 10.0 * total)
            end_s, seen, missed = end_s + 2.0, 0, 0
        deadline_s = made.deadline_s[tier]
        etas = [(queue + estimate) / group.tokens_per_s for group, queue in devices]
        costs = {
            "round_robin": [0.0 if n == len(chosen) % len(devices) else 1.0 for n in range(99)],
            "least_loaded": [queue for _, queue in devices],
            "least_eta": etas,
        }.get(rule) or [
            group.energy_j_per_token * estimate + lam * max(0.0, eta - deadline_s)
            for (group, _), eta in zip(devices, etas, strict=True)
        ]
        best = int(np.argmin(costs[: len(devices)]))
        chosen.append(best)
        devices[best][1] += tokens
        seen += 1
        missed += devices[best][1] / devices[best][0].tokens_per_s > deadline_s
    return chosen


@pytest.mark.parametrize("rule", RULES)
def test_the_kernel_equals_its_plain_twin(rule, monkeypatch):
    made = fleet((3, 300.0, 2.0), (2, 500.0, 1.0), (1, 100.0, 0.7))
    requests = arrivals(np.random.default_rng(7), 600, 8.0)
    compiled = run_queues(made, rule, [requests])
    for name in ("serve", "place", "place_first", "shortest", "advance"):
        monkeypatch.setattr(token_queues, name, plain(getattr(token_queues, name)))
    slow = run_queues(made, rule, [requests])
    assert np.array_equal(compiled.requests, slow.requests)
    assert np.array_equal(compiled.histogram, slow.histogram)
    assert compiled.latency_s_mean == pytest.approx(slow.latency_s_mean, rel=1e-12)
    assert compiled.lambda_j_per_s == pytest.approx(slow.lambda_j_per_s, rel=1e-12)


@pytest.mark.parametrize("rule", ["round_robin", "joulesched_first"])
def test_the_rules_do_what_the_listing_of_the_note_does(rule):
    made = fleet((2, 300.0, 2.0), (2, 500.0, 1.0))
    requests = arrivals(np.random.default_rng(3), 800, 7.0)
    literal = one_by_one(made, rule, requests)
    run = run_queues(made, rule, [requests])
    assert run.requests.sum(axis=1).tolist() == [
        sum(n < 2 for n in literal),
        sum(n >= 2 for n in literal),
    ]


@pytest.mark.parametrize("rule", ["least_loaded", "least_eta", "joulesched"])
def test_where_nothing_is_equal_ties_do_not_matter(rule):
    """With one device a group and busy queues the literal listing makes the same choices."""
    made = fleet((1, 301.0, 2.0), (1, 499.0, 1.0), (1, 223.0, 1.3))
    requests = arrivals(np.random.default_rng(5), 500, 6.0)
    literal = np.bincount(one_by_one(made, rule, requests), minlength=3)
    run = run_queues(made, rule, [requests])
    assert np.abs(run.requests.sum(axis=1) - literal).max() <= (40 if rule == "least_loaded" else 0)


@settings(max_examples=40, deadline=None)
@given(
    rule=st.sampled_from(RULES),
    seed=st.integers(0, 1000),
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    cut=st.integers(0, 200),
)
def test_no_token_is_lost_and_pieces_do_not_matter(rule, seed, sizes, cut):
    rng = np.random.default_rng(seed)
    made = fleet(*((n, 100.0 + 300 * rng.random(), 0.5 + rng.random()) for n in sizes))
    requests = arrivals(rng, 200, 5.0)
    run = run_queues(made, rule, [requests])
    assert run.tokens.sum() == pytest.approx(requests.tokens.sum(), rel=1e-12)
    assert run.requests.sum() == run.histogram.sum() == 200
    assert run.requests[:, BULK].sum() == int((requests.tier == BULK).sum())
    assert (run.utilization_frac <= 1 + 1e-9).all()
    eps = [group.energy_j_per_token for group in made.groups]
    assert run.energy_j == pytest.approx(float(np.dot(eps, run.tokens)), rel=1e-12)
    queues = TokenQueues(made, rule)
    for rows in (slice(0, cut), slice(cut, None)):
        queues.feed(
            Arrivals(**{name: getattr(requests, name)[rows] for name in requests.__struct_fields__})
        )
    assert np.array_equal(queues.result().histogram, run.histogram)


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_one_device_waits_as_pollaczek_and_khinchine_say(load):
    """M/D/1: mean wait = load x service / (2 (1 - load)); 400,000 requests give it to 3 %."""
    count, service_s = 400_000, 0.5
    rng = np.random.default_rng(11)
    tokens = np.full(count, 100.0)
    requests = Arrivals(
        t_s=np.cumsum(rng.exponential(service_s / load, count)),
        tokens=tokens,
        estimate=tokens,
        tier=np.zeros(count, np.int64),
    )
    run = run_queues(fleet((1, 200.0, 1.0)), "round_robin", [requests])
    wait_s = load * service_s / (2 * (1 - load))
    assert run.latency_s_mean - service_s == pytest.approx(wait_s, rel=0.03)
    assert run.utilization_frac[0] == pytest.approx(load, rel=0.01)


def test_a_latency_is_queue_plus_own_tokens_over_speed():
    requests = Arrivals(
        t_s=np.array([0.0, 0.0, 1.0]),
        tokens=np.array([100.0, 300.0, 50.0]),
        estimate=np.array([100.0, 300.0, 50.0]),
        tier=np.array([INTERACTIVE, INTERACTIVE, BULK]),
    )
    run = run_queues(fleet((1, 100.0, 1.0)), "least_loaded", [requests])
    assert run.latency_s_mean == pytest.approx((1.0 + 4.0 + 3.5) / 3)
    assert run.miss_frac == pytest.approx(1 / 3)  # 4 s after a deadline of 1 s
    assert run.miss_frac_by_tier == (0.5, 0.0)
    assert run.latency_s(0.5) == pytest.approx(3.5, rel=0.003)
    assert run.latency_s(1.0, tier=INTERACTIVE) == pytest.approx(4.0, rel=0.003)


def test_joulesched_takes_the_cheap_device_until_lateness_costs_more():
    control = Control(kp_j_per_s=0.0, ki_j_per_s=0.0, start_j_per_s=100.0)
    made = fleet((1, 100.0, 2.0), (1, 100.0, 1.0), deadline_s=(2.0, 50.0), control=control)
    tokens = np.full(6, 100.0)
    requests = Arrivals(t_s=np.zeros(6), tokens=tokens, estimate=tokens, tier=np.zeros(6, np.int64))
    # ETA on the cheap device 1, 2, 3: the third is 1 s late, 200 J against 200 J: the earlier end.
    run = run_queues(made, "joulesched", [requests])
    assert run.requests[:, 0].tolist() == [3, 3]
    bulk = Arrivals(t_s=np.zeros(6), tokens=tokens, estimate=tokens, tier=np.ones(6, np.int64))
    assert run_queues(made, "joulesched", [bulk]).requests[:, 1].tolist() == [0, 6]


def test_the_pi_rule_by_hand():
    control = control_record(
        Control(kp_j_per_s=100.0, ki_j_per_s=10.0, start_j_per_s=1.0, interval_s=10.0)
    )
    row = control[0]
    steps = [
        (100, 5, 1.0 + 100 * 0.04 + 10 * 0.04, 0.04),  # 5 % missed: error +4 %
        (100, 0, 5.4 - 100 * 0.01 + 10 * 0.03, 0.03),  # none: error -1 %
        (0, 0, 4.7, 0.03),  # nobody came: nothing is known
        (10, 1, 4.7 + 100 * 0.09 + 10 * 0.12, 0.12),
    ]
    for turn, (seen, missed, lam, total) in enumerate(steps, start=1):
        row.seen, row.missed = seen, missed
        advance(row)
        assert row.lam == pytest.approx(lam)
        assert row.error_sum == pytest.approx(total)
        assert row.next_s == 10.0 * (turn + 1)
        assert row.seen == row.missed == 0


def test_lambda_is_clipped_and_does_not_wind_up_while_it_is():
    row = control_record(
        Control(kp_j_per_s=100.0, ki_j_per_s=0.0, start_j_per_s=0.5, interval_s=1.0)
    )[0]
    row.seen = 10
    plain(advance)(row)
    assert row.lam == 0.0
    total = row.error_sum
    row.seen = 10
    plain(advance)(row)
    assert row.lam == 0.0
    assert row.error_sum == total


def test_round_robin_gives_each_device_the_same():
    requests = arrivals(np.random.default_rng(2), 1000, 5.0)
    run = run_queues(
        fleet((5, 10.0, 1.0), (3, 1000.0, 1.0), (2, 1.0, 1.0)), "round_robin", [requests]
    )
    assert run.requests.sum(axis=1).tolist() == [500, 300, 200]


def test_idle_power_is_what_empty_queues_draw():
    group = DeviceGroup(
        device="d", devices=2, tokens_per_s=100.0, energy_j_per_token=1.0, power_w_idle=10.0
    )
    made = AbstractFleet(groups=(group,), deadline_s=(1.0, 1.0), control=CONTROL)
    tokens = np.array([100.0, 100.0, 100.0])
    requests = Arrivals(
        t_s=np.array([0.0, 0.0, 10.0]), tokens=tokens, estimate=tokens, tier=np.zeros(3, np.int64)
    )
    run = run_queues(made, "least_loaded", [requests])
    assert run.energy_j == 300.0
    assert run.idle_energy_j == pytest.approx(10.0 * (20.0 - 2.0))


def test_the_forecast_is_high_in_95_of_100_cases_and_off_by_12_percent():
    sigma = forecast_sigma(0.12)
    assert forecast_mae(sigma) == pytest.approx(0.12, rel=1e-9)
    tokens = np.full(200_000, 300.0)
    said = forecast(tokens, sigma, np.random.default_rng(1).standard_normal(len(tokens)))
    assert (said >= tokens).mean() == pytest.approx(0.95, abs=0.002)
    assert np.abs(said / tokens - 1).mean() == pytest.approx(0.12, rel=0.01)


def test_an_unknown_rule_is_refused():
    with pytest.raises(UnknownNameError, match="scheduler of token queues"):
        run_queues(fleet((1, 1.0, 1.0)), "joule", [])


def test_no_request_is_no_energy():
    none = Arrivals(
        t_s=np.zeros(0), tokens=np.zeros(0), estimate=np.zeros(0), tier=np.zeros(0, np.int64)
    )
    run = run_queues(fleet((1, 1.0, 1.0)), "joulesched", [none])
    assert run.energy_j == run.miss_frac == run.latency_s_mean == 0.0
    assert run.miss_frac_by_tier == (None, None)
    assert run.bulk_share_frac(0) is None
    assert math.isfinite(run.lambda_j_per_s)
