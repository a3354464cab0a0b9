"""`status --watch`: the progress of one job; all jobs as a table, or as a line for each change."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import filterfalse, islice
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleDimensions, Group
from rich.live import Live
from rich.text import Text

from pigeonhole.jobs.progress import done_text, findings_text
from pigeonhole.ledger.status import JobStatus
from pigeonhole.ledger.workers import Announcement
from pigeonhole.text import counted, printable
from producer.display.progress import LINE_EVERY, JobProgress, can_redraw, workers_text
from producer.display.summary_text import problems_of
from producer.jobs.table import jobs_table

if TYPE_CHECKING:
    from pigeonhole.jobs.connection import Connection

#: Seconds between two updates.
UPDATE_EVERY = 1.0
#: Number of lines about problems below the table.
MOST_PROBLEMS = 3


def watch_job(
    client: "Connection", job: str, progress: JobProgress, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Show the progress of one job until its end.

    Raises:
        UnknownJob, MessageInvalid: The job is unknown, or its record is invalid.
        BrokerUnreachable: Redis is down for longer than the client waits.
    """
    with progress:
        while True:
            status = client.status(job)
            workers = client.retrying(client.workers.alive)
            progress.show_workers([worker for worker in workers if worker.model == status.model])
            progress.show(status)
            if status.over:
                return
            sleep(UPDATE_EVERY)


def watch_jobs(client: "Connection", sleep: Callable[[float], None] = time.sleep) -> None:
    """Show all jobs on standard output until Ctrl-C."""
    console = Console()
    with suppress(KeyboardInterrupt):
        if can_redraw(console):
            with Live(console=console, auto_refresh=False) as live:
                while True:
                    workers = client.retrying(client.workers.alive)
                    live.update(jobs_screen(client.jobs()[::-1], workers, console.size), refresh=True)
                    sleep(UPDATE_EVERY)
        known = {_line(status) for status in client.jobs() if status.over}
        while True:
            lines = [_line(status) for status in client.jobs()]
            for line in filterfalse(known.__contains__, lines):
                console.out(line, highlight=False)
            known = set(lines)
            sleep(LINE_EVERY)


def jobs_screen(statuses: Sequence[JobStatus], workers: Sequence[Announcement], size: ConsoleDimensions) -> Group:
    """Return a screen with the latest jobs, their problems and the number of workers.

    Args:
        statuses: statuses of all jobs, newest first.
        workers: all live workers.
        size: size of the screen in cells.
    """
    at_work = Counter(worker.model for worker in workers)
    every = (problem for status in statuses for problem in problems_of(status, at_work[status.model]))
    found = list(map(printable, islice(every, MOST_PROBLEMS)))
    problems = [Text(problem, style="red", no_wrap=True, overflow="ellipsis") for problem in found]
    room = max(1, size.height - 4 - len(problems))
    hidden = len(statuses) - room
    return Group(
        jobs_table(statuses[:room], workers, size.width) if statuses else Text("no jobs"),
        *([Text(f"{counted(hidden, 'earlier job')} not shown", style="dim")] if hidden > 0 else []),
        *problems,
        Text(workers_text(workers), style="dim"),
    )


def _line(status: JobStatus) -> str:
    # Without durations, or each update would print another line.
    wrong = "".join(
        f"; {word}"
        for word, there in (
            ("submission was interrupted", status.silent),
            ("no progress", status.stalled),
            ("other jobs go first", status.starving),
        )
        if there
    )
    return printable(f"{status.job} {status.state}: {done_text(status)}, {findings_text(status)}{wrong}")
