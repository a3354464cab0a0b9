"""What a person's command does with a Redis: submit, follow, and everything about a job in between."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from producer.follow import Follower, results
from producer.patience import Patience
from producer.sources import Reference
from producer.submit import Submission, submit
from worker.contract.errors import UnknownJob
from worker.contract.jobs import JobStatus
from worker.contract.ledger import Ledger
from worker.contract.messages import Prediction
from worker.contract.queue import Queue
from worker.contract.redis_client import CONNECT_TIMEOUT, connect
from worker.contract.settings import Settings
from worker.contract.workers import Workers


class Client:
    """The producer's side of one Redis.

    Args:
        settings: with a broker.
        patience: how a Redis that goes away later is waited for.

    Raises:
        BrokerUnreachable: Redis does not answer.
    """

    def __init__(self, settings: Settings, patience: Patience | None = None) -> None:
        self.settings = settings
        self.patience = patience or Patience(settings.patience)
        self.ledger = Ledger(settings)
        self.queue = Queue(settings)
        self.workers = Workers(settings)
        # The first question, of what may be a wrong URL: an answer that takes long is none.
        with connect(settings.broker_url, timeout=CONNECT_TIMEOUT) as client:
            Ledger(settings, client=client).ping()

    def create(self, sources: list[str], model: str | None = None) -> str:
        """Open a job and give its id.

        Args:
            sources: as the user named them, for `status`.
            model: whose queue it goes to; None: the setting's.
        """
        model = model or self.model_name(self.settings.model)
        return self.patience(lambda: self.ledger.create(model, tuple(sources)))

    def goes_on(self, job: str, model: str) -> bool:
        """Tell whether a job is there, was not cancelled, and asks for this model."""
        try:
            status = self.status(job)
        except UnknownJob:
            return False
        return status.state != "cancelled" and status.model == model

    def delete(self, job: str) -> None:
        """Forget a job and its rows; it need not be there any more."""
        with suppress(UnknownJob):
            self.patience(lambda: self.ledger.delete(job))

    def status(self, job: str) -> JobStatus:
        """Give a job's counters; see `Ledger.status`."""
        return self.patience(lambda: self.ledger.status(job))

    def submit(self, job: str, references: Callable[[], Iterable[Reference]]) -> None:
        """Put all references on record and in the queue; see `producer.submit.submit`."""
        submit(self.ledger, self.queue, job, references, self.patience)

    def submission(self, job: str, references: Callable[[], Iterable[Reference]], at_once: bool = True) -> Submission:
        """Submit from a thread of its own, with connections of its own; see `producer.submit.Submission`."""
        own = Ledger(self.settings), Queue(self.settings)
        return Submission(lambda: submit(*own, job, references, self.patience), at_once)

    def rows(
        self,
        job: str,
        on_status: Callable[[JobStatus], None] = lambda status: None,
        check: Callable[[], None] = lambda: None,
    ) -> Iterator[list[Prediction]]:
        """Follow a job to its end; see `producer.follow.Follower.rows`."""
        return Follower(self.ledger, self.queue, self.workers, on_status, check, self.patience).rows(job)

    def results(self, job: str) -> Iterator[list[Prediction]]:
        """Give the rows there are so far; see `producer.follow.results`."""
        return results(self.ledger, job)

    def resume(self, job: str) -> int:
        """Publish again everything that a job still owes; safe at any time.

        Returns:
            The number of batches.

        Raises:
            UnknownJob: no such job.
        """
        model = self.ledger.status(job).model
        pieces = self.ledger.owed(job)
        for piece in pieces:
            self.queue.publish(model, job, piece)
        return len(pieces)

    @staticmethod
    def model_name(model: str) -> str:
        """Give the name of a model's queue; a checkpoint file is served under its own name, without the ending."""
        return os.path.basename(model).removesuffix(".safetensors")
