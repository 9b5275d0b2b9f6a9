"""A plan as tables of words: what the terminal and the page both show."""

from __future__ import annotations

from collections.abc import Callable

from baseload.base.units import J_PER_KWH
from baseload.planner.figures import Figure
from baseload.planner.records import S_PER_YEAR, Optimum, Prices, Rates
from baseload.report import wording
from baseload.report.plan_result import PlanResult
from baseload.report.plan_wording import (
    REGIMES,
    duration,
    energy,
    money,
    scientific,
    trust,
    value,
)
from baseload.report.section import HOW, Section

Make = Callable[[PlanResult], Section | None]


def sections_of(plan: PlanResult) -> list[Section]:
    """All tables that the plan can fill but those of its routing, in reading order."""
    found = [make(plan) for make in _ALL]
    return [section for section in found if section is not None and section.rows]


def all_warnings(plan: PlanResult) -> tuple[str, ...]:
    """What may be wrong, of the plan and of its routing."""
    return plan.warnings if plan.routing is None else (*plan.warnings, *plan.routing.warnings)


def all_notes(plan: PlanResult) -> tuple[str, ...]:
    """What was assumed, for the plan and for its routing."""
    return plan.notes if plan.routing is None else (*plan.notes, *plan.routing.notes)


def headline(plan: PlanResult) -> str:
    """The answer in a few sentences."""
    said = [_stands(plan)]
    best, what = _best(plan)
    stored = f" and {value(best.store)} of storage" if (best.store.value or 0.0) > 0 else ""
    said.append(
        f"At these prices {what} is {value(best.baseline)} of baseline{stored}: "
        f"{value(best.cost)}, {_above(best)}."
    )
    if plan.routing is not None:
        said.append(plan.routing.statements[0])
    return " ".join(said)


def _stands(plan: PlanResult) -> str:
    """Where the supply stands, or what the critical one is."""
    critical = plan.critical.here
    if plan.regime is None or plan.at_site is None:
        return (
            f"This fleet draws {value(critical)} on average: a baseline of as much is critical, and"
            " what is bought or wasted then comes from chance alone."
        )
    ratio = plan.at_site.baseline_w / critical.value if critical.value else None
    of = "" if ratio is None else f", {wording.number(ratio)} of the critical {value(critical)}"
    stands = f"leaves the site {plan.regime.label}"
    if plan.seasons is not None:
        stands = "comes and goes with the hour and the season"
    return (
        f"The baseline of {wording.power(plan.at_site.baseline_w)}{of}, {stands}: "
        f"{value(plan.at_site.auxiliary)} are bought and {value(plan.at_site.waste)} wasted on "
        "average."
    )


def _best(plan: PlanResult) -> tuple[Optimum, str]:
    """The optimum that a reader wants first, and its name in a sentence."""
    found = plan.provisioning
    if found.joint is not None:
        return found.joint, "the best supply"
    if found.given_store is not None:
        return found.given_store, "the best supply with this store"
    return found.no_store, "the best supply without a store"


def _above(best: Optimum) -> str:
    excess = best.excess.value or 0.0
    if excess >= 0:
        return f"{money(excess)} of it on top of the mean demand at the price of baseline"
    return f"{money(-excess)} less than the mean demand at the price of baseline"


def price_words(prices: Prices) -> str:
    """The prices in the units of bills."""
    said = [
        f"auxiliary {money(prices.auxiliary_usd_per_j * J_PER_KWH)}/kWh",
        f"baseline {money(prices.baseline_usd_per_j * J_PER_KWH)}/kWh, used or not",
    ]
    if prices.waste_usd_per_j:
        said.append(f"waste {money(prices.waste_usd_per_j * J_PER_KWH)}/kWh")
    if prices.storage_usd_per_j_s is not None:
        per_year = prices.storage_usd_per_j_s * J_PER_KWH * S_PER_YEAR
        said.append(f"storage {money(per_year)} per kWh and year")
    return ", ".join(said)


