"""What a configuration must be beyond the types of its fields: names that meet, numbers in range,
addresses that are ones. Pure: files and environment are looked at where the file is read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise

from baseload.gateway.addresses import EMULATED, base_url, is_loopback, url_fault
from baseload.gateway.config import (
    EFFORTS,
    GatewayConfig,
    KeyEntry,
    LiveTierEntry,
    ModelEntry,
    ReplicasEntry,
)
from baseload.gateway.config_numbers import check_numbers
from baseload.gateway.faults import Faults
from baseload.gateway.secret_names import ALLOWED, PREFIX, variable_of
from baseload.routing.policies import policy

AUTO = "auto"
MOST_ENGINES = 10_000
MOST_TIERS = 32
_HASH = re.compile(r"^sha256:[0-9a-f]{64}$")
_HEADER_NAME = re.compile(r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")
_SECRET_HEADER = re.compile(r"auth|key|token|secret|cookie|password", re.IGNORECASE)
_OUR_HEADERS = frozenset(
    ("host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "content-type")
)
_SEVERAL_MODELS = ("ollama", "openai")
"""Engines that serve several models at one URL."""
_CAN_SLEEP = ("vllm", "sglang", "emulated")


def faults_of(config: GatewayConfig) -> Faults:
    """Every mistake in ``config`` that can be seen without files and environment, in the order of
    the file's sections.
    """
    faults = Faults()
    names = [model.name for model in config.models]
    faults.require(bool(names), "models", found="none", allowed="one model or more")
    for at, model in enumerate(config.models):
        _model(faults, f"models[{at}]", model)
        _first_time(faults, f"models[{at}].name", model.name, names[:at])
    _aliases(faults, config, names)
    _replicas(faults, config, names)
    _tiers(faults, config)
    callable_names = [*names, *config.aliases, AUTO]
    hashes: list[str | None] = [key.hash for key in config.keys]
    for at, key in enumerate(config.keys):
        _key(faults, f"keys[{at}]", key, config, callable_names)
        _first_time(faults, f"keys[{at}].name", key.name, [one.name for one in config.keys[:at]])
        if key.hash is not None and key.hash in hashes[:at]:
            path = f"keys[{at}].hash"
            faults.add(path, found="the hash of another entry", allowed="each key once")
    _listen(faults, config)
    with faults.within("policy"):
        policy(config.policy)
    check_numbers(faults, config)
    return faults


def _first_time(faults: Faults, path: str, name: str, before: Sequence[str]) -> None:
    """Note a name that an earlier entry has."""
    if name in before:
        faults.add(path, found=repr(name[:80]), allowed="each name once")


def _model(faults: Faults, path: str, model: ModelEntry) -> None:
    """One model: what of the ladder it can do, and the numbers of its efforts."""
    if faults.name(f"{path}.name", model.name):
        faults.require(
            model.name != AUTO,
            f"{path}.name",
            found="'auto'",
            allowed="any other name: auto stands for all models that chat",
        )
    upstream = model.upstream_name
    faults.require(
        upstream is None or (upstream.isprintable() and 0 < len(upstream.strip()) <= 500),
        f"{path}.upstream_name",
        found=repr(upstream)[:80],
        allowed="the name that the engine knows, printable, at most 500 characters",
    )
    for field in ("efforts", "inputs", "endpoints"):
        faults.once(f"{path}.{field}", getattr(model, field))
    for field in ("inputs", "endpoints"):
        faults.require(
            bool(getattr(model, field)),
            f"{path}.{field}",
            found="an empty list",
            allowed="one at least",
        )
    known = ", ".join(model.efforts) or "nothing: the model has no efforts"
    if model.default_effort is not None:
        faults.require(
            model.default_effort in model.efforts,
            f"{path}.default_effort",
            found=model.default_effort,
            allowed=f"one of its efforts: {known}",
        )
    for effort, tokens in model.budgets.items():
        at = f"{path}.budgets.{effort}"
        faults.require(effort in model.efforts, at, found=effort, allowed=f"its efforts: {known}")
        faults.number(at, tokens, low=0 if effort == "none" else 1, high=10_000_000)
    ladder = [
        (effort, model.budgets[effort])
        for effort in sorted(model.budgets, key=EFFORTS.index)
        if effort in model.efforts
    ]
    for (low, few), (high, many) in pairwise(ladder):
        faults.require(
            few <= many,
            f"{path}.budgets.{high}",
            found=f"{many}, below the {few} of {low}",
            allowed="no fewer tokens than the effort below it",
        )
    by_effort = [*model.efforts, "default"]
    for name, factor in model.tokens_factor.items():
        at = f"{path}.tokens_factor.{name[:40]}"
        faults.known(at, name, by_effort, "effort of this model")
        faults.number(at, factor, low=0, high=1000, above=True)
    for name, right in model.right_frac.items():
        at = f"{path}.right_frac.{name[:40]}"
        faults.known(at, name, by_effort, "effort of this model")
        faults.number(at, right, low=0, high=1)


def _aliases(faults: Faults, config: GatewayConfig, names: list[str]) -> None:
    """Virtual models: names of their own, over models that exist."""
    for alias, members in config.aliases.items():
        path = f"aliases.{alias[:80]}"
        if faults.name(path, alias):
            faults.require(
                alias not in names, path, found="the name of a model", allowed="a name of its own"
            )
        faults.require(bool(members), path, found="an empty list", allowed="one model or more")
        faults.once(path, members)
        for at, member in enumerate(members):
            faults.known(f"{path}[{at}]", member, names, "model")


def _replicas(faults: Faults, config: GatewayConfig, names: list[str]) -> None:
    """Engines: of known models, each at an address of its own."""
    faults.require(bool(config.replicas), "replicas", found="none", allowed="one entry or more")
    owner: dict[str, tuple[str, ReplicasEntry]] = {}
    engines = 0
    for at, entry in enumerate(config.replicas):
        path = f"replicas[{at}]"
        faults.known(f"{path}.model", entry.model, names, "model")
        _one_replicas(faults, path, entry)
        engines += len(entry.urls) or (entry.count or 1)
        for place, url in enumerate(entry.urls):
            _url(faults, f"{path}.urls[{place}]", url, entry, owner)
    faults.require(
        engines <= MOST_ENGINES,
        "replicas",
        found=f"{engines:,} engines",
        allowed=f"{MOST_ENGINES:,}",
    )
    served = {entry.model for entry in config.replicas}
    for at, name in enumerate(names):
        faults.require(
            name in served or not config.replicas,
            f"models[{at}]",
            found=f"no entry of replicas serves {name[:80]!r}",
            allowed="one or more for each model",
            todo="add replicas for it, or take it out",
        )


def _url(
    faults: Faults,
    path: str,
    url: str,
    entry: ReplicasEntry,
    owner: dict[str, tuple[str, ReplicasEntry]],
) -> None:
    """One address: good, of the right kind for the engine, and nobody else's."""
    wrong = url_fault(url)
    if wrong is not None:
        faults.add(path, found=wrong[0], allowed=wrong[1])
        return
    if url.startswith(f"{EMULATED}://") and entry.engine != "emulated":
        faults.add(path, found=f"{url[:80]} with engine {entry.engine}", allowed="engine: emulated")
    place = base_url(url)
    first, other = owner.setdefault(place, (path, entry))
    if first == path:
        return
    shared = entry.model != other.model and entry.engine == other.engine
    faults.require(
        shared and entry.engine in _SEVERAL_MODELS,
        path,
        found=f"{place[:80]}, which stands in {first} too",
        allowed="each engine once",
        todo="a server of several models at one URL is engine: openai (or ollama)"
        if shared
        else "one entry is one engine: take one of them out",
    )


