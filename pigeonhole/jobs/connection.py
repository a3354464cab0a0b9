"""The connection of a command or client to Redis and workers: shared ones, or embedded ones that it starts itself."""

import os
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pigeonhole.errors import MessageInvalid, UnknownJob, UsageError
from pigeonhole.jobs.follow import Follower, results
from pigeonhole.jobs.names import find_job
from pigeonhole.jobs.retrying import Retrying
from pigeonhole.jobs.state import Run, State
from pigeonhole.jobs.submit import Submission
from pigeonhole.jobs.submit import submit as submit_to
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.queue.task_queue import Queue
from pigeonhole.ledger.redis.client import CONNECT_TIMEOUT, connect
from pigeonhole.ledger.redis.store import JOB
from pigeonhole.ledger.status import JobState, JobStatus
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.ledger.workers import Announcement, Workers
from pigeonhole.limits import TOP
from pigeonhole.models.checkpoint import SUFFIX
from pigeonhole.models.record import NAME
from pigeonhole.row_options import DEFAULT, RowOptions
from pigeonhole.settings import Settings
from pigeonhole.sources.reference import Reference

if TYPE_CHECKING:
    from pigeonhole.embedded.servers import Embedded


@dataclass(frozen=True)
class _Parts:
    """The parts of an open connection; `embedded` is set if it has started its own Redis and workers."""

    ledger: Ledger
    queue: Queue
    workers: Workers
    embedded: "Embedded | None"


