import pytest

from baseload.report import wording


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0"),
        (1234567.8, "1,234,568"),
        (0.4551, "0.455"),
        (-0.5, "-0.500"),
        (45, "45.0"),
    ],
)
def test_number(value, text):
    assert wording.number(value) == text


def test_no_number_is_cut_or_put_in_exponents():
    for exponent in range(-9, 12):
        text = wording.number(1.234 * 10.0**exponent)
        assert "e" not in text
        assert float(text.replace(",", "")) == pytest.approx(1.234 * 10.0**exponent, rel=0.01)


@pytest.mark.parametrize(
    ("frac", "text"),
    [(None, "–"), (0.0, "0 %"), (0.00001, "<0.01 %"), (0.004, "0.40 %"), (0.2345, "23.4 %")],
)  # fmt: skip
def test_percent(frac, text):
    assert wording.percent(frac) == text


@pytest.mark.parametrize(
    ("frac", "text"), [(-0.234, "−23.4 %"), (0.1, "+10.0 %"), (0.00001, "0.0 %")]
)
def test_change(frac, text):
    assert wording.change(frac) == text


@pytest.mark.parametrize(
    ("value_s", "text"),
    [(0.0123, "12.3 ms"), (44.9, "44.9 s"), (3501.0, "58.4 min"), (86400.0, "24.0 h")],
)  # fmt: skip
def test_duration(value_s, text):
    assert wording.duration(value_s) == text


def test_power_and_listing():
    assert wording.power(66_012.0) == "66.0 kW"
    assert wording.listing(["a", "b", "c"]) == "a, b and c"
