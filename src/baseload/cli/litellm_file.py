"""A LiteLLM configuration as one of Baseload: what it says that has a counterpart, and notes on all
the rest. Pure: text in, text out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml

from baseload.base.errors import BadInputError
from baseload.cli.litellm_entries import (
    Entry,
    Left,
    entry_of,
    placeholder_of,
    rest,
    secret_of,
    shown_name,
)
from baseload.cli.strict_yaml import load_yaml

_SEE = "see docs/how-to/come-from-litellm.md"
_SECTIONS = ("model_list", "router_settings", "litellm_settings", "general_settings")
POLICY_OF = {
    "simple-shuffle": "random",
    "least-busy": "least_loaded",
    "usage-based-routing": "least_tokens",
    "usage-based-routing-v2": "least_tokens",
    "latency-based-routing": "least_latency",
    "cost-based-routing": "baseload",
}
"""The policy nearest to a ``routing_strategy``."""
_SEVERAL_MODELS = ("openai", "ollama")


class Imported(NamedTuple):
    """The text of a gateway's file, and what could not be carried over or needs a look."""

    text: str
    notes: list[str]


class _Models(NamedTuple):
    """What the model list becomes."""

    models: list[dict[str, Any]]
    aliases: dict[str, list[str]]
    replicas: list[dict[str, Any]]


def imported(text: str, *, where: str, environ: Mapping[str, str]) -> Imported:
    """The gateway's file for a LiteLLM configuration.

    ``environ``: where an ``api_base: os.environ/NAME`` is looked up. Raises ``BadInputError`` for a
    text that is no such configuration, or of which no model can be carried over.
    """
    data = load_yaml(text, where=where, todo=_SEE)
    if not isinstance(data, dict) or not isinstance(data.get("model_list"), list):
        raise BadInputError(
            f"{where}: model_list",
            found="none" if isinstance(data, dict) else "a file without fields",
            allowed="a LiteLLM configuration: a list of model_name and litellm_params",
            todo=_SEE,
        )
    notes: list[str] = []
    entries, routers = _entries(data["model_list"], notes, environ)
    if not entries:
        reasons = "; ".join(notes[:5]) or "an empty list"
        raise BadInputError(
            f"{where}: no model can be carried over",
            found=reasons,
            allowed="OpenAI-compatible servers: vLLM, SGLang, llama.cpp, Ollama, any other",
            todo=_SEE,
        )
    settings = {name: _section(data, name, notes) for name in _SECTIONS[1:]}
    made = _models(entries, notes)
    _router_entries(routers, made, notes)
    _group_aliases(settings["router_settings"], made, notes)
    out: dict[str, Any] = {"models": made.models}
    if made.aliases:
        out["aliases"] = made.aliases
    out["replicas"] = made.replicas
    out |= _keys(settings["general_settings"], entries, notes)
    out |= _settings(settings["router_settings"], settings["litellm_settings"], notes)
    for name, fields in settings.items():
        rest(fields, name, notes)
    rest({name: 0 for name in data if name not in _SECTIONS}, "the file", notes)
    _limits(entries, out, notes)
    notes.append("listen: Baseload listens on 127.0.0.1:8080 unless told; LiteLLM on 0.0.0.0:4000")
    return Imported(_text(out, where, notes), notes)


def _section(data: Mapping[Any, Any], name: str, notes: list[str]) -> dict[Any, Any]:
    """One section of settings, to be read away."""
    found = data.get(name)
    if found is not None and not isinstance(found, dict):
        notes.append(f"{name}: is no list of fields, and is left out")
    return dict(found) if isinstance(found, dict) else {}


def _entries(
    listed: list[Any], notes: list[str], environ: Mapping[str, str]
) -> tuple[list[Entry], list[tuple[str, str, dict[Any, Any]]]]:
    """The entries that mean engines, and the routers over them (place, name, fields)."""
    entries: list[Entry] = []
    routers = []
    for at, raw in enumerate(listed):
        place = f"model_list[{at}]"
        params = raw.get("litellm_params") if isinstance(raw, dict) else None
        name = raw.get("model_name") if isinstance(raw, dict) else None
        model = params.get("model") if isinstance(params, dict) else None
        if not (isinstance(name, str) and isinstance(model, str)):
            notes.append(f"{place}: left out: no model_name, or no litellm_params.model")
        elif not _is_name(name) or not _is_model(model):
            notes.append(f"{place}: left out: a name that no header can hold, or a pattern")
        elif model.startswith("auto_router/"):
            routers.append((place, name, dict(params or {})))
        else:
            try:
                entries.append(entry_of(raw, place, notes, environ))
            except Left as reason:
                notes.append(f"{place} ({name}): left out: {reason}")
    return entries, routers


