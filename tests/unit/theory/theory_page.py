"""Writes docs/reference/theory.md from the entries of the catalogue:

python tests/unit/theory/theory_page.py
"""

from __future__ import annotations

from pathlib import Path

from baseload.theory.catalogue import ENTRIES

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "theory.md"

INTRO = """\
# `baseload theory`

The formulas behind the planner, the monitor and the policies: list them, explain one, evaluate
one. The table below is generated from `baseload.theory.catalogue` by
`tests/unit/theory/theory_page.py`; a test holds them equal.

```console
$ baseload theory
$ baseload theory two_sided_u
$ baseload theory two_sided_u theta=0.5 var=4 B=100
$ baseload theory exact_dam_u lam=1 b=1.1 B=20 dist="logn s=1" mean=1
$ baseload theory two_sided_u theta=0 var=4 B=1:1000:7:log --plot u.png
```

## Values

Units are SI: J, s, W, J^2/s, $, $/J. `baseload theory NAME` says the unit of every input.

| kind | spelling |
| --- | --- |
| number | `0.5`, `1e6`, `-3`, `inf` |
| truth value | `true`, `false` |
| list, matrix | `[0.5,0.3]`, `[[1,2],[3,4]]` (JSON or YAML) |
| law of request energies | `exp`, `det`, `"logn s=1"`, `"gamma k=2"`, `"erlang k=3"`, \
`uniform`, `"hyperexp scv=4"`, `"pareto xi=1.5 cap=30"` |
| function of time [s] | `"1.5*sin(2*pi*t/24)-0.1"` with `sin cos exp sqrt abs min max`, `pi`, \
`e` |
| left out | `none`, or do not name it |

One input may run through values, and the answer is a table: `B=10,100,1000`, `B=0:100:11` (from,
to, number of points) or `B=1:1000:7:log` (equal ratios). `--plot FILE.png` draws it.

## How far to trust a value

Every answer says its standing:

| standing | meaning |
| --- | --- |
| exact | a theorem of the stated model, up to round-off or a stated numerical error |
| asymptotic | an approximation whose error is stated and goes to 0 in a limit |
| heuristic | checked by simulation only, or not at all |

*Exact* speaks of the model, not of your site. A rate of a store comes with what the [accuracy
ladder](../explanation/critical-regime.md) makes of the same inputs: which formula it would take
(the rung), its error, and three ratios, the capacity over the noise of one slot, over the mean
overshoot of one request and over one correlated episode. Where one of them is small the plain
diffusion is far off; where one is not known, `baseload theory supply_rates` takes what it needs.

The formulas are textbook results or this project's own derivation. The paper *Energy-Aware
Routing to Large Reasoning Models* was at hand only as its abstract; nothing here is claimed to be
its statement.

## In Python

```python
from baseload.theory import catalogue

u_w = catalogue["two_sided_u"](theta=0.5, var=4, B=100)
assert u_w == catalogue.two_sided_u(theta=0.5, var=4, B=100)

entry = catalogue.find("exact_dam_u")
print(entry.gives, entry.standing, entry.example)
print(entry.validity(**entry.example).rung)
```

Inputs are keywords. A wrong name, a number out of range and NaN raise `ValueError` (an
`ArgumentError` with the fields `asked`, `found`, `allowed`, `todo`). `entry.typed` is the
function behind a formula, with a record of named fields where it gives several numbers.

## JSON

`--json FILE` writes an object with `schema` = `baseload-theory/1` and `version`. Infinite numbers
are the texts `"inf"` and `"-inf"`; what is not known is null.

| field | when | meaning |
| --- | --- | --- |
| `formulas` | no formula named | `name`, `gives`, `topic`, `section`, `standing`, `example` of \
each |
| `formula` | | one of these with `inputs` (`name`, `means`, `unit`, `required`, `default`) and \
`explanation`; when evaluated, its name |
| `inputs`, `value`, `unit` | evaluated | a number and its unit, or both by name |
| `ladder` | evaluated, a rate of a store | `rung`, `standing`, `error_frac`, `u_w`, `w_w`, `y`, \
`regime`, `storage_per_slot_noise`, `storage_per_overshoot`, `storage_per_episode`, `warnings` |
| `sweep`, `rows` | swept | the input that runs, and for each point `at`, `value`, `ladder` |

## The catalogue

Sections are those of the explanations: [critical regime](../explanation/critical-regime.md) (1, 2,
3.1 to 3.5), [provisioning](../explanation/provisioning.md) (2.4, 3.6 to 3.10),
[variance budget](../explanation/variance-budget.md) (4),
[variance-aware routing](../explanation/variance-aware-routing.md) (5),
[scaling laws](../explanation/scaling-laws.md) (6), [monitoring](../explanation/monitoring.md) (7).
"""


def text() -> str:
    """The whole page."""
    lines = [INTRO]
    topic = ""
    for entry in ENTRIES.values():
        if entry.topic != topic:
            topic = entry.topic
            lines += [
                f"\n### {topic[0].upper()}{topic[1:]}\n",
                "| formula | gives | inputs | section | standing |",
                "| --- | --- | --- | --- | --- |",
            ]
        inputs = ", ".join(f"`{name}`" for name in entry.inputs)
        gives = entry.gives.replace("|", "\\|")
        lines.append(
            f"| `{entry.name}` | {gives} | {inputs} | {entry.section} | {entry.standing} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
