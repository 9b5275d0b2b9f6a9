"""What a command tells while it works, on standard error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from baseload.simulator.measure import Totals
    from baseload.simulator.results import PolicyResult


class Report:
    """What is being done, on standard error: a live line on a terminal, plain lines for lasting
    news elsewhere.
    """

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self._status: Any = None

    def __enter__(self) -> Report:
        if not self.quiet:
            from rich.console import Console

            console = Console(stderr=True)
            self._console = console
            self._status = console.status("starting") if console.is_terminal else None
            if self._status is not None:
                self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def say(self, text: str, *, keep: bool = False) -> None:
        """Tell what is being done now; ``keep`` leaves the line standing, also in a log file."""
        if self.quiet:
            return
        if self._status is not None:
            self._update(text)
        if keep:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def done(self, result: PolicyResult) -> None:
        """A policy has been run."""
        requests = result.completed + result.refused
        self.ran(result.policy, requests, result.requests_per_cpu_s)

    def ran(self, what: str, requests: int, requests_per_cpu_s: float) -> None:
        """Something has been run: how much it was, and how fast."""
        rate = f"{requests_per_cpu_s:,.0f} requests per CPU-second"
        self.say(f"{what}: {requests:,} requests done, {rate}", keep=True)

    def ran_job(self, what: str, runs: Sequence[Totals]) -> None:
        """A job has been run, in whatever process."""
        requests = sum(run.requests for run in runs)
        cpu_s = sum(run.cpu_s for run in runs)
        self.ran(what, requests, requests / max(1e-9, cpu_s))

    def warn(self, text: str) -> None:
        """Something that a user must know: said also when quiet."""
        typer.echo(f"baseload: warning: {text}", err=True)

    def progress(self, policy: str, seed: int, done: int, expected: int) -> None:
        """How far a run is."""
        if self._status is not None:
            self._update(f"{policy}, seed {seed}: {done:,} of about {expected:,} requests")

    def _update(self, text: str) -> None:
        """Change the live line; brackets in names are no markup."""
        from rich.markup import escape

        self._status.update(escape(text))