def _one_replicas(faults: Faults, path: str, entry: ReplicasEntry) -> None:
    """One entry, for itself."""
    emulated = entry.engine == "emulated"
    if entry.count is not None and not emulated:
        faults.add(
            f"{path}.count",
            found=f"count with engine {entry.engine}",
            allowed="urls, one for each engine; count is for engine: emulated",
        )
    elif entry.count is not None and entry.urls:
        faults.add(f"{path}.count", found="count and urls", allowed="one of them")
    else:
        faults.number(f"{path}.count", entry.count, low=1, high=MOST_ENGINES)
    faults.require(
        bool(entry.urls) or emulated, f"{path}.urls", found="none", allowed="one URL or more"
    )
    _cost_fields(faults, path, entry)
    for field, high in (
        ("tensor_parallel", 1024),
        ("max_batch", 65_536),
        ("max_step_tokens", 10_000_000),
        ("max_context_tokens", 2**31 - 1),
    ):
        faults.number(f"{path}.{field}", getattr(entry, field), low=1, high=high)
    faults.number(f"{path}.max_queue", entry.max_queue, low=0, high=65_536)
    faults.require(
        not entry.sleep or entry.engine in _CAN_SLEEP,
        f"{path}.sleep",
        found=f"true with engine {entry.engine}, which has no sleep end-points",
        allowed=f"true with {', '.join(_CAN_SLEEP)}",
    )
    if entry.api_key is not None:
        _secret(faults, f"{path}.api_key", entry.api_key)
    for name, value in entry.headers.items():
        _header(faults, f"{path}.headers.{name[:80]}", name, value)


