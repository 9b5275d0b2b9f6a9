"""Records of the JouleSched study: part of ``results.Simulation``, so they import nothing heavy.

What they hold is computed in ``token_queues``, ``joulesched_note``, ``joulesched_fit`` and
``joulesched``; every field is in docs/reference/simulate.md.
"""

from __future__ import annotations

import msgspec

from baseload.base.errors import BadInputError
from baseload.base.units import S_PER_DAY


class DeviceGroup(msgspec.Struct, frozen=True, kw_only=True):
    """``devices`` equal devices: tokens per second and joules per token of each, both constant.

    ``power_w_idle`` is drawn while a device's queue is empty; the note has none.
    """

    device: str
    devices: int
    tokens_per_s: float
    energy_j_per_token: float
    power_w_idle: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a group that does not exist or serves nothing."""
        if self.devices < 1 or not self.tokens_per_s > 0 or not self.energy_j_per_token >= 0:
            raise BadInputError(
                f"token queues: {self.device}",
                found=f"{self.devices} devices, {self.tokens_per_s} tokens/s, "
                f"{self.energy_j_per_token} J/token",
                allowed="devices >= 1, tokens/s > 0, J/token >= 0",
            )


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """The note's PI rule for ``lambda`` [J/s], evaluated every ``interval_s`` of arrivals.

    ``lambda += kp e + ki sum(e)`` with ``e`` the interval's share of missed deadlines less
    ``target_miss_frac``; clipped at 0, and the sum takes no negative error while it is clipped. The
    target is the note's; interval, gains and start are not in it.
    """

    kp_j_per_s: float
    ki_j_per_s: float
    start_j_per_s: float
    interval_s: float = 10.0
    target_miss_frac: float = 0.01


class AbstractFleet(msgspec.Struct, frozen=True, kw_only=True):
    """A fleet of token queues, what its two tiers are promised, and how lengths are forecast.

    ``deadline_s``: interactive, bulk. ``forecast_mae_frac``: mean absolute error of the token
    estimate, which is the 95th percentile of what the request may need (section 7 of the note).
    """

    groups: tuple[DeviceGroup, ...]
    deadline_s: tuple[float, float]
    control: Control
    forecast_mae_frac: float = 0.12

    @property
    def devices(self) -> int:
        """Devices of all groups."""
        return sum(group.devices for group in self.groups)


class ChosenConstants(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the note leaves open, chosen by the search; none of it was published.

    Speeds, joules per token and deadlines are in ``fleet``; ``requests_per_s`` is the day's mean;
    ``mean_tokens`` of a request is that of the generator's answers. ``distance`` is what the search
    minimised, ``evaluations`` how many settings it tried.
    """

    fleet: AbstractFleet
    requests_per_s: float
    mean_tokens: float
    distance: float
    evaluations: int

    @property
    def requests_per_day(self) -> float:
        """Expected requests of a whole day."""
        return self.requests_per_s * S_PER_DAY


class CarbonLine(msgspec.Struct, frozen=True, kw_only=True):
    """A year of an hourly saving as carbon.

    ``mass_kg`` is right; ``mass_kg_unconverted`` takes megajoules for kilowatt-hours, as the note
    does; ``published_kg`` is its figure. All in kg of CO2 a year.
    """

    saving_mj_per_hour: float
    intensity_g_per_j: float
    mass_kg: float
    mass_kg_unconverted: float
    published_kg: float


class LargestSaving(msgspec.Struct, frozen=True, kw_only=True):
    """The most that moving tokens can save, and where it is reached.

    ``shares`` of all tokens (A100, H100, L4) under round robin and at the optimum;
    ``energy_ratios``: joules per token relative to the H100.
    """

    saving_frac: float
    round_robin_shares: tuple[float, float, float]
    shares: tuple[float, float, float]
    energy_ratios: tuple[float, float, float]


class StudyFigure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of one scheduler: what was published and what the abstract model gives.

    ``figure`` is ``energy_mj_per_hour``, ``latency_s_p50``, ``latency_s_p99``, ``miss_frac``,
    ``utilization_frac_h100`` or ``bulk_share_frac_l4``. ``published`` is ``None`` where the note
    gives none. ``obtained`` is the mean over seeds, ``interval`` its 95 % interval (``None`` with
    one seed).
    """

    scheduler: str
    figure: str
    published: float | None
    obtained: float
    interval: tuple[float, float] | None


class ImpossibleClaim(msgspec.Struct, frozen=True, kw_only=True):
    """A published statement that cannot hold, with numbers.

    ``claimed`` against ``possible``, which is the ``most`` or the ``least`` that can be (``bound``)
    or the ``exact`` value, both in ``unit``; ``ratio`` is claimed over possible. ``source`` says
    where the possible value comes from, ``reason`` why it binds.
    """

    claim: str
    unit: str
    claimed: float
    possible: float
    bound: str
    ratio: float
    reason: str
    source: str


class Saving(msgspec.Struct, frozen=True, kw_only=True):
    """Energy that ``joulesched`` saves, as fractions: published and obtained, paired over seeds.

    ``idle_frac`` is the saving against round robin when a device whose queue is empty draws the
    share of its full power that a measured board of its kind draws (the note has no idle power).
    ``least_eta_frac`` is what routing by the earliest end, which knows nothing of joules, saves
    against round robin (first seed). ``within_tolerance``: whether the saving against round robin
    lies within 3 points of the published one.
    """

    published_frac: float
    obtained_frac: float
    interval: tuple[float, float] | None
    published_against_least_loaded_frac: float
    obtained_against_least_loaded_frac: float
    idle_frac: float
    least_eta_frac: float
    within_tolerance: bool


class JouleSchedStudy(msgspec.Struct, frozen=True, kw_only=True):
    """The abstract model of the JouleSched note beside what it published.

    ``requests`` is the mean per seed; ``time_lapse`` how many times faster than a day the day's
    drift passes (1: a whole day; the load on the queues is the same). ``figures``: the twelve of
    the table, utilisation and bulk share. ``utilization_frac`` and ``bulk_share_frac`` are by
    scheduler, then device. ``other_readings`` holds the figures of schedulers that read the note's
    words differently. ``carbon`` is its own saving done right; ``largest_saving`` the most that its
    statements allow together, ``largest_saving_without_l4`` without what it says of bulk on L4;
    ``needed_energy_ratio`` how much joules per token would have to differ for its saving (it says 2
    to 4). ``constants`` are all chosen.
    """

    seeds: list[int]
    requests: float
    time_lapse: float
    figures: list[StudyFigure]
    saving: Saving
    utilization_frac: dict[str, dict[str, float]]
    bulk_share_frac: dict[str, dict[str, float]]
    other_readings: list[StudyFigure]
    carbon: CarbonLine
    largest_saving: LargestSaving
    largest_saving_without_l4: LargestSaving
    needed_energy_ratio: float | None
    impossible: list[ImpossibleClaim]
    constants: ChosenConstants
