"""The fleet of a configuration as routing sees it: options, lanes, limits."""

from __future__ import annotations

import contextlib

import pytest
from made_fleets import TIERS, config_of, fleet_of

from baseload.gateway.bodies import Asked
from baseload.gateway.config import EFFORTS, GatewayConfig, LiveTierEntry, ModelEntry, ReplicasEntry
from baseload.gateway.errors import RequestError
from baseload.gateway.live_fleet import LEAST_LANES, MOST_LANES, LiveFleet, options_of
from baseload.routing.price import BARRED
from baseload.testing.fleets import replica_type

SMALL = ModelEntry(
    name="small",
    efforts=("high", "none", "low"),
    right_frac={"none": 0.5, "low": 0.6, "high": 0.8, "default": 0.7},
)
EYES = ModelEntry(name="eyes", inputs=("text", "image"), tools=False)
VECTORS = ModelEntry(name="vectors", endpoints=("embeddings",))
VALUED = (
    LiveTierEntry(name="plain", ttft_s=2.0),
    LiveTierEntry(name="valued", right_usd=0.01),
    LiveTierEntry(name="strict", right_floor=0.65),
)


def three(**changes: object) -> LiveFleet:
    """A model of many efforts, one that sees, one of embeddings."""
    models = (SMALL, EYES, VECTORS)
    entries = tuple(
        ReplicasEntry(model=model.name, urls=(f"http://{model.name}",)) for model in models
    )
    fields = {"tiers": VALUED, "policy": "baseload:rate_quality=1"} | changes
    return fleet_of(config_of(models=models, replicas=entries, **fields))


def names(live: LiveFleet, tier: int = 0, **asked: object) -> list[str]:
    """The options that may answer a request."""
    fields = {"endpoint": "chat", "model": "auto"} | asked
    lane = live.lanes[live.lane(Asked(**fields), tier)]
    assert lane.tier == tier
    return [live.options[place].name for place in lane.allowed]


def test_options_are_the_default_then_efforts_least_first() -> None:
    found = options_of(SMALL)
    assert [one.name for one in found] == ["small", "small@none", "small@low", "small@high"]
    assert [one.effort for one in found] == [None, "none", "low", "high"]
    assert [one.right_frac for one in found] == [0.7, 0.5, 0.6, 0.8]
    factors = [one.tokens_factor for one in found]
    assert factors[0] == 1.0
    assert factors[1:] == sorted(factors[1:])


def test_what_is_asked_for_decides_which_options_are_left() -> None:
    live = three()
    assert names(live) == ["small", "eyes"]
    assert names(live, model="small") == ["small"]
    assert names(live, model="small", effort="low") == ["small@low"]
    assert names(live, effort="low") == ["small@low"]
    assert names(live, images=1) == ["eyes"]
    assert names(live, tools=True) == ["small"]
    assert names(live, endpoint="embeddings", model="vectors") == ["vectors"]


def test_automatic_effort_is_weighed_only_where_an_answer_has_a_value() -> None:
    live = three()
    assert names(live, effort="auto") == ["small", "eyes"]
    assert names(live, tier=1, effort="auto") == [
        "small", "eyes", "small@none", "small@low", "small@high",
    ]  # fmt: skip
    blind = three(policy="least_loaded")
    assert names(blind, tier=1, effort="auto") == ["small", "eyes"]


def test_a_floor_keeps_out_what_is_wrong_too_often() -> None:
    live = three()
    assert names(live, tier=2, model="small") == ["small"]
    with pytest.raises(RequestError, match="strict") as raised:
        names(live, tier=2, model="small", effort="none")
    assert (raised.value.status, raised.value.code) == (400, "below_quality_floor")
    assert names(live, tier=2) == ["small", "eyes"], "of eyes nobody has said"


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({"model": "smal"}, 404, "small"),
        ({"model": "small", "images": 1}, 400, "image"),
        ({"model": "small", "audios": 1}, 400, "audio"),
        ({"model": "eyes", "tools": True}, 400, "tools"),
        ({"model": "eyes", "effort": "high"}, 400, "auto, none for 'eyes'"),
        ({"model": "small", "effort": "max"}, 400, "auto, none, low, high"),
        ({"model": "vectors"}, 400, "/v1/chat/completions"),
        ({"endpoint": "embeddings"}, 400, "embeddings"),
    ],
)
def test_what_nobody_can_do_is_refused_with_the_reason(
    asked: dict[str, object], status: int, said: str
) -> None:
    live = three()
    with pytest.raises(RequestError, match=said) as raised:
        names(live, **asked)
    assert raised.value.status == status
    assert live.lanes == []