def _cost_fields(faults: Faults, path: str, entry: ReplicasEntry) -> None:
    """What says the cost of a replica says it once."""
    if entry.replica is None:
        return
    plain = ReplicasEntry(model="")
    for field in (
        "device", "weights", "precision", "tensor_parallel",
        "max_batch", "max_step_tokens", "max_context_tokens",
    ):  # fmt: skip
        faults.require(
            getattr(entry, field) == getattr(plain, field),
            f"{path}.{field}",
            found=f"{field} beside replica",
            allowed="either a replica file, or device and weights",
            todo="a replica file says this itself: take it out, or change the file",
        )


def _secret(faults: Faults, path: str, text: str) -> None:
    """Note a secret that stands in the file itself."""
    faults.require(
        variable_of(text) is not None,
        path,
        found=f"{PREFIX} without a name of a variable"
        if text.startswith(PREFIX)
        else "a literal secret in the file (not shown)",
        allowed=ALLOWED,
        todo="put the secret into the environment, and change it: it has been in a file",
    )


def _header(faults: Faults, path: str, name: str, value: str) -> None:
    """One header that goes to the engines of an entry."""
    good = faults.require(
        bool(_HEADER_NAME.match(name)) and name.lower() not in _OUR_HEADERS,
        path,
        found="a name that no header has, or one that the gateway writes itself",
        allowed=f"the name of a header, but not {', '.join(sorted(_OUR_HEADERS))}",
    )
    if good and (value.startswith(PREFIX) or _SECRET_HEADER.search(name)):
        _secret(faults, path, value)
        return
    faults.require(
        value.isascii() and value.isprintable() and len(value) <= 4000,
        path,
        found="line breaks or characters that no header can hold",
        allowed="printable ASCII",
    )


def _tiers(faults: Faults, config: GatewayConfig) -> None:
    """Promises: of different names, that can be kept and told apart."""
    names = [tier.name for tier in config.tiers]
    faults.require(
        1 <= len(names) <= MOST_TIERS,
        "tiers",
        found=f"{len(names)} tiers",
        allowed=f"1 to {MOST_TIERS}, or no field at all for the default ones",
    )
    objectives: dict[str, str] = {}
    services: dict[str, str] = {}
    judged = any(model.right_frac for model in config.models)
    for at, tier in enumerate(config.tiers):
        path = f"tiers[{at}]"
        faults.name(f"{path}.name", tier.name)
        _first_time(faults, f"{path}.name", tier.name, names[:at])
        _promises(faults, path, tier)
        faults.require(
            tier.right_floor is None or judged,
            f"{path}.right_floor",
            found="a floor, and no model says how often it is right",
            allowed="a floor beside models with right_frac",
        )
        for place, word in enumerate(tier.objectives):
            here = f"{path}.objectives[{place}]"
            faults.name(here, word)
            if word in names and word != tier.name:
                faults.add(
                    here, found=f"{word[:80]!r}, the name of another tier", allowed="its own"
                )
            _one_owner(faults, here, word, tier.name, objectives)
        for place, word in enumerate(tier.service_tiers):
            here = f"{path}.service_tiers[{place}]"
            faults.name(here, word)
            _one_owner(faults, here, word, tier.name, services)


def _one_owner(faults: Faults, path: str, word: str, tier: str, owner: dict[str, str]) -> None:
    """Note a word that already means a tier."""
    if word in owner:
        faults.add(path, found=f"{word[:80]!r}, which means {owner[word][:80]!r} already",
                   allowed="each word once")  # fmt: skip
    owner.setdefault(word, tier)


def _promises(faults: Faults, path: str, tier: LiveTierEntry) -> None:
    """Deadlines and prices of one tier."""
    for field in ("ttft_s", "tpot_s", "e2e_s", "max_wait_s"):
        faults.number(f"{path}.{field}", getattr(tier, field), low=0, high=604_800, above=True)
    if tier.ttft_s is not None and tier.e2e_s is not None:
        faults.require(
            tier.e2e_s >= tier.ttft_s,
            f"{path}.e2e_s",
            found=f"{tier.e2e_s:g} s for the whole answer, {tier.ttft_s:g} s for its first token",
            allowed="no less than ttft_s",
        )
    faults.number(f"{path}.priority", tier.priority, low=0, high=1000)
    faults.number(f"{path}.target_miss_frac", tier.target_miss_frac, low=0, high=1)
    faults.number(f"{path}.right_floor", tier.right_floor, low=0, high=1)
    faults.number(f"{path}.right_usd", tier.right_usd, low=0, high=1e6)
    faults.number(f"{path}.miss_usd", tier.miss_usd, low=0, high=1e6)
    faults.number(f"{path}.max_queue", tier.max_queue, low=0, high=1_000_000)