def demand_words(plan: PlanResult) -> str:
    """What draws the energy."""
    demand = plan.demand
    error = "" if demand.error_frac is None else f" ±{wording.percent(demand.error_frac, 2)}"
    text = f"mean demand {wording.power(demand.mean_w)} ({demand.obtained}{error})"
    if demand.base_w > 0:
        text += f", of which {wording.power(demand.base_w)} are always drawn"
    if demand.requests_per_s > 0:
        text += f"; {wording.number(demand.requests_per_s)} requests a second"
    if demand.job_mean_j is not None:
        text += f" of {wording.number(demand.job_mean_j)} J each"
    return text


def _row(name: str, figure: Figure | None, note: str = "") -> tuple[str, str, str]:
    """Name, value, and how it is known."""
    said = trust(figure)
    own = note or (figure.note if figure is not None and figure.value is not None else "")
    return name, value(figure), "; ".join(part for part in (said, own) if part)


def _supply(plan: PlanResult) -> Section:
    critical = plan.critical
    rows = [_row("critical supply b*: mean demand", critical.lossless)]
    if critical.with_leak.value != critical.lossless.value:
        rows.append(_row("  with leakage of the store", critical.with_leak))
    if critical.with_losses.value != critical.lossless.value:
        rows.append(_row("  with losses of conversion", critical.with_losses))
    if critical.here.value != critical.lossless.value:
        rows.append(_row("  with all that this site has", critical.here))
    supply, regime = plan.supply, plan.regime
    if supply.baseline_w is not None:
        kept = "given" if not supply.series_w else "mean of its series"
        rows.append(("baseline of the site", wording.power(supply.baseline_w), kept))
    if supply.store_j > 0:
        rows.append(("store", energy(supply.store_j), "usable capacity, given"))
    words = ""
    if regime is not None:
        by_mean = "Over many days, hours and seasons left out, the" if plan.seasons else "The"
        words = f"{by_mean} site is {REGIMES.get(regime.label, regime.label)}."
        rows.append(_row("net drift theta, baseline less demand", regime.theta))
        rows.append(_row("criticality index y", regime.y))
        rows.append(_spread(regime.var))
    return Section(
        title="Critical supply and regime",
        heads=("", "value", HOW),
        rows=tuple(rows),
        words=words,
    )


def _spread(var: Figure) -> tuple[str, str, str]:
    """sigma2, and what it means over an hour."""
    hour_j = (max(0.0, var.value or 0.0) * 3600.0) ** 0.5
    name, said, known = _row("variance rate sigma2", var)
    return name, said, f"{known}; ±{energy(hour_j)} in an hour"


def _rates(plan: PlanResult) -> Section:
    rates = plan.at_critical if plan.at_site is None else plan.at_site
    fluid = (wording.power(rates.fluid_auxiliary_w), wording.power(rates.fluid_waste_w))
    rows = [
        ("auxiliary energy", value(rates.auxiliary), fluid[0], _known(rates.auxiliary)),
        ("waste", value(rates.waste), fluid[1], _known(rates.waste)),
    ]
    if rates.stored is not None:
        rows.append(
            ("energy in the store, mean", value(rates.stored), wording.MISSING, trust(rates.stored))
        )
    return Section(
        title="Auxiliary energy and waste"
        + (" at the critical supply" if plan.at_site is None else ""),
        heads=("", "with chance", "without", HOW),
        rows=tuple(rows),
        words=_validity(rates),
    )


def _known(figure: Figure) -> str:
    return "; ".join(part for part in (trust(figure), figure.note) if part)


def _validity(rates: Rates) -> str:
    """The three ratios, in words."""
    found = rates.validity
    known = (
        (found.store_over_slot, "the overshoot of a slot"),
        (found.store_over_job, "the overshoot of a request"),
        (found.store_over_episode, "one slow episode"),
    )
    said = [f"{wording.number(ratio)} times {what}" for ratio, what in known if ratio is not None]
    if not said or not any(ratio for ratio, _ in known):
        return "There is no store: energy is settled slot by slot."
    return (
        f"The store holds {wording.listing(said)}; formulas for large stores want each far above 1."
    )


