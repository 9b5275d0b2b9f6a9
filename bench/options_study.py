"""What each option of ``solar-site`` costs and is worth: every option alone for ten days, the
joules that a class of requests adds under each, the prices of energy at which the best one changes,
and the same for whole plans (an option for each class), since a model that is awake for one class
serves another one cheaply.

Run: python bench/options_study.py [--quick] writes bench/results/options.json. With --quick: two
days, and nothing outside out/bench.
"""

from __future__ import annotations

import itertools
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
PLANS = {
    "8b": {"chat": "8b-brief", "reasoning": "8b-think", "batch": "8b-direct"},
    "32b": {"chat": "32b-brief", "reasoning": "32b-think", "batch": "32b-brief"},
}
"""The best plans (an option for each class) on either side of the price at which the large model is
worth waking; joules that a class adds are counted beside each.
"""
TIER_OF = {"chat": "interactive", "reasoning": "reasoning", "batch": "bulk"}
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
        "plans": PLANS,
        "supply_scale": study.scale,
        "right_usd": value_usd,
        "options": [study.option_row(choice) for choice in study.choices],
        "of_the_plans": {name: study.figures(study.planned(PLANS[name])) for name in PLANS},
        "controllable_frac": 0.0,
        "classes": {
            label: {
                "requests": study.requests[label],
                "beside": {name: study.class_row(label, value_usd[label], name) for name in PLANS},
            }
            for label in study.requests
        },
        "best_plans": study.best_plans(value_usd),
        "year": None if quick else study.year(),
    }
    draws = [row["site_w"] for row in content["options"]]
    content["controllable_frac"] = 1.0 - min(draws) / max(draws)
    write_json(content, (QUICK_RESULTS if quick else RESULTS) / "options.json")
    show(content)


