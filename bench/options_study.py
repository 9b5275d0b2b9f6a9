"""What each option of ``solar-site`` costs and is worth: every option alone for ten days, the joules
that a class of requests adds under each, and the prices of energy at which the best one changes.

Run: python bench/options_study.py [--quick] writes bench/results/options.json. With --quick: two
days, and nothing outside out/bench.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from baseload.cli.policy_specs import policy_of
from baseload.cli.scenario_file import Overrides, ReadScenario, read_scenario, scenario_of
from baseload.simulator.choices import Choice
from baseload.simulator.results import PolicyResult
from baseload.simulator.run import simulate
from baseload.simulator.scenario import Scenario
from common import QUICK_RESULTS, RESULTS, machine, versions, write_json

SCENARIO, POLICY = "solar-site", "energy_greedy"
START, DAYS = "2022-04-01T00:00Z", 10
S_PER_DAY, J_PER_KWH = 86_400.0, 3.6e6
PLAN = {"chat": "8b-brief", "reasoning": "32b-think", "batch": "8b-direct"}
"""One option for each class, near the best of a mean price: the site is sized for it, and joules
that a class adds are counted beside it.
"""
FORCED = 1e12  # joules that a wrong answer costs a policy that is to follow a plan
API_USD_PER_TOKEN = {"input": 0.25e-6, "output": 2.00e-6}
"""List price of GPT-5 mini: github/docs, data/tables/copilot/models-and-pricing.yml."""
Plan = dict[str, str]


def main() -> None:
    """Run and write."""
    quick = "--quick" in sys.argv
    study = Study(2 if quick else DAYS)
    value_usd = study.values_usd()
    content = {
        "schema": "baseload-bench-options/1",
        "machine": machine(),
        "versions": versions(),
        "scenario": SCENARIO,
        "policy": POLICY,
        "start": START,
        "days": study.days,
        "seeds": 1,
        "plan": PLAN,
        "supply_scale": study.scale,
        "right_usd": value_usd,
        "options": [study.option_row(choice) for choice in study.choices],
        "of_the_plan": study.figures(study.planned(PLAN)),
        "controllable_frac": 0.0,
        "classes": {label: study.class_row(label, value_usd[label]) for label in study.requests},
        "year": None if quick else study.year(),
    }
    draws = [row["site_w"] for row in content["options"]]
    content["controllable_frac"] = 1.0 - min(draws) / max(draws)
    write_json(content, (QUICK_RESULTS if quick else RESULTS) / "options.json")
    show(content)


class Study:
    """Ten days of the scenario, at the scale where the panels give what the plan draws."""

    def __init__(self, days: int) -> None:
        """``days`` of the scenario."""
        self.days = days
        self.read = read_scenario(SCENARIO)
        self.scale = 1.0
        scenario = self.scenario(days)
        self.choices = scenario.choices
        self.requests, self.tokens = _counts(scenario)
        found = self.planned(PLAN).supply[0]
        self.scale = found.demand_j / found.baseline_j

    def scenario(self, days: int) -> Scenario:
        """Some days of the shipped scenario from ``START`` on at the study's scale; more than
        ``DAYS``: the scenario as it is.
        """
        if days > DAYS:
            return scenario_of(self.read, Overrides())
        file = self.read.file
        assert file.trace.generate is not None and file.supply is not None
        made = msgspec.structs.replace(file.trace.generate, span_s=days * S_PER_DAY)
        file = msgspec.structs.replace(
            file,
            trace=msgspec.structs.replace(file.trace, generate=made),
            supply=msgspec.structs.replace(file.supply, start=START),
        )
        asked = Overrides(supply_scales=(self.scale,))
        return scenario_of(ReadScenario(file, Path(), SCENARIO), asked)

    def planned(self, plan: Plan, days: int | None = None) -> PolicyResult:
        """The run where each class has the option of the plan."""
        scenario = self.scenario(self.days if days is None else days)
        named = {choice.name: choice for choice in scenario.choices}
        kept = tuple(_only(named[name], plan) for name in dict.fromkeys(plan.values()))
        scenario = msgspec.structs.replace(scenario, choices=kept)
        chosen = policy_of(f"{POLICY}:rate_quality={FORCED:g}")
        return simulate(scenario, [chosen], seeds=1).policies[0]

    def figures(self, run: PolicyResult) -> dict[str, Any]:
        """What a run drew, bought, wasted and missed."""
        supply = run.supply[0]
        span_s = self.days * S_PER_DAY
        return {
            "j_per_request": run.energy_j_per_request,
            "gpu_w": run.energy_j / span_s,
            "site_w": supply.demand_j / span_s,
            "auxiliary_j": supply.auxiliary_j,
            "waste_j": supply.waste_j,
            "miss_frac": run.miss_frac,
            "miss_frac_by_tier": run.miss_frac_by_tier,
            "utilization": run.utilization_by_device,
            "mean_batch": run.mean_batch_by_device,
        }

    def option_row(self, choice: Choice) -> dict[str, Any]:
        """An option alone, for every class."""
        run = self.planned(dict.fromkeys(self.requests, choice.name))
        right = sum(choice.right(label) * count for label, count in self.requests.items())
        return {
            "option": choice.name,
            "right_frac": right / sum(self.requests.values()),
            **self.figures(run),
        }

    def values_usd(self) -> dict[str, float]:
        """What a right answer is worth by class: what the same tokens cost at an outside model."""
        return {
            label: sum(API_USD_PER_TOKEN[kind] * tokens for kind, tokens in by_kind.items())
            for label, by_kind in self.tokens.items()
        }

    def class_row(self, label: str, right_usd: float) -> dict[str, Any]:
        """The joules [at the bus] that a request of a class adds under each option over the first
        of them, the others following the plan; the hull, and the prices at which it turns.
        """
        count = self.requests[label]
        rows = [
            {
                "option": choice.name,
                "right_frac": choice.right(label),
                "j": self.planned({**PLAN, label: choice.name}).supply[0].demand_j / count,
            }
            for choice in self.choices
        ]
        least = min(row["j"] for row in rows)
        for row in rows:
            row["j"] -= least
        return {"requests": count, "options": rows, "breakpoints": _breakpoints(rows, right_usd)}

    def year(self) -> dict[str, Any]:
        """The shipped year under the plan: what the panels give over what the site draws."""
        run = self.planned(PLAN, days=365)
        supply = run.supply[0]
        return {
            "requests": run.completed + run.refused,
            "baseline_j": supply.baseline_j,
            "demand_j": supply.demand_j,
            "baseline_over_demand": supply.baseline_j / supply.demand_j,
            "auxiliary_j": supply.auxiliary_j,
            "waste_j": supply.waste_j,
            "miss_frac_by_tier": run.miss_frac_by_tier,
            "requests_per_cpu_s": run.requests_per_cpu_s,
        }


def _only(choice: Choice, plan: Plan) -> Choice:
    """The choice as the only right one for the classes that the plan gives it."""
    right = {label: float(name == choice.name) for label, name in plan.items()}
    return msgspec.structs.replace(choice, right_frac=right)


def _counts(scenario: Scenario) -> tuple[dict[str, int], dict[str, dict[str, float]]]:
    """Requests of each class, and their mean tokens."""
    trace = scenario.requests(0)
    chunks = [chunk for chunk in trace.chunks()]
    code = np.concatenate([chunk.class_code for chunk in chunks])
    lengths = {
        "input": np.concatenate([chunk.input_tokens for chunk in chunks]),
        "output": np.concatenate([chunk.output_tokens for chunk in chunks]),
    }
    counts = {label: int((code == at).sum()) for at, label in enumerate(trace.classes)}
    means = {
        label: {kind: float(tokens[code == at].mean()) for kind, tokens in lengths.items()}
        for at, label in enumerate(trace.classes)
    }
    return counts, means


def _breakpoints(rows: list[dict[str, Any]], right_usd: float) -> list[dict[str, Any]]:
    """Where the best option changes as energy grows dearer: neighbours on the upper hull of right
    answers over joules, the dearest first.
    """
    hull: list[dict[str, Any]] = []
    for row in sorted(rows, key=lambda row: (row["j"], -row["right_frac"])):
        if hull and row["right_frac"] <= hull[-1]["right_frac"]:
            continue
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) <= _slope(hull[-1], row):
            hull.pop()
        hull.append(row)
    return [
        {
            "from": above["option"],
            "to": below["option"],
            "usd_per_kwh": right_usd * _slope(below, above) * J_PER_KWH,
        }
        for below, above in reversed(list(zip(hull, hull[1:], strict=False)))
    ]


def _slope(below: dict[str, Any], above: dict[str, Any]) -> float:
    """Right answers for a joule between two options."""
    return float((above["right_frac"] - below["right_frac"]) / (above["j"] - below["j"]))


def show(content: dict[str, Any]) -> None:
    """The tables, in short."""
    for row in content["options"]:
        print(
            f"{row['option']:10s} {row['j_per_request']:6.0f} J  right {row['right_frac']:.3f}  "
            f"miss {row['miss_frac']:.4f}  {row['site_w']:5.0f} W  "
            f"aux {row['auxiliary_j'] / J_PER_KWH:6.1f}  waste {row['waste_j'] / J_PER_KWH:6.1f} kWh"
        )
    print(f"controllable {content['controllable_frac']:.3f}, scale {content['supply_scale']:.3f}")
    for label, found in content["classes"].items():
        print(label, f"${content['right_usd'][label]:.5f}")
        for row in found["options"]:
            print(f"  {row['option']:10s} {row['j']:6.0f} J  right {row['right_frac']:.3f}")
        for turn in found["breakpoints"]:
            print(f"  {turn['from']} -> {turn['to']} above {turn['usd_per_kwh']:.3f} $/kWh")
    print(content["of_the_plan"], content["year"])


if __name__ == "__main__":
    main()
