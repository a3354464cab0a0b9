"""`status --watch`: looks at one job or at all again and again; in place on a terminal, else a line now and then."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pigeonhole.errors import BrokerUnreachable
from pigeonhole.ledger.status import JobStatus
from pigeonhole.ledger.workers import Announcement
from pigeonhole.text import counted, printable
from producer.account import Account, at_work
from producer.progress import LINE_EVERY, Drawn, Quiet, is_dumb
from producer.summary_text import job_text, jobs_table

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from pigeonhole.jobs.connection import Connection

#: Seconds between two looks.
LOOK_EVERY = 1.0


class View(Protocol):
    """Shows what a look saw; and, as `Progress`, that Redis is waited for."""

    def draw(self, statuses: Sequence[JobStatus], workers: Sequence[Announcement]) -> None:
        """Show jobs, one where only one is watched, and who is at work."""


def watching(client: "Connection", job: str | None, view: View, sleep: Callable[[float], None] = time.sleep) -> None:
    """Look at one job until its end, or at all jobs for ever.

    Args:
        client: its policy decides how a Redis that goes away is waited for.
        job: None: all.
        view: is shown every look.
        sleep: in place of the real one, for tests.

    Raises:
        UnknownJob, MessageInvalid: as `Client.status`.
        BrokerUnreachable: Redis is away for longer than the policy allows.
    """
    while True:
        statuses = client.jobs() if job is None else [client.status(job)]
        workers = client.retrying(client.workers.alive)
        view.draw(statuses, [worker for worker in workers if job is None or worker.model == statuses[0].model])
        if job is not None and statuses[0].over:
            return
        sleep(LOOK_EVERY)


@contextmanager
def viewing(client: "Connection", job: str | None) -> Iterator[View]:
    """Give what shows it on standard output; an outage of Redis too."""
    from rich.console import Console

    console = Console(file=sys.stdout)
    if not sys.stdout.isatty() or is_dumb():
        lines = Lines(job is not None, console)
        client.retrying.shown = lines
        yield lines
        return
    from rich.live import Live

    screen = Screen(job is not None, console)
    client.retrying.shown = screen
    with Live(get_renderable=screen.render, console=console, refresh_per_second=4):
        yield screen


@dataclass
class _Told:
    """What was last said of a job, and when."""

    account: Account
    when: float = 0.0
    state: str = ""
    line: str = ""


class Lines(Quiet):
    """Writes a line for each job that goes on, is new, or ends; of one that goes on now and then.

    Args:
        one: a single job is watched. Of all, those that were over before have no line.
        console: where to.
        clock: in place of the real one, for tests.
    """

    def __init__(self, one: bool, console: "Console", clock: Callable[[], float] = time.monotonic) -> None:
        self._one = one
        self._begun = False
        self._console = console
        self._clock = clock
        self._told: dict[str, _Told] = {}

    def draw(self, statuses: Sequence[JobStatus], workers: Sequence[Announcement]) -> None:
        """Write what is new and due."""
        self._told = {status.job: self._told.get(status.job) or _Told(Account(self._clock)) for status in statuses}
        for status in statuses:
            told, now = self._told[status.job], self._clock()
            told.account.see(status)
            told.account.meet([worker for worker in workers if worker.model == status.model])
            line = f"{status.job} {status.state}: {told.account.line()}"
            if status.state != told.state or (line != told.line and not status.over and now - told.when >= LINE_EVERY):
                if self._begun or self._one or not status.over:
                    self._say(line)
                told.when, told.state, told.line = now, status.state, line
        self._begun = True

    def away(self, exc: BrokerUnreachable) -> None:
        """Write what is wrong."""
        self._say(f"waiting for Redis: {exc}")

    def back(self) -> None:
        """Write that it is over."""
        self._say("Redis is back")

    def _say(self, line: str) -> None:
        self._console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


class Screen(Drawn):
    """Shows one job in full, or the last jobs as a table, in place."""

    def __init__(self, one: bool, console: "Console") -> None:
        super().__init__()
        self._one = one
        self._console = console
        self._account = Account()
        self._statuses: Sequence[JobStatus] = ()
        self._workers = ""

    def draw(self, statuses: Sequence[JobStatus], workers: Sequence[Announcement]) -> None:
        """Show them when drawn next."""
        self._statuses, self._workers = statuses, at_work(workers)
        if self._one:
            self._account.see(statuses[0])
            self._account.meet(workers)

    def render(self) -> "RenderableType":
        """Give it for rich to draw, not higher than the terminal."""
        from rich.console import Group
        from rich.text import Text

        if self._one and self._statuses:
            body: list[RenderableType] = [Text(job_text(self._statuses[0]), overflow="ellipsis", no_wrap=True)]
            below = self._account.line()
        else:
            room = max(1, self._console.height - 4)
            left_out = max(0, len(self._statuses) - room)
            body = [Text(f"{counted(left_out, 'earlier job')} not shown", style="dim")] if left_out else []
            body.append(jobs_table(self._statuses[-room:]) if self._statuses else Text("no jobs"))
            below = self._workers
        return Group(*body, Text(self._waiting or below, style="bold" if self._waiting else "dim", no_wrap=True))
