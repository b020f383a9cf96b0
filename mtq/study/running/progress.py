"""A progress bar over all runs of a study."""

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from mtq.study.running.worker_pool import Job


class Progress:
    """A display of the number of finished runs and of the time that the remaining ones will take.

    If the output is not a terminal, a line is printed for each finished run.

    Args:
        runs: The number of runs to make.
        epochs: The number of epochs of each run.
        shown: Whether anything is printed.
    """

    def __init__(self, runs: int, epochs: int, shown: bool) -> None:
        self._runs, self._epochs, self._shown = runs, epochs, shown
        self._console = Console(stderr=True)
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("epochs,"),
            TimeElapsedColumn(),
            TextColumn("elapsed,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self._console,
            disable=not shown or not self._console.is_terminal,
            speed_estimate_period=600,
        )
        self._all: Any = None
        self._done: dict[Job, int] = {}
        self._finished = 0

    def __enter__(self) -> "Progress":
        self._bars.start()
        self._all = self._bars.add_task(self._title(), total=self._runs * self._epochs)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
        if kind is KeyboardInterrupt:
            self._console.print(
                f"Stopped after {self._title()}. Finished runs are kept; start the study again to resume."
            )

    def at(self, job: Job, epochs: int) -> None:
        """Shows the number of finished epochs of a run."""
        self._bars.advance(self._all, epochs - self._done.get(job, 0))
        self._done[job] = epochs

    def claimed_elsewhere(self, job: Job) -> None:
        """Removes a run that another process makes."""
        self._runs -= 1
        self._bars.advance(self._all, -self._done.pop(job, 0))
        self._bars.update(self._all, description=self._title(), total=self._runs * self._epochs)

    def finished(self, job: Job, error: BaseException | None) -> None:
        """Shows that a run has ended, with its error if it failed."""
        self._finished += 1
        self.at(job, self._epochs)
        self._bars.update(self._all, description=self._title())
        if error is not None:
            self._console.print(f"[red]{escape(f'{job.arm}, seed {job.seed} failed: {error}')}[/red]")
        elif self._shown and not self._console.is_terminal:
            task = self._bars.tasks[0]
            elapsed, left = ("?" if s is None else f"{s / 60:.1f} min" for s in (task.elapsed, task.time_remaining))
            self._console.print(f"{self._title()}: {job.arm}, seed {job.seed} ({elapsed} elapsed, about {left} left)")

    def _title(self) -> str:
        return f"run {self._finished} of {self._runs}"
