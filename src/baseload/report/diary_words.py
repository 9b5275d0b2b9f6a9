"""What a routing that looks at the supply did, in words for an operator: at night, at noon, before
and in dark days; and what it cannot know.
"""

from __future__ import annotations

from collections.abc import Mapping

from baseload.base.units import J_PER_KWH, S_PER_DAY
from baseload.report import wording
from baseload.report.diaries import Parts, diary_of, mean_over, parts_of
from baseload.report.figures import Row
from baseload.report.plan_wording import money
from baseload.routing.supply_rules import METHODS
from baseload.simulator.results import DiaryDays, SupplyDiary

_LIKE_FRAC = 0.1
_NAMED_FRAC = 0.1

UNSEEN = "It reads no forecast of the weather. "
FORESIGHT = {
    "full_jump": (
        "It knows the usual day from the days before, and sees a departure from it only after that "
        "has begun; from then on it expects the departure to fade over hours. So it saves up for "
        "the night, but not for dark days."
    ),
    "taylor": "It knows the average of the days before, and neither the hour nor a departure.",
    "mean_only": "It knows the average of the days before, and neither the hour nor a departure.",
    "static": (
        "It looks neither at the store nor at the sky: what it does moves when the average of the "
        "days before does."
    ),
}
"""What a rule knows of what comes."""
_BY_LEVEL = "The rule sees the level of the store now, and nothing of what comes."


def words(row: Row) -> list[tuple[str, str]]:
    """Headings with their paragraphs, of a policy that has a diary."""
    diary = diary_of(row)
    parts = parts_of(diary)
    found = [("How it priced", _how(diary))]
    if parts.night:
        found += [
            ("At night", _hours(diary, parts.night, "the baseline gives next to nothing")),
            ("At noon", _hours(diary, parts.noon, "the baseline gives most")),
            ("Night against noon", _night_against_noon(diary, parts)),
        ]
    elif parts.noon:
        most = "the baseline gives most (it never stops by the clock)"
        found.append(("When there is most", _hours(diary, parts.noon, most)))
    found.append(("By the level of the store", _by_level(diary)))
    if diary.dark is not None and diary.before is not None and diary.stretch is not None:
        found += [("Before dark days", _before(diary)), ("In dark days", _dark(diary))]
    else:
        found.append(("Dark days", "The run has too few days to tell dark ones from bright ones."))
    found.append(("What these numbers are", _limits(diary)))
    return [(head, said) for head, said in found if said]


def _how(diary: SupplyDiary) -> str:
    """Which methods, for how long."""
    total = sum(diary.methods.values())
    shares = sorted(diary.methods.items(), key=lambda item: -item[1])
    said = "; ".join(
        f"{wording.percent(hours / total, 2)} {METHODS.get(name, name)}" for name, hours in shares
    )
    text = f"In shares of the time: {said}."
    if diary.solved:
        text += f" Solved {diary.solved} times, when supply, demand or prices had moved by a tenth."
    if diary.guarded_away:
        text += (
            f" {diary.guarded_away} tables were no better than the best constant price when "
            "evaluated exactly, and were not used."
        )
    return text


def _hours(diary: SupplyDiary, hours: tuple[int, ...], when: str) -> str:
    """Price, joules and choices of some hours."""
    price = _price(_mean(diary, hours))
    text = f"{_clock(hours)} UTC, when {when}: a joule cost {price} in the mean"
    answer_j = mean_over(diary.joules_per_answer, hours)
    if answer_j is not None:
        text += f", {wording.number(answer_j)} J were expected of an answer"
    shares = {
        label: {option: mean_over(values, hours) or 0.0 for option, values in options.items()}
        for label, options in diary.choice_frac.items()
    }
    return f"{text}.{_choices(shares)}"


def _night_against_noon(diary: SupplyDiary, parts: Parts) -> str:
    night, noon = _mean(diary, parts.night), _mean(diary, parts.noon)
    early, late = _mean(diary, parts.evening), _mean(diary, parts.late)
    if night is None or noon is None or early is None or late is None:
        return ""
    if _alike(night, noon):
        return f"A joule cost about the same by night and at noon ({_price(night)})."
    dearer = "dearer by night than" if night > noon else "cheaper by night than"
    text = f"A joule was {dearer} at noon ({_price(night)} against {_price(noon)})"
    if _alike(early, late):
        return f"{text}, and about the same from dusk to dawn."
    trend = "rose" if late > early else "fell"
    return f"{text}; it {trend} from {_price(early)} after dusk to {_price(late)} before dawn."


