"""How far a job is, on standard error: a bar on a terminal, a line now and then elsewhere, or nothing."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from producer.sinks import printable
from producer.summary import counted
from worker.contract.errors import BrokerUnreachable
from worker.contract.jobs import JobStatus

#: Seconds between two lines where there is no terminal.
LINE_EVERY = 5.0


class Progress(Protocol):
    """Shows how far a job is; from any thread."""

    def show(self, status: JobStatus) -> None:
        """Show its counters."""

    def away(self, exc: BrokerUnreachable) -> None:
        """Show that Redis is waited for."""

    def back(self) -> None:
        """Show that it no longer is."""


@contextmanager
def progress(quiet: bool, clock: Callable[[], float] = time.monotonic) -> Iterator[Progress]:
    """Give what shows a job's progress; what it shows is gone, or complete, when the block is left.

    Args:
        quiet: nothing is shown.
        clock: in place of the real one, for tests.
    """
    if quiet:
        yield Quiet()
    elif sys.stderr.isatty():
        with _bar() as shown:
            yield shown
    else:
        yield Lines(clock)


class Quiet:
    """Shows nothing; see `Progress`."""

    def show(self, status: JobStatus) -> None:
        """Show nothing."""

    def away(self, exc: BrokerUnreachable) -> None:
        """Show nothing."""

    def back(self) -> None:
        """Show nothing."""


class Lines:
    """Writes a line now and then; see `Progress`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()

    def show(self, status: JobStatus) -> None:
        """Write a line if the last was some time ago."""
        now = self._clock()
        if now - self._last >= LINE_EVERY:
            self._last = now
            _write(f"{status.done:,} of {_total(status)} images, {counted(status.errors, 'error')}")

    def away(self, exc: BrokerUnreachable) -> None:
        """Write what is wrong."""
        _write(f"waiting for Redis: {printable(str(exc))}")

    def back(self) -> None:
        """Write that it is over."""
        _write("Redis is back")


def _write(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


@contextmanager
def _bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.fields[of]} images"),
        TextColumn("{task.fields[speed]}", style="dim"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None, of="?", speed="")

        class OnTerminal:
            waiting = ""

            def show(self, status: JobStatus) -> None:
                speed = bar.tasks[0].speed
                bar.update(
                    task,
                    description=self.waiting or _doing(status),
                    completed=status.done,
                    total=status.images if status.state != "open" else None,
                    of=_total(status),
                    speed=f"{speed:,.0f}/s" if speed else "",
                )

            def away(self, exc: BrokerUnreachable) -> None:
                self.waiting = f"{'Redis is full' if ' is full: ' in str(exc) else 'Redis is away'}, waiting"
                bar.update(task, description=self.waiting)

            def back(self) -> None:
                self.waiting = ""

        yield OnTerminal()


def _doing(status: JobStatus) -> str:
    if status.state == "open" and status.done == status.images:
        return "waiting for more to be submitted"
    return "classifying" if status.started else "waiting for a worker"


def _total(status: JobStatus) -> str:
    return f"{status.images:,}" + ("…" if status.state == "open" else "")
