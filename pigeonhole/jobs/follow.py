"""A job's progress and its rows, as they arrive."""

import difflib
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
from pigeonhole.ledger.messages import Row
from pigeonhole.ledger.status import JobState, JobStatus
from pigeonhole.ledger.sweep import SWEEP_EVERY, sweep
from pigeonhole.ledger.task_queue import Queue
from pigeonhole.ledger.workers import Announcement, Workers
from pigeonhole.models.checkpoint import SUFFIX, shipped
from pigeonhole.row_options import DEFAULT, RowOptions
from pigeonhole.settings import Settings

#: Batches that are fetched at once: some 16,000 rows in memory at the most.
BATCHES_AT_ONCE = 8
#: Seconds between two looks: the shortest after something came, the longest where nothing comes.
POLL_LEAST, POLL_MOST = 0.02, 0.25
#: What each pause is to the one before.
_POLL_GROWTH = 1.1
#: And the shortest when workers have the last batches in hand: the end of a short job is not slept through.
POLL_LAST = 0.005
#: Seconds without any worker for the job's queue after which following ends.
NO_WORKER_SECONDS = 10.0
#: Seconds for which it counts that a worker could not understand a batch: it is tried again sooner than that.
DEAD_LETTER_SECONDS = 2 * (LEASE + SWEEP_EVERY)
#: Seconds without an image done after which following ends if workers hold a pending batch back.
HELD_BACK_SECONDS = 60.0
#: Seconds between two looks at who is at work, where somebody wants to know: workers announce themselves as often.
COUNT_EVERY = 3.0
#: Where Redis takes longer than this to answer, it was away, and the workers' announcements may have run out with it.
OUTAGE = 1.0

T = TypeVar("T")