def _cost(plan: PlanResult) -> Section:
    found = plan.randomness
    rows = [
        ("baseline equal to the mean demand", money(found.baseline_usd_per_h), "", "exact"),
        (
            "first order: drift, without chance",
            money(found.first_order.value),
            _per_million(found.first_order_per_1000),
            trust(found.first_order),
        ),
        (
            "second order: chance alone",
            money(found.second_order.value),
            _per_million(found.second_order_per_1000),
            trust(found.second_order),
        ),
    ]
    return Section(
        title="What randomness costs",
        heads=("on top of each other", "an hour", "per million\nrequests", HOW),
        rows=tuple(rows),
        words="" if plan.at_site is not None else "At the best baseline for the store as it is.",
    )


def _per_million(figure: Figure | None) -> str:
    if figure is None or figure.value is None:
        return wording.MISSING
    return money(1000.0 * figure.value)


def _law(plan: PlanResult) -> Section | None:
    law = plan.randomness.law
    if not law or law[0].usd_per_request <= 0:
        return None
    rows = [
        (
            f"{point.traffic:,g} times the requests",
            money(1e6 * point.usd_per_request),
            money(1e6 * point.shared_usd_per_request),
            f"{wording.percent(point.usd_per_request / law[0].usd_per_request)} of the first",
        )
        for point in law
    ]
    return Section(
        title="The square-root law: what randomness costs per million requests",
        heads=("traffic", "independent", "moving\ntogether", "independent traffic pools"),
        rows=tuple(rows),
        words=f"{plan.randomness.law_note[:1].upper()}{plan.randomness.law_note[1:]}.",
    )


def _budget(plan: PlanResult) -> Section | None:
    rows = [
        (
            term.name,
            term.layer,
            f"{scientific(term.var_j2_per_s)}",
            wording.percent(term.share_frac),
            wording.MISSING if term.price is None else money(term.price.value),
            "; ".join(part for part in (trust(term.price), term.note) if part),
        )
        for term in plan.variance_budget
        if term.var_j2_per_s > 0
    ]
    return Section(
        title="Where the variance comes from",
        heads=("source", "absorbed in", "J^2/s", "share", "costs\na year", HOW),
        rows=tuple(rows),
        words="The price of a source is what the site would save a year without it.",
    )


def _provisioning(plan: PlanResult) -> Section:
    found = plan.provisioning
    named = (
        ("with the best store", found.joint),
        ("with this store", found.given_store),
        ("without a store", found.no_store),
    )
    rows = [
        (
            name,
            value(best.baseline),
            value(best.store),
            wording.number(best.y.value) if best.y.value else wording.MISSING,
            value(best.auxiliary),
            value(best.waste),
            money(best.cost.value),
            money(best.excess.value),
        )
        for name, best in named
        if best is not None
    ]
    ways: dict[str, list[str]] = {}
    for name, best in named:
        if best is not None:
            ways.setdefault(f"{best.way}, {trust(best.baseline)}", []).append(name)
    how = "; ".join(
        f"{wording.listing(names)}: {way}" if len(ways) > 1 else way for way, names in ways.items()
    )
    ratio = wording.number(found.ratio)
    even = "at 1/2 exactly critical is best without hours and seasons"
    return Section(
        title="Best supply",
        heads=("", "baseline", "store", "y", "bought", "wasted", "$ a year", "above\nmean"),
        rows=tuple(rows),
        words=f"Price ratio r = {ratio} ({even}). How: {how}.",
    )


def _ride(plan: PlanResult) -> Section | None:
    ride = plan.ride_through
    if ride is None:
        return None
    chances = (
        ("hour", ride.any_in_hour),
        ("day", ride.any_in_day),
        ("week", ride.any_in_week),
    )
    rows = [
        _row("mean time to the first auxiliary energy", ride.mean),
        _row("9 of 10 times at least", ride.quantile_10),
        *(
            (f"any needed within the first {what}", wording.percent(one.value), trust(one))
            for what, one in chances
        ),
    ]
    return Section(
        title="How long the store lasts",
        heads=("", "value", HOW),
        rows=tuple(rows),
        words=f"From {energy(ride.start_j)} in the store.",
    )