def _key(
    faults: Faults, path: str, key: KeyEntry, config: GatewayConfig, names: Sequence[str]
) -> None:
    """One key: a hash or a variable, and what it may do."""
    faults.name(f"{path}.name", key.name)
    given = [field for field in ("hash", "value") if getattr(key, field) is not None]
    faults.require(
        len(given) == 1,
        path,
        found=" and ".join(given) or "neither hash nor value",
        allowed="hash: sha256:... (made by `baseload key`), or value: env:NAME",
    )
    if key.hash is not None:
        faults.require(
            bool(_HASH.match(key.hash)),
            f"{path}.hash",
            found="another form (not shown)",
            allowed="sha256: and 64 digits of 0-9 a-f",
            todo="`baseload key` makes a key and its hash; `baseload key --hash` hashes yours",
        )
    if key.value is not None:
        _secret(faults, f"{path}.value", key.value)
    faults.require(
        bool(key.scopes), f"{path}.scopes", found="an empty list", allowed="infer, energy, admin"
    )
    faults.once(f"{path}.scopes", key.scopes)
    if key.models is not None:
        faults.require(
            bool(key.models),
            f"{path}.models",
            found="an empty list",
            allowed="models or aliases, or no field at all for every one",
        )
        faults.once(f"{path}.models", key.models)
        for at, name in enumerate(key.models):
            faults.known(f"{path}.models[{at}]", name, names, "model or alias")
    if key.tier is not None:
        faults.known(f"{path}.tier", key.tier, [tier.name for tier in config.tiers], "tier")
    for field, high in (
        ("requests_per_min", 1e9),
        ("tokens_per_min", 1e12),
        ("max_streams", 1e6),
    ):
        faults.number(f"{path}.{field}", getattr(key, field), low=1, high=high)


def _listen(faults: Faults, config: GatewayConfig) -> None:
    """Where the gateway listens: beyond this machine only with keys."""
    listen = config.listen
    good = faults.require(
        bool(listen.host) and listen.host.isprintable() and not set(listen.host) & set(" /@"),
        "listen.host",
        found=repr(listen.host)[:80],
        allowed="a name or an address, as 127.0.0.1, ::1 or 0.0.0.0",
    )
    faults.number("listen.port", listen.port, low=0, high=65_535)
    if good and not config.keys and not is_loopback(listen.host):
        faults.add(
            "listen.host",
            found=f"{listen.host[:80]}, which others can reach, and no keys",
            allowed="127.0.0.1 (this machine only), or any address with keys",
            todo="make a key with `baseload key` and put it into keys, or listen on 127.0.0.1",
        )
    given = [name for name in ("tls_cert", "tls_key") if getattr(listen, name) is not None]
    faults.require(
        len(given) != 1,
        "listen",
        found=f"only {''.join(given)}",
        allowed="tls_cert and tls_key, or neither",
    )


def notes_of(config: GatewayConfig) -> list[str]:
    """What is allowed but worth a look, in whole sentences."""
    notes = []
    for at, key in enumerate(config.keys):
        if key.requests_per_min is None and key.tokens_per_min is None:
            notes.append(f"keys[{at}] ({key.name}) has no limit on requests or tokens.")
    if config.parking and not any(entry.sleep for entry in config.replicas):
        notes.append("parking is on, but no entry of replicas has sleep: true: nobody will sleep.")
    if not config.parking and any(entry.sleep for entry in config.replicas):
        notes.append("replicas have sleep: true, but parking is off: nobody will sleep.")
    for at, model in enumerate(config.models):
        silent = [name for name in model.efforts if name not in model.budgets and name != "none"]
        if model.budgets and silent:
            notes.append(
                f"models[{at}] ({model.name}) has budgets, but none for {', '.join(silent)}."
            )
    if config.listen.tls_cert is None and not is_loopback(config.listen.host):
        notes.append(
            f"listening on {config.listen.host} without TLS: keys and prompts can be read "
            "on the way."
        )
    longest = max((tier.e2e_s or 0.0 for tier in config.tiers), default=0.0)
    if longest > config.limits.total_s and math.isfinite(longest):
        notes.append(
            f"limits.total_s of {config.limits.total_s:g} s ends answers before a tier's e2e_s."
        )
    return notes