def _is_name(text: str) -> bool:
    """Whether a text can be a model's name here."""
    plain = text.isascii() and text.isprintable() and text == text.strip()
    return plain and 0 < len(text) <= 200 and "*" not in text


def _is_model(text: str) -> bool:
    """Whether a text can be what an engine calls its model, with and without its provider."""
    return (
        text.isprintable()
        and len(text) <= 300
        and bool(text.partition("/")[2].strip() or text.partition("/")[0].strip())
    )


def _models(entries: list[Entry], notes: list[str]) -> _Models:
    """Models, aliases and replicas. Engines that the same public names mean, and that serve the
    same model, are one model; a public name over one model is its name, over several an alias.
    """
    publics: dict[tuple[Any, ...], list[str]] = {}
    first: dict[tuple[Any, ...], Entry] = {}
    for entry in entries:
        engine = _engine(entry)
        names = publics.setdefault(engine, [])
        if engine in first and entry.public in names:
            notes.append(f"{entry.place}: the same engine once more; it counts once")
        if entry.public not in names:
            names.append(entry.public)
        first.setdefault(engine, entry)
    classes: dict[tuple[Any, ...], list[Entry]] = {}
    for engine, entry in first.items():
        classes.setdefault((_what(entry), frozenset(publics[engine])), []).append(entry)
    of_public: dict[str, list[tuple[Any, ...]]] = {}
    for kind, members in classes.items():
        for public in publics[_engine(members[0])]:
            of_public.setdefault(public, []).append(kind)
    named: dict[tuple[Any, ...], str] = {}
    for public, kinds in of_public.items():
        if len(kinds) == 1 and public != "auto":
            named.setdefault(kinds[0], public)
    taken = {*of_public, "auto"}
    for kind, members in classes.items():
        if kind not in named:
            named[kind] = _free_name(members[0].upstream, taken)
    aliases = {
        public: [named[kind] for kind in kinds]
        for public, kinds in of_public.items()
        if [named[kind] for kind in kinds] != [public]
    }
    models = [_model(named[kind], members[0]) for kind, members in classes.items()]
    return _Models(models, aliases, _replicas(classes, named, notes))


def _engine(entry: Entry) -> tuple[Any, ...]:
    return (_what(entry), entry.engine, entry.url)


def _what(entry: Entry) -> tuple[Any, ...]:
    return (entry.upstream, entry.endpoints, entry.inputs, entry.tools)


def _free_name(upstream: str, taken: set[str]) -> str:
    """A name for a model that no public name means alone."""
    plain = "".join(c for c in upstream if c.isascii() and c.isprintable()).strip()[:180] or "model"
    name, number = plain, 2
    while name in taken:
        name, number = f"{plain}-{number}", number + 1
    taken.add(name)
    return name


def _model(name: str, entry: Entry) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name}
    if entry.upstream != name:
        made["upstream_name"] = entry.upstream
    if entry.endpoints != ("chat", "completions", "responses"):
        made["endpoints"] = list(entry.endpoints)
    if entry.inputs != ("text",):
        made["inputs"] = list(entry.inputs)
    if not entry.tools:
        made["tools"] = False
    return made


def _replicas(
    classes: Mapping[tuple[Any, ...], list[Entry]],
    named: Mapping[tuple[Any, ...], str],
    notes: list[str],
) -> list[dict[str, Any]]:
    """Entries of engines, those of one model with one key together."""
    models_at: dict[str, set[tuple[Any, ...]]] = {}
    for kind, members in classes.items():
        for entry in members:
            models_at.setdefault(entry.url, set()).add(kind)
    found: dict[tuple[Any, ...], list[str]] = {}
    for kind, members in classes.items():
        for entry in members:
            engine = entry.engine
            if len(models_at[entry.url]) > 1 and engine not in _SEVERAL_MODELS:
                notes.append(
                    f"{entry.place}: {entry.url} serves several models: engine: openai, whose "
                    "metrics are not read"
                )
                engine = "openai"
            urls = found.setdefault((named[kind], engine, entry.key), [])
            if entry.url in urls:
                notes.append(f"{entry.place}: {entry.url} once more for this model; it counts once")
            else:
                urls.append(entry.url)
    return _told_apart(found, notes)


