from baseload.report import readings
from baseload.report.figures import compare


def test_every_reading_is_a_sentence(odd):
    for read in (readings.latency, readings.power, readings.energy, readings.trade):
        said = read(compare(odd))
        assert said.endswith(".")
        assert said[0].isupper()
        assert "None" not in said


def test_the_scatter_names_its_front(make_simulation):
    said = readings.trade(compare(make_simulation()))
    assert "least-loaded and pack-and-park" in said
