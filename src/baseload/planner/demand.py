"""What the supply sees of a fleet: a steady draw, and requests that each take some energy more.

A ``Demand`` is all that the planner needs to know of workload and fleet. Two ways lead to one:
``demand_of_trace`` works it out from a trace and the eight numbers of each replica type, without a
simulation; ``demand_of_slots`` reads it from the energy per slot of a run.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solveh_banded

from baseload.base.errors import BadInputError
from baseload.planner.demand_records import HOURS, Demand, DemandVariance, EnergyLaw, Serving
from baseload.planner.digest import MOST_REQUESTS, TraceDigest, digest_of, work_of
from baseload.planner.response import Fleet, Response, Sharing, fleet_response
from baseload.theory.inputs import numbers, positive
from baseload.workload.trace import Trace, TraceSource

__all__ = [
    "Demand",
    "DemandVariance",
    "EnergyLaw",
    "Serving",
    "capped_digest",
    "demand_changed",
    "demand_of_digest",
    "demand_of_slots",
    "demand_of_trace",
    "law_of_values",
]

Floats = NDArray[np.float64]

_QUANTILES = 1000
_S_PER_HOUR = 3600.0
_DETREND_FROM_S = 6 * _S_PER_HOUR
_BATCHES, _FEWEST_BATCHES = 144, 20
_SHORTEST_BATCH_S = 30.0
_LAG_SLOT_S = 10.0
_KEPT_SLOTS = 2880


def demand_of_trace(
    groups: Fleet,
    source: TraceSource | Trace,
    *,
    sharing: Sharing = "even",
    ttft_s: float = math.inf,
    tpot_s: float = math.inf,
    full_frac: float = 0.7,
    parking: bool = False,
    scale: float = 1.0,
    most_requests: int = MOST_REQUESTS,
    slot_s: float = 1.0,
    name: str | None = None,
) -> Demand:
    """The demand of a trace on a fleet: (replica type, replicas) pairs.

    Modelled: no request is simulated. ``sharing``, promises, ``full_frac`` and ``parking`` as for
    ``response.fleet_response``; ``scale`` and ``most_requests`` as for ``digest.digest_of``. The
    energy of a request is counted when it arrives; over long times that changes neither the mean
    nor the variance rate.
    """
    digest = digest_of(source, slot_s=slot_s, most_requests=most_requests, scale=scale)
    response = fleet_response(
        groups,
        digest,
        sharing=sharing,
        ttft_s=ttft_s,
        tpot_s=tpot_s,
        full_frac=full_frac,
        parking=parking,
    )
    return demand_of_digest(digest, response, groups, sharing=sharing, name=name)


def demand_of_digest(
    digest: TraceDigest,
    response: Response,
    groups: Fleet,
    *,
    sharing: Sharing = "even",
    name: str | None = None,
) -> Demand:
    """The demand of a trace that has been read already, under a fleet's response to it."""
    weights = digest.class_requests / digest.class_requests.sum()
    terms = _variance_of(digest, response, weights)
    job = _law_of(digest, response)
    requests_per_s = digest.requests_per_s
    mean_job = response.share_frac @ response.job_j
    slots_j = digest.scale * (digest.slot_work @ mean_job)
    slow = slow_variance(
        slots_j / math.sqrt(digest.scale) if digest.scale > 1 else slots_j, digest.slot_s
    )
    # Requests that stand for others are independent, but the rate that moves under them is one.
    known = terms.total_j2_per_s
    extra = (slow.var_j2_per_s - known) * (digest.scale if digest.scale > 1 else 1.0)
    terms = msgspec.structs.replace(
        terms,
        temporal_j2_per_s=max(0.0, extra),
        temporal_error_j2_per_s=slow.error_j2_per_s * max(1.0, digest.scale),
        switching_j2_per_s=_switching(response, slow.correlation_s),
    )
    power_w = response.base_w + slots_j / digest.slot_s
    thin_w, thin_s = _thinned(power_w, digest.slot_s)
    return Demand(
        name=digest.name if name is None else name,
        mean_w=response.mean_w,
        base_w=response.base_w,
        var_j2_per_s=terms.total_j2_per_s,
        requests_per_s=requests_per_s,
        ca2=digest.ca2,
        span_s=digest.span_s,
        obtained="modelled",
        job=job,
        terms=terms,
        hourly_frac=hourly_profile(power_w, digest.slot_s),
        slot_w=tuple(thin_w.tolist()),
        slot_s=thin_s,
        correlation_s=slow.correlation_s,
        how=_HOW[sharing],
        error_frac=_error_of(groups, response),
        serving=response.serving,
        notes=(*digest.notes, *response.warnings, *slow.notes),
    )


