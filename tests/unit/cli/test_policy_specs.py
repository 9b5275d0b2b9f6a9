"""Policies by name, with parameters, and from a user's file, which may do anything wrong."""

from __future__ import annotations

import sys
import types

import pytest

from baseload.base.errors import BadInputError, BaseloadError, UnknownNameError
from baseload.cli.policy_specs import failure_in, policy_of
from baseload.routing.policies import POLICIES

RECORD = (
    "from baseload.routing.policy import Policy\n"
    "My = Policy(name='mine', summary='s', source='own', {})\n"
)
CHOOSES = "class My:\n    def choose(self, request, fleet):\n        {}\n"


@pytest.fixture
def file(folder):
    """Writes a policy file and gives its path in the working folder."""

    def write(text: str) -> str:
        (folder / "mine.py").write_text(text, encoding="utf-8")
        return "mine.py"

    return write


def test_every_built_in_policy_is_found_by_its_name():
    for name in POLICIES:
        assert policy_of(name) is POLICIES[name]


@pytest.mark.parametrize("spec", ["least_loded", "", "Least_Loaded", "mine:py"])
def test_an_unknown_name_lists_the_nearest(spec):
    with pytest.raises(UnknownNameError, match="baseload policies"):
        policy_of(spec)


def test_parameters_change_the_policy_and_its_name():
    """Once, two settings of one policy could not be compared: both had its name."""
    three = policy_of("power_of_two:choices=3")
    assert three.choices == 3
    assert three.name == "power_of_two:choices=3"
    assert policy_of("weighted_round_robin: weight = equal ").weight == "equal"
    assert policy_of("energy_greedy:rate_energy=2,rate_seconds=1e-3").rates == {
        "energy": 2.0,
        "seconds": 1e-3,
    }


def test_numbers_that_shape_a_price_and_controllers_can_be_set():
    """Once, only rates and choices could, though the policies page told of the others."""
    assert policy_of("joulesched:deadline_factor=0.5,anti_windup=1").knobs["deadline_factor"] == 0.5
    assert policy_of("baseload:working_set=0").slow.working_set is False
    with pytest.raises(BadInputError, match="no parameter 'deadline_factor'"):
        policy_of("least_loaded:deadline_factor=0.5")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("power_of_two:", ["name=value"]),
        ("power_of_two:choices", ["'choices'", "name=value"]),
        ("power_of_two:=3", ["'=3'"]),
        ("power_of_two:choices=", ["'choices='"]),
        ("power_of_two:choices=3,", ["name=value"]),
        ("power_of_two:choices=3,choices=4", ["choices twice"]),
        ("power_of_two:choices=2.7", ["2.7", "a whole number"]),
        ("power_of_two:choices=nan", ["nan"]),
        ("power_of_two:choices=0", ["1 to 1024"]),
        ("power_of_two:choices=99999", ["1 to 1024"]),
        ("power_of_two:choice=3", ["no parameter 'choice'", "choices"]),
        ("least_loaded:choices=3", ["no parameter 'choices'", "rate_requests"]),
        ("round_robin:weight=equal", ["no parameter 'weight'", "none"]),
        ("weighted_round_robin:weight=half", ["capacity or equal"]),
        ("energy_greedy:rate_energy=lots", ["lots", "a finite number"]),
        ("energy_greedy:rate_energy=1e400", ["a finite number"]),
        ("energy_greedy:rate_energy=-1", ["a number >= 0"]),
        ("energy_greedy:rate_enrgy=1", ["rate_energy"]),
    ],
)
def test_a_parameter_that_would_do_nothing_or_harm_is_refused(spec, words):
    with pytest.raises(BaseloadError) as error:
        policy_of(spec)
    for word in words:
        assert word in str(error.value), str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def x(:\n", ["does not run", "SyntaxError", "line 1"]),
        ("import nosuchmodule\n", ["does not run", "nosuchmodule", "mine.py, line 1"]),
        ("x = 1\nraise RuntimeError('boom')\n", ["RuntimeError: boom", "mine.py, line 2"]),
        ("import sys\nsys.exit(3)\n", ["SystemExit: 3"]),
        ("x = '\udce9'\n".encode("utf-8", "surrogateescape").decode("latin1"), ["policy"]),
        ("class Other:\n    def choose(self, r, f): ...\n", ["'My'", "Other"]),
        ("x = 1\n", ["no policy in this file"]),
        ("My = 3\n", ["int", "choose(request, fleet)"]),
        ("class My: pass\n", ["the class My without choose"]),
        ("def My(request, fleet): return 0\n", ["function"]),
        (CHOOSES.replace("class My", "class My(dict)").format("") + "        pass\n", None),
        (
            "class My:\n    def __init__(self, x): ...\n    choose = print\n",
            ["cannot be made", "x"],
        ),
        (
            "class My:\n    def __init__(self): raise ValueError('no')\n    choose = print\n",
            ["cannot be made", "ValueError: no"],
        ),
        ("class My:\n    def choose(self, request): return 0\n", ["too many positional"]),
        ("class My:\n    def choose(self, a, b, c): return 0\n", ["missing a required argument"]),
        ("class My:\n    async def choose(self, request, fleet): ...\n", ["async"]),
        (RECORD.format("rates={'poetry': 1.0}"), ["unknown part of the price 'poetry'"]),
        (RECORD.format("rule='guess'"), ["unknown rule", "'guess'", "round_robin"]),
        (RECORD.format("price=lambda *x: 1.0"), ["not compiled", "@kernel"]),
    ],
)
def test_a_file_with_a_mistake_is_refused_with_its_place(file, text, words):
    path = file(text)
    if words is None:
        assert policy_of(f"{path}:My").name == "My"
        return
    with pytest.raises(BaseloadError) as error:
        policy_of(f"{path}:My")
    for word in words:
        assert word in str(error.value), str(error.value)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("no.py:My", ["policy file no.py", "No such file"]),
        ("mine.py", ["a file without a name", "mine.py:MyPolicy"]),
        ("mine.py:", ["unknown policy in mine.py"]),
        ("mine.py:My:x=1", ["parameters 'x=1'", "plain Python"]),
        (".py:My", ["policy file .py"]),
    ],
)
def test_a_spec_of_a_file_that_is_none_is_refused(file, spec, words):
    file(CHOOSES.format("return 0"))
    with pytest.raises(BaseloadError) as error:
        policy_of(spec)
    for word in words:
        assert word in str(error.value), str(error.value)