class Study:
    """Ten days of the scenario, at the scale where the panels give what the reference draws."""

    def __init__(self, days: int) -> None:
        """``days`` of the scenario."""
        self.days = days
        self.read = read_scenario(SCENARIO)
        self.scale = 1.0
        scenario = self.scenario(days)
        self.choices = scenario.choices
        self.requests, self.tokens = _counts(scenario)
        found = self.alone(self.choices[0]).supply[0]
        self.scale = found.demand_j / found.baseline_j

    def scenario(self, days: int) -> Scenario:
        """Some days of the shipped scenario from ``START`` on at the study's scale; more than
        ``DAYS``: the scenario as it is.
        """
        if days > DAYS:
            return scenario_of(self.read, Overrides())
        file = self.read.file
        assert file.trace.generate is not None
        assert file.supply is not None
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

    def alone(self, choice: Choice, days: int | None = None) -> PolicyResult:
        """The run where every class has one option."""
        return self.planned(dict.fromkeys(self.requests, choice.name), days)

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

    def best_plans(self, right_usd: dict[str, float]) -> list[dict[str, Any]]:
        """Of all plans those that are best at some price of energy from 0 up, the dearest in joules
        first: what the site draws, what its right answers are worth an hour, and the price up to
        which it is the best.
        """
        span_s = self.days * S_PER_DAY
        rows = []
        for chosen in itertools.product(self.choices, repeat=len(self.requests)):
            plan = dict(zip(self.requests, chosen, strict=True))
            worth_usd = sum(
                right_usd[label] * choice.right(label) * self.requests[label]
                for label, choice in plan.items()
            )
            run = self.planned({label: choice.name for label, choice in plan.items()})
            rows.append(
                {
                    "plan": {label: choice.name for label, choice in plan.items()},
                    "site_w": run.supply[0].demand_j / span_s,
                    "right_usd_per_hour": worth_usd / span_s * 3600.0,
                    "miss_frac": run.miss_frac,
                }
            )
        return _best_by_price(rows)

    def option_row(self, choice: Choice) -> dict[str, Any]:
        """An option alone, for every class."""
        run = self.alone(choice)
        counts = self.requests.values()
        right = sum(choice.right(label) * count for label, count in self.requests.items())
        return {
            "option": choice.name,
            "right_frac": right / sum(counts),
            "receipt_j": {
                label: run.energy_j_by_tier[TIER_OF[label]] / count
                for label, count in self.requests.items()
            },
            **self.figures(run),
        }

    def values_usd(self) -> dict[str, float]:
        """What a right answer is worth by class: what the same tokens cost at an outside model."""
        return {
            label: sum(API_USD_PER_TOKEN[kind] * tokens for kind, tokens in by_kind.items())
            for label, by_kind in self.tokens.items()
        }

    def class_row(self, label: str, right_usd: float, beside: str) -> dict[str, Any]:
        """The joules [at the bus] that a request of a class adds under each option over the most
        frugal, the other classes following a plan; and the prices at which the best one changes.
        """
        count = self.requests[label]
        rows = [
            {
                "option": choice.name,
                "right_frac": choice.right(label),
                "j": self.planned({**PLANS[beside], label: choice.name}).supply[0].demand_j / count,
            }
            for choice in self.choices
        ]
        least = min(row["j"] for row in rows)
        for row in rows:
            row["j"] -= least
        return {"options": rows, "breakpoints": _breakpoints(rows, right_usd)}

    def year(self) -> dict[str, Any]:
        """The shipped year under the reference: what the panels give over what the site draws."""
        run = self.alone(self.choices[0], days=365)
        supply = run.supply[0]
        return {
            "option": self.choices[0].name,
            "requests": run.completed + run.refused,
            "demand_w": supply.demand_w,
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
    chunks = list(trace.chunks())
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


def _best_by_price(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows on the hull of worth over watts, the dearest first; each with the price of a kWh up
    to which it is the best.
    """
    hull: list[dict[str, Any]] = []
    for row in sorted(rows, key=lambda row: (row["site_w"], -row["right_usd_per_hour"])):
        if hull and row["right_usd_per_hour"] <= hull[-1]["right_usd_per_hour"]:
            continue
        while len(hull) > 1 and _usd_per_kwh(hull[-2], hull[-1]) <= _usd_per_kwh(hull[-1], row):
            hull.pop()
        hull.append(row)
    turns = [_usd_per_kwh(below, above) for below, above in itertools.pairwise(hull)]
    paired = zip(reversed(hull), [*reversed(turns), None], strict=True)
    return [{**row, "up_to_usd_per_kwh": price} for row, price in paired]


def _usd_per_kwh(below: dict[str, Any], above: dict[str, Any]) -> float:
    """Price of energy at which two plans cost the same."""
    worth = above["right_usd_per_hour"] - below["right_usd_per_hour"]
    return float(worth / (above["site_w"] - below["site_w"]) * 1000.0)


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
        for below, above in reversed(list(itertools.pairwise(hull)))
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
            f"{row['auxiliary_j'] / J_PER_KWH:5.0f} kWh bought"
        )
    print(f"controllable {content['controllable_frac']:.3f}, scale {content['supply_scale']:.3f}")
    for label, found in content["classes"].items():
        for beside, rows in found["beside"].items():
            print(f"{label} beside {beside}, a right answer ${content['right_usd'][label]:.5f}")
            for row in rows["options"]:
                print(f"  {row['option']:10s} {row['j']:6.0f} J  right {row['right_frac']:.3f}")
            for turn in rows["breakpoints"]:
                print(f"  {turn['from']} -> {turn['to']} above {turn['usd_per_kwh']:.3f} $/kWh")
    for row in content["best_plans"]:
        print(f"{row['site_w']:5.0f} W  {row['right_usd_per_hour']:.4f} $/h", row["plan"])
        print(f"    best up to {row['up_to_usd_per_kwh'] or float('inf'):.3f} $/kWh")
    print(content["of_the_plans"], content["year"])


if __name__ == "__main__":
    main()
