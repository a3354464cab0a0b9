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

from pigeonhole.client_sources import Sources, listed, names
from pigeonhole.errors import BrokerUnreachable, SourceError
from pigeonhole.jobs.connection import Connection
from pigeonhole.jobs.progress import ProgressLine
from pigeonhole.jobs.retrying import Logged, Retrying
from pigeonhole.jobs.rows import Rows
from pigeonhole.jobs.submit import Submission
from pigeonhole.label_map import LabelMap
from pigeonhole.ledger.status import JobStatus
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.limits import TOP
from pigeonhole.row_options import RowOptions
from pigeonhole.settings import ENV_PREFIX, Settings, masked
from pigeonhole.sources.expand import expand
from pigeonhole.sources.reference import Root

#: A label map: texts to show in place of class names, or the path of a file with them.
Texts: TypeAlias = str | os.PathLike[str] | Mapping[str, str]


class Client:
    """Classifies images with the workers of a Redis, and returns typed rows as they arrive.

    with Client() as client:
        for row in client.classify("photos/"):
            print(row.path, row.label, row.confidence)

    With a broker URL, the client uses the workers at that Redis. Without one, the first call starts an embedded Redis
    and workers, which takes seconds, and `close` ends them: use the client as a context manager. A client is for one
    thread.

    Args:
        broker_url: the URL of a Redis; None: the value of PIGEONHOLE_BROKER_URL; empty: an embedded Redis.
        model: the name of the model; for embedded workers, also the path of a model file.
        image_root: the folder that contains the images, for this program and for the workers; embedded workers can
            read all files of the user.
        settings: all settings, instead of `broker_url` and the environment.

    Raises:
        BrokerUnreachable: Redis does not answer.
        SettingsError: a setting has an invalid value.
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
        self._connection = Connection(settings, Retrying(settings.outage_seconds, Logged()))
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
        """Complete the submissions to a shared broker, whose jobs continue, or stop the embedded Redis and workers.

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
        """Submit images, and return their rows as they arrive.

        rows = client.classify(["photos/", Image.open("one.png")], progress=True)

        The job continues if the iteration is left early, also by an exception; `cancel` ends it.

        Args:
            sources: SOURCEs as on the command line, and images in memory: the bytes of a file, uint8 arrays or Pillow
                images. Rows have the path as in `sources`; for images in memory, `image 0` with their position among
                the sources, or their key in a mapping.
            top: the number of most probable classes in each row; None: 3.
            label_map: texts to show in place of class names: a mapping by name, or the path of a file.
            unknown_label: the label of images that the model marks for review and whose `unknown` is 0.5 or more; None:
                their most probable class.
            review_below: rows with a lower confidence than this, from 0 to 1, are marked for review; None: the model
                decides.
            progress: show the job's progress on standard error while the rows are read.

        Raises:
            SourceError: a source does not exist or has no image; during iteration: a source can't be read to its end.
            UsageError: the model's name is invalid, or an option or image is; during iteration: the label map names a
                class that the model does not have.
        """
        options, given = _options(review_below, top, label_map, unknown_label), listed(sources)
        walk = expand(given, Root(self._connection.settings.image_root))
        job = self._connection.create(names(given))
        submission = self._connection.submission(job, walk, top=options.top or TOP)
        self._submissions = [*(other for other in self._submissions if not other.settled), submission]
        return self._rows(job, options, progress, submission)

    def submit(self, sources: Sources, job: str | None = None, *, top: int | None = None) -> str:
        """Submit images, and return the job's id once all of them are recorded in Redis.

        Args:
            sources: the images, as in `classify`.
            job: the id of a job whose submission was cut off, to complete it with the same sources and the same `top`.
            top: the number of most probable classes in each row, as in `classify`.

        Raises:
            SourceError: a source does not exist, has no image, or can't be read to its end.
            UsageError: the model's name is invalid, or the job was started with other images.
            UnknownJob, JobCancelled: the job was deleted or cancelled meanwhile.
        """
        given, options = listed(sources), RowOptions(top=top)
        walk = expand(given, Root(self._connection.settings.image_root))
        if job is None:
            job = self._connection.create(names(given))
        try:
            self._connection.submit(job, walk, options.top or TOP)
        except (SourceError, BrokerUnreachable, KeyboardInterrupt) as exc:
            exc.add_note(f"job {job} stays open, with the images so far: submit(…, job={job!r}) adds the rest")
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
        """Return a job's rows as they arrive; iteration raises what `Follower.batches` raises.

        Args:
            job: the job's id.
            top: the number of most probable classes in each row, at most that of the job; None: that of the job.
            label_map, unknown_label, review_below, progress: as in `classify`.

        Raises:
            UnknownJob: there is no such job.
            UsageError: an option is invalid.
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
        """Wait for a job's end, and return its rows; `progress` shows its progress meanwhile.

        Raises:
            UsageError: an option is invalid.
            UnknownJob, JobCancelled, NoWorker, MessageInvalid, BrokerUnreachable: as in `Follower.batches`.
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
        """Return the finished rows of a job without waiting; raise UnknownJob or UsageError as `rows` does."""
        options = _options(review_below, top, label_map, unknown_label)
        self.status(job)
        return Rows(job, lambda: self._connection.results(job, options))

    def jobs(self) -> list[JobStatus]:
        """Return the counters of all jobs, oldest first."""
        return self._connection.jobs()

    def status(self, job: str) -> JobStatus:
        """Return a job's counters; raise UnknownJob if there is no such job."""
        return self._connection.status(job)

    def resume(self, job: str) -> int:
        """Publish all pending batches of a job again; safe at any time.

        Returns:
            The number of pending batches.

        Raises:
            UnknownJob: no such job.
        """
        return self._connection.resume(job)

    def cancel(self, job: str) -> None:
        """Cancel a job: drop its pending images and keep its rows. Raise UnknownJob if there is no such job."""
        self._connection.cancel(job)

    def delete(self, job: str) -> None:
        """Delete a job and its rows; raise UnknownJob if there is no such job."""
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
    if broker_url is not None:  # as a variable, so that the password file of the environment is used
        given[f"{ENV_PREFIX}BROKER_URL"] = broker_url
    settings = Settings.from_environment(given)
    # Embedded workers may read all files that the user can read.
    return settings if settings.broker_url else replace(settings, image_root="/")


def _options(
    review_below: float | None, top: int | None, label_map: Texts | None, unknown_label: str | None
) -> RowOptions:
    return RowOptions(review_below, top, None if label_map is None else LabelMap.of(label_map), unknown_label)


def _nothing(*status: JobStatus) -> None:
    """Do nothing."""
