"""A job on a real Redis whose follower sleeps in steps of the test."""

from collections.abc import Callable

from pigeonhole.jobs.follow import Follower
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.queue.task_queue import Queue
from pigeonhole.ledger.status import JobStatus
from pigeonhole.ledger.wire.messages import Batch
from pigeonhole.ledger.workers import Announcement, Workers
from pigeonhole.settings import Settings
from tests.ledger.conftest import Clock, answers_for, batch_of, piece

DIGITS = Announcement(name="celery@one", model="digits", digest="d", version="1")


def images(number: int) -> Batch:
    """Return the batch with this number in each test job: one image."""
    return batch_of(f"{number}.png")


def nth(number: int) -> Piece:
    return piece(images(number), number)


class Scene:
    """A job of batches with one image each, its follower, and the steps that happen while that sleeps."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings, self.clock = settings, clock
        self.ledger, self.workers = Ledger(settings, now=clock), Workers(settings, now=clock)
        self.queue = Queue(settings)
        self.steps: list[Callable[[], object]] = []
        self.statuses: list[JobStatus] = []
        self.slept: list[float] = []
        self.follower = Follower(
            self.ledger, self.queue, self.workers, self.statuses.append, clock=clock, sleep=self._sleep
        )

    def job(self, batches: int, close: bool = True) -> str:
        job = self.ledger.create("digits", ("in",))
        for number in range(batches):
            self.ledger.add(job, number, images(number))
        if close:
            self.ledger.close(job, len(self.ledger.pending(job)))
        return job

    def done(self, job: str, *numbers: int) -> None:
        for number in numbers:
            assert self.ledger.commit(job, nth(number), answers_for(images(number)))

    def done_once_published(self, job: str) -> None:
        """Answer both batches of a job as a worker, once their messages are published."""
        self.workers.announce(DIGITS)
        if self.queue.depth("digits") == 2:
            self.done(job, 0, 1)

    def then(self, *steps: Callable[[], object]) -> None:
        self.steps.extend(steps)

    def rows(self, job: str) -> list[str]:
        return [row.path for rows in self.follower.rows(job) for row in rows]

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock += seconds
        assert self.steps, "the follower sleeps, and no step is left"
        self.steps.pop(0)()


def nothing() -> None:
    pass