def demand_changed(
    before: Demand, digest: TraceDigest, response: Response, *, digest_before: TraceDigest
) -> Demand:
    """``before`` under another response or a changed digest, without looking at its slots again:
    the slow movement scales with the square of the mean energy that it moves. Instant, for what-if
    questions; ``slot_w`` and the profile stay those of ``before``.
    """
    assert before.job is not None
    assert before.terms is not None
    weights = digest.class_requests / digest.class_requests.sum()
    mean_job = response.share_frac @ response.job_j
    mean_j = float(mean_job @ digest.mean_work)
    ratio = mean_j / before.job.mean_j if before.job.mean_j > 0 else 1.0
    products = np.einsum("c,cab->ab", weights, digest.work_products)
    jobs, share = response.job_j, response.share_frac
    second = float(np.einsum("t,ta,ab,tb->", share, jobs, products, jobs))
    error = before.terms.temporal_error_j2_per_s
    terms = msgspec.structs.replace(
        _variance_of(digest, response, weights),
        temporal_j2_per_s=before.terms.temporal_j2_per_s * ratio**2,
        temporal_error_j2_per_s=None if error is None else error * ratio**2,
        switching_j2_per_s=_switching(response, before.correlation_s),
    )
    work = work_of(digest.sample_input, digest.sample_output) @ mean_job
    was = work_of(digest_before.sample_input, digest_before.sample_output) @ mean_job
    tail = float((work**3).mean() / (was**3).mean()) if was.any() else 1.0
    return msgspec.structs.replace(
        before,
        mean_w=response.mean_w,
        base_w=response.base_w,
        var_j2_per_s=terms.total_j2_per_s,
        job=msgspec.structs.replace(
            before.job,
            mean_j=mean_j,
            second_j2=max(second, mean_j * mean_j),
            third_j3=before.job.third_j3 * ratio**3 * tail,
            sample_j=tuple((np.asarray(before.job.sample_j) * ratio).tolist()),
            largest_j=before.job.largest_j * ratio,
        ),
        terms=terms,
        serving=response.serving,
    )


_HOW = {
    "packed": "as few replicas as the load needs, the cheapest first (packing)",
    "even": "every replica takes its share of the load (even spread)",
}


def demand_of_slots(
    slot_j: ArrayLike,
    slot_s: float,
    *,
    requests: int | None = None,
    base_w: float = 0.0,
    job: EnergyLaw | None = None,
    ca2: float = 1.0,
    error_frac: float | None = None,
    how: str = "",
    name: str = "run",
) -> Demand:
    """The demand that a simulation (or a meter) saw: ``slot_j`` joules in each slot of ``slot_s``.

    ``requests``: how many arrived meanwhile (``None``: not known, 0 in the record). ``base_w``, and
    ``job`` with ``ca2``, where they are known; with a job the variance is taken apart. The
    long-run variance is that of batch means. Raises ``BadInputError`` for fewer than two slots or
    negative energies.
    """
    positive("slot_s", slot_s)
    energies = numbers("slot_j", slot_j, least=0.0, shape=(-1,))
    if len(energies) < 2:
        raise BadInputError("slot_j", found=f"{len(energies)} slots", allowed="two or more")
    span_s = len(energies) * slot_s
    slow = slow_variance(energies, slot_s)
    rate = 0.0 if requests is None else requests / span_s
    mean_w = float(energies.sum()) / span_s
    terms = None
    if job is not None and rate > 0:
        own = rate * job.var_j2
        arrivals = rate * ca2 * job.mean_j**2
        terms = DemandVariance(
            execution_j2_per_s=own,
            mix_j2_per_s=0.0,
            routing_j2_per_s=0.0,
            arrivals_j2_per_s=arrivals,
            temporal_j2_per_s=max(0.0, slow.var_j2_per_s - own - arrivals),
            temporal_error_j2_per_s=slow.error_j2_per_s,
        )
    thin_w, thin_s = _thinned(energies / slot_s, slot_s)
    return Demand(
        name=name,
        mean_w=mean_w,
        base_w=min(base_w, mean_w),
        var_j2_per_s=slow.var_j2_per_s if terms is None else terms.total_j2_per_s,
        requests_per_s=rate,
        ca2=ca2,
        span_s=span_s,
        obtained="simulated",
        job=job,
        terms=terms,
        hourly_frac=hourly_profile(energies / slot_s, slot_s),
        slot_w=tuple(thin_w.tolist()),
        slot_s=thin_s,
        correlation_s=slow.correlation_s,
        how=how,
        error_frac=error_frac,
        notes=slow.notes,
    )


