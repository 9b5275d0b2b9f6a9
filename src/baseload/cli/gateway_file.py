"""The gateway's file: one YAML, read strictly and validated whole, before anything listens.

Every field is documented in docs/reference/gateway-config.md; all mistakes are reported together,
each with the path of its field.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from baseload.base.errors import BadInputError
from baseload.base.units import S_PER_DAY
from baseload.cli.strict_yaml import convert_data, load_mapping
from baseload.cli.yaml_places import FieldError, take_out
from baseload.fleet.replica_type import ReplicaType
from baseload.gateway.addresses import base_url
from baseload.gateway.config import GatewayConfig
from baseload.gateway.faults import MOST_SHOWN, ConfigError, Fault, Faults
from baseload.gateway.gateway_checks import faults_of
from baseload.gateway.replica_types import replica_type_of
from baseload.gateway.secret_names import PREFIX, secret_of

if TYPE_CHECKING:
    from baseload.simulator.supplied import Supplied

SEE = "see docs/reference/gateway-config.md"
HIDDEN = frozenset(("keys", "api_key", "headers", "hash", "value", "urls", "otlp_endpoint"))
"""Fields whose content no message shows."""

MOST_BYTES = 4 * 1024 * 1024
_LONGEST_SUPPLY_S = 366 * S_PER_DAY


class LoadedConfig(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A configuration that is good, with what belongs to it.

    ``kinds[i]``: replica type of ``config.replicas[i]``. ``supplied``: what feeds the fleet, where
    the file has a ``supply``. ``text_hash``: SHA-256 of the file's bytes, in hex. ``folder``: paths
    in the file count from here. ``where``: how messages call the file. URLs in ``config`` are
    without ``/v1`` and slash at the end, and paths of TLS files are whole.
    """

    config: GatewayConfig
    kinds: tuple[ReplicaType, ...]
    supplied: Supplied | None
    text_hash: str
    folder: Path
    where: str


def text_hash_of(content: bytes) -> str:
    """What names the content of a file."""
    return hashlib.sha256(content).hexdigest()


def builtin_gateway(name: str) -> str:
    """The text of a shipped configuration: ``default`` or ``local``."""
    return (resources.files("baseload.cli") / "gateways" / f"{name}.yaml").read_text("utf-8")


def load_builtin(name: str = "default") -> LoadedConfig:
    """A shipped configuration, loaded by the same code as a user's."""
    content = builtin_gateway(name).encode()
    return load_content(content, folder=Path(), where=f"the built-in configuration {name}")


def load_gateway(path: str | Path, *, environ: Mapping[str, str] | None = None) -> LoadedConfig:
    """The configuration in the file at ``path``.

    ``environ``: where ``env:NAME`` is looked up (default: the process's environment). Raises
    ``BadInputError`` for a file that cannot be read or is no YAML, ``ConfigError`` with every
    mistake in its content.
    """
    path = Path(path)
    return load_content(
        read_content(path), folder=path.parent, where=f"gateway file {path}", environ=environ
    )


def read_content(path: Path) -> bytes:
    """The bytes of a configuration file. Raises ``BadInputError``."""
    where = f"gateway file {path}"
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        found = getattr(error, "strerror", None) or str(error)
        raise BadInputError(
            where, found=found, allowed="a YAML file that can be read", todo="check the path"
        ) from error
    if len(content) > MOST_BYTES:
        raise BadInputError(where, found="a longer file", allowed=f"{MOST_BYTES:,} bytes at most")
    return content


