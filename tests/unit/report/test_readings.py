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
    assert "no schedule could undercut" in said


def test_what_is_said_of_the_course_of_a_run(make_simulation, odd):
    for simulation in (make_simulation(), odd):
        comparison = compare(simulation)
        for said in (
            readings.replicas(comparison, comparison.rows),
            readings.course(comparison.rows),
        ):
            assert said.endswith(".")
            assert "None" not in said
    said = readings.replicas(compare(make_simulation()), compare(make_simulation()).rows)
    assert "pack-and-park" in said
    assert "round-robin" not in said
