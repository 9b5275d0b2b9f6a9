"""One line names a signal; a wrong one says what is wrong with it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import baseload.sources as sources
from baseload.base.errors import BadInputError, ServiceError, UnknownNameError
from baseload.sources.constant import ConstantSignal
from baseload.sources.electricity_maps import ElectricityMapsSignal
from baseload.sources.entso_e import EntsoECarbonSignal, EntsoEPriceSignal
from baseload.sources.gb_carbon import GbCarbonSignal
from baseload.sources.series import SeriesSignal
from baseload.sources.signal_spec import SCHEMES, signal_from_spec
from baseload.sources.signals import Signal, StaleRule, ns_of
from baseload.sources.typical_year import TypicalYear
from baseload.sources.watttime import WattTimeSignal

from .fake_web import FakeWeb


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("constant:250", ConstantSignal),
        ("constant:0.12?unit=usd_per_kwh", ConstantSignal),
        ("constant:-3?unit=eur_per_mwh&kind=price", ConstantSignal),
        ("shipped:carbon/US-CAISO-2022", SeriesSignal),
        ("shipped:carbon/US-CAISO-2022?repeat=yes&refuse_s=3600", TypicalYear),
        ("shipped:pv/US-PJM", TypicalYear),
        ("electricity-maps:DE?token=env:EM_TOKEN&factors=direct", ElectricityMapsSignal),
        ("watttime:CAISO_NORTH?user=env:U&password=env:P", WattTimeSignal),
        ("gb-carbon", GbCarbonSignal),
        ("gb-carbon?refresh_s=60&fresh_s=10&refuse_s=100&spread=5", GbCarbonSignal),
        ("entso-e:DE-LU?token=env:T", EntsoECarbonSignal),
        ("entso-e:DE-LU?token=env:T&what=price", EntsoEPriceSignal),
    ],
)
def test_every_form_gives_a_signal(text, kind):
    found = signal_from_spec(text)
    assert isinstance(found, kind)
    assert isinstance(found, Signal)


def test_options_reach_the_signal(tmp_path):
    constant = signal_from_spec("constant:0.12?unit=usd_per_kwh")
    assert (constant.value, constant.unit, constant.kind) == (0.12, "usd_per_kwh", "price")
    gb = signal_from_spec("gb-carbon?refuse_s=7200")
    assert gb.rule == StaleRule(fresh_s=1800.0, refuse_s=7200.0)
    (tmp_path / "my grid.csv").write_text(
        "when,ci\n2022-01-01T00:00,100\n2022-01-01T01:00,200\n", encoding="utf-8"
    )
    text = (
        "file:my%20grid.csv?column=ci&unit=g_per_kwh&kind=marginal&time=when"
        "&utc_offset=%2B01:00&step_s=3600&refuse_s=60"
    )
    found = signal_from_spec(text, folder=tmp_path)
    assert (found.kind, found.first_ns) == ("marginal", ns_of("2021-12-31T23:00Z"))
    assert found.rule.refuse_s == 60.0
    plain = signal_from_spec(
        "file:my grid.csv?column=ci&unit=frac&time=when&utc_offset=+01:00", folder=tmp_path
    )
    assert plain.first_ns == found.first_ns


def test_a_live_signal_uses_the_connection_given():
    web = FakeWeb()
    signal = signal_from_spec("gb-carbon", connection=web.connection())
    assert web.asked == []
    with pytest.raises(ServiceError):
        signal.at(web.now_ns)
    assert len(web.asked) == 1


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("constnt:250", UnknownNameError, "nearest: constant"),
        ("250", UnknownNameError, "constant:250"),
        ("", UnknownNameError, "kind of signal"),
        ("constant:", BadInputError, "constant:NUMBER"),
        ("constant:nan", BadInputError, "finite"),
        ("constant:1?unit=kg", UnknownNameError, "unit"),
        ("constant:1?kind=mean", UnknownNameError, "kind of signal"),
        ("constant:1?units=frac", UnknownNameError, "nearest: unit"),
        ("constant:1?unit", BadInputError, "'unit' without a value"),
        ("constant:1?unit=frac&unit=degc", BadInputError, "given twice"),
        ("file:none.csv", BadInputError, "no such file"),
        ("file:none.csv?step_s=long", BadInputError, "step_s"),
        ("shipped:carbon/CAISO", UnknownNameError, "carbon/US-CAISO-2022"),
        ("shipped:pv/US-PJM?repeat=maybe", BadInputError, "yes or no"),
        ("shipped:pv/US-PJM?refuse_s=-1", BadInputError, "stale rule"),
        ("electricity-maps:DE", BadInputError, "no token"),
        ("electricity-maps:?token=env:T", BadInputError, "zone"),
        ("watttime:CAISO_NORTH?user=env:U", BadInputError, "no password"),
        ("gb-carbon:London", BadInputError, "nothing after it"),
        ("entso-e:DE-LU?token=env:T&what=load", BadInputError, "carbon or price"),
        ("entso-e:XX?token=env:T", UnknownNameError, "ENTSO-E zone"),
    ],
)
def test_a_wrong_line_says_what_is_wrong(text, error, said):
    with pytest.raises(error, match=re.escape(said)):
        signal_from_spec(text)


def test_a_secret_in_the_line_is_refused_and_not_repeated():
    with pytest.raises(BadInputError, match="env:NAME") as caught:
        signal_from_spec("entso-e:DE-LU?token=12345-abcde")
    assert "12345" not in str(caught.value)


def test_every_form_is_in_the_reference():
    page = Path(__file__).parents[3] / "docs" / "reference" / "signals.md"
    text = page.read_text(encoding="utf-8")
    for scheme in SCHEMES:
        assert f"`{scheme}" in text
    for name in sources.__all__:
        assert hasattr(sources, name)
    assert dir(sources) == sorted(sources.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        sources.nothing  # noqa: B018
