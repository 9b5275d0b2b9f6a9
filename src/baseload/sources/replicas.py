"""Replica files: one measured replica type with the report of the fit that made it
(``replica.json``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from baseload.base.errors import BadInputError
from baseload.fleet.replica_type import ReplicaType
from baseload.sources.files import write_whole

SCHEMA = "baseload-replica/1"

EnergySource = Literal["measured", "modelled", "absent"]


class FittedNumber(msgspec.Struct, frozen=True, kw_only=True):
    """One fitted number [SI, unit in the name].

    ``at_bound``: the fit pushed it to the edge of what is allowed.
    """

    name: str
    value: float
    at_bound: bool


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """One limit of the engine and where it comes from.

    ``how``: ``flag``, ``meta`` (the run's meta file), ``estimated`` (from the run), ``default``
    (nothing in the run shows it; the engine's own default), or ``not binding`` (the run never
    reached it; set so that it never binds).
    """

    name: str
    value: int
    how: Literal["flag", "meta", "estimated", "default", "not binding"]


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One structure that was tried: what it is, and its robust cost on the fitted rows (lower is
    better).
    """

    what: str
    cost: float
    chosen: bool


class ResidualQuantiles(msgspec.Struct, frozen=True, kw_only=True):
    """Quantiles of (predicted - measured) / measured over the fitted requests [fraction]."""

    p05: float
    p50: float
    p95: float


class FitReport(msgspec.Struct, frozen=True, kw_only=True):
    """How the numbers of a replica file came about.

    ``sha256`` is over the columns of the measured run, so it names the content, not the file.
    ``rows_fitted``: requests whose measured times were used (the first ones by arrival);
    ``rows_load``: requests whose arrival and lengths were simulated as load. ``*_error_frac``:
    |mean predicted - mean measured| / mean measured on the fitted rows.
    """

    run: str
    sha256: str
    rows_fitted: int
    rows_load: int
    numbers: list[FittedNumber]
    limits: list[Limit]
    candidates: list[Candidate]
    ttft_error_frac: float
    tpot_error_frac: float
    ttft_residual: ResidualQuantiles
    tpot_residual: ResidualQuantiles
    preemptions: int
    notes: list[str] = []


class ReplicaFile(msgspec.Struct, frozen=True, kw_only=True):
    """Everything in a ``replica.json``.

    ``replicas``: how many equal replicas stood behind the front end of the measured run.
    ``latency_s``: constant time from the client's clock to the engine's queue (tokenising, HTTP,
    the engine's own pipeline) [s]; it is part of a measured TTFT and is added by ``baseload
    validate``, not by the simulator. ``energy``: how the energy numbers came about; with
    ``absent`` they are zero and mean nothing.
    """

    schema: str
    replica: ReplicaType
    replicas: int
    latency_s: float
    energy: EnergySource
    fit: FitReport

    def __post_init__(self) -> None:
        """Refuse a foreign schema."""
        if self.schema != SCHEMA:
            raise BadInputError(
                "replica file: schema",
                found=repr(self.schema),
                allowed=repr(SCHEMA),
                todo="write it again with `baseload calibrate`",
            )


def read_replica_file(path: str | Path) -> ReplicaFile:
    """The replica file at ``path``, checked.

    Raises ``BadInputError`` that names the file and the field.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise BadInputError(
            f"replica file {path}",
            found=error.strerror or str(error),
            allowed="a file written by `baseload calibrate`",
        ) from error
    try:
        return msgspec.json.decode(content, type=ReplicaFile)
    except (msgspec.DecodeError, BadInputError) as error:
        raise BadInputError(
            f"replica file {path}: not a replica file",
            found=str(error),
            allowed=f"JSON with the schema {SCHEMA!r}",
            todo="write it again with `baseload calibrate`",
        ) from error


def read_replica(path: str | Path, *, need_energy: bool = True) -> ReplicaType:
    """The replica type in the file at ``path``.

    Raises ``BadInputError`` when the file cannot be used, and, unless ``need_energy`` is false,
    when its energy numbers are absent: a fleet that draws nothing must not be simulated by
    accident.
    """
    file = read_replica_file(path)
    if need_energy and file.energy == "absent":
        raise BadInputError(
            f"replica file {path}: has no energy numbers",
            found="energy: absent (the measured run has no power or energy column)",
            allowed="energy: measured or modelled",
            todo="calibrate again with --device and --model, or with a power_w time series",
        )
    return file.replica


def write_replica(file: ReplicaFile, path: str | Path) -> None:
    """Write ``file`` to ``path``, whole or not at all. Raises ``OutputError``."""
    write_whole(path, msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n")
