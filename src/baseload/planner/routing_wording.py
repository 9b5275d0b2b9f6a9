"""A routing plan in plain words: what it buys, where it buys nothing, what to distrust."""

from __future__ import annotations

from baseload.planner.records import S_PER_YEAR
from baseload.planner.routing_records import DynamicGain, Policy, RoutingPlan
from baseload.theory.routing_instance import RoutingInstance

STUDY = "the reference study saw 2.6-6.9 % on random problems"
_NOTHING, _LEAST_USD = 1e-3, 1e-6
_NO_CHANCE, _SAME = 1e-5, 1e-6
SMALL_JOBS, _TAYLOR_JOBS = 5.0, 30.0
_MOMENT_ERROR = 0.05
_RIVALS: tuple[tuple[Policy, str], ...] = (
    ("mean_only", "mean energy alone"),
    ("taylor", "the Taylor index"),
)


def _usd(per_s: float | None) -> str:
    """Dollars a year, never in powers of ten."""
    found = S_PER_YEAR * (per_s or 0.0)
    if abs(found) < _LEAST_USD:
        return "$0"
    size = f"${abs(found):,.0f}" if abs(found) >= 1000 else f"${abs(found):.3g}"
    return f"-{size}" if found < 0 else size


def _percent(frac: float) -> str:
    """A share with two digits, or three above 10 %."""
    return f"{100 * frac:.3g} %" if abs(frac) >= 0.1 else f"{100 * frac:.2g} %"


def _count(jobs: float) -> str:
    """A number of jobs, never in powers of ten."""
    return f"{jobs:,.0f}" if jobs >= 1000 else f"{jobs:.3g}"


def statements_of(plan: RoutingPlan) -> tuple[str, ...]:
    """What the plan says, most important first."""
    if plan.static.broken is not None:
        broken = plan.static.broken
        return (
            f"No routing keeps every limit: {broken.name} was asked to stay at {broken.asked:.4g},"
            f" and {broken.possible:.4g} is the nearest that can be had.",
        )
    if plan.gain is None:
        return (f"The best static routing is used: {plan.why_static}.", *_static_words(plan))
    gain = plan.gain
    found = [_buys(plan, gain)]
    if plan.choosing:
        found += [*_at_most(gain), _method(gain)]
    found += _static_words(plan)
    found += _rivals(gain)
    found += _present(plan, gain)
    found += _switch_words(plan)
    return tuple(found)


def _static_words(plan: RoutingPlan) -> list[str]:
    static = plan.static
    if static.cost_usd_per_s is None:
        return []
    mixed = sum(sum(share > 1e-9 for share in row) > 1 for row in static.shares)
    how = "mixes options in no class" if not mixed else f"mixes options in {mixed} classes"
    if mixed == 1:
        how = "mixes options in one class"
    parts = (
        f"{_usd(static.auxiliary_usd_per_s)} auxiliary energy, {_usd(static.waste_usd_per_s)}"
        f" waste, {_usd(static.other_usd_per_s)} all else"
    )
    return [
        f"The best static routing {how} and draws {static.mean_w:.4g} W on average; by the"
        f" diffusion it costs {_usd(static.cost_usd_per_s)} a year: {parts}."
    ]


def _buys(plan: RoutingPlan, gain: DynamicGain) -> str:
    """The headline: what dynamic routing saves here."""
    ours = gain.policy("guarded")
    static = gain.policy("best_static")
    assert ours is not None
    assert static is not None
    saved = static.cost_usd_per_s - ours.cost_usd_per_s
    if not plan.choosing:
        return "Dynamic routing buys nothing here: no class has a second option to take."
    if not gain.guard_kept and static.cost_usd_per_s - gain.fluid_usd_per_s <= _NO_CHANCE * abs(
        static.cost_usd_per_s
    ):
        side = "short" if static.auxiliary_w > static.waste_w else "ample"
        return (
            f"Dynamic routing buys nothing here: supply is so {side} that the worth of a joule"
            " hardly moves, and chance costs next to nothing."
        )
    if not gain.guard_kept:
        return (
            "Dynamic routing buys nothing here: no table by store level beat the best static"
            f" routing, which is used ({STUDY})."
        )
    if ours.saving_frac is None:
        return f"Dynamic routing saves {_usd(saved)} a year here; total cost is not above 0."
    share = ours.chance_saving_frac
    of_chance = "" if share is None else f", {_percent(share)} of what chance costs"
    if ours.saving_frac < _NOTHING:
        return (
            f"Dynamic routing buys next to nothing here: {_percent(ours.saving_frac)} of total"
            f" cost{of_chance} ({STUDY})."
        )
    return (
        f"Dynamic routing saves {_percent(ours.saving_frac)} of total cost here"
        f" ({_usd(saved)} a year{of_chance}); {STUDY}."
    )


def _at_most(gain: DynamicGain) -> list[str]:
    """The bound by the cost without chance."""
    static = gain.policy("best_static")
    assert static is not None
    if static.cost_usd_per_s <= 0:
        return []
    room = max(static.cost_usd_per_s - gain.fluid_usd_per_s, 0.0) / static.cost_usd_per_s
    return [
        f"No use of the store could save more than {_percent(room)}: the rest of the cost is"
        " there without chance."
    ]


