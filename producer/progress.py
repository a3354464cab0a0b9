"""How far a job is, on standard error: a bar on a terminal, a line now and then elsewhere, or nothing."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from producer.summary import counted
from worker.contract.jobs import JobStatus

#: Seconds between two lines where there is no terminal.
LINE_EVERY = 5.0


@contextmanager
def progress(quiet: bool, clock: Callable[[], float] = time.monotonic) -> Iterator[Callable[[JobStatus], None]]:
    """Give a function that shows a job's counters; what it shows is gone, or complete, when the block is left.

    Args:
        quiet: nothing is shown.
        clock: in place of the real one, for tests.
    """
    if quiet:
        yield lambda status: None
    elif sys.stderr.isatty():
        with _bar() as show:
            yield show
    else:
        yield _lines(clock)


def _lines(clock: Callable[[], float]) -> Callable[[JobStatus], None]:
    last = clock()

    def show(status: JobStatus) -> None:
        nonlocal last
        now = clock()
        if now - last >= LINE_EVERY:
            last = now
            sys.stderr.write(f"{status.done:,} of {_total(status)} images, {counted(status.errors, 'error')}\n")
            sys.stderr.flush()

    return show


@contextmanager
def _bar() -> Iterator[Callable[[JobStatus], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.fields[of]} images"),
        TextColumn("{task.fields[speed]}", style="dim"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None, of="?", speed="")

        def show(status: JobStatus) -> None:
            speed = bar.tasks[0].speed
            bar.update(
                task,
                description=_doing(status),
                completed=status.done,
                total=status.images if status.state != "open" else None,
                of=_total(status),
                speed=f"{speed:,.0f}/s" if speed else "",
            )

        yield show


def _doing(status: JobStatus) -> str:
    if status.state == "open" and status.done == status.images:
        return "waiting for more to be submitted"
    return "classifying" if status.started else "waiting for a worker"


def _total(status: JobStatus) -> str:
    return f"{status.images:,}" + ("…" if status.state == "open" else "")
