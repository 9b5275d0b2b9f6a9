"""Fits: physics constants from measured rows, and the eight numbers of a replica type from steps.

The constants of one (engine, device, family) are the most probable ones under log-normal errors of
step time and energy per token, and a weak log-normal prior on each constant (centre and width
below, from datasheets and the energy study). The prior keeps what the rows do not identify near
what is physically plausible; kinds of weights (fp8, mxfp4) differ from bf16 by factors with a
prior of 1.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from baseload.base.errors import BadInputError
from baseload.fleet.engines import Constants, PowerConstants, StepConstants
from baseload.fleet.physics import capped_step, constants_kind, energy_terms, time_terms
from baseload.fleet.profiles import Measured, Setting
from baseload.fleet.replica_type import StepCosts

Floats = NDArray[np.float64]

TIME_NAMES = StepConstants.__struct_fields__
ENERGY_NAMES = tuple(name for name in PowerConstants.__struct_fields__ if name != "static_w")
CLASS_NAMES = (
    "layer_s",
    "weight_frac",
    "expert_frac",
    "flop_frac",
    "weight_j",
    "expert_j",
    "flop_j",
)
"""Constants that may differ between kinds of weights."""

Prior = tuple[float, float]

PRIORS: dict[str, Prior] = {
    "layer_s": (7e-5, 1.0),
    "together_layer_s": (2e-5, 1.5),
    "weight_frac": (0.80, 0.02),
    "expert_frac": (0.75, 0.25),
    "cache_frac": (0.70, 0.40),
    "flop_frac": (0.50, 0.30),
    "sequence_s": (2e-5, 1.5),
    "vocab_s": (1e-10, 1.5),
    "token_layer_s": (2e-7, 1.5),
    "context_s": (1e-7, 2.0),
    "static_w": (151.0, 0.05),
    "weight_j": (143e-12, 0.30),
    "expert_j": (143e-12, 0.30),
    "cache_j": (143e-12, 0.40),
    "flop_j": (1.2e-12, 0.40),
    "sequence_j": (1e-2, 1.0),
}
"""Centre and width (in natural logarithms) of the prior of each constant."""

STATIC_W: dict[str, float] = {
    "H100-SXM-80GB": 151.0,
    "A100-SXM4-40GB": 88.0,
    "B200-SXM-180GB": 206.0,
}
CLASS_WIDTH = 0.6
PRIOR_WEIGHT = 0.1
TIME_WEIGHT = 0.7
_ROBUST_SCALE = 0.1
_MOST_FRAC = 1.0


class Design(msgspec.Struct, frozen=True):
    """The rows of one fit as matrices:

    terms of time ``[n, 10]`` and energy ``[n, 5]``, and targets.
    """

    time: Floats
    energy: Floats
    cap_w: Floats
    gpus_per_sequence: Floats
    kinds: tuple[str, ...]
    time_s: Floats
    energy_j_per_token: Floats


def design_of(rows: Sequence[Measured]) -> Design:
    """The design matrices of ``rows``, from the same terms that predictions use."""
    times, energies = [], []
    for row in rows:
        setting = row.setting
        work = setting.work()
        terms = time_terms(work, setting.model, setting.layout, setting.device)
        times.append([terms[name] for name in TIME_NAMES])
        joules = energy_terms(work)
        energies.append([joules[name] for name in ENERGY_NAMES])
    devices = [row.setting.device for row in rows]
    gpus = [row.setting.layout.num_gpus / row.setting.sequences for row in rows]
    return Design(
        np.array(times),
        np.array(energies),
        np.array([device.power_cap_frac * device.tdp_w for device in devices]),
        np.array(gpus),
        tuple(kind_of(row) for row in rows),
        np.array([row.time_s for row in rows]),
        np.array([row.energy_j_per_token for row in rows]),
    )


def kind_of(row: Measured) -> str:
    """Kind of weights of a row; attention copied per GPU (data parallel) is a kind of its own."""
    return constants_kind(row.setting.model.weight_class, row.setting.layout.data_parallel)


def _factors(
    names: Sequence[str], logs: Mapping[str, float], shifts: Mapping[str, float]
) -> Floats:
    """Multipliers of the terms: constants, or 1 / share for the shares of datasheet rates."""
    values = [
        -(logs[name] + shifts.get(name, 0.0))
        if name.endswith("_frac")
        else logs[name] + shifts.get(name, 0.0)
        for name in names
    ]
    factors: Floats = np.exp(np.array(values))
    return factors


class _Problem:
    """Residuals of one fit as a function of the logarithms of its constants."""

    def __init__(self, design: Design, priors: Mapping[str, Prior]) -> None:
        self.design = design
        self.names = [*TIME_NAMES, "static_w", *ENERGY_NAMES]
        present = sorted(set(design.kinds))
        self.base = "bf16" if "bf16" in present else present[0]
        self.kinds = [kind for kind in present if kind != self.base]
        self.centre = np.array([math.log(priors[name][0]) for name in self.names])
        self.width = np.array([priors[name][1] for name in self.names])
        self.rows = {kind: np.array([k == kind for k in design.kinds]) for kind in present}

    def start(self) -> Floats:
        return np.concatenate([self.centre, np.zeros(len(self.kinds) * len(CLASS_NAMES))])

    def split(self, x: Floats) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
        """Logarithms of the shared constants, and the shifts of each kind of weights."""
        logs = dict(zip(self.names, x[: len(self.names)].tolist(), strict=True))
        shifts: dict[str, dict[str, float]] = {self.base: {}}
        for index, kind in enumerate(self.kinds):
            begin = len(self.names) + index * len(CLASS_NAMES)
            values = x[begin : begin + len(CLASS_NAMES)].tolist()
            shifts[kind] = dict(zip(CLASS_NAMES, values, strict=True))
        return logs, shifts

    def predict(self, x: Floats) -> tuple[Floats, Floats]:
        """Seconds per step and joules per token of every row, cap applied."""
        logs, shifts = self.split(x)
        design = self.design
        time_s, dynamic_j = np.empty_like(design.time_s), np.empty_like(design.time_s)
        for kind, mask in self.rows.items():
            time_s[mask] = design.time[mask] @ _factors(TIME_NAMES, logs, shifts[kind])
            dynamic_j[mask] = design.energy[mask] @ _factors(ENERGY_NAMES, logs, shifts[kind])
        static_w = math.exp(logs["static_w"])
        time_s = np.maximum(time_s, dynamic_j / (design.cap_w - static_w))
        per_token_j: Floats = (static_w * time_s + dynamic_j) * design.gpus_per_sequence
        return time_s, per_token_j

    def residuals(self, x: Floats) -> Floats:
        time_s, energy_j = self.predict(x)
        shared = x[: len(self.names)]
        return np.concatenate(
            [
                TIME_WEIGHT * np.log(time_s / self.design.time_s),
                np.log(energy_j / self.design.energy_j_per_token),
                PRIOR_WEIGHT * (shared - self.centre) / self.width,
                PRIOR_WEIGHT * x[len(self.names) :] / CLASS_WIDTH,
            ]
        )

    def bounds(self) -> tuple[Floats, Floats]:
        low = np.full(len(self.start()), -np.inf)
        high = np.full(len(self.start()), np.inf)
        for index, name in enumerate(self.names):
            if name.endswith("_frac"):
                high[index] = math.log(_MOST_FRAC)
        return low, high


def fit_constants(
    rows: Sequence[Measured],
    *,
    priors: Mapping[str, Prior] | None = None,
    method: str = "trf",
) -> dict[str, Constants]:
    """Constants by kind of weights from ``rows`` of one engine, device and family.

    Raises ``BadInputError`` where rows are of several groups or fewer than three. ``error_frac`` is
    the in-sample error; ``leave_one_model_out`` gives the honest one.
    """
    from scipy.optimize import least_squares

    groups = {group_of(row) for row in rows}
    if len(groups) != 1 or len(rows) < 3:
        raise BadInputError(
            "a fit of physics constants",
            found=f"{len(rows)} rows of {len(groups)} groups",
            allowed="three rows or more of one engine, device and family",
        )
    engine, device, family = next(iter(groups))
    static = (STATIC_W.get(device, PRIORS["static_w"][0]), PRIORS["static_w"][1])
    problem = _Problem(design_of(rows), {**PRIORS, "static_w": static, **(priors or {})})
    low, high = problem.bounds()
    start = np.clip(problem.start(), low, high - 1e-6)
    found = least_squares(
        problem.residuals,
        start,
        bounds=(low, high),
        loss="soft_l1",
        f_scale=_ROBUST_SCALE,
        method=method,
        max_nfev=200,
    )
    energy_j = problem.predict(found.x)[1]
    error = float(np.mean(np.abs(energy_j / problem.design.energy_j_per_token - 1.0)))
    logs, shifts = problem.split(found.x)
    return {
        kind: msgspec.structs.replace(
            _constants(engine, device, family, kind, logs, shifts[kind], error, len(rows)),
            fitted_models=tuple(
                sorted({row.setting.model.name for row in rows if kind_of(row) == kind})
            ),
        )
        for kind in shifts
    }


def _constants(
    engine: str,
    device: str,
    family: str,
    kind: str,
    logs: Mapping[str, float],
    shifts: Mapping[str, float],
    error_frac: float,
    rows: int,
) -> Constants:
    values = {name: _rounded(math.exp(logs[name] + shifts.get(name, 0.0))) for name in logs}
    return Constants(
        engine=engine,
        device=device,
        family=family,
        weight_class=kind,
        time=StepConstants(**{name: values[name] for name in TIME_NAMES}),
        power=PowerConstants(**{name: values[name] for name in ("static_w", *ENERGY_NAMES)}),
        method="modelled",
        error_frac=_rounded(error_frac),
        basis=f"fitted to {rows} measured rows of {family} models, {engine} on {device}",
    )


def _rounded(value: float) -> float:
    """Four significant digits: more would claim what the rows cannot tell."""
    return float(f"{value:.4g}")


def group_of(row: Measured) -> tuple[str, str, str]:
    """(engine, device, family): rows that share one fit."""
    return row.setting.engine, row.setting.device.name, row.setting.family


def grouped(rows: Iterable[Measured]) -> dict[tuple[str, str, str], list[Measured]]:
    """Rows by group, dense first."""
    groups: dict[tuple[str, str, str], list[Measured]] = {}
    for row in rows:
        groups.setdefault(group_of(row), []).append(row)
    order = ("dense", "moe", "hybrid")
    return dict(sorted(groups.items(), key=lambda item: (order.index(item[0][2]), item[0])))


def fit_all(rows: Iterable[Measured], *, cross_validate: bool = True) -> list[Constants]:
    """Constants of every group of ``rows``; mixtures and hybrids take the dense fit as their prior.

    With ``cross_validate``, ``error_frac`` is the mean absolute error of J/token over models held
    out and ``error_frac_fitted`` over fifths of the rows held out, by kind of weights; else
    ``error_frac`` is the in-sample error of the group.
    """
    fits: list[Constants] = []
    dense: dict[tuple[str, str], Constants] = {}
    for (engine, device, family), members in grouped(rows).items():
        if len(members) < 3:
            continue
        base = dense.get((engine, device))
        found = fit_constants(members, priors=priors_from(base, family))
        if cross_validate:
            unseen = leave_one_model_out(members, dense=base)
            seen = leave_fifth_out(members, dense=base)
            found = {
                kind: msgspec.structs.replace(
                    constants,
                    error_frac=_mean_miss(unseen, kind),
                    error_frac_fitted=_mean_miss(seen, kind),
                )
                for kind, constants in found.items()
            }
        if family == "dense":
            dense[engine, device] = found.get("bf16", next(iter(found.values())))
        fits.extend(found.values())
    return fits


def _mean_miss(held_out: Sequence[Miss], kind: str) -> float:
    """Mean absolute relative energy error of the rows of one kind of weights.

    Rows whose kind went out with their model tell of another case, a kind never seen: where no
    other rows are left, the mean over all kinds that stayed is taken.
    """
    seen = [miss for miss in held_out if miss.kind_fitted]
    chosen = [miss for miss in seen if kind_of(miss.row) == kind] or seen or list(held_out)
    errors = [abs(miss.energy_frac) for miss in chosen]
    return _rounded(sum(errors) / len(errors))


def priors_from(dense: Constants | None, family: str) -> dict[str, Prior]:
    """Priors of a mixture or hybrid centred on the dense fit of the same engine and device."""
    if dense is None or family == "dense":
        return {}
    values = {**msgspec.structs.asdict(dense.time), **msgspec.structs.asdict(dense.power)}
    kept = {name: (max(values[name], PRIORS[name][0] * 1e-2), PRIORS[name][1]) for name in values}
    kept["expert_frac"] = PRIORS["expert_frac"]
    kept["expert_j"] = (values["weight_j"], PRIORS["expert_j"][1])
    return kept


def label_of(row: Measured) -> str:
    """A label for a model's shape whatever its precision, so that siblings are held out
    together.
    """
    model = row.setting.model
    return f"{model.params_total / 1e9:g}b/{model.layers}/{model.hidden_size}"


class Miss(msgspec.Struct, frozen=True, kw_only=True):
    """How far a prediction lies from a measured row, relative to it: 0.1 is ten per cent high."""

    row: Measured
    energy_frac: float
    time_frac: float
    kind_fitted: bool
    """Whether the fit had rows of the same kind of weights."""


def misses(
    rows: Iterable[Measured], fits: Mapping[str, Constants], fallback: Constants | None = None
) -> list[Miss]:
    """The misses of ``fits`` (by kind of weights) on ``rows``; kinds without a fit use bf16."""
    found = []
    for row in rows:
        constants = fits.get(kind_of(row)) or fits.get("bf16") or fallback
        assert constants is not None, "no constants to predict with"
        time_s, energy_j = setting_step(row.setting, constants)
        per_token_j = energy_j * row.setting.layout.num_gpus / row.setting.sequences
        found.append(
            Miss(
                row=row,
                energy_frac=per_token_j / row.energy_j_per_token - 1.0,
                time_frac=time_s / row.time_s - 1.0,
                kind_fitted=kind_of(row) in fits,
            )
        )
    return found


def setting_step(setting: Setting, constants: Constants) -> tuple[float, float]:
    """Seconds, and joules on one GPU, of the mean step of a setting, under the board's own cap."""
    return capped_step(setting.work(), setting.model, setting.layout, setting.device, constants)