class Connection:
    """Opens, submits, follows and manages jobs in a Redis.

    Args:
        settings: the settings. Without a broker URL, the first call starts an embedded Redis with workers, and `close`
            ends them.
        retrying: the retries while Redis is down.

    Raises:
        BrokerUnreachable: Redis does not answer.
    """

    def __init__(self, settings: Settings, retrying: Retrying) -> None:
        self.settings = settings
        self.retrying = retrying
        self.retrying.check = self.check
        self._parts: _Parts | None = None
        self._owned = ExitStack()
        # Also runs if the caller never calls `close`, and at exit, before Python closes its own files.
        self._end = weakref.finalize(self, self._owned.close)
        self._closed = False
        if settings.broker_url:
            # The URL may be wrong, so the first command has a short timeout.
            with connect(settings.broker_url, timeout=CONNECT_TIMEOUT) as client:
                Ledger(settings, client=client).ping()

    def close(self) -> None:
        """Stop the embedded Redis and workers, if there are any; later calls raise UsageError."""
        self._closed = True
        self._end()

    def check(self) -> None:
        """Raise an error if the connection is closed, or its embedded Redis or workers have ended."""
        if self._closed:
            raise UsageError("this Client is closed, with the Redis and workers that it started: make a new one")
        if self._parts and self._parts.embedded:
            self._parts.embedded.check()

    @property
    def ledger(self) -> Ledger:
        """The record of all jobs."""
        return self._open().ledger

    @property
    def queue(self) -> Queue:
        """The task queues."""
        return self._open().queue

    @property
    def workers(self) -> Workers:
        """The announcements of workers."""
        return self._open().workers

    def serving(self) -> tuple[str, str]:
        """Return the name of the model, and its id: `name@digest` for embedded workers, otherwise the name again.

        Raises:
            UsageError: the model setting is not a valid name.
            EmbeddedFailed: the embedded workers don't start.
        """
        parts = self._open()
        if parts.embedded:
            return parts.embedded.model()
        name = self.model_name(self.settings.model)
        return name, name

    def new_job(self) -> str:
        """Return an id for a new job; see `create`."""
        return self.retrying(lambda: self.ledger.new_job())

    def create(self, sources: list[str], model: str | None = None, job: str | None = None) -> str:
        """Open a job and return its id.

        Args:
            sources: the SOURCEs as the user named them, for `status`.
            model: the name of the model, which selects the queue; None: that of the settings.
            job: an id from `new_job`; None: a new one.
        """
        name = self.model_name(model) if model else self.serving()[0]
        id = job or self.new_job()
        self.retrying(lambda: self.ledger.create(name, tuple(sources), id))
        return id

    def submit(self, job: str, references: Iterable[Reference], top: int = TOP) -> None:
        """Record and publish all references; see `pigeonhole.jobs.submit.submit`."""
        submit_to(self.ledger, self.queue, job, references, self.retrying, top=top)

    def submission(
        self,
        job: str,
        references: Iterable[Reference],
        run: Run | None = None,
        at_once: bool = True,
        top: int = TOP,
    ) -> Submission:
        """Start to submit references in a thread with its own connections; see `pigeonhole.jobs.submit`.

        Args:
            job: the id of an open job.
            references: the references that follow those of the run.
            run: the run of a command that can be resumed; None: a temporary one.
            at_once: start now; False: only once the job turns out to be open.
            top: the number of most probable classes in each row.
        """
        settings = self.ledger.settings
        own = Ledger(settings), Queue(settings)
        recorded = run or State.temporary().begin_run(job)
        return Submission(lambda: submit_to(*own, job, references, self.retrying, recorded, top), at_once)

    def follow(
        self,
        job: str,
        options: RowOptions = DEFAULT,
        on_status: Callable[[JobStatus], None] = lambda status: None,
        check: Callable[[], None] = lambda: None,
        on_workers: Callable[[list[Announcement]], None] | None = None,
    ) -> Iterator[list[Row]]:
        """Yield the rows of a job until its end, a batch at a time; see `Follower.rows`."""
        follower = self.follower(on_status, check, on_workers)
        return (batch.rows(options) for batch in follower.batches(job))

    def follower(
        self,
        on_status: Callable[[JobStatus], None] = lambda status: None,
        check: Callable[[], None] = lambda: None,
        on_workers: Callable[[list[Announcement]], None] | None = None,
    ) -> Follower:
        """Return a follower of jobs; see `Follower`."""

        def both() -> None:
            self.check()
            check()

        return Follower(self.ledger, self.queue, self.workers, on_status, both, self.retrying, on_workers)

    def end(self, job: str, on_status: Callable[[JobStatus], None] = lambda status: None) -> JobStatus:
        """Wait for a job's end, and return its status; see `Follower.end`."""
        return self.follower(on_status).end(job)

    def submitted(self, job: str, on_status: Callable[[JobStatus], None], check: Callable[[], None]) -> JobStatus:
        """Wait until all images of a job are submitted, and return its status; see `Follower.submitted`."""
        return self.follower(on_status, check).submitted(job)

    def results(self, job: str, options: RowOptions = DEFAULT) -> Iterator[list[Row]]:
        """Yield the finished rows of a job without waiting; see `pigeonhole.jobs.follow.results`."""
        return results(self.ledger, job, options)

    def jobs(self) -> list[JobStatus]:
        """Return the counters of all jobs, oldest first; see `Ledger.statuses`."""
        return self.retrying(lambda: self.ledger.statuses())

    def job_id(self, name: str) -> str:
        """Return the id of the job that a user names: by an id, the beginning of one, or `last`.

        Raises:
            UsageError: several jobs match the name, or there is no job yet.
            UnknownJob: no job matches.
        """
        if JOB.fullmatch(name):
            try:
                return self.status(name).job
            except MessageInvalid:  # its record is damaged, but it can be deleted
                return name
            except UnknownJob:
                pass  # `find_job` lists similar names
        return find_job(name, self.retrying(lambda: self.ledger.job_ids()))

    def resume(self, job: str) -> int:
        """Publish all pending pieces of a job again; safe at any time.

        Returns:
            The number of pieces.

        Raises:
            UnknownJob: no such job.
        """
        model = self.status(job).model
        pieces = self.retrying(lambda: self.ledger.pending(job))
        for piece in pieces:
            self.retrying(partial(self.queue.publish, model, job, piece))
        return len(pieces)

    def cancel(self, job: str) -> None:
        """Cancel a job: drop its pending pieces and keep its rows. Raise UnknownJob if there is no such job."""
        self.retrying(lambda: self.ledger.cancel(job))

    def delete(self, job: str, missing_ok: bool = False) -> None:
        """Delete a job and its rows; unless `missing_ok`, raise UnknownJob if there is no such job."""
        if not missing_ok:
            self.status(job)
        with suppress(UnknownJob):  # if the reply to the first try was lost, the second finds no job
            self.retrying(lambda: self.ledger.delete(job))

    def status(self, job: str) -> JobStatus:
        """Return a job's counters; raise UnknownJob if there is no such job."""
        return self.retrying(lambda: self.ledger.status(job))

    def can_resume(self, run: Run, model: str) -> bool:
        """Return whether the job of a run can be resumed: it exists, and has this model and no other images."""
        if not run.job or run.complete:
            return False
        try:
            status = self.status(run.job)
            recorded = run.digests(run.size)
        except (UnknownJob, ValueError):
            return False
        there = self.retrying(lambda: self.ledger.digests(run.job, range(status.batches)))
        same = all(mine == other for mine, other in zip(recorded, there, strict=False) if other is not None)
        return same and len(there) <= len(recorded) and status.state is not JobState.CANCELLED and status.model == model

    @staticmethod
    def model_name(model: str) -> str:
        """Return the name of a model from its name or the path of its file.

        Raises:
            UsageError: it is not a valid name.
        """
        name = os.path.basename(model).removesuffix(SUFFIX) if model.endswith(SUFFIX) else model
        if not NAME.fullmatch(name):
            raise UsageError(
                f"{model!r} is not the name of a model: use 1 to 64 lower-case letters, digits or any of - _ . (or a "
                f"model file, which ends with {SUFFIX})"
            )
        return name

    def _open(self) -> _Parts:
        self.check()
        if self._parts is None:
            embedded = None if self.settings.broker_url else self._start_embedded()
            settings = embedded.settings if embedded else self.settings
            self._parts = _Parts(Ledger(settings), Queue(settings), Workers(settings), embedded)
        return self._parts

    def _start_embedded(self) -> "Embedded":
        from pigeonhole.embedded.servers import embedded

        return self._owned.enter_context(embedded(self.settings))
