import io

from rich.console import Console

from baseload.report import wording
from baseload.report.table import print_table, table_text


def test_fits_a_hundred_columns_with_its_numbers_whole(make_simulation):
    simulation = make_simulation()
    text = table_text(simulation, width=100)
    assert max(map(len, text.splitlines())) <= 100
    for policy in simulation.policies:
        assert wording.number(policy.energy_mj_per_hour) in text
        assert wording.number(policy.energy_j_per_request) in text
        assert wording.number(policy.e2e_s.p99) in text


def test_a_narrow_console_gets_two_tables_and_no_cut_number(make_simulation):
    simulation = make_simulation()
    text = table_text(simulation, width=70)
    assert text.count("round-robin ") >= 2
    assert wording.number(simulation.policies[0].energy_mj_per_hour) in text
    assert "…" not in text


def test_every_odd_simulation_has_a_table(odd):
    text = table_text(odd, width=100)
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    assert "None" not in text
    assert "nan" not in text


def test_names_are_text_not_markup(make_simulation, make_policy):
    text = table_text(make_simulation([make_policy("[bold]x[/bold]")]))
    assert "[bold]x[/bold]" in text


def test_a_pipe_gets_no_colour(make_simulation):
    out = io.StringIO()
    print_table(make_simulation(), console=Console(file=out, width=80))
    assert "\x1b" not in out.getvalue()
    assert out.getvalue().count("pack-and-park  ") == 2  # two tables: policies that sleep


def test_bound_and_sleep_have_columns_where_they_are_known(make_simulation, make_policy):
    """Once, the table did not tell how far a policy is from the bound, nor what slept."""
    text = table_text(make_simulation())
    assert "bound" in text
    assert wording.number(make_policy(seed=0).energy_over_bound) in text
    assert "asleep" in text
    assert "wakes" in text
    awake = make_simulation([make_policy("a"), make_policy("b")], bound_energy_j=None)
    assert "asleep" not in table_text(awake)
    sleeping = make_simulation(parking=True, forecast="perfect")
    header = " ".join(table_text(sleeping).split("req J")[0].split())
    assert "replicas may sleep under every policy" in header
    assert "length forecast perfect" in header


def test_missing_is_a_dash_not_a_zero(make_simulation, make_policy):
    text = table_text(make_simulation([make_policy("only", refused=19366)]))
    row = next(line for line in text.splitlines() if line.startswith("only"))
    assert row.split()[3:5] == ["-", "-"]


def test_seeds_bring_an_interval(make_simulation, make_policy):
    policies = [make_policy(seeds=5), make_policy("pack", saving_frac=0.4, seeds=5)]
    assert "±" in table_text(make_simulation(policies, seeds=[0, 1, 2, 3, 4])).split("GPUs")[0]
