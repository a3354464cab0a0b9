"""What is known of a job's progress, in words."""

import time
from collections import deque
from collections.abc import Callable, Sequence

from pigeonhole.errors import BrokerUnreachable
from pigeonhole.ledger.status import JobStatus
from pigeonhole.ledger.workers import Announcement
from pigeonhole.text import counted

#: Seconds over which a job's speed is taken, and between two samples of it.
WINDOW, SAMPLE_EVERY = 30.0, 0.5


class Account:
    """How far a job is, how fast it goes, and who is at work, from what the looks at it saw.

    Args:
        clock: in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.status: JobStatus | None = None
        self._clock = clock
        self._workers = ""
        self._seen: deque[tuple[float, int]] = deque()  # when, and how many images were done

    def see(self, status: JobStatus) -> None:
        """Take note of a job's counters."""
        self.status, now = status, self._clock()
        if status.started is None:
            return  # the time that workers take to start says nothing
        if not self._seen or now - self._seen[-1][0] >= SAMPLE_EVERY:
            self._seen.append((now, status.done))
        while len(self._seen) > 2 and now - self._seen[1][0] > WINDOW:
            self._seen.popleft()

    def meet(self, workers: Sequence[Announcement]) -> None:
        """Take note of who is at work."""
        self._workers = at_work(workers)

    def speed(self) -> float:
        """Give the images that are done in a second, lately; 0 where that is not known."""
        if self.status is None or not self._seen:
            return 0.0
        since, done = self._seen[0]
        seconds = self._clock() - since
        return (self.status.done - done) / seconds if seconds >= SAMPLE_EVERY else 0.0

    def done(self) -> str:
        """Give how many images are done, of how many."""
        if self.status is None:
            return "0 of ? images"
        return f"{self.status.done:,} of {self.status.images:,}{'…' if self.status.state == 'open' else ''} images"

    def others(self) -> str:
        """Give all else: speed, time left, errors, reviews, workers, as far as there is something to say."""
        if self.status is None:
            return self._workers
        speed = self.speed()
        rest = self.status.images - self.status.done if self.status.state == "closed" else 0
        return ", ".join(
            filter(
                None,
                (
                    f"{speed:,.0f}/s" if speed else "",
                    f"{_time(rest / speed)} left" if speed and rest else "",
                    counted(self.status.errors, "error"),
                    f"{self.status.reviews:,} to review",
                    self._workers,
                ),
            )
        )

    def line(self) -> str:
        """Give all of it."""
        return f"{self.done()}, {self.others()}"


def at_work(workers: Sequence[Announcement]) -> str:
    """Say how many are at work: workers, each of which has one process or more."""
    processes = sum(worker.processes for worker in workers)
    if workers and not processes:
        return f"{counted(len(workers), 'worker')} (starting)"  # their processes have not told of themselves
    many = "" if processes == len(workers) else f" ({processes:,} {'process' if processes == 1 else 'processes'})"
    return counted(len(workers), "worker") + many


def away(exc: BrokerUnreachable) -> str:
    """Say in short that Redis is waited for."""
    return f"{'Redis is full' if ' is full: ' in str(exc) else 'Redis is away'}, waiting"


def doing(status: JobStatus | None) -> str:
    """Say what is being done for a job; None: nothing is known of it yet."""
    if status is None:
        return "starting"
    if status.state == "open" and status.done == status.images:
        return "waiting for more to be submitted"
    return "classifying" if status.started else "waiting for a worker"


def _time(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