def _method(gain: DynamicGain) -> str:
    """Which method routes, and why."""
    jobs = f"The store holds {_count(gain.store_jobs)} mean jobs"
    if gain.store_jobs < 1:
        jobs += ", less than one"
    lattice = (
        f"{jobs}: prices of a diffusion mean little there, so the exact optimum on a lattice of"
        f" {gain.levels} levels is used instead"
    )
    if gain.method == "lattice":
        return f"{lattice}."
    if gain.method == "best_static":
        if gain.store_jobs < SMALL_JOBS and gain.evaluated_by == "lattice":
            return f"{lattice}; it is no better than the best static routing."
        return f"{jobs}; the best static routing is used."
    if gain.method == "full_jump":
        return f"{jobs}: scores by whole jumps (full-jump index) are used."
    return f"{jobs}: many enough for scores by mean and mean square (Taylor index)."


def _rivals(gain: DynamicGain) -> list[str]:
    """What simpler scores would do."""
    found = []
    for name, words in _RIVALS:
        policy = gain.policy(name)
        static = gain.policy("best_static")
        assert policy is not None
        assert static is not None
        worse = policy.cost_usd_per_s - static.cost_usd_per_s
        if worse > 1e-6 * abs(static.cost_usd_per_s):
            share = worse / abs(static.cost_usd_per_s)
            found.append(
                f"Routing by {words} would cost {_percent(share)} more than never looking at the"
                " store."
            )
    return found


def _present(plan: RoutingPlan, gain: DynamicGain) -> list[str]:
    today, ours = gain.policy("present"), gain.policy("guarded")
    if today is None or ours is None or today.cost_usd_per_s <= 0:
        return []
    saved = (today.cost_usd_per_s - ours.cost_usd_per_s) / today.cost_usd_per_s
    if saved < _SAME:
        return ["The routing of today costs the same."] if plan.choosing else []
    return [f"Against the routing of today the plan saves {_percent(saved)} of total cost."]


def _switch_words(plan: RoutingPlan) -> list[str]:
    """Each class that changes its option, from an empty store to a full one."""
    if plan.gain is None or not plan.gain.guard_kept or not plan.store_j:
        return []
    found = []
    for name in plan.classes:
        bands = [band for band in plan.bands if band.class_name == name]
        if len(bands) < 2:
            continue
        steps = ", ".join(
            f"{band.option} from {100 * band.from_j / plan.store_j:.3g} %" for band in bands[1:]
        )
        found.append(f"{name}: {bands[0].option} when the store is empty, {steps} of the store on.")
    if not found:
        found.append("Every class keeps one option at every store level.")
    return found


def notes_of(plan: RoutingPlan, instance: RoutingInstance, dist: str) -> tuple[str, ...]:
    """What was assumed, and how far the numbers reach."""
    found = [
        "Costs leave out the baseline itself; total cost is auxiliary energy, waste, and what"
        " options cost otherwise (wrong answers, fees)."
    ]
    gain = plan.gain
    if gain is None:
        return tuple(found)
    if gain.evaluated_by == "lattice":
        found.append(
            f"Policies are evaluated with whole jumps ({dist} jobs) on {gain.levels} levels of"
            f" {gain.step_j:.3g} J; the store loses nothing, and a job's energy is drawn at once."
        )
    else:
        found.append(
            "Policies are evaluated by the stationary law of the diffusion: too many levels, or too"
            " rough a supply, for the lattice. There the optimum is that of the equation."
        )
    error = gain.forecast_error_frac
    off = "more than 11 %" if error is None else f"about {_percent(error)}"
    found.append(
        f"The forecast of the optimality equation, {_usd(gain.forecast_usd_per_s)} a year, is off"
        f" by {off} at {_count(gain.store_jobs)} mean jobs of storage (random problems)."
    )
    if dist in ("exponential", "deterministic"):
        found += _moments(instance, dist)
    return tuple(found)


def _moments(instance: RoutingInstance, dist: str) -> list[str]:
    """Where a family of one parameter has another mean square than the instance."""
    factor = 2.0 if dist == "exponential" else 1.0
    open_ = instance.available & (instance.mean > 0) & (instance.lam > 0)[:, None]
    ratio = instance.second[open_] / (factor * instance.mean[open_] ** 2)
    if not ratio.size or abs(ratio - 1).max() <= _MOMENT_ERROR:
        return []
    return [
        f"Jobs of the family {dist} have other mean squares than those given: prices use the given"
        " ones, jumps the family's."
    ]


def warnings_of(plan: RoutingPlan, instance: RoutingInstance) -> tuple[str, ...]:
    """What may be wrong with the plan."""
    found = []
    if instance.Cw < 0:
        found.append(
            "waste earns money at these prices: the plan may prefer dear options when the store is"
            " full"
        )
    gain = plan.gain
    if gain is None:
        return tuple(found)
    if gain.evaluated_by == "diffusion" and gain.store_jobs < _TAYLOR_JOBS:
        found.append(
            f"at {_count(gain.store_jobs)} mean jobs of storage costs of the diffusion are rough:"
            " simulate the plan before relying on it"
        )
    if gain.evaluated_by == "diffusion" and gain.store_jobs < SMALL_JOBS:
        found.append("the lattice that so small a store asks for would be too large here")
    return tuple(found)
