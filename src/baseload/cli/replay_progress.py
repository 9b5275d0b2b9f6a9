"""The progress bar of a replay, on standard error where that is a terminal."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from baseload.gateway.load.run import Progress


class Bar:
    """How many requests have ended, of how many; drawn a few times a second."""

    def __init__(self, requests: int, *, quiet: bool) -> None:
        self._requests, self._quiet = requests, quiet
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Bar:
        """Begin to draw."""
        if not self._quiet:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as RichProgress

            console = Console(stderr=True)
            if console.is_terminal:
                columns = (
                    BarColumn(bar_width=30),
                    TextColumn("{task.completed:,.0f} of {task.total:,.0f} answered"),
                    TextColumn("{task.fields[flight]:,} in flight, {task.fields[failed]:,} failed"),
                    TimeElapsedColumn(),
                )
                self._bar = RichProgress(
                    *columns, console=console, transient=True, refresh_per_second=4
                )
                self._bar.start()
                self._task = self._bar.add_task("", total=self._requests, flight=0, failed=0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def show(self, progress: Progress) -> None:
        """Where the run stands now."""
        if self._bar is not None:
            self._bar.update(
                self._task,
                completed=progress.answered,
                flight=progress.in_flight,
                failed=progress.failed,
            )