def law_of_values(values_j: ArrayLike, weights: ArrayLike | None = None) -> EnergyLaw:
    """The law of energies [J], thinned to 1,000 equally likely values (means of equal parts)."""
    values = numbers("values_j", values_j, least=0.0, shape=(-1,))
    if not len(values):
        raise BadInputError("values_j", found="no values", allowed="one or more")
    share = np.full(len(values), 1.0 / len(values))
    if weights is not None:
        share = numbers("weights", weights, least=0.0, shape=(len(values),))
        share = share / share.sum()
    order = np.argsort(values, kind="stable")
    values, share = values[order], share[order]
    return EnergyLaw(
        mean_j=float(share @ values),
        second_j2=float(share @ values**2),
        third_j3=float(share @ values**3),
        sample_j=tuple(_parts(values, share).tolist()),
        largest_j=float(values[-1]),
    )


def _parts(values: Floats, share: Floats) -> Floats:
    """The means of equally likely parts of a distribution given by rising values."""
    parts = min(_QUANTILES, len(values))
    below = np.concatenate([[0.0], np.cumsum(share)])
    area = np.concatenate([[0.0], np.cumsum(share * values)])
    edges = np.linspace(0.0, below[-1], parts + 1)
    means: Floats = np.diff(np.interp(edges, below, area)) * (parts / below[-1])
    return np.maximum.accumulate(np.maximum(means, 0.0))


def _law_of(digest: TraceDigest, response: Response) -> EnergyLaw:
    """The law of the marginal energy: values of the sample on every type that serves, mean and
    second moment from all requests.
    """
    work = work_of(digest.sample_input, digest.sample_output)
    used = np.flatnonzero(response.share_frac > 0)
    values = np.concatenate([work @ response.job_j[i] for i in used])
    weights = np.repeat(response.share_frac[used], len(work))
    law = law_of_values(values, weights)
    shares = digest.class_requests / digest.class_requests.sum()
    products = np.einsum("c,cab->ab", shares, digest.work_products)
    jobs = response.job_j[used]
    share = response.share_frac[used]
    second = float(np.einsum("t,ta,ab,tb->", share, jobs, products, jobs))
    mean = float(share @ (jobs @ digest.mean_work))
    return msgspec.structs.replace(law, mean_j=mean, second_j2=max(second, mean * mean))


def _switching(response: Response, correlation_s: float | None) -> float:
    """Variance rate of replicas that start and stop [J^2/s]: the load rounded up to whole replicas
    is off by a uniform part of one, anew each time it has crossed a step. Heuristic: within a
    factor of 5 of simulated packing on a fleet of four.
    """
    if response.jumps <= 0 or correlation_s is None:
        return 0.0
    return response.jump_w**2 / 12.0 * 2.0 * correlation_s / response.jumps


