"""A signal from one line of text, as a site file names it.

::

    constant:250                                  constant:0.12?unit=usd_per_kwh
    file:carbon.csv?column=ci&unit=g_per_kwh      shipped:carbon/US-CAISO-2022?repeat=yes
    electricity-maps:DE?token=env:EM_TOKEN        watttime:CAISO_NORTH?user=env:U&password=env:P
    gb-carbon                                     entso-e:DE-LU?token=env:T&what=price
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from baseload.base.errors import BadInputError, unknown_name
from baseload.sources.constant import ConstantSignal
from baseload.sources.electricity_maps import ElectricityMapsSignal
from baseload.sources.entso_e import EntsoECarbonSignal, EntsoEPriceSignal
from baseload.sources.gb_carbon import GbCarbonSignal
from baseload.sources.http_client import Connection
from baseload.sources.live import LiveSignal
from baseload.sources.shipped import SHIPPED_RULE, shipped_series
from baseload.sources.signal_files import KIND_OF_UNIT, read_signal
from baseload.sources.signals import KINDS, UNITS, Signal, StaleRule
from baseload.sources.watttime import WattTimeSignal

_RULE = ("fresh_s", "refuse_s", "spread")
_LIVE = (*_RULE, "refresh_s")
_YES_NO = {"yes": True, "true": True, "no": False, "false": False}


class _Spec:
    """The parts of one line: ``scheme:rest?options``. Every option must be used."""

    def __init__(self, text: str, *, connection: Connection, folder: Path) -> None:
        head, _, query = text.strip().partition("?")
        self.scheme, _, self.rest = head.partition(":")
        self.connection, self.folder = connection, folder
        self.options: dict[str, str] = {}
        for part in query.split("&") if query else []:
            key, equals, value = part.partition("=")
            if not equals or key in self.options:
                raise BadInputError(
                    f"signal {head!r}: options",
                    found="one that is given twice" if equals else f"{key!r} without a value",
                    allowed="key=value, joined by &",
                )
            self.options[key] = urllib.parse.unquote(value)

    def only(self, *allowed: str, need: tuple[str, ...] = ()) -> None:
        """Refuse options that this scheme does not know, and missing ones."""
        for key in self.options:
            if key not in allowed:
                raise unknown_name(f"option of signal {self.scheme!r}", key, allowed)
        missing = [key for key in need if key not in self.options]
        if missing:
            raise BadInputError(
                f"signal {self.scheme!r}",
                found=f"no {', '.join(missing)}",
                allowed=f"{self.scheme}:{self.rest}?" + "&".join(f"{key}=env:NAME" for key in need),
                todo="name the environment variable that holds it",
            )

    def number(self, key: str) -> float:
        """An option as a number."""
        try:
            return float(self.options[key])
        except ValueError:
            raise BadInputError(
                f"signal {self.scheme!r}: {key}",
                found=repr(self.options[key]),
                allowed="a number",
            ) from None

    def rule(self, default: StaleRule) -> StaleRule:
        """The stale rule: ``default`` with the options in place of its parts."""
        given = {key: self.number(key) for key in _RULE if key in self.options}
        return msgspec.structs.replace(default, **given)

    def live(self, service: type[LiveSignal]) -> dict[str, Any]:
        """What every live service takes."""
        found: dict[str, Any] = {
            "connection": self.connection,
            "rule": self.rule(service.default_rule),
        }
        if "refresh_s" in self.options:
            found["refresh_s"] = self.number("refresh_s")
        return found

    def text(self, *keys: str) -> dict[str, Any]:
        """The options among ``keys`` that were given, as they are."""
        return {key: self.options[key] for key in keys if key in self.options}


def signal_from_spec(
    text: str, *, connection: Connection | None = None, folder: str | Path = "."
) -> Signal:
    """The signal that ``text`` names; see the top of this file for the forms.

    ``folder``: where relative paths of ``file:`` begin. Options ``fresh_s``, ``refuse_s`` and
    ``spread`` set the stale rule, ``refresh_s`` how often a live service is asked. Secrets only as
    ``env:NAME``. Raises ``UnknownNameError`` for a scheme or option that is not known (with the
    nearest), ``BadInputError`` for everything else that is wrong. A live service is not asked yet.
    """
    spec = _Spec(text, connection=connection or Connection(), folder=Path(folder))
    if spec.scheme not in _SCHEMES:
        raise unknown_name(
            "kind of signal", spec.scheme, _SCHEMES, todo="write it as constant:250, for example"
        )
    return _SCHEMES[spec.scheme](spec)


def _constant(spec: _Spec) -> Signal:
    """``constant:VALUE``."""
    spec.only("unit", "kind")
    try:
        value = float(spec.rest)
    except ValueError:
        raise BadInputError(
            "signal 'constant'", found=repr(spec.rest), allowed="constant:NUMBER"
        ) from None
    unit: Any = spec.options.get("unit", "g_per_kwh")
    if unit not in UNITS:
        raise unknown_name("unit", unit, UNITS)
    kind: Any = spec.options.get("kind", KIND_OF_UNIT.get(unit, "price"))
    if kind not in KINDS:
        raise unknown_name("kind of signal", kind, KINDS)
    return ConstantSignal(value=value, unit=unit, kind=kind)


def _file(spec: _Spec) -> Signal:
    """``file:PATH``."""
    named = ("column", "unit", "kind", "time", "utc_offset")
    spec.only(*named, "step_s", *_RULE)
    step_s = spec.number("step_s") if "step_s" in spec.options else None
    path = spec.folder / urllib.parse.unquote(spec.rest)
    return read_signal(path, step_s=step_s, rule=spec.rule(StaleRule()), **spec.text(*named))


def _shipped(spec: _Spec) -> Signal:
    """``shipped:NAME``."""
    spec.only("repeat", *_RULE)
    repeat = spec.options.get("repeat", "no")
    if repeat not in _YES_NO:
        raise BadInputError("signal 'shipped': repeat", found=repr(repeat), allowed="yes or no")
    return shipped_series(spec.rest, repeat=_YES_NO[repeat], rule=spec.rule(SHIPPED_RULE))


def _electricity_maps(spec: _Spec) -> Signal:
    """``electricity-maps:ZONE``."""
    spec.only("token", "factors", *_LIVE, need=("token",))
    return ElectricityMapsSignal(
        spec.rest, **spec.text("token", "factors"), **spec.live(ElectricityMapsSignal)
    )


def _watttime(spec: _Spec) -> Signal:
    """``watttime:REGION``."""
    spec.only("user", "password", "signal_type", *_LIVE, need=("user", "password"))
    named = spec.text("user", "password", "signal_type")
    return WattTimeSignal(spec.rest, **named, **spec.live(WattTimeSignal))


def _gb_carbon(spec: _Spec) -> Signal:
    """``gb-carbon``."""
    spec.only(*_LIVE)
    if spec.rest:
        raise BadInputError("signal 'gb-carbon'", found=repr(spec.rest), allowed="nothing after it")
    return GbCarbonSignal(**spec.live(GbCarbonSignal))


def _entso_e(spec: _Spec) -> Signal:
    """``entso-e:ZONE``."""
    spec.only("token", "what", *_LIVE, need=("token",))
    what = spec.options.get("what", "carbon")
    services: dict[str, Any] = {"carbon": EntsoECarbonSignal, "price": EntsoEPriceSignal}
    if what not in services:
        raise BadInputError("signal 'entso-e': what", found=repr(what), allowed="carbon or price")
    service = services[what]
    signal: Signal = service(spec.rest, token=spec.options["token"], **spec.live(service))
    return signal


_SCHEMES: dict[str, Callable[[_Spec], Signal]] = {
    "constant": _constant,
    "file": _file,
    "shipped": _shipped,
    "electricity-maps": _electricity_maps,
    "watttime": _watttime,
    "gb-carbon": _gb_carbon,
    "entso-e": _entso_e,
}
SCHEMES = tuple(_SCHEMES)
"""What may stand before the colon."""