def _worths(plan: PlanResult) -> Section:
    rows = [
        (
            worth.what,
            money(worth.usd_per_year.value),
            _effect(worth.effects, "mean_demand_w"),
            _effect(worth.effects, "auxiliary_w"),
            _effect(worth.effects, "waste_w"),
            "; ".join(p for p in (trust(worth.usd_per_year), worth.usd_per_year.note) if p),
        )
        for worth in plan.worths
    ]
    return Section(
        title="What one more would be worth",
        heads=("", "saves\na year", "demand", "bought", "wasted", HOW),
        rows=tuple(rows),
        words=plan.worths[0].obtained[:1].upper() + plan.worths[0].obtained[1:] + "."
        if plan.worths
        else "",
    )


def _effect(effects: dict[str, float], name: str) -> str:
    found = effects.get(name)
    if found is None:
        return wording.MISSING
    if abs(found) < 1e-3:
        return "0"
    sign = "+" if found > 0 else wording.MINUS
    return sign + wording.power(abs(found))


def _seasons(plan: PlanResult) -> Section | None:
    found = plan.seasons
    if found is None:
        return None
    rows = [
        _row("store that would even out a day", found.daily_swing),
        _row("store that would even out all of it", found.swing),
        _row("auxiliary energy without chance", found.fluid_auxiliary),
        _row("waste without chance", found.fluid_waste),
    ]
    if found.chance_auxiliary is not None:
        rows.append(_row("auxiliary energy with chance", found.chance_auxiliary))
    if found.chance_waste is not None:
        rows.append(_row("waste with chance", found.chance_waste))
    return Section(
        title="Supply and demand by hour and season",
        heads=("", "value", HOW),
        rows=tuple(rows),
        words=f"Over {duration(found.period_s)}.",
    )


def _switches(plan: PlanResult) -> Section | None:
    rows = [
        (
            f"{point.smaller} to {point.larger}",
            value(point.difficulty),
            "; ".join(p for p in (trust(point.difficulty), point.difficulty.note) if p),
        )
        for point in plan.switch_points
    ]
    return Section(
        title="Where models change places",
        heads=("", "difficulty", HOW),
        rows=tuple(rows),
        words="Above this difficulty the larger model spends less energy per solved task.",
    )


def _run(plan: PlanResult) -> Section | None:
    run = plan.run
    if run is None:
        return None

    def off(seen: float | None, modelled: float | None) -> str:
        if seen is None or not modelled:
            return wording.MISSING
        return wording.change(seen / modelled - 1.0)

    rows = [
        (
            "mean demand",
            wording.power(run.mean_w),
            wording.power(run.modelled_mean_w),
            off(run.mean_w, run.modelled_mean_w),
        )
    ]
    if run.var_j2_per_s is not None:
        rows.append(
            (
                "variance rate sigma2 [J^2/s]",
                scientific(run.var_j2_per_s),
                scientific(run.modelled_var_j2_per_s),
                off(run.var_j2_per_s, run.modelled_var_j2_per_s),
            )
        )
    seeds = f", {len(run.seeds)} seeds" if len(run.seeds) > 1 else ""
    dots = "" if plan.simulated is None else f" Dots of the plots: {plan.simulated.how}."
    return Section(
        title="What was simulated",
        heads=("", "run", "model", "run against model"),
        rows=tuple(rows),
        words=f"{wording.count(run.requests)} requests under {run.policy}{seeds}, "
        f"{duration(run.span_s)}: {run.covers}. The model is that of {run.sharing} sharing.{dots}",
    )


_ALL: tuple[Make, ...] = (
    _supply,
    _rates,
    _provisioning,
    _cost,
    _law,
    _budget,
    _ride,
    _worths,
    _seasons,
    _switches,
    _run,
)
