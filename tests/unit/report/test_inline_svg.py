from baseload.report.inline_svg import panel_svgs


def test_small_anonymous_and_described():
    (svg,) = panel_svgs([lambda axes: axes.set_title("a < b & c")], prefix="t", alt=['says "hi"'])
    assert svg.startswith('<svg role="img" aria-label="says &quot;hi&quot;"')
    assert "a &lt; b &amp; c" in svg
    assert "<metadata" not in svg
    assert "<!--" not in svg
    assert " width=" not in svg.split(">")[0]
