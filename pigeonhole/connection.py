"""A Redis and the workers there, seen from the producer: one that is shared, or one of its own."""

import os
import re
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pigeonhole.errors import UnknownJob, UsageError
from pigeonhole.jobs.follow import Follower
from pigeonhole.jobs.patience import Patience
from pigeonhole.jobs.submit import Submission, submit
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.messages import Prediction
from pigeonhole.ledger.redis_client import CONNECT_TIMEOUT, connect
from pigeonhole.ledger.status import JobStatus
from pigeonhole.ledger.task_queue import Queue
from pigeonhole.ledger.workers import Announcement, Workers
from pigeonhole.settings import Settings
from pigeonhole.sources.expand import Reference

if TYPE_CHECKING:
    from pigeonhole.embedded.servers import Embedded

SUFFIX = ".safetensors"
#: What a checkpoint may be called, as `pigeonhole.models.record` has it.
NAME = re.compile(r"[a-z0-9._-]{1,64}")


@dataclass(frozen=True)
class _Parts:
    """What a connection talks to, and what it has started for that."""

    ledger: Ledger
    queue: Queue
    workers: Workers
    embedded: "Embedded | None"


class Connection:
    """What a job needs of a Redis: to be opened, submitted and followed.

    Args:
        settings: without a broker's URL, the first question brings up a Redis and workers, and `close` ends them.
        patience: how a Redis that goes away later is waited for.

    Raises:
        BrokerUnreachable: Redis does not answer.
    """

    def __init__(self, settings: Settings, patience: Patience) -> None:
        self.settings = settings
        self.patience = patience
        self.patience.check = self.check
        self._parts: _Parts | None = None
        self._owned = ExitStack()
        # Also where nobody closes it, and at the program's end, while Python's own files are still open.
        self._end = weakref.finalize(self, self._owned.close)
        self._closed = False
        if settings.broker_url:
            # The first question, of what may be a wrong URL: an answer that takes long is none.
            with connect(settings.broker_url, timeout=CONNECT_TIMEOUT) as client:
                Ledger(settings, client=client).ping()

    def close(self) -> None:
        """End what was started; nothing can be asked after that."""
        self._closed = True
        self._end()

    def check(self) -> None:
        """Raise what ends all waiting: this is closed, or a Redis or workers of its own have ended."""
        if self._closed:
            raise UsageError("this Client is closed, and what it started itself has gone with it: make a new one")
        if self._parts and self._parts.embedded:
            self._parts.embedded.check()

    @property
    def ledger(self) -> Ledger:
        """The record of all jobs."""
        return self._open().ledger

    @property
    def queue(self) -> Queue:
        """The messages that wait."""
        return self._open().queue

    @property
    def workers(self) -> Workers:
        """Who is at work."""
        return self._open().workers

    def serving(self) -> tuple[str, str]:
        """Give the name of the model that answers, and its checkpoint as far as that is known: `name@digest` or a name.

        Raises:
            UsageError: no model can have that name.
            EmbeddedFailed: workers of its own don't start.
        """
        parts = self._open()
        if parts.embedded:
            return parts.embedded.model()
        name = self.model_name(self.settings.model)
        return name, name

    def create(self, sources: list[str], model: str | None = None) -> str:
        """Open a job and give its id.

        Args:
            sources: as the user named them, for `status`.
            model: whose queue it goes to; None: the setting's.
        """
        name = self.model_name(model) if model else self.serving()[0]
        return self.patience(lambda: self.ledger.create(name, tuple(sources)))

    def put(self, job: str, references: Callable[[], Iterable[Reference]]) -> None:
        """Put all references on record and in the queue; see `pigeonhole.jobs.submit.submit`."""
        submit(self.ledger, self.queue, job, references, self.patience)

    def submission(self, job: str, references: Callable[[], Iterable[Reference]], at_once: bool = True) -> Submission:
        """Submit from a thread of its own, with connections of its own; see `pigeonhole.jobs.submit.Submission`."""
        settings = self.ledger.settings
        own = Ledger(settings), Queue(settings)
        return Submission(lambda: submit(*own, job, references, self.patience), at_once)

    def follow(
        self,
        job: str,
        on_status: Callable[[JobStatus], None] = lambda status: None,
        check: Callable[[], None] = lambda: None,
        on_workers: Callable[[list[Announcement]], None] | None = None,
        review_below: float | None = None,
    ) -> Iterator[list[Prediction]]:
        """Follow a job to its end, a batch at a time; see `pigeonhole.jobs.follow.Follower.rows`."""
        return self._follower(on_status, check, on_workers, review_below).rows(job)

    def end(self, job: str) -> JobStatus:
        """Wait for a job's end; see `pigeonhole.jobs.follow.Follower.end`."""
        return self._follower().end(job)

    def status(self, job: str) -> JobStatus:
        """Give a job's counters. UnknownJob: there is none."""
        return self.patience(lambda: self.ledger.status(job))

    def goes_on(self, job: str, model: str) -> bool:
        """Tell whether a job is there, was not cancelled, and asks for this model."""
        try:
            status = self.status(job)
        except UnknownJob:
            return False
        return status.state != "cancelled" and status.model == model

    @staticmethod
    def model_name(model: str) -> str:
        """Give the name of a model's queue; a checkpoint file is served under its own name, without the ending.

        Raises:
            UsageError: no checkpoint can have that name.
        """
        name = os.path.basename(model).removesuffix(SUFFIX) if model.endswith(SUFFIX) else model
        if not NAME.fullmatch(name):
            raise UsageError(
                f"{model!r} is no model's name: that has 1 to 64 lower-case letters, digits or any of - _ . (or is a "
                f"checkpoint file, which ends with {SUFFIX})"
            )
        return name

    def _open(self) -> _Parts:
        self.check()
        if self._parts is None:
            embedded = None if self.settings.broker_url else self._bring_up()
            settings = embedded.settings if embedded else self.settings
            self._parts = _Parts(Ledger(settings), Queue(settings), Workers(settings), embedded)
        return self._parts

    def _bring_up(self) -> "Embedded":
        from pigeonhole.embedded.servers import embedded

        return self._owned.enter_context(embedded(self.settings))

    def _follower(
        self,
        on_status: Callable[[JobStatus], None] = lambda status: None,
        check: Callable[[], None] = lambda: None,
        on_workers: Callable[[list[Announcement]], None] | None = None,
        review_below: float | None = None,
    ) -> Follower:
        def both() -> None:
            self.check()
            check()

        return Follower(self.ledger, self.queue, self.workers, on_status, both, self.patience, on_workers, review_below)
