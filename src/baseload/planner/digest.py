"""A trace boiled down to what a demand needs, in one reading and without any fleet.

Three numbers say how much work a request is, whatever serves it: the steps that it takes part in,
the context tokens read for it, the prompt tokens processed. Every energy that the eight numbers of
a replica type give is a linear combination of the three, so their sums, products and sums per slot
are enough to price the trace on any fleet, at once.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from baseload.base.errors import BadInputError
from baseload.base.units import US_PER_S
from baseload.theory.inputs import positive, whole
from baseload.workload.chunks import source_of
from baseload.workload.trace import Trace, TraceSource

Floats = NDArray[np.float64]

WORK = 3
"""Numbers of work of a request: steps, context tokens read, prompt tokens."""

MOST_REQUESTS = 2_000_000
_SAMPLE = 65_536
_GAPS = 512
_DAY_S = 86_400.0


class TraceDigest(msgspec.Struct, frozen=True, kw_only=True):
    """The sums of a trace.

    ``requests`` read in ``span_s`` seconds; ``class_requests`` of each of ``classes``;
    ``work`` ``[classes, 3]`` mean work of a request of each class and ``work_products``
    ``[classes, 3, 3]`` the means of products of two numbers of work. ``slot_requests`` ``[n]`` and
    ``slot_work`` ``[n, 3]``: sums over the requests that arrive in each slot of ``slot_s`` seconds.
    ``ca2``: squared coefficient of variation of the gaps, each block of 512 measured against its
    own mean so that slow movement of the rate does not count. ``sample_*``: every ``stride``-th
    request. ``scale``: how many requests each stands for. ``notes``: what was left out.
    """

    name: str
    classes: tuple[str, ...]
    requests: int
    span_s: float
    class_requests: Floats
    work: Floats
    work_products: Floats
    slot_s: float
    slot_requests: Floats
    slot_work: Floats
    ca2: float
    sample_input: Floats
    sample_output: Floats
    sample_class: NDArray[np.int64]
    scale: float = 1.0
    notes: tuple[str, ...] = ()

    @property
    def requests_per_s(self) -> float:
        """Mean rate [1/s], ``scale`` counted."""
        return self.scale * self.requests / self.span_s

    @property
    def swing_frac(self) -> float:
        """Relative standard deviation of the requests per minute, beyond what chance alone would
        give: how far the load moves.
        """
        size = max(1, round(60.0 / self.slot_s))
        count = len(self.slot_requests) // size
        if count < 3:
            return 0.0
        sums = self.slot_requests[: count * size].reshape(count, size).sum(axis=1)
        mean = float(sums.mean())
        spare = float(sums.var(ddof=1)) - self.ca2 * mean
        return math.sqrt(max(0.0, spare)) / mean if mean > 0 else 0.0

    @property
    def mean_work(self) -> Floats:
        """Mean work of a request ``[3]``."""
        weights = self.class_requests / self.class_requests.sum()
        mean: Floats = weights @ self.work
        return mean

    @property
    def mean_input(self) -> float:
        """Mean prompt [tokens]."""
        return float(self.mean_work[2])

    @property
    def mean_output(self) -> float:
        """Mean answer [tokens]."""
        return float(self.mean_work[0])


def work_of(input_tokens: Floats, output_tokens: Floats) -> Floats:
    """The work ``[n, 3]`` of requests: as many steps as answer tokens (the step of the prompt gives
    the first), the context that the others read, the prompt.
    """
    more = output_tokens - 1.0
    context = more * (input_tokens + 0.5 * output_tokens)
    # columns lie together in memory: that is how they are summed
    return np.stack([output_tokens, context, input_tokens]).T


def digest_of(
    source: TraceSource | Trace,
    *,
    slot_s: float = 1.0,
    most_requests: int = MOST_REQUESTS,
    scale: float = 1.0,
) -> TraceDigest:
    """The digest of a trace, read once up to about ``most_requests`` requests.

    A trace of more than twice as many is cut where reading stops, and ``notes`` says so: what
    A trace of more than twice as many is cut where reading stops, and ``notes`` says so: what
    comes later, such as the night of a generated day, is then not seen. To avoid that, generate
    say by ``scale`` how many requests each stands for.

    Raises ``BadInputError`` for a trace without requests, a slot or a scale that is not positive.
    """
    positive("slot_s", slot_s)
    positive("scale", scale)
    whole("most_requests", most_requests, least=1)
    if isinstance(source, Trace):
        source = source_of(source)
    if source.requests <= 2 * most_requests:
        most_requests = 2 * most_requests  # nearly through: read the rest
    reader = _Reader(source, slot_s)
    stopped = False
    for piece in source.chunks():
        reader.add(piece)
        if reader.requests >= most_requests:
            stopped = True
            break
    return reader.digest(scale, stopped=stopped)


class _Reader:
    """Sums that grow piece by piece."""

    def __init__(self, source: TraceSource, slot_s: float) -> None:
        classes = len(source.classes)
        self.source, self.slot_s = source, slot_s
        self.requests, self.last_us = 0, 0
        self.counts = np.zeros(classes)
        self.sums = np.zeros((classes, WORK))
        self.products = np.zeros((classes, WORK, WORK))
        self.slots = np.zeros((0, WORK + 1))
        self.gap_square, self.gap_var = 0.0, 0.0
        self.stride = max(1, math.ceil(min(source.requests, MOST_REQUESTS) / _SAMPLE))
        self.sample: list[tuple[Floats, Floats, NDArray[np.int64]]] = []
        self.models = False

    def add(self, piece: Trace) -> None:
        """Take in the next piece."""
        if not len(piece):
            return
        work = work_of(
            piece.input_tokens.astype(np.float64), piece.output_tokens.astype(np.float64)
        )
        single = len(self.counts) == 1
        for code in range(len(self.counts)):
            rows = work if single else work[piece.class_code == code]
            self.counts[code] += len(rows)
            self.sums[code] += rows.sum(axis=0)
            self.products[code] += rows.T @ rows
        self._add_slots(piece, work)
        self._add_gaps(np.diff(piece.t_us).astype(np.float64) / US_PER_S)
        picked = slice((-self.requests) % self.stride, None, self.stride)
        self.sample.append(
            (
                piece.input_tokens[picked].astype(np.float64),
                piece.output_tokens[picked].astype(np.float64),
                piece.class_code[picked].astype(np.int64),
            )
        )
        self.models |= piece.model_code is not None and bool((piece.model_code >= 0).any())
        self.requests += len(piece)
        self.last_us = int(piece.t_us[-1])

    def _add_slots(self, piece: Trace, work: Floats) -> None:
        slot = (piece.t_us * (1.0 / (US_PER_S * self.slot_s))).astype(np.int64)
        first, last = int(slot[0]), int(slot[-1])
        if last >= len(self.slots):
            room = max(last + 1, 2 * len(self.slots)) - len(self.slots)
            self.slots = np.concatenate([self.slots, np.zeros((room, WORK + 1))])
        size = last + 1 - first
        slot -= first
        self.slots[first : last + 1, 0] += np.bincount(slot, minlength=size)
        for column in range(WORK):
            self.slots[first : last + 1, column + 1] += np.bincount(
                slot, weights=work[:, column], minlength=size
            )

    def _add_gaps(self, gaps_s: Floats) -> None:
        size = min(_GAPS, len(gaps_s))
        if size < 2:
            return
        blocks = gaps_s[: len(gaps_s) // size * size].reshape(-1, size)
        variances = blocks.var(axis=1, ddof=1)
        self.gap_var += float(variances.sum()) * size
        self.gap_square += float((blocks.mean(axis=1) ** 2 - variances / size).sum()) * size

    def digest(self, scale: float, *, stopped: bool) -> TraceDigest:
        """The digest of what was added."""
        if not self.requests:
            raise BadInputError(
                f"demand of trace {self.source.name!r}",
                found="no requests",
                allowed="one or more",
            )
        cut = stopped and self.requests < 0.98 * self.source.requests
        last_s = self.last_us / US_PER_S
        span_s = max(last_s if cut else max(self.source.span_s, last_s), self.slot_s)
        slots = min(len(self.slots), max(1, math.ceil(span_s / self.slot_s - 1e-9)))
        safe = np.maximum(self.counts, 1.0)
        columns = [np.concatenate(parts) for parts in zip(*self.sample, strict=True)]
        return TraceDigest(
            name=self.source.name,
            classes=self.source.classes,
            requests=self.requests,
            span_s=span_s,
            class_requests=self.counts,
            work=self.sums / safe[:, None],
            work_products=self.products / safe[:, None, None],
            slot_s=self.slot_s,
            slot_requests=self.slots[:slots, 0].copy(),
            slot_work=self.slots[:slots, 1:].copy(),
            ca2=self.gap_var / self.gap_square if self.gap_square > 0 else 1.0,
            sample_input=columns[0],
            sample_output=columns[1],
            sample_class=columns[2],
            scale=scale,
            notes=tuple(self._notes(cut, span_s, scale)),
        )

    def _notes(self, cut: bool, span_s: float, scale: float) -> list[str]:
        """What a reader of the demand should know."""
        notes = []
        if cut:
            notes.append(
                f"The demand is that of the first {self.requests:,} requests"
                f" ({span_s / 3600:.1f} h) of about {self.source.requests:,}; what comes later"
                " is taken to be like them."
            )
        if scale != 1.0:
            notes.append(
                f"Each request stands for {scale:g}: independent ones, under the same slow"
                " movement of the rate."
            )
        if span_s < _DAY_S * 23 / 24:
            notes.append(
                f"The trace lasts {span_s / 3600:.2g} h: no profile over the day can be read"
                " from it."
            )
        if self.models:
            notes.append("Requests that ask for a model are priced on every type of the fleet.")
        return notes
