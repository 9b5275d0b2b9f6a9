"""Baseload: the fewest joules that keep quality, deadline and energy supply."""

__version__ = "0.1.0"
