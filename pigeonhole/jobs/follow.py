"""Follow a job: report its progress, and yield its batches as they are done."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from pigeonhole.errors import JobCancelled, JobDamaged, MessageInvalid, NoWorker
from pigeonhole.jobs.retrying import Retrying
from pigeonhole.jobs.submitter import SubmitterWatch
from pigeonhole.ledger.dead_letters import DeadLetters, about, held_back
from pigeonhole.ledger.done import DoneBatch
from pigeonhole.ledger.leases import LEASE
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.queue.task_queue import Queue
from pigeonhole.ledger.status import JobState, JobStatus
from pigeonhole.ledger.sweep import SWEEP_EVERY, sweep
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.ledger.workers import Announcement, Workers
from pigeonhole.models.checkpoint import SUFFIX, shipped
from pigeonhole.row_options import DEFAULT, RowOptions
from pigeonhole.settings import Settings
from pigeonhole.text import similar

#: Batches that are fetched at once: some 16,000 rows in memory at the most.
BATCHES_AT_ONCE = 8
#: The shortest and the longest pause between two polls, in seconds: after a new batch, and while none arrives.
POLL_LEAST, POLL_MOST = 0.02, 0.25
#: The factor between two pauses.
_POLL_GROWTH = 1.1
#: The shortest pause, in seconds, while workers have the last batches, so that short jobs end quickly.
POLL_LAST = 0.005
#: Seconds without a worker for the job's queue after which `Follower` raises NoWorker.
NO_WORKER_SECONDS = 10.0
#: The age in seconds up to which a dead letter counts; an unreadable batch is retried, and reported again, sooner.
DEAD_LETTER_SECONDS = 2 * (LEASE + SWEEP_EVERY)
#: Seconds without a finished image after which `Follower` raises NoWorker if workers hold a pending batch back.
HELD_BACK_SECONDS = 60.0
#: Seconds between two calls of `on_workers`: workers announce themselves as often.
COUNT_EVERY = 3.0
#: Seconds without a reply after which Redis was down: announcements of workers may have expired meanwhile.
OUTAGE = 1.0

T = TypeVar("T")


@dataclass
class Follower:
    """Follows one job.

    Args:
        ledger, queue, workers: the parts of one Redis.
        on_status: called with the job's status at every poll.
        check: called at every poll, and while Redis is down; its exceptions end the call.
        retrying: the retries while Redis is down.
        on_workers: called every `COUNT_EVERY` seconds with the workers of the job's queue; None: not called.
        options: the options for rows.
        clock, sleep: replacements for tests.
    """

    ledger: Ledger
    queue: Queue
    workers: Workers
    on_status: Callable[[JobStatus], None] = lambda status: None
    check: Callable[[], None] = lambda: None
    retrying: Retrying = field(default_factory=Retrying)
    on_workers: Callable[[list[Announcement]], None] | None = None
    options: RowOptions = DEFAULT
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _swept: float = field(default=0.0, init=False)
    _worker_seen: float = field(default=0.0, init=False)
    _counted: float = field(default=-math.inf, init=False)
    _progress: tuple[int, float] = field(default=(-1, 0.0), init=False)  # images done, and since when
    _submitter: SubmitterWatch = field(init=False)

    def __post_init__(self) -> None:
        self._submitter = SubmitterWatch(self.clock)

    def rows(self, job: str) -> Iterator[list[Row]]:
        """Yield the rows until the job's end, a batch at a time; see `batches`."""
        for batch in self.batches(job):
            yield batch.rows(self.options)

    def batches(self, job: str, delivered: Sequence[str] = ()) -> Iterator[DoneBatch]:
        """Yield the batches until the job's end, in the order of submission, as they are done.

        Args:
            job: the job's id.
            delivered: the digests of the first batches, which the caller has already; these are not yielded.

        Raises:
            UnknownJob: no such job, or it was deleted meanwhile.
            JobCancelled: the job was cancelled; all batches before the first missing one have been yielded.
            NoWorker: there was no worker for the job's queue for `NO_WORKER_SECONDS`, or the workers could not read the
                volume of its images for `HELD_BACK_SECONDS`; the job continues once they can.
            NoSubmitter: the job is open, and its submitter is lost.
            JobDamaged: the job is finished, and rows are missing.
            MessageInvalid: the job's record is damaged, or the workers can read none of its pending pieces.
            BrokerUnreachable: Redis is down for longer than the retry policy allows.
        """
        digests, pause = list(delivered), POLL_LEAST
        self._swept = self._worker_seen = self.clock()
        while True:
            done = len(digests)
            self.check()
            # The status first: all batches that it counts as done can then be read.
            status = self._retry(lambda: self.ledger.status(job))
            ready = self._retry(partial(self.ledger.read, job, done, BATCHES_AT_ONCE))
            for batch in ready:
                digests.append(batch.batch.digest)
                yield batch
            done = len(digests)
            self.on_status(status)
            self._count(status)
            if ready:
                pause = POLL_LEAST if status.submitting or status.batches_waiting else POLL_LAST
                self._worker_seen = self.clock()
                if len(ready) < BATCHES_AT_ONCE and done < status.batches and not status.over:
                    self.sleep(pause)  # the next batch is not done yet
            elif status.state is JobState.CANCELLED:
                raise JobCancelled(job)
            elif status.over and done < status.batches:
                self._check_damage(status, done)
            elif status.over:
                self._check_batches(job, digests)
                return
            else:
                self._maintain(status)
                self.sleep(pause)
                pause = min(POLL_MOST, pause * _POLL_GROWTH)

    def _check_damage(self, status: JobStatus, done: int) -> None:
        """Raise JobDamaged if the job is over and rows are missing; raise UnknownJob if it was deleted meanwhile.

        Redis may have lost the last commits after the status was read. Then the job is pending again, or has finished a
        second time. If the status is unchanged, the rows are missing in this state.
        """
        if self._retry(lambda: self.ledger.status(status.job)) == status:
            raise JobDamaged(
                f"job {status.job} is finished, but Redis has lost the rows of batch {done}: `pigeonhole delete "
                f"{status.job}`, then submit its images again"
            )

    def end(self, job: str) -> JobStatus:
        """Follow a job to its end without reading its rows, and return its last status.

        Raises:
            UnknownJob, JobCancelled, NoWorker, NoSubmitter, MessageInvalid, BrokerUnreachable: as `batches`.
        """
        return self._until(job, lambda status: status.over)

    def submitted(self, job: str) -> JobStatus:
        """Follow a job until all of its images are submitted, and return its status; raise what `end` raises."""
        return self._until(job, lambda status: not status.submitting)

    def _until(self, job: str, reached: Callable[[JobStatus], bool]) -> JobStatus:
        """Follow a job without reading its rows; see `end`."""
        pause = POLL_LEAST
        self._swept = self._worker_seen = self.clock()
        while True:
            self.check()
            status = self._retry(lambda: self.ledger.status(job))
            self.on_status(status)
            self._count(status)
            if status.state is JobState.CANCELLED:
                raise JobCancelled(job)
            if reached(status):
                return status
            self._maintain(status)
            self.sleep(pause)
            pause = min(POLL_MOST, pause * _POLL_GROWTH)

    def await_worker(self, model: str) -> None:
        """Wait until a worker serves a model; raise NoWorker if none does within `NO_WORKER_SECONDS`."""
        end = self.clock() + NO_WORKER_SECONDS
        while not any(worker.model == model for worker in self._retry(self.workers.alive)):
            self.check()
            if self.clock() >= end:
                raise NoWorker("; ".join(no_worker(model, self.workers)))
            self.sleep(POLL_MOST)

    def _check_batches(self, job: str, delivered: list[str]) -> None:
        """Raise JobDamaged if the job's batches are not those that were delivered.

        This happens if Redis lost a part of the job and another process submitted it again from changed sources.
        """
        recorded = self._retry(lambda: self.ledger.digests(job, range(len(delivered))))
        if recorded != delivered:
            self._retry(lambda: self.ledger.status(job))  # raises UnknownJob if it was deleted meanwhile
            number = next(at for at, (one, other) in enumerate(zip(recorded, delivered, strict=True)) if one != other)
            raise JobDamaged(
                f"job {job} has other images in batch {number} than when its rows were read: Redis lost a part of the "
                "job, and it was submitted again from changed sources. Submit a new job, or run the same "
                "`classify … -o FILE` again"
            )

    def _count(self, status: JobStatus) -> None:
        """Call `on_workers`, unless it was called less than `COUNT_EVERY` seconds ago."""
        if self.on_workers is None or self.clock() - self._counted < COUNT_EVERY:
            return
        self._counted = self.clock()
        self.on_workers([worker for worker in self._retry(self.workers.alive) if worker.model == status.model])

    def _maintain(self, status: JobStatus) -> None:
        """Check for a submitter, workers and dead letters, and sweep, in case no worker does."""
        self._submitter.check(status)
        now = self.clock()
        if now - self._swept < SWEEP_EVERY:
            return
        self._swept = now
        if any(worker.model == status.model for worker in self._retry(self.workers.alive)):
            self._worker_seen = self.clock()
        elif now - self._worker_seen >= NO_WORKER_SECONDS:
            raise NoWorker("; ".join(no_worker(status.model, self.workers)))
        self._retry(lambda: self._check_dead_letters(status))
        self._retry(lambda: self.ledger.list_again(status.job))  # sweeps skip jobs that are not listed
        if self._retry(self.workers.may_sweep):
            self._retry(lambda: sweep(self.ledger, self.queue))

    def _check_dead_letters(self, status: JobStatus) -> None:
        """Report pieces that workers hold back; raise an error if no other pieces are pending.

        Raises:
            MessageInvalid: lately, the workers could read none of the pending pieces.
            NoWorker: pieces are held back, and no image was finished for `HELD_BACK_SECONDS`.
        """
        if status.done != self._progress[0]:
            self._progress = status.done, self.clock()
        since = self.workers.time() - DEAD_LETTER_SECONDS
        letters = DeadLetters(self.ledger.settings, self.ledger.client).of_job(status.job)
        dead = {letter.what: letter.why for letter in letters if since < letter.seen <= since + DEAD_LETTER_SECONDS}
        if not dead:
            return
        pending = self.ledger.pending(status.job)
        held = [dead[name] for piece in pending if (name := held_back(status.job, piece.key)) in dead]
        if held:
            self.retrying.shown.held(held[-1])
            if self.clock() - self._progress[1] >= HELD_BACK_SECONDS:
                raise NoWorker(f"no worker can read the remaining images of job {status.job}: {held[-1]}")
        # Compared by name: a dead letter may be about a batch that another worker has finished since.
        if status.batches_claimed or not len(dead) >= status.batches_waiting > 0:
            return
        if all(about(status.job, piece.key) in dead for piece in pending):
            why = list(dead.values())[-1]
            raise MessageInvalid(f"the workers can't read the remaining batches of job {status.job}: {why}")

    def _retry(self, step: Callable[[], T]) -> T:
        """Return the result of a step, with retries; after an outage, wait for workers from the beginning."""
        before = self.clock()
        done = self.retrying(step, self.check)
        if self.clock() - before >= OUTAGE:
            self._worker_seen = self.clock()
        return done


