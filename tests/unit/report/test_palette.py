from baseload.report import palette


def test_every_colour_of_a_drawing_is_its_own():
    names = palette.css_names()
    assert len(names) == len(palette.POLICY_LIGHT) + len(palette.STATE_LIGHT) + 3


def test_light_and_dark_declare_the_same_names():
    light, dark = (
        {part.split(":")[0] for part in palette.css_variables(dark=dark).split(";")}
        for dark in (False, True)
    )
    assert light == dark


def test_dark_colours_stand_out_on_a_dark_page():
    for color in (*palette.POLICY_DARK, palette.INK_DARK, palette.MUTED_DARK):
        assert contrast(color, "#14181e") >= 4.5


def test_light_colours_stand_out_on_a_light_page():
    for color in (palette.INK, palette.MUTED):
        assert contrast(color, "#f6f8fa") >= 4.5
    for color in palette.POLICY_LIGHT:
        assert contrast(color, "#f6f8fa") >= 2.5


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(color: str) -> float:
    parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