def leave_one_model_out(rows: Sequence[Measured], *, dense: Constants | None = None) -> list[Miss]:
    """The misses on each model of a group by constants that were fitted without it.

    Siblings of one shape are left out together. Where fewer than three rows remain, the ``dense``
    constants of the same engine and device stand in.
    """
    return held_out(rows, [label_of(row) for row in rows], dense=dense)


def leave_fifth_out(rows: Sequence[Measured], *, dense: Constants | None = None) -> list[Miss]:
    """The misses on each fifth of the rows, drawn by row id, by constants fitted to the rest."""
    folds = [str(zlib.crc32(row.row_id.encode()) % 5) for row in rows]
    return held_out(rows, folds, dense=dense)


def held_out(
    rows: Sequence[Measured], labels: Sequence[str], *, dense: Constants | None = None
) -> list[Miss]:
    """The misses on the rows of each label by constants fitted to the rows of all other labels."""
    priors = priors_from(dense, group_of(rows[0])[2])
    found: list[Miss] = []
    for held in sorted(set(labels)):
        pairs = list(zip(rows, labels, strict=True))
        rest = [row for row, label in pairs if label != held]
        fits = fit_constants(rest, priors=priors) if len(rest) >= 3 else {}
        found.extend(misses([row for row, label in pairs if label == held], fits, dense))
    return found