def results(ledger: Ledger, job: str, options: RowOptions = DEFAULT) -> Iterator[list[Row]]:
    """Yield the rows of the finished batches, a batch at a time, in the order of submission, without waiting.

    Args:
        ledger: the ledger with the job.
        job: the job's id.
        options: the options for rows.

    Raises:
        UnknownJob: no such job, or it was deleted meanwhile.
    """
    status = ledger.status(job)
    for number in range(status.batches):
        for batch in ledger.read(job, number, 1):
            yield batch.rows(options)
    ledger.status(job)  # raises UnknownJob if it was deleted meanwhile, so that rows were missing


def no_worker(model: str, workers: Workers) -> tuple[str, str]:
    """Return the problem and the remedy for a model without workers."""
    is_shipped = model in shipped()
    name = model if is_shipped else f"{model}{SUFFIX}"
    worker, compose = "pigeonhole worker", "docker compose up -d --scale worker=2"
    if model != Settings.model:
        mounted = name if is_shipped else f"/models/{name}"
        worker, compose = f"{worker} --model {name}", f"PIGEONHOLE_MODEL={mounted} {compose}"
    others = sorted({worker.model for worker in workers.alive()})
    near = similar(model, others)
    meant = f" (did you mean {near}?)" if near else ""
    there = f". Workers are there for {', '.join(others)}{meant}" if others else ""
    return f"no worker serves the model {model!r}", f"start one: `{worker}`, or `{compose}`{there}"