def _variance_of(digest: TraceDigest, response: Response, weights: Floats) -> DemandVariance:
    """The compound-renewal terms of the variance, by class and type (centred sums)."""
    share, jobs = response.share_frac, response.job_j
    means = digest.work @ jobs.T  # [classes, types]
    spread = digest.work_products - digest.work[:, :, None] * digest.work[:, None, :]
    within = np.maximum(np.einsum("ta,cab,tb->ct", jobs, spread, jobs), 0.0)
    of_class = means @ share
    overall = float(weights @ of_class)
    rate = digest.requests_per_s
    return DemandVariance(
        execution_j2_per_s=rate * float(weights @ within @ share),
        mix_j2_per_s=rate * float(weights @ (of_class - overall) ** 2),
        routing_j2_per_s=rate * float(weights @ ((means - of_class[:, None]) ** 2 @ share)),
        arrivals_j2_per_s=rate * digest.ca2 * overall**2,
        temporal_j2_per_s=0.0,
    )


class SlowVariance(msgspec.Struct, frozen=True, kw_only=True):
    """The long-run variance rate of a series [J^2/s] with its standard error, and the time over
    which its slow part stays correlated [s] (``None``: no slow part seen).
    """

    var_j2_per_s: float
    error_j2_per_s: float
    correlation_s: float | None
    notes: tuple[str, ...] = ()