class StepSample(msgspec.Struct, frozen=True, kw_only=True):
    """One observed (mean) step of a whole replica: its work, seconds and joules of all its GPUs."""

    sequences: float
    context_tokens: float
    prefill_tokens: float
    time_s: float
    energy_j: float


def samples_of(rows: Iterable[Measured]) -> list[StepSample]:
    """The mean steps of measured rows, for ``fit_costs``; ``context_tokens`` is the batch's
    total.
    """
    return [
        StepSample(
            sequences=row.setting.sequences,
            context_tokens=row.setting.sequences * row.setting.context_tokens,
            prefill_tokens=row.setting.sequences
            * row.setting.prompt_tokens
            / row.setting.output_tokens,
            time_s=row.time_s,
            energy_j=row.energy_j_per_token * row.setting.sequences,
        )
        for row in rows
    ]


def fit_costs(samples: Sequence[StepSample], *, expert_hit_frac: float = 0.0) -> StepCosts:
    """The eight numbers of a replica type from observed steps (and two for experts, if asked).

    Non-negative least squares on relative errors (Lawson and Hanson 1974). Raises
    ``BadInputError`` for fewer than four samples or values that no step can have.
    """
    from scipy.optimize import nnls

    if len(samples) < 4:
        raise BadInputError(
            "a fit of the eight numbers", found=f"{len(samples)} steps", allowed="four or more"
        )
    table = np.array([list(msgspec.structs.astuple(sample)) for sample in samples])
    if not np.isfinite(table).all() or (table < 0).any() or (table[:, 3:] <= 0).any():
        raise BadInputError(
            "steps to fit the eight numbers to",
            found="a negative or missing value, or a step without time or energy",
            allowed="finite work >= 0, time and energy > 0",
        )
    columns = [np.ones(len(table)), table[:, 0], table[:, 1], table[:, 2]]
    if expert_hit_frac > 0:
        columns.append(1.0 - (1.0 - expert_hit_frac) ** (table[:, 0] + table[:, 2]))
    work = np.stack(columns, axis=1)
    fitted = []
    for target in (table[:, 3], table[:, 4]):
        scaled = work / target[:, None]
        size = np.maximum(np.abs(scaled).max(axis=0), 1e-300)
        found, _ = nnls(scaled / size, np.ones(len(table)))
        fitted.append([*(found / size).tolist(), 0.0])
    time, energy = fitted
    return StepCosts(
        time_s_per_step=time[0],
        time_s_per_sequence=time[1],
        time_s_per_context_token=time[2],
        time_s_per_prefill_token=time[3],
        energy_j_per_step=energy[0],
        energy_j_per_sequence=energy[1],
        energy_j_per_context_token=energy[2],
        energy_j_per_prefill_token=energy[3],
        time_s_all_experts=time[4],
        energy_j_all_experts=energy[4],
        expert_hit_frac=expert_hit_frac,
    )