def _told_apart(
    found: Mapping[tuple[Any, ...], list[str]], notes: list[str]
) -> list[dict[str, Any]]:
    """The entries; an address counts once a model, and is of one kind of engine."""
    kind_at: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    made = []
    for (model, engine, key), urls in found.items():
        kept = []
        for url in urls:
            if kind_at.setdefault(url, engine) != engine or (model, url) in seen:
                notes.append(f"{model}: {url} with another key or engine is left out")
                continue
            seen.add((model, url))
            kept.append(url)
        if kept:
            one: dict[str, Any] = {"model": model, "engine": engine, "urls": kept}
            made.append(one if key is None else {**one, "api_key": key})
    return made


def _router_entries(
    routers: list[tuple[str, str, dict[Any, Any]]], made: _Models, notes: list[str]
) -> None:
    """Routers over models become aliases over the same models: which one answers is then a matter
    of the one price, not of the prompt's words.
    """
    for place, name, params in routers:
        config = params.get("complexity_router_config")
        tiers = config.get("tiers") if isinstance(config, dict) else None
        named = list(tiers.values()) if isinstance(tiers, dict) else []
        named += [value for key, value in params.items() if str(key).endswith("default_model")]
        members = _members([one for value in named for one in _listed(value)], made)
        if not members:
            members = [
                model["name"] for model in made.models if model.get("endpoints") != ["embeddings"]
            ]
        taken = {model["name"] for model in made.models}
        if name in taken or name in made.aliases or not members:
            notes.append(f"{place} ({name}): left out: its name is taken, or it is over nothing")
            continue
        made.aliases[name] = members
        notes.append(
            f"{place} ({name}): an alias over {', '.join(members)}; the price of each answer "
            "decides, not the router's own rules"
        )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _members(names: list[Any], made: _Models) -> list[str]:
    """The models that public names mean, each once."""
    known = {model["name"]: [model["name"]] for model in made.models} | made.aliases
    found = [member for name in names if isinstance(name, str) for member in known.get(name, [])]
    return list(dict.fromkeys(found))


def _group_aliases(router: dict[Any, Any], made: _Models, notes: list[str]) -> None:
    """``model_group_alias``: another name for a public name."""
    given = router.pop("model_group_alias", None)
    for name, target in (given if isinstance(given, dict) else {}).items():
        meant = target.get("model") if isinstance(target, dict) else target
        members = _members([meant], made)
        taken = name in made.aliases or any(model["name"] == name for model in made.models)
        if isinstance(name, str) and _is_name(name) and members and not taken:
            made.aliases[name] = members
        else:
            notes.append(f"router_settings.model_group_alias: {str(name)[:80]} is left out")


def _keys(general: dict[Any, Any], entries: list[Entry], notes: list[str]) -> dict[str, Any]:
    """The master key, as the only one; its limits are those of all engines together."""
    given = general.pop("master_key", None)
    if given is None:
        notes.append(
            "no master_key, so no keys: Baseload then listens on this machine only "
            "(`baseload key` makes one)"
        )
        return {}
    place = "general_settings.master_key"
    value = secret_of(given, placeholder_of("BASELOAD", "MASTER_KEY"), place, notes)
    if value is None:
        return {}
    made: dict[str, Any] = {
        "name": "master",
        "value": value,
        "scopes": ["infer", "energy", "admin"],
    }
    for field, name in (("rpm", "requests_per_min"), ("tpm", "tokens_per_min")):
        limits = [getattr(entry, field) for entry in entries]
        if all(limits):
            made[name] = sum(limits)
            notes.append(f"{field} of all engines, added up, is {name} of the key master")
    return {"keys": [made]}


def _limits(entries: list[Entry], out: Mapping[str, Any], notes: list[str]) -> None:
    """Say which limits of engines have nowhere to go."""
    key = out.get("keys", [{}])[0]
    for field, name in (("rpm", "requests_per_min"), ("tpm", "tokens_per_min")):
        if name not in key:
            notes += [
                f"{entry.place}.{field}: an engine's limit has no counterpart; keys have {name}, "
                "replicas have max_queue"
                for entry in entries
                if getattr(entry, field) is not None
            ]