def load_content(
    content: bytes, *, folder: Path, where: str, environ: Mapping[str, str] | None = None
) -> LoadedConfig:
    """The configuration that the bytes of a file describe; paths in it count from ``folder``.

    Raises as ``load_gateway``.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"{error.reason} at byte {error.start + 1}"
        raise BadInputError(where, found=found, allowed="a YAML file in UTF-8") from error
    data = load_mapping(text, type=GatewayConfig, where=where, todo=SEE)
    config, errors = _converted(data, where)
    wrong = list(map(_fault_of, errors))
    if config is None:
        raise ConfigError(where, wrong) from errors[0]
    faults = faults_of(config)
    faults.found[:0] = wrong
    kinds = _outside(faults, config, folder, os.environ if environ is None else environ)
    supplied = _supplied(faults, config, folder)
    if faults.found:
        raise ConfigError(where, faults.found)
    return LoadedConfig(
        config=_canonical(config, folder),
        kinds=tuple(kinds),
        supplied=supplied,
        text_hash=text_hash_of(content),
        folder=folder,
        where=where,
    )


def _converted(data: dict[Any, Any], where: str) -> tuple[GatewayConfig | None, list[FieldError]]:
    """The configuration, and what is wrong with names and kinds of its fields: each mistake is
    taken out, and the rest looked at again. ``None`` where that leaves out more than names that
    mean nothing.
    """
    errors: list[FieldError] = []
    while True:
        try:
            config = convert_data(data, type=GatewayConfig, where=where, todo=SEE, hidden=HIDDEN)
        except FieldError as error:
            if error.path in [one.path for one in errors]:  # it is missed where it was taken out
                return None, errors
            errors.append(error)
            if len(errors) > MOST_SHOWN or not take_out(data, error.keys):
                return None, errors
        else:
            harmless = all(error.says == "unknown field" for error in errors)
            return (config if harmless else None), errors


def checked_again(loaded: LoadedConfig, **changes: Any) -> LoadedConfig:
    """The configuration with sections replaced, as flags do (``listen=...``), held against the
    rules again. Raises ``ConfigError``.
    """
    config = msgspec.structs.replace(loaded.config, **changes)
    faults = faults_of(config)
    _tls(faults, config, loaded.folder)
    if faults.found:
        raise ConfigError(loaded.where, faults.found)
    return msgspec.structs.replace(loaded, config=_canonical(config, loaded.folder))


def _fault_of(error: FieldError, prefix: str = "") -> Fault:
    """What the reader of the YAML found, as one fault."""
    return Fault(
        path=prefix + error.path,
        says="" if error.says == "field" else error.says,
        found=error.found,
        allowed=error.allowed,
        todo=error.todo,
    )


def _outside(
    faults: Faults, config: GatewayConfig, folder: Path, environ: Mapping[str, str]
) -> list[ReplicaType]:
    """Hold the configuration against files and environment; gives the replica types."""
    models = {model.name: model for model in config.models}
    kinds = []
    for at, entry in enumerate(config.replicas):
        path = f"replicas[{at}]"
        secrets = {"api_key": entry.api_key or ""}
        secrets |= {f"headers.{name}": value for name, value in entry.headers.items()}
        for field, value in secrets.items():
            _set(faults, f"{path}.{field}", value, environ)
        already = any(fault.path.startswith(f"{path}.") for fault in faults.found)
        if entry.model in models and not already:
            with faults.within(f"{path}."):
                kinds.append(replica_type_of(entry, models[entry.model], folder))
    for at, key in enumerate(config.keys):
        _set(faults, f"keys[{at}].value", key.value or "", environ)
    _tls(faults, config, folder)
    return kinds


def _set(faults: Faults, path: str, text: str, environ: Mapping[str, str]) -> None:
    """Note a variable that holds no secret; another text has been noted before."""
    if text.startswith(PREFIX) and not any(fault.path == path for fault in faults.found):
        with faults.within(path):
            secret_of(text, environ)


def _tls(faults: Faults, config: GatewayConfig, folder: Path) -> None:
    """Note TLS files that cannot be read or do not belong together."""
    cert, key = config.listen.tls_cert, config.listen.tls_key
    readable = True
    for field, name in (("tls_cert", cert), ("tls_key", key)):
        if name is not None:
            try:
                (folder / name).read_bytes()
            except (OSError, ValueError) as error:
                readable = False
                found = getattr(error, "strerror", None) or "no path"
                faults.add(f"listen.{field}", found=found, allowed="a PEM file that can be read")
    if cert is None or key is None or not readable:
        return
    import ssl

    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / cert, folder / key, password="")
    except (ssl.SSLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or "no certificate chain or no key"
        faults.add(
            "listen.tls_cert",
            found=str(reason).replace("_", " ").lower(),
            allowed="a PEM certificate chain, and in tls_key its key without a password",
        )


def supplied_of_config(config: GatewayConfig, folder: Path) -> Supplied | None:
    """The site of a configuration's ``supply``, whose files are in ``folder``; ``None`` without.
    Raises ``ConfigError`` where they cannot be read.
    """
    faults = Faults()
    found = _supplied(faults, config, folder)
    if faults.found:
        raise ConfigError("supply", faults.found)
    return found


def _supplied(faults: Faults, config: GatewayConfig, folder: Path) -> Supplied | None:
    """The site of the ``supply`` section; its code is loaded only where there is one."""
    if config.supply is None:
        return None
    from baseload.cli.plan_supply import recorded_s
    from baseload.cli.scenario_supply import SupplyEntry, supplied_of

    entry = config.supply
    todo = "see docs/reference/site.md"
    try:
        read = convert_data(dict(entry), type=SupplyEntry, where="supply", todo=todo)
    except FieldError as error:
        path = f"supply.{error.path}" if error.path else "supply"
        faults.found.append(msgspec.structs.replace(_fault_of(error), path=path))
        return None
    found: Supplied | None = None
    collected = Faults()
    with collected.within("supply"):
        span_s = max(read.slot_s, min(recorded_s(read, folder), _LONGEST_SUPPLY_S))
        found = supplied_of(read, folder, span_s=span_s)
    faults.found += map(_named_by_itself, collected.found)
    return found


def _named_by_itself(fault: Fault) -> Fault:
    """A fault of the supply code, which names its field itself."""
    prefix = "scenario field "
    if not fault.says.startswith(prefix):
        return fault
    path, _, says = fault.says.removeprefix(prefix).partition(": ")
    return msgspec.structs.replace(fault, path=path, says=says)


def _canonical(config: GatewayConfig, folder: Path) -> GatewayConfig:
    """The configuration with URLs in one spelling and whole paths."""
    replace = msgspec.structs.replace
    listen = config.listen
    if listen.tls_cert is not None and listen.tls_key is not None:
        listen = replace(
            listen,
            tls_cert=str((folder / listen.tls_cert).resolve()),
            tls_key=str((folder / listen.tls_key).resolve()),
        )
    return replace(
        config,
        listen=listen,
        replicas=tuple(
            replace(entry, urls=tuple(map(base_url, entry.urls))) for entry in config.replicas
        ),
    )
