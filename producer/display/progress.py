"""Shows the progress of one job on standard error: a bar on a terminal, otherwise a line every few seconds."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from pigeonhole.jobs.progress import done_text, findings_text
from pigeonhole.ledger.status import JobStatus
from pigeonhole.ledger.workers import Announcement
from pigeonhole.text import counted

#: Seconds between two lines if there is no bar.
LINE_EVERY = 5.0


class JobProgress(Progress):
    """A bar with a line of details on a terminal, otherwise one line for both; as a context manager, removes the bar.

    Args:
        quiet: Print nothing.
        clock: Returns the time in seconds; tests replace it.
        kept: Number of images with a row of an earlier run, which are not in the job; the bar starts there.
    """

    def __init__(self, quiet: bool = False, clock: Callable[[], float] = time.monotonic, kept: int = 0) -> None:
        self._kept = kept
        self._status: JobStatus | None = None
        self._done_first: int | None = None
        self._workers: Sequence[Announcement] | None = None
        self._printed = clock()
        console = Console(stderr=True, quiet=quiet)
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[done]}"),
            console=console,
            refresh_per_second=8,
            transient=True,
            redirect_stdout=False,  # rows may go there
            get_time=clock,
            disable=quiet or not can_redraw(console),
            expand=True,
        )
        self._task = self.add_task("starting", total=None, done="")

    def show(self, status: JobStatus) -> None:
        """Show the counters of the job."""
        status = replace(status, images=status.images + self._kept, done=status.done + self._kept)
        if self._done_first is None:
            self._done_first = status.done
        self._status = status
        done = done_text(status)
        total = None if status.submitting else status.images
        self.update(self._task, description=_activity(status), completed=status.done, total=total, done=done)
        if self.disable and self.get_time() - self._printed >= LINE_EVERY:
            self._printed = self.get_time()
            self.console.out(f"{done}, {self._details()}", highlight=False)

    def show_workers(self, workers: Sequence[Announcement]) -> None:
        """Show the number of workers with the next counters."""
        self._workers = workers

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return the bar, and the line of details below it."""
        yield from super().get_renderables()
        yield Text(self._details(), style="dim", no_wrap=True, overflow="ellipsis")

    def _details(self) -> str:
        # The first rows may arrive before the worker announces its processes, which it does every few seconds.
        at_work = self._status is not None and self._status.done != self._done_first
        workers = "" if self._workers is None else workers_text(self._workers, at_work)
        if self._status is None:
            return workers
        speed, seconds = self.tasks[0].speed, self.tasks[0].time_remaining
        known = (
            f"{speed:,.0f}/s" if speed else "",
            f"{timedelta(seconds=seconds)} left" if seconds else "",
            findings_text(self._status),
            workers,
        )
        return ", ".join(filter(None, known))


def can_redraw(console: Console) -> bool:
    """Return whether a console is a terminal with a movable cursor."""
    return console.is_interactive and console.file.isatty()  # with FORCE_COLOR, rich treats any file as a terminal


def workers_text(workers: Sequence[Announcement], at_work: bool = False) -> str:
    """Return the number of workers, and of their processes if it differs.

    Args:
        workers: announcements of the workers.
        at_work: whether rows arrive, so that workers are running even if they have not announced processes yet.
    """
    processes = sum(worker.processes for worker in workers)
    if workers and not processes:
        return counted(len(workers), "worker") + ("" if at_work else " (starting)")
    many = "" if processes == len(workers) else f" ({processes:,} {'process' if processes == 1 else 'processes'})"
    return counted(len(workers), "worker") + many


def _activity(status: JobStatus) -> str:
    if status.silent is not None:
        return "submission was interrupted"
    if status.submitting and status.done == status.images:
        return "waiting for more to be submitted"
    return "classifying" if status.started else "waiting for a worker"
