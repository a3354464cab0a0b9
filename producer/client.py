"""What a person's command does with a Redis: submit, follow, and everything about a job in between."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator

from producer.follow import Follower, results
from producer.sources import Reference
from producer.submit import submit
from worker.contract.jobs import JobStatus
from worker.contract.ledger import Ledger
from worker.contract.messages import Prediction
from worker.contract.queue import Queue
from worker.contract.settings import Settings
from worker.contract.workers import Workers


class Client:
    """The producer's side of one Redis.

    Args:
        settings: with a broker.

    Raises:
        BrokerUnreachable: Redis does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ledger = Ledger(settings)
        self.queue = Queue(settings)
        self.workers = Workers(settings)
        self.ledger.ping()

    def create(self, sources: list[str], model: str | None = None) -> str:
        """Open a job and give its id.

        Args:
            sources: as the user named them, for `status`.
            model: whose queue it goes to; None: the setting's.
        """
        return self.ledger.create(model or self.model_name(self.settings.model), tuple(sources))

    def submit(self, job: str, references: Iterable[Reference]) -> None:
        """Put all references on record and in the queue; see `producer.submit.submit`."""
        submit(self.ledger, self.queue, job, references)

    def submit_meanwhile(self, job: str, references: Iterable[Reference]) -> Callable[[], None]:
        """Submit from a thread of its own, so that rows can be followed from the beginning.

        Returns:
            A function that raises what went wrong with the submission, if something did.
        """
        wrong: list[Exception] = []

        def run() -> None:
            try:
                submit(Ledger(self.settings), Queue(self.settings), job, references)
            except Exception as exc:  # noqa: BLE001  # raised again where the job is followed
                wrong.append(exc)

        threading.Thread(target=run, name="submit", daemon=True).start()

        def check() -> None:
            if wrong:
                raise wrong[0]

        return check

    def rows(
        self,
        job: str,
        on_status: Callable[[JobStatus], None] = lambda status: None,
        check: Callable[[], None] = lambda: None,
    ) -> Iterator[list[Prediction]]:
        """Follow a job to its end; see `producer.follow.Follower.rows`."""
        return Follower(self.ledger, self.queue, self.workers, on_status, check).rows(job)

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
