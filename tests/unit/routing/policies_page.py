"""Writes docs/reference/policies.md from the table of policies:

python tests/unit/routing/policies_page.py
"""

from __future__ import annotations

from pathlib import Path

from baseload.routing.policies import POLICIES
from baseload.routing.policy import Policy
from baseload.routing.price import KNOBS, PARTS, UNITS

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "policies.md"

QUANTITIES = {
    "energy": "joules that the fleet draws with the request minus without it",
    "carbon": "the same joules times the grid's intensity [g/J]",
    "lateness": "lambda times expected seconds past the promises, its own and its neighbours'",
    "quality": "probability that the answer of the option is wrong",
    "fee": "what an external provider charges [$]",
    "requests": "requests in flight at the replica, queued or running",
    "tokens": "outstanding tokens of the replica: inputs and forecast outputs",
    "seconds": "expected seconds to the last token",
    "average": "profiled joules a token times the tokens of the request",
    "backlog": "lambda times seconds by which its tokens, as profiled, pass the deadline",
    "headroom": "what is left of the promises, a fraction; from 1 up where they would be broken",
    "tiles": "1 where the request opens a tile of the batch, less a little for the load there",
    "size": "1 where a short request meets a strong device, or a long one a frugal",
}

KNOB_MEANINGS = {
    "deadline_factor": ("times the deadline is when a backlog is late", "backlog"),
    "margin_frac": ("share of a promise that is kept free", "headroom, tiles"),
    "ttft_weight": ("weight of the first token in the headroom, 0 to 1", "headroom"),
    "tile_requests": ("requests in a tile of the batch", "tiles"),
    "short_input_tokens": ("longest input of a short request", "size"),
    "short_output_tokens": ("longest forecast output of a short request", "size"),
}

RULES = {
    "price": "the cheapest candidate that can take the request",
    "sample": "the cheapest of `choices` replicas that are drawn at random",
    "random": "a replica drawn at random",
    "round_robin": "the next replica in turn",
    "weighted_round_robin": "the next in turn, types in proportion to replicas times weight",
}

INTRO = """\
# Policies

Generated from the table in `baseload.routing.policies` by `tests/unit/routing/policies_page.py`; a
test holds them equal. `baseload policies` lists the same, `baseload policies NAME` explains one. To
write one: [write a policy](../how-to/write-a-policy.md).

## Parts of the price

A policy with the rule `price` or `sample` prices candidates with a sum: each part is a quantity
times a rate. A part without a rate counts nothing and is not computed.
[Why a sum with units](../explanation/one-decision.md#why-a-sum-with-units).

| part | quantity | unit of its rate |
| --- | --- | --- |
{parts}

## Rules

| rule | picks |
| --- | --- |
{rules}

Only open replicas that serve the model asked for, whose memory can hold the prompt, and that have
room in their queue can take a request. If none can, it is refused, and counted as a missed
deadline. Of equal prices the lowest-numbered replica wins, then the lowest-numbered option;
`sample` takes the first that was drawn.

## Parameters

`--policy name:parameter=value,parameter=value` changes a policy for one run,
`policy("name:parameter=value")` in Python:

| parameter | value | counts for |
| --- | --- | --- |
| `rate_PART` | a number in the unit above, such as `rate_energy=3e-8` | rules `price`, `sample` |
| `choices` | how many replicas are drawn, 1 to 1024 | rule `sample` |
| `weight` | `capacity` (requests a second, all seats taken), `equal` | `weighted_round_robin` |
{knobs}
| `kp`, `ki`, `anti_windup` | gains of the PI rule of lambda; 0 or 1 | policies with that rule |
| `log_lambda` | 0 keeps lambda where it starts | policies that move it on a log scale |
| `working_set`, `holds_bulk`, `clocks` | 0 switches it off | policies that have it |
| `supply` | 0: joules at the price of auxiliary energy, always | policies with `supply` |
| `stop_rule` | 1: cut thinking that its joules are not worth | policies with a price of joules |
| `day_states` | 0: all hours of the day are alike | `full_jump` |
| `price_frac` | constant price over that of auxiliary energy; below 0: solved for | `static` |
| `low_frac`, `high_frac` | levels of the store | `battery_threshold`, `greedy_green` |
| `v_frac` | weight of cost against the drift of the store | `lyapunov` |

## The policies

| name | |
| --- | --- |
{names}
"""


def text() -> str:
    """The whole page."""
    units = dict(zip(PARTS, UNITS, strict=True))
    intro = INTRO.format(
        parts="\n".join(f"| `{part}` | {QUANTITIES[part]} | {units[part]} |" for part in PARTS),
        knobs="\n".join(
            f"| `{knob}` | {said}; {KNOBS[knob]:g} unless given | part {parts} |"
            for knob, (said, parts) in KNOB_MEANINGS.items()
        ),
        rules="\n".join(f"| `{rule}` | {said} |" for rule, said in RULES.items()),
        names="\n".join(
            f"| [`{one.name}`](#{one.name}) | {one.summary} |" for one in POLICIES.values()
        ),
    )
    return "\n".join([intro, *(section(one) for one in POLICIES.values())])


def section(policy: Policy) -> str:
    """One policy."""
    flags = [
        name for name in ("free_seats", "rising", "by_tokens", "flat") if getattr(policy, name)
    ]
    parameters = "".join(f"* `{key}` = `{value}`\n" for key, value in policy.parameters().items())
    promises = f"* promises: {', '.join(f'`{flag}`' for flag in flags)}\n" if flags else ""
    return (
        f"### {policy.name}\n\n{policy.summary[0].upper()}{policy.summary[1:]}.\n\n"
        f"{parameters}{promises}\n{policy.explanation}\n\nSource: {policy.source}.\n"
    )


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
