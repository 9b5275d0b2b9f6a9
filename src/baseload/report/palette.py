"""Colours: one policy, one colour, in every plot and on the page, in light and in dark.

The baseline is grey; the others are hues that remain apart for people who confuse red and green
(after Okabe and Ito, and Tol), and beyond five policies the line style changes too, so that no plot
relies on hue alone.
"""

from __future__ import annotations

from baseload.simulator.results import POWER_STATES

INK, MUTED, GRID = "#1d2330", "#5a6472", "#dde2e8"
INK_DARK, MUTED_DARK, GRID_DARK = "#e6e9ee", "#a3adba", "#333b47"

POLICY_LIGHT = (
    "#6b7280", "#0072b2", "#d55e00", "#009e73", "#aa4499", "#b8860a",
    "#3a9fdc", "#882255", "#7a8f00", "#332289",
)  # fmt: skip
POLICY_DARK = (
    "#a6adba", "#4aa8e0", "#ff8a4c", "#2fc79a", "#d98ad0", "#e3b341",
    "#8fd0ff", "#e07aa8", "#b9cc4a", "#9a8cf0",
)  # fmt: skip
STATE_LIGHT = dict(
    zip(POWER_STATES, ("#2f6db3", "#e8a33d", "#86b8a5", "#b9c0c9", "#b0508a"), strict=True)
)
STATE_DARK = dict(
    zip(POWER_STATES, ("#5b9be0", "#d9922b", "#5f9482", "#5d6672", "#d07ab0"), strict=True)
)
STATE_WORDS = {
    "active": "working",
    "idle": "idle (waiting for work)",
    "parked": "parked (asleep)",
    "off": "off",
    "waking": "waking up",
}
DASHES = ("solid", "dashed", "dotted")


def policy_color(place: int) -> str:
    """Colour of the policy in ``place``; place 0 is the baseline's."""
    return POLICY_LIGHT[place % len(POLICY_LIGHT)]


def policy_dash(place: int) -> str:
    """Line style of the policy in ``place``, a CSS border style that matplotlib knows too."""
    return DASHES[min(place // 5, len(DASHES) - 1)]


def css_names() -> dict[str, str]:
    """From each colour of a drawing to the CSS variable that stands for it on the page."""
    names = {INK: "--ink", MUTED: "--muted", GRID: "--grid"}
    names |= {color: f"--p{place}" for place, color in enumerate(POLICY_LIGHT)}
    names |= {color: f"--s-{state}" for state, color in STATE_LIGHT.items()}
    return names


def css_variables(*, dark: bool) -> str:
    """The declarations ``--name:colour;`` of the light or the dark page."""
    values = {"--ink": INK_DARK, "--muted": MUTED_DARK, "--grid": GRID_DARK}
    values |= {f"--p{place}": color for place, color in enumerate(POLICY_DARK)}
    values |= {f"--s-{state}": color for state, color in STATE_DARK.items()}
    if not dark:
        values = {name: color for color, name in css_names().items()}
    return "".join(f"{name}:{color};" for name, color in values.items())