def test_a_policy_of_a_file_is_called_by_its_name(file):
    assert policy_of(f"{file(CHOOSES.format('return 0'))}:My").name == "My"
    named = "class My:\n    name = 'calm'\n    def choose(self, request, fleet): return 0\n"
    assert policy_of(f"{file(named)}:My").name == "calm"
    slots = "class My:\n    __slots__ = ()\n    def choose(self, request, fleet): return 0\n"
    assert type(policy_of(f"{file(slots)}:My")).__name__ == "My"


def test_a_record_of_a_file_takes_parameters(file):
    path = file(RECORD.format("rule='sample', rates={'requests': 1.0}"))
    assert policy_of(f"{path}:My:choices=5").name == "mine:choices=5"


def test_a_changed_file_is_read_again_and_leaves_no_byte_code(file, folder):
    """Once, a file changed within a second and of the same length ran as it was before."""
    assert policy_of(f"{file(CHOOSES.format('return 1'))}:My").choose(None, None) == 1
    assert policy_of(f"{file(CHOOSES.format('return 2'))}:My").choose(None, None) == 2
    assert {path.name for path in folder.iterdir()} == {"mine.py", "tiny.csv"}


def test_a_failure_outside_the_users_file_is_ours(file):
    spec = f"{file(CHOOSES.format('return fleet.nothing'))}:My"
    with pytest.raises(AttributeError) as error:
        policy_of(spec).choose(None, types.SimpleNamespace())
    found = failure_in(error.value, [spec])
    assert isinstance(found, BadInputError)
    assert "mine.py, line 3" in str(found)
    assert failure_in(error.value, ["least_loaded"]) is None
    assert failure_in(ValueError("ours"), [spec]) is None


def test_a_module_can_be_found_by_what_it_defines(file):
    made = policy_of(f"{file(CHOOSES.format('return 0'))}:My")
    assert sys.modules[type(made).__module__].My is type(made)
