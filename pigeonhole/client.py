"""The Python interface, on which the command line is built too.

from pigeonhole import Client

with Client() as client:
    for row in client.classify("photos/"):
        print(row.path, row.label, row.confidence)
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import TypeAlias

from pigeonhole.connection import Connection
from pigeonhole.errors import BrokerUnreachable, SourceError, UnknownJob
from pigeonhole.jobs import reviews
from pigeonhole.jobs.follow import Rows, results
from pigeonhole.jobs.patience import Logged, Patience
from pigeonhole.jobs.submit import Submission, Walk
from pigeonhole.ledger.status import JobStatus
from pigeonhole.settings import ENV_PREFIX, Settings
from pigeonhole.sources.expand import Root

#: One SOURCE or several, each as on the command line: an image, a folder, a glob, `@list.txt`.
Sources: TypeAlias = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


class Client(Connection):
    """What one asks of workers, by way of their Redis.

    With a broker's URL, the workers there answer. Without one, the first question brings up a Redis and workers of the
    client's own, which takes seconds, and `close` ends them: use it as a context manager. It is for one thread.

    Args:
        broker_url: None: what PIGEONHOLE_BROKER_URL says; empty: a Redis of its own, whatever that says.
        model: that shall answer: its name, or for workers of its own a checkpoint file too.
        image_root: the folder that both sides see the images in; workers of its own see what the user does.
        settings: in place of the environment's and `broker_url`.
        patience: how a Redis that goes away later is waited for; by default for the setting's time, and that is logged.

    Raises:
        BrokerUnreachable: Redis does not answer.
        SettingsError: a value can't be used.
    """

    def __init__(
        self,
        broker_url: str | None = None,
        *,
        model: str | os.PathLike[str] | None = None,
        image_root: str | os.PathLike[str] | None = None,
        settings: Settings | None = None,
        patience: Patience | None = None,
    ) -> None:
        settings = settings or _from_environment(broker_url)
        settings = replace(
            settings,
            model=settings.model if model is None else os.fspath(model),
            image_root=settings.image_root if image_root is None else os.fspath(image_root),
        )
        self._submissions: list[Submission] = []
        super().__init__(settings, patience or Patience(settings.patience, Logged()))

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None and not issubclass(kind, Exception):
            self._submissions.clear()  # whoever interrupts does not want to wait
        self.close()

    def close(self) -> None:
        """End what the client has started; jobs at a shared broker go on, and what was begun is submitted first.

        Raises:
            PigeonholeError: what went wrong with a submission, if nobody was told before.
        """
        try:
            while self.settings.broker_url and self._submissions:
                submission = self._submissions.pop()
                submission.finish()
                if not submission.told:
                    submission.check()
        finally:
            super().close()

    def classify(self, sources: Sources, *, review_below: float | None = None) -> Rows:
        """Submit images, and follow them while that goes on.

        Leaving the iteration early, by an exception too, cancels nothing; `cancel` does.

        Args:
            sources: as on the command line; paths in rows are spelled as they are here.
            review_below: the confidence, from 0 to 1, under which rows are marked for review; None: the checkpoint's.

        Raises:
            SourceError: one does not exist, or holds no image; when iterated, that one can't be read to its end.
            UsageError: no model can have that name, or `review_below` is no confidence.
        """
        reviews.check(review_below)
        names = _names(sources)
        walk = Walk(names, Root(self.settings.image_root))
        job = self.create(names)
        submission = self.submission(job, walk)
        self._submissions = [*(other for other in self._submissions if not other.settled), submission]
        return Rows(job, lambda: self.follow(job, submission.look, submission.check, review_below=review_below))

    def submit(self, sources: Sources, job: str | None = None) -> str:
        """Submit images, and give the job's id when all of them are on record.

        Args:
            sources: as on the command line.
            job: whose submission was cut off, and is finished with the same sources.

        Raises:
            SourceError: one does not exist, holds no image, or can't be read to its end.
            UsageError: no model can have that name, or the job was begun with other images.
            UnknownJob, JobCancelled: somebody deleted or cancelled it meanwhile.
        """
        names = _names(sources)
        walk = Walk(names, Root(self.settings.image_root))
        if job is None:
            job = self.create(names)
        try:
            self.put(job, walk)
        except (SourceError, BrokerUnreachable, KeyboardInterrupt) as exc:
            exc.add_note(f"job {job} stays open, with what was submitted: submit(…, job={job!r}) adds the rest")
            raise
        return job

    def rows(self, job: str, *, review_below: float | None = None) -> Rows:
        """Give a job's rows as they arrive; to iterate raises what `Follower.rows` does.

        Args:
            job: its id.
            review_below: as `classify`'s.

        Raises:
            UnknownJob: there is none.
            UsageError: `review_below` is no confidence.
        """
        reviews.check(review_below)
        self.status(job)
        return Rows(job, lambda: self.follow(job, review_below=review_below))

    def wait(self, job: str, *, review_below: float | None = None) -> Rows:
        """Wait for a job's end, and give its rows.

        Raises:
            UsageError: as `rows`.
            UnknownJob, JobCancelled, NoWorker, MessageInvalid, BrokerUnreachable: as `Follower.rows`.
        """
        reviews.check(review_below)
        self.end(job)
        return self.rows(job, review_below=review_below)

    def results(self, job: str, *, review_below: float | None = None) -> Rows:
        """Give the rows that a job has by now. UnknownJob, UsageError: as `rows`."""
        reviews.check(review_below)
        self.status(job)
        return Rows(job, lambda: results(self.ledger, job, review_below))

    def jobs(self) -> list[JobStatus]:
        """Give the counters of all jobs, oldest first; see `Ledger.statuses`."""
        return self.patience(lambda: self.ledger.statuses())

    def resume(self, job: str) -> int:
        """Publish again everything that a job still owes; safe at any time.

        Returns:
            The number of batches.

        Raises:
            UnknownJob: no such job.
        """
        model = self.status(job).model
        pieces = self.patience(lambda: self.ledger.owed(job))
        for piece in pieces:
            self.patience(partial(self.queue.publish, model, job, piece))
        return len(pieces)

    def cancel(self, job: str) -> None:
        """Strike off what a job still owes; the rows it has stay. UnknownJob: there is none."""
        self.patience(lambda: self.ledger.cancel(job))

    def delete(self, job: str, missing_ok: bool = False) -> None:
        """Forget a job and its rows. UnknownJob: there is none."""
        if not missing_ok:
            self.status(job)
        with suppress(UnknownJob):  # where the first try's answer got lost, the second finds nothing
            self.patience(lambda: self.ledger.delete(job))


def _from_environment(broker_url: str | None) -> Settings:
    given = dict(os.environ)
    if broker_url is not None:  # as a variable: a password file is for whatever broker is used
        given[f"{ENV_PREFIX}BROKER_URL"] = broker_url
    settings = Settings.from_environment(given)
    # Workers of the user's own: what the user can read, they may.
    return settings if settings.broker_url else replace(settings, image_root="/")


def _names(sources: Sources) -> list[str]:
    """Give SOURCES as a list of names."""
    several = [sources] if isinstance(sources, str | os.PathLike) else sources
    return [os.fspath(source) for source in several]