def test_who_never_thinks_meets_the_wish_not_to() -> None:
    """It was refused, with the word itself as what is allowed."""
    live = three()
    assert names(live, model="eyes", effort="none") == ["eyes"]
    assert names(live, effort="none") == ["small@none", "eyes"]


def test_a_refused_effort_is_named_as_it_was_said() -> None:
    with pytest.raises(RequestError) as raised:
        names(three(), model="eyes", effort="high", effort_field="reasoning.effort")
    assert raised.value.param == "reasoning.effort"


def test_a_lane_is_found_again() -> None:
    live = three()
    first = live.lane(Asked(endpoint="chat", model="auto"), 0)
    assert live.lane(Asked(endpoint="responses", model="auto"), 0) == first
    assert live.lane(Asked(endpoint="chat", model="auto"), 1) != first
    assert len(live.lanes) == 2


def everything(live: LiveFleet) -> set[int]:
    """Ask for all that a client can ask for; the lanes of it."""
    found = set()
    for name in live.names():
        for tier in range(len(live.tiers)):
            for effort in (None, "auto", *EFFORTS):
                for bits in range(8):
                    for endpoint in ("chat", "completions", "responses", "embeddings"):
                        asked = Asked(
                            endpoint=endpoint, model=name, effort=effort,
                            images=bits & 1, audios=bits & 2, tools=bool(bits & 4),
                        )  # fmt: skip
                        with contextlib.suppress(RequestError):
                            found.add(live.lane(asked, tier))
    return found


def test_clients_cannot_use_up_the_lanes() -> None:
    """With ten models of seven efforts, a few curious clients made every later kind of request
    fail, for everybody, with 503.
    """
    models = tuple(
        ModelEntry(name=f"m{n}", efforts=EFFORTS, tools=n % 2 == 0,
                   inputs=("text", "image") if n % 3 else ("text",))
        for n in range(10)
    )  # fmt: skip
    entries = tuple(
        ReplicasEntry(model=model.name, urls=(f"http://{model.name}",)) for model in models
    )
    live = fleet_of(config_of(models=models, replicas=entries, tiers=TIERS))
    lanes = everything(live)
    assert LEAST_LANES < len(lanes) <= live.most_lanes <= MOST_LANES
    assert len(live.state().forecast) == live.most_lanes
    assert len(everything(three())) <= three().most_lanes


def test_only_options_of_a_lane_are_open_in_its_row() -> None:
    live = three()
    state = live.state()
    policy = live.policy_state(state)
    code = live.lane(Asked(endpoint="chat", model="small", effort="low"), 1)
    live.fill(policy, code)
    row = policy.options[code]
    place = [one.name for one in live.options].index("small@low")
    assert [int(one) for one in row["model"]] == [
        0 if number == place else BARRED for number in range(len(live.options))
    ]
    assert row[place]["wrong_frac"] == pytest.approx(0.4)
    assert row[place]["right_usd"] == 0.01


def test_queues_are_as_long_as_each_entry_says() -> None:
    entries = (
        ReplicasEntry(model="m", urls=("http://a",), max_queue=3),
        ReplicasEntry(model="m", count=2, engine="emulated", max_queue=50),
    )
    config: GatewayConfig = config_of(replicas=entries)
    live = LiveFleet(config, [replica_type(), replica_type(max_batch=16)])
    assert live.state().limits.max_in_flight.tolist() == [11, 66]
    assert [one.url for one in live.replicas] == ["http://a", "emulated://1-0", "emulated://1-1"]
