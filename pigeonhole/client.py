"""The Python interface.

from pigeonhole import Client

with Client() as client:
    for row in client.classify("photos/"):
        print(row.path, row.label, row.confidence)
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import TracebackType
from typing import TypeAlias

from pigeonhole.errors import BrokerUnreachable, SourceError
from pigeonhole.given import Sources, listed, names
from pigeonhole.jobs.connection import Connection
from pigeonhole.jobs.progress import ProgressLine
from pigeonhole.jobs.retrying import Logged, Retrying
from pigeonhole.jobs.rows import Rows
from pigeonhole.jobs.submit import Submission
from pigeonhole.label_map import LabelMap
from pigeonhole.ledger.messages import Row
from pigeonhole.ledger.status import JobStatus
from pigeonhole.limits import TOP
from pigeonhole.row_options import RowOptions
from pigeonhole.settings import ENV_PREFIX, Settings, masked
from pigeonhole.sources.expand import expand
from pigeonhole.sources.reference import Root

#: The texts to show in place of class names, or the file that they stand in.
Texts: TypeAlias = str | os.PathLike[str] | Mapping[str, str]


class Client:
    """Classifies images with the workers of a Redis, and returns typed rows as they arrive.

    with Client() as client:
        for row in client.classify("photos/"):
            print(row.path, row.label, row.confidence)

    With a broker's URL, the client uses the workers at that Redis. Without one, the first call starts a Redis and
    workers of the client's own, which takes seconds, and `close` ends them: use the client as a context manager. It is
    for one thread.

    Args:
        broker_url: the URL of a Redis; None: the value of PIGEONHOLE_BROKER_URL; empty: a Redis of the client's own.
        model: the name of the model that classifies; for workers of the client's own also a model file.
        image_root: the folder that program and workers both see the images in; the client's own workers see all files
            of the user.
        settings: all settings, in place of the environment's and `broker_url`.

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
    ) -> None:
        settings = settings or _from_environment(broker_url)
        settings = replace(
            settings,
            model=settings.model if model is None else os.fspath(model),
            image_root=settings.image_root if image_root is None else os.fspath(image_root),
        )
        self._connection = Connection(settings, Retrying(settings.patience, Logged()))
        self._submissions: list[Submission] = []

    def __repr__(self) -> str:
        settings = self._connection.settings
        where = masked(settings.broker_url) if settings.broker_url else "a Redis and workers of its own"
        return f"<Client of {where}, for the model {settings.model!r}>"

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None and not issubclass(kind, Exception):
            self._submissions.clear()  # an interruption does not wait
        self.close()

    def close(self) -> None:
        """Stop what the client has started; jobs at a shared broker go on, and what was begun is submitted first.

        Raises:
            PigeonholeError: the error of a submission, if it was not raised before.
        """
        try:
            while self._connection.settings.broker_url and self._submissions:
                submission = self._submissions.pop()
                submission.finish()
                if not submission.reported:
                    submission.check()
        finally:
            self._connection.close()

    def classify(
        self,
        sources: Sources,
        *,
        top: int | None = None,
        label_map: Texts | None = None,
        unknown_label: str | None = None,
        review_below: float | None = None,
        progress: bool = False,
    ) -> Rows:
        """Submit images, and return their rows, which arrive while the workers are busy.

        rows = client.classify(["photos/", Image.open("one.png")], progress=True)

        Leaving the iteration early, by an exception too, cancels nothing; `cancel` does.

        Args:
            sources: as on the command line, where paths in rows are spelled as they are here; and images in memory, as
                bytes of a file, uint8 arrays or Pillow's images. Their rows have the path `image 0`, by their place
                among the sources, or their key in a mapping.
            top: how many of the most probable classes each row carries; None: 3.
            label_map: texts to show in place of class names; its file, or the texts by name.
            unknown_label: the label of images that the model marks for review and whose `unknown` is 0.5 or more; None:
                their most probable class.
            review_below: the confidence, from 0 to 1, under which rows are marked for review; None: the model's.
            progress: show on standard error, while the rows are read, how far the job is.

        Raises:
            SourceError: one does not exist, or holds no image; when iterated, that one can't be read to its end.
            UsageError: no model can have that name, or an option or an image can't be used; when iterated, the label
                map names a class that the model does not have.
        """
        options, given = _options(review_below, top, label_map, unknown_label), listed(sources)
        walk = expand(given, Root(self._connection.settings.image_root))
        job = self._connection.create(names(given))
        submission = self._connection.submission(job, walk, top=options.top or TOP)
        self._submissions = [*(other for other in self._submissions if not other.settled), submission]
        return self._rows(job, options, progress, submission)

    def submit(self, sources: Sources, job: str | None = None, *, top: int | None = None) -> str:
        """Submit images, and return the job's id when all of them are on record.

        Args:
            sources: as in `classify`.
            job: a job whose submission was cut off; it is finished with the same sources, and the same `top`.
            top: as in `classify`.

        Raises:
            SourceError: one does not exist, holds no image, or can't be read to its end.
            UsageError: no model can have that name, or the job was begun with other images.
            UnknownJob, JobCancelled: the job was deleted or cancelled meanwhile.
        """
        given, options = listed(sources), RowOptions(top=top)
        walk = expand(given, Root(self._connection.settings.image_root))
        if job is None:
            job = self._connection.create(names(given))
        try:
            self._connection.submit(job, walk, options.top or TOP)
        except (SourceError, BrokerUnreachable, KeyboardInterrupt) as exc:
            exc.add_note(f"job {job} stays open, with what was submitted: submit(…, job={job!r}) adds the rest")
            raise
        return job

    def rows(
        self,
        job: str,
        *,
        top: int | None = None,
        label_map: Texts | None = None,
        unknown_label: str | None = None,
        review_below: float | None = None,
        progress: bool = False,
    ) -> Rows:
        """Return a job's rows as they arrive; to iterate raises what `Follower.rows` does.

        Args:
            job: its id.
            top: the number of classes in a row, at most what the job's rows carry; None: all of these.
            label_map, unknown_label, review_below, progress: as in `classify`.

        Raises:
            UnknownJob: there is none.
            UsageError: an option can't be used.
        """
        options = _options(review_below, top, label_map, unknown_label)
        self.status(job)
        return self._rows(job, options, progress)

    def wait(
        self,
        job: str,
        *,
        top: int | None = None,
        label_map: Texts | None = None,
        unknown_label: str | None = None,
        review_below: float | None = None,
        progress: bool = False,
    ) -> Rows:
        """Wait for a job's end, and return its rows; `progress` shows how far the job is meanwhile.

        Raises:
            UsageError: as `rows`.
            UnknownJob, JobCancelled, NoWorker, MessageInvalid, BrokerUnreachable: as `Follower.rows`.
        """
        options = _options(review_below, top, label_map, unknown_label)
        if progress:
            with ProgressLine() as line:
                self._connection.end(job, line.show)
        else:
            self._connection.end(job)
        return self._rows(job, options, progress=False)

    def results(
        self,
        job: str,
        *,
        top: int | None = None,
        label_map: Texts | None = None,
        unknown_label: str | None = None,
        review_below: float | None = None,
    ) -> Rows:
        """Return the rows that a job has by now. UnknownJob, UsageError: as `rows`."""
        options = _options(review_below, top, label_map, unknown_label)
        self.status(job)
        return Rows(job, lambda: self._connection.results(job, options))

    def jobs(self) -> list[JobStatus]:
        """Return the counters of all jobs, oldest first."""
        return self._connection.jobs()

    def status(self, job: str) -> JobStatus:
        """Return a job's counters. UnknownJob: there is none."""
        return self._connection.status(job)

    def resume(self, job: str) -> int:
        """Publish all pending batches of a job again; safe at any time.

        Returns:
            How many there were.

        Raises:
            UnknownJob: no such job.
        """
        return self._connection.resume(job)

    def cancel(self, job: str) -> None:
        """Drop the images of a job that are not done; its rows stay. UnknownJob: there is none."""
        self._connection.cancel(job)

    def delete(self, job: str) -> None:
        """Delete a job and its rows. UnknownJob: there is none."""
        self._connection.delete(job)

    def _rows(self, job: str, options: RowOptions, progress: bool, submission: Submission | None = None) -> Rows:
        on_status, check = (submission.on_status, submission.check) if submission else (_nothing, _nothing)

        line = ProgressLine() if progress else None

        def batches() -> Iterator[list[Row]]:
            if line is None:
                return self._connection.follow(job, options, on_status, check)

            def show(status: JobStatus) -> None:
                on_status(status)
                line.show(status)

            return line.around(self._connection.follow(job, options, show, check))

        return Rows(job, batches, lambda: self._connection.submitted(job, on_status, check).images)


def _from_environment(broker_url: str | None) -> Settings:
    given = dict(os.environ)
    if broker_url is not None:  # as a variable: a password file is for whatever broker is used
        given[f"{ENV_PREFIX}BROKER_URL"] = broker_url
    settings = Settings.from_environment(given)
    # Workers of the user's own: what the user can read, they may.
    return settings if settings.broker_url else replace(settings, image_root="/")


def _options(
    review_below: float | None, top: int | None, label_map: Texts | None, unknown_label: str | None
) -> RowOptions:
    return RowOptions(review_below, top, None if label_map is None else LabelMap.of(label_map), unknown_label)


def _nothing(*status: JobStatus) -> None:
    """Do nothing."""