def slow_variance(slot_j: Floats, slot_s: float) -> SlowVariance:
    """The long-run variance rate of joules per slot, by batch means.

    From 6 h on a profile by the hour (piecewise linear) is taken out first: what repeats every day
    is no randomness. Batches are at most 10 minutes long and at least 20 in number where the series
    allows; fewer make the error large, and it is given.
    """
    span_s = len(slot_j) * slot_s
    hours = int(span_s // _S_PER_HOUR) if span_s >= _DETREND_FROM_S else 0
    batches = int(min(_BATCHES, max(_FEWEST_BATCHES, span_s / 600.0), span_s / _SHORTEST_BATCH_S))
    batches = min(max(batches, 6 * hours, 2), len(slot_j))
    size = len(slot_j) // batches
    sums = slot_j[: batches * size].reshape(batches, size).sum(axis=1)
    batch_s = size * slot_s
    rest = _without_profile(sums, hours)
    freedom = max(1, batches - max(1, hours + 1 if hours else 1))
    var = float((rest**2).sum()) / freedom / batch_s
    notes = []
    if freedom < _FEWEST_BATCHES - 1:
        notes.append(
            f"The series is short: sigma2 rests on {batches} batches of {batch_s:.0f} s"
            f" (standard error {100 * math.sqrt(2 / freedom):.0f} %)."
        )
    return SlowVariance(
        var_j2_per_s=var,
        error_j2_per_s=var * math.sqrt(2.0 / freedom),
        correlation_s=_correlation(slot_j, slot_s, hours),
        notes=tuple(notes),
    )


def _without_profile(values: Floats, hours: int) -> Floats:
    """The residuals from a piecewise-linear profile with a knot an hour, or from the mean."""
    if hours < 1:
        centred: Floats = values - values.mean()
        return centred
    place = (np.arange(len(values)) + 0.5) * (hours / len(values))
    knot = np.minimum(place.astype(np.int64), hours - 1)
    right = place - knot
    left = 1.0 - right
    # normal equations of the hat functions: each reaches its neighbours only
    band = np.zeros((2, hours + 1))
    band[1] = _sums(knot, left * left, hours) + np.roll(_sums(knot, right * right, hours), 1)
    band[0, 1:] = _sums(knot, left * right, hours)[:-1]
    wanted = _sums(knot, left * values, hours) + np.roll(_sums(knot, right * values, hours), 1)
    level = solveh_banded(band, wanted)
    residual: Floats = values - left * level[knot] - right * level[knot + 1]
    return residual


def _sums(knot: NDArray[np.int64], weights: Floats, hours: int) -> Floats:
    """Sums of ``weights`` by knot ``[hours + 1]``, the last 0."""
    return np.bincount(knot, weights=weights, minlength=hours + 1).astype(np.float64)


def _correlation(slot_j: Floats, slot_s: float, hours: int) -> float | None:
    """How long the slow part stays correlated: sum of autocovariances from lag 1 over the first,
    until they turn negative (initial positive sequence), in slots of about 10 s.
    """
    size = max(1, round(_LAG_SLOT_S / slot_s))
    count = len(slot_j) // size
    if count < 50:
        return None
    sums = slot_j[: count * size].reshape(count, size).sum(axis=1)
    rest = _without_profile(sums, hours)
    spectrum = np.fft.rfft(rest, 2 * count)
    covariances = np.fft.irfft(np.abs(spectrum) ** 2)[: count // 4] / count
    negative = np.flatnonzero(covariances[1:] <= 0)
    last = int(negative[0]) if len(negative) else len(covariances) - 1
    if last < 1 or covariances[1] <= 2.0 * covariances[0] / math.sqrt(count):
        return None
    return float(covariances[1 : last + 1].sum() / covariances[1]) * size * slot_s


def hourly_profile(power_w: Floats, slot_s: float) -> tuple[float, ...] | None:
    """Mean power of each hour of the day over the mean of all, the series starting at midnight;
    ``None`` for less than 23 hours.
    """
    span_s = len(power_w) * slot_s
    mean = float(power_w.mean()) if len(power_w) else 0.0
    if span_s < (HOURS - 1) * _S_PER_HOUR or mean <= 0:
        return None
    hour = ((np.arange(len(power_w)) + 0.5) * slot_s // _S_PER_HOUR).astype(np.int64) % HOURS
    sums = np.bincount(hour, weights=power_w, minlength=HOURS)
    counts = np.bincount(hour, minlength=HOURS)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), mean) / mean
    return tuple((means / means.mean()).tolist())


def _thinned(power_w: Floats, slot_s: float) -> tuple[Floats, float]:
    """The series in slots long enough that at most a few thousand are kept."""
    size = max(1, math.ceil(len(power_w) / _KEPT_SLOTS))
    count = len(power_w) // size
    return power_w[: count * size].reshape(count, size).mean(axis=1), size * slot_s


def _error_of(groups: Fleet, response: Response) -> float | None:
    """The error of the step energies of the types that serve, by share; ``None`` where one is
    unknown.
    """
    total = 0.0
    for (kind, _), share in zip(groups, response.share_frac, strict=True):
        if share > 0:
            if kind.error_frac is None:
                return None
            total += float(share) * kind.error_frac
    return total


def capped_digest(digest: TraceDigest, keep_frac: float) -> tuple[TraceDigest, float]:
    """The digest with answers capped at ``keep_frac`` of the longest one seen, and the share of
    answers that the cap cuts.

    Worked out on the sample; the sums of all requests are scaled by what the cap changes there.
    Raises ``BadInputError`` for a share outside (0, 1].
    """
    if not 0 < keep_frac <= 1:
        raise BadInputError("keep_frac", found=repr(keep_frac), allowed="above 0, up to 1")
    cap = max(1.0, keep_frac * float(digest.sample_output.max()))
    capped = np.minimum(digest.sample_output, cap)
    return with_outputs(digest, capped), float((digest.sample_output > cap).mean())


def with_outputs(digest: TraceDigest, sample_output: Floats) -> TraceDigest:
    """The digest with other answer lengths [tokens] in its sample; the sums of all requests are
    scaled by what they change there, class by class.
    """
    before = work_of(digest.sample_input, digest.sample_output)
    after = work_of(digest.sample_input, sample_output)
    work, products = digest.work.copy(), digest.work_products.copy()
    for code in range(len(digest.classes)):
        rows = digest.sample_class == code
        if rows.any():
            old, new = before[rows], after[rows]
            work[code] *= _ratio(new.mean(axis=0), old.mean(axis=0))
            products[code] *= _ratio(new.T @ new, old.T @ old)
    shrink = _ratio(after.mean(axis=0), before.mean(axis=0))
    return msgspec.structs.replace(
        digest,
        work=work,
        work_products=products,
        slot_work=digest.slot_work * shrink,
        sample_output=sample_output,
    )


def _ratio(above: Floats, below: Floats) -> Floats:
    """``above / below``, 1 where both are 0."""
    ratio: Floats = np.where(below > 0, above / np.where(below > 0, below, 1.0), 1.0)
    return ratio
