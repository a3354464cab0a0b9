"""How far a job is, on standard error: a bar on a terminal, a line now and then elsewhere, or nothing."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from pigeonhole.errors import BrokerUnreachable
from pigeonhole.ledger.status import JobStatus
from pigeonhole.ledger.workers import Announcement
from pigeonhole.text import printable
from producer.account import Account, away, doing

if TYPE_CHECKING:
    from rich.console import RenderableType

#: Seconds between two lines where there is no terminal, and between two looks of the line on a dumb one.
LINE_EVERY = 5.0
REDRAW_EVERY = 1.0
#: Terminals that understand nothing but text.
_DUMB = ("dumb", "unknown")


class Progress(Protocol):
    """Shows how far a job is; from any thread."""

    def show(self, status: JobStatus) -> None:
        """Show its counters."""

    def workers(self, workers: Sequence[Announcement]) -> None:
        """Show who is at work for it."""

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
    elif not sys.stderr.isatty():
        yield Lines(clock)
    elif is_dumb():
        line = OneLine(clock)
        try:
            yield line
        finally:
            line.clear()
    else:
        with _bar(clock) as shown:
            yield shown


def is_dumb() -> bool:
    """Tell whether the terminal understands nothing but text."""
    return os.environ.get("TERM", "").lower() in _DUMB


class Quiet:
    """Shows nothing; see `Progress`."""

    def show(self, status: JobStatus) -> None:
        """Show nothing."""

    def workers(self, workers: Sequence[Announcement]) -> None:
        """Show nothing."""

    def away(self, exc: BrokerUnreachable) -> None:
        """Show nothing."""

    def back(self) -> None:
        """Show nothing."""


class Lines(Quiet):
    """Writes a line now and then; see `Progress`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._account = Account(clock)
        self._clock = clock
        self._last = clock()

    def show(self, status: JobStatus) -> None:
        """Write a line if the last was some time ago."""
        self._account.see(status)
        now = self._clock()
        if now - self._last >= LINE_EVERY:
            self._last = now
            _write(self._account.line() + "\n")

    def workers(self, workers: Sequence[Announcement]) -> None:
        """Keep them for the next line."""
        self._account.meet(workers)

    def away(self, exc: BrokerUnreachable) -> None:
        """Write what is wrong."""
        _write(f"waiting for Redis: {printable(str(exc))}\n")

    def back(self) -> None:
        """Write that it is over."""
        _write("Redis is back\n")


class OneLine(Quiet):
    """Writes one line again and again in its place, for a terminal that can go back to its beginning and no more."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._account = Account(clock)
        self._clock = clock
        self._last = clock()
        self._width = 0

    def show(self, status: JobStatus) -> None:
        """Write it anew if that was some time ago."""
        self._account.see(status)
        now = self._clock()
        if now - self._last >= REDRAW_EVERY:
            self._last = now
            self._draw(self._account.line())

    def workers(self, workers: Sequence[Announcement]) -> None:
        """Keep them for the next look."""
        self._account.meet(workers)

    def away(self, exc: BrokerUnreachable) -> None:
        """Write in its place what is wrong."""
        self._draw(away(exc))

    def clear(self) -> None:
        """Leave an empty line."""
        if self._width:
            self._draw("")
            _write("\r")

    def _draw(self, line: str) -> None:
        line = line[: shutil.get_terminal_size().columns - 1]  # a longer one would go on in the next
        _write(f"\r{line:{self._width}}")
        self._width = len(line)


class Drawn(Quiet):
    """Is drawn again and again by whoever calls `render`, so that it remembers what to show; see `Progress`."""

    def __init__(self) -> None:
        self._waiting = ""

    def away(self, exc: BrokerUnreachable) -> None:
        """Show it when drawn next."""
        self._waiting = away(exc)

    def back(self) -> None:
        """Show it no longer."""
        self._waiting = ""


class Bar(Drawn):
    """A bar, and below it what else there is to say."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._account = Account(clock)

    def show(self, status: JobStatus) -> None:
        """Show it when drawn next."""
        self._account.see(status)

    def workers(self, workers: Sequence[Announcement]) -> None:
        """Show them when drawn next."""
        self._account.meet(workers)

    def render(self) -> "RenderableType":
        """Give two lines for rich to draw."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        status, line = self._account.status, Table.grid(padding=(0, 1), expand=True)
        line.add_column(no_wrap=True)
        line.add_column(ratio=1)
        line.add_column(no_wrap=True)
        if status is None or status.state == "open":
            bar = ProgressBar(pulse=True)
        else:
            bar = ProgressBar(total=status.images, completed=status.done)
        line.add_row(Text(self._waiting or doing(status)), bar, Text(self._account.done()))
        return Group(line, Text(self._account.others(), style="dim", no_wrap=True, overflow="ellipsis"))


@contextmanager
def _bar(clock: Callable[[], float]) -> Iterator[Progress]:
    from rich.console import Console
    from rich.live import Live

    bar = Bar(clock)
    with Live(get_renderable=bar.render, console=Console(stderr=True), refresh_per_second=8, transient=True):
        yield bar


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