def _settings(router: dict[Any, Any], settings: dict[Any, Any], notes: list[str]) -> dict[str, Any]:
    """Policy, tries, times and telemetry."""
    out: dict[str, Any] = {}
    strategy = router.pop("routing_strategy", None)
    if isinstance(strategy, str) and strategy in POLICY_OF:
        out["policy"] = POLICY_OF[strategy]
        notes.append(
            f"routing_strategy {strategy}: nearest is {POLICY_OF[strategy]}; take `policy` out to "
            "route by joules, deadlines and quality"
        )
    elif strategy is not None:
        notes.append("routing_strategy: not known; the default policy routes")
    retries: dict[str, Any] = {}
    tries = _number(router, settings, "num_retries", notes, 0, 20)
    if tries is not None:
        retries["attempts"] = int(tries)
    pause = _number(router, {}, "retry_after", notes, 0, 60)
    if pause is not None:
        retries |= {"backoff_s": pause, "backoff_most_s": max(pause, 1.0)}
    breaker: dict[str, Any] = {}
    fails = _number(router, settings, "allowed_fails", notes, 0, 999)
    if fails is not None:
        breaker["failures"] = int(fails) + 1
    rests = _number(router, settings, "cooldown_time", notes, 0.01, 3600)
    if rests is not None:
        breaker |= {"open_s": rests, "open_most_s": max(rests, 60.0)}
    limits: dict[str, Any] = {}
    timeout = _number(router, settings, "timeout", notes, 0.1, 86_400)
    within = _number({}, settings, "request_timeout", notes, 0.1, 86_400)
    first_s = timeout if timeout is not None else within
    if first_s is not None:
        limits["first_byte_s"] = first_s
    stream = _number(router, {}, "stream_timeout", notes, 0.1, 86_400)
    if stream is not None:
        limits["idle_s"] = stream
    telemetry = _telemetry(settings, notes)
    for name, section in (
        ("retries", retries), ("breaker", breaker), ("limits", limits), ("telemetry", telemetry)
    ):  # fmt: skip
        if section:
            out[name] = section
    return out


def _number(
    router: dict[Any, Any],
    settings: dict[Any, Any],
    name: str,
    notes: list[str],
    low: float,
    high: float,
) -> float | None:
    """A number of the router's settings, or of LiteLLM's; one out of range is noted."""
    given = [section.pop(name) for section in (router, settings) if name in section]
    found = next((value for value in given if value is not None), None)
    if found is None:
        return None
    number = isinstance(found, int | float) and not isinstance(found, bool)
    if not number or not low <= found <= high:
        notes.append(f"{name}: not a number from {low:g} to {high:g}; the default is kept")
        return None
    return found  # type: ignore[no-any-return]


def _telemetry(settings: dict[Any, Any], notes: list[str]) -> dict[str, Any]:
    """Logs and spans; metrics are always there."""
    out: dict[str, Any] = {}
    for field in ("callbacks", "success_callback", "failure_callback"):
        for one in _listed(settings.pop(field, None) or []):
            if one == "prometheus":
                notes.append(f"litellm_settings.{field}: prometheus: always there, at /metrics")
            elif one in ("otel", "opentelemetry"):
                out["spans"] = True
            else:
                notes.append(f"litellm_settings.{field}: {shown_name(one)} has no counterpart here")
    if settings.pop("json_logs", None) is True:
        out["log"] = "json"
    if "drop_params" in settings:
        settings.pop("drop_params")
        notes.append("litellm_settings.drop_params: fields that are not known pass unchanged here")
    return out


def _text(out: Mapping[str, Any], where: str, notes: list[str]) -> str:
    """The file: what could not be carried over as comments, then the fields."""
    lines = [f"# Made by `baseload import litellm` from {_plain(where)}."]
    if notes:
        lines.append("# Not carried over, or worth a look:")
        lines += [f"#   {_plain(note)}" for note in notes]
    body = yaml.dump(dict(out), Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)
    return "\n".join(lines) + "\n" + body


def _plain(text: str) -> str:
    """Text that stays in one line of comment."""
    return "".join(c if c.isprintable() else "?" for c in text)


class _Dumper(yaml.SafeDumper):
    """Writes text that YAML 1.1 and 1.2 read alike: a plain word, else in quotes."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's own protocol
        """Write everything out."""
        return True


def _text_node(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    word = value.replace("-", "a").replace("_", "a").replace(".", "a").replace("/", "a")
    plain = word.isalnum() and value.isascii() and value[0].isalpha() and value not in _NOT_TEXT
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else '"')


_NOT_TEXT = frozenset(("true", "false", "null", "True", "False", "Null", "TRUE", "FALSE", "NULL"))
_Dumper.add_representer(str, _text_node)