def _by_level(diary: SupplyDiary) -> str:
    """Price in the thirds of the store, over all hours that were there."""
    names = ("lowest", "middle", "highest")
    every = tuple(range(24))
    said = [
        f"{_price(value)} in the {name}"
        for name, prices in zip(names, diary.price_usd_per_j_by_level, strict=True)
        if (value := mean_over(prices, every)) is not None
    ]
    if len(said) < 2:
        return "The store stayed within one third of its range, or there is none."
    return f"A joule cost {wording.listing(said)} third (means over the hours that were seen)."


def _before(diary: SupplyDiary) -> str:
    assert diary.before is not None
    assert diary.stretch is not None
    before = diary.before
    start = diary.stretch.dark_from_s / S_PER_DAY
    text = (
        f"The darkest days in a row begin {wording.number(start)} days into the run. On the day "
        f"before, the baseline gave {_kwh(before)}, the store was {_fill(before)} and a joule "
        f"cost {_price(before.price_usd_per_j)}. "
    )
    mean = mean_over(diary.price_usd_per_j, tuple(range(24)))
    text += f"Over all days a joule cost {_price(mean)}. "
    return text + UNSEEN + FORESIGHT.get(diary.rule, _BY_LEVEL)


def _dark(diary: SupplyDiary) -> str:
    """The darkest days, then the dark fifth against the bright one."""
    dark = diary.dark
    assert dark is not None
    text = (
        f"Then came {dark.days} days of {_kwh(dark)} each: the store was {_fill(dark)} in the "
        f"mean, a joule cost {_price(dark.price_usd_per_j)}{_answer(dark)}."
        f"{_choices(dark.choice_frac)}"
    )
    low, high = diary.lowest, diary.highest
    if low is None or high is None:
        return text
    text += (
        f" Over the run, in the fifth of the days with the least supply ({_kwh(low)} a day) a "
        f"joule cost {_price(low.price_usd_per_j)}{_answer(low)}; in the fifth with the most "
        f"({_kwh(high)}) {_price(high.price_usd_per_j)}{_answer(high)}."
    )
    if low.joules_per_answer and high.joules_per_answer:
        less = 1.0 - low.joules_per_answer / high.joules_per_answer
        if abs(less) < _LIKE_FRAC:
            text += " It thought about as much in dark days as in bright ones."
        else:
            word = "less" if less > 0 else "more"
            text += f" In dark days it spent {wording.percent(abs(less), 2)} {word} on an answer."
    return text


def _limits(diary: SupplyDiary) -> str:
    text = (
        "One run, the first seed, at the scale of the baseline nearest to 1. Joules of an answer "
        "are those expected at the pick, at the bus of the site. What a joule cost is what the "
        "policy charged, not what the site paid. Night and noon follow the mean day of the "
        "baseline."
    )
    if diary.rule in ("battery_threshold", "greedy_green"):
        text += " This rule picks by the level alone; the price decides between replicas only."
    return text


def _mean(diary: SupplyDiary, hours: tuple[int, ...]) -> float | None:
    return mean_over(diary.price_usd_per_j, hours)


def _alike(one: float, other: float) -> bool:
    return abs(one - other) <= _LIKE_FRAC * max(abs(one), abs(other))


def _price(value: float | None) -> str:
    """A price of joules, by the unit of bills."""
    return wording.MISSING if value is None else money(value * J_PER_KWH, " per kWh")


def _kwh(days: DiaryDays) -> str:
    return f"{wording.number(days.baseline_j / J_PER_KWH)} kWh"


def _fill(days: DiaryDays) -> str:
    if days.level_frac is None:
        return "none"
    return f"{wording.percent(days.level_frac, 2)} full"


def _answer(days: DiaryDays) -> str:
    if days.joules_per_answer is None:
        return ""
    return f", with {wording.number(days.joules_per_answer)} J expected of an answer"


def _clock(hours: tuple[int, ...]) -> str:
    """Hours in a row, over midnight or not."""
    start = next((hour for hour in hours if (hour - 1) % 24 not in hours), hours[0])
    end = next((hour for hour in hours if (hour + 1) % 24 not in hours), hours[-1])
    return f"From {start:02d} to {(end + 1) % 24:02d}"


def _choices(shares: Mapping[str, Mapping[str, float]]) -> str:
    """The options that each class got most, where there was a choice."""
    if all(len(options) < 2 for options in shares.values()):
        return ""
    said = []
    for label, options in shares.items():
        named = sorted(options.items(), key=lambda item: -item[1])
        most = [
            f"{name} {wording.percent(share, 2)}" for name, share in named if share >= _NAMED_FRAC
        ]
        said.append(f"{label} by {wording.listing(most[:3])}")
    return f" Answers to {'; to '.join(said)}." if said else ""