@dataclass
class Follower:
    """Follows one job.

    Args:
        ledger, queue, workers: of one Redis.
        on_status: is told the job's counters at every look.
        check: is called at every look, and while Redis is away; what it raises ends the following.
        retrying: how a Redis that is away is waited for.
        on_workers: is told now and then who consumes the job's queue; None: nobody is asked.
        options: what the user asks of rows.
        clock, sleep: in place of the real ones, for tests.
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
            job: its id.
            delivered: the digests of its first batches, which the caller has already: the others are yielded.

        Raises:
            UnknownJob: no such job, or it was deleted meanwhile.
            JobCancelled: it was cancelled; the rows before the first that is missing have been given.
            NoWorker: nobody has consumed the job's queue for a while, or workers have waited in vain for the volume
                of its images; the job continues when they can.
            NoSubmitter: it is open, and nobody has submitted to it for a while.
            JobDamaged: it is finished, and rows are missing.
            MessageInvalid: its record is damaged, or the workers understand none of its pending pieces.
            BrokerUnreachable: Redis is away for longer than the policy allows.
        """
        digests, pause = list(delivered), POLL_LEAST
        self._swept = self._worker_seen = self.clock()
        while True:
            done = len(digests)
            self.check()
            # Before the rows: whatever the status counts as done is there when the rows are read.
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
                    self.sleep(pause)  # there is no more yet
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
        """Raise JobDamaged if rows were missing while the job was over; UnknownJob if it was deleted meanwhile.

        Redis may have forgotten the last commits between the status and the rows; then the job is pending again, or was
        finished a second time. Where the status is still the same, the rows were read in that state.
        """
        if self._retry(lambda: self.ledger.status(status.job)) == status:
            raise JobDamaged(
                f"job {status.job} is finished, but Redis has lost the rows of batch {done}: `pigeonhole delete "
                f"{status.job}`, then submit its images again"
            )

    def end(self, job: str) -> JobStatus:
        """Follow a job to its end without reading its rows, and give its counters then.

        Raises:
            UnknownJob, JobCancelled, NoWorker, NoSubmitter, MessageInvalid, BrokerUnreachable: as `batches`.
        """
        return self._until(job, lambda status: status.over)

    def submitted(self, job: str) -> JobStatus:
        """Follow a job until all of its images are submitted, and return its counters then; raises what `end` does."""
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
        """Wait until a worker serves a model. NoWorker: none does after `NO_WORKER_SECONDS`."""
        end = self.clock() + NO_WORKER_SECONDS
        while not any(worker.model == model for worker in self._retry(self.workers.alive)):
            self.check()
            if self.clock() >= end:
                raise NoWorker(no_worker(model, self.workers))
            self.sleep(POLL_MOST)

    def _check_batches(self, job: str, delivered: list[str]) -> None:
        """Raise JobDamaged if the job has other batches than those that were delivered.

        That is so where Redis forgot a part of the job, and another process submitted it again from changed sources.
        """
        recorded = self._retry(lambda: self.ledger.digests(job, range(len(delivered))))
        if recorded != delivered:
            self._retry(lambda: self.ledger.status(job))  # says so if it was deleted meanwhile
            number = next(at for at, (one, other) in enumerate(zip(recorded, delivered, strict=True)) if one != other)
            raise JobDamaged(
                f"job {job} has other images in its batch {number} than when that was delivered: Redis has lost a part "
                "of the job, and it was submitted again from changed sources; submit it as a new job, or run the same "
                "`classify … -o FILE` again"
            )

    def _count(self, status: JobStatus) -> None:
        """Report the workers, if somebody wants to know and was not told just now."""
        if self.on_workers is None or self.clock() - self._counted < COUNT_EVERY:
            return
        self._counted = self.clock()
        self.on_workers([worker for worker in self._retry(self.workers.alive) if worker.model == status.model])

    def _maintain(self, status: JobStatus) -> None:
        """Look after lost batches, and whether anyone works or submits at all: maybe nobody else does."""
        self._submitter.check(status)
        now = self.clock()
        if now - self._swept < SWEEP_EVERY:
            return
        self._swept = now
        if any(worker.model == status.model for worker in self._retry(self.workers.alive)):
            self._worker_seen = self.clock()
        elif now - self._worker_seen >= NO_WORKER_SECONDS:
            raise NoWorker(no_worker(status.model, self.workers))
        self._retry(lambda: self._check_dead_letters(status))
        self._retry(lambda: self.ledger.list_again(status.job))  # so that sweeps look at it
        if self._retry(self.workers.may_sweep):
            self._retry(lambda: sweep(self.ledger, self.queue))

    def _check_dead_letters(self, status: JobStatus) -> None:
        """Notify if workers hold pending pieces back; raise an error if nothing else is left to do.

        Raises:
            MessageInvalid: lately the workers have understood none of the pending pieces.
            NoWorker: no image was done for a while, and pieces are held back.
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
                raise NoWorker(f"no worker can read what is left of job {status.job}: {held[-1]}")
        # By name: a letter may be about a batch that another worker has done since, or about none at all.
        if status.batches_claimed or not len(dead) >= status.batches_waiting > 0:
            return
        if all(about(status.job, piece.key) in dead for piece in pending):
            why = list(dead.values())[-1]
            raise MessageInvalid(f"the workers can't understand what is left of job {status.job}: {why}")

    def _retry(self, step: Callable[[], T]) -> T:
        """Do a step, waiting for Redis; while that was away, no worker could show itself."""
        before = self.clock()
        done = self.retrying(step, self.check)
        if self.clock() - before >= OUTAGE:
            self._worker_seen = self.clock()
        return done


def results(ledger: Ledger, job: str, options: RowOptions = DEFAULT) -> Iterator[list[Row]]:
    """Yield the rows of the batches that are done by now, a batch at a time, in the order of submission.

    Args:
        ledger, job: whose rows.
        options: what the user asks of rows.

    Raises:
        UnknownJob: no such job, or it was deleted meanwhile.
    """
    status = ledger.status(job)
    for number in range(status.batches):
        for batch in ledger.read(job, number, 1):
            yield batch.rows(options)
    ledger.status(job)  # says so if it was deleted meanwhile, and rows are missing for that


def no_worker(model: str, workers: Workers) -> str:
    """Return that no worker serves a model, and what to do, after a semicolon."""
    name = model if model in shipped() else f"{model}{SUFFIX}"
    worker, compose = "pigeonhole worker", "docker compose up -d --scale worker=2"
    if model != Settings.model:
        mounted = name if model in shipped() else f"/models/{name}"
        worker, compose = f"{worker} --model {name}", f"PIGEONHOLE_MODEL={mounted} {compose}"
    others = sorted({worker.model for worker in workers.alive()})
    near = difflib.get_close_matches(model, others, 1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    there = f". Workers are there for {', '.join(others)}{meant}" if others else ""
    return f"no worker serves the model {model!r}; start one: `{worker}`, or `{compose}`{there}"
