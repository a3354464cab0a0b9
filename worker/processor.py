"""How a worker process works off a batch: claim it, classify its images, commit their rows.

`worker.pipeline` classifies, and a thread renews the lease of the batch in hand meanwhile.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from pigeonhole.errors import MessageInvalid, PigeonholeError
from pigeonhole.ledger.dead_letters import DeadLetters, about, held_back
from pigeonhole.ledger.leases import LEASE, UNTRIED
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.messages import Answers, Batch
from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.redis_client import may_pass
from pigeonhole.ledger.task_queue import Queue
from pigeonhole.models.classifier import Classifier
from pigeonhole.retry import outage, retry
from pigeonhole.settings import Settings
from worker.devices.client import load
from worker.folders import FolderGone
from worker.metrics import Counts, counts
from worker.pipeline import Pipeline
from worker.trial import NotHeld, Trial

logger = logging.getLogger(__name__)
T = TypeVar("T")

#: A batch that takes longer than this share of `PIGEONHOLE_BATCH_SECONDS` is divided after the chunk in hand. The rows
#: so far are committed, and any worker may take the rest: large files are no hang, and a worker that shall stop does.
_SHARE = 0.1
#: Seconds before a batch is returned whose volume is gone: workers that have it get the others of the queue meanwhile.
_HELD = 5.0
#: A suspect that was lost so often is tried with the network too: reading it is not what ended its process.
_LOST_ALONE = 2


class Processor:
    """What one worker process holds for its lifetime, and how it works off a batch.

    Args:
        settings: the worker's.
        classifier: loaded and warm.
        ledger: where batches are claimed and committed.
        counts: what is done, for metrics.
    """

    def __init__(
        self, settings: Settings, classifier: Classifier, ledger: Ledger, counts: Counts | None = None
    ) -> None:
        self._settings = settings
        self._model = classifier.checkpoint.name
        self._queue = Queue(settings)
        self._counts = counts or Counts()
        self._pipeline = Pipeline(settings, classifier, self._counts)
        self._identity = classifier.identity
        self._ledger = ledger
        self._dead_letters = DeadLetters(settings, client=ledger.client)
        self._trial = Trial(self._pipeline.reader, settings.batch_seconds / 3, settings)
        self._held: tuple[str, Piece] | None = None
        threading.Thread(target=self._keep_lease, name="lease", daemon=True).start()

    @classmethod
    def start(cls, settings: Settings) -> "Processor":
        """Load the checkpoint that the settings name.

        Raises:
            CheckpointError, SettingsError: it can't be used, or not on that device.
        """
        classifier = load(settings)
        return cls(settings, classifier, Ledger(settings), counts(settings, classifier.checkpoint.name))

    def work(self, job: str, piece: Piece) -> bool:
        """Claim a piece, classify it and commit its rows.

        Returns:
            False where there was nothing to do, somebody else was first, or it could not be tried and waits again.
        """
        try:
            batch = self._retrying(lambda: self._ledger.claim(job, piece))
        except MessageInvalid as exc:
            self.dead_letter(about(job, piece.key), exc)
            self._retrying(lambda: self._ledger.release(job, piece))  # to a worker of another version, perhaps
            return False
        if batch is None:
            return False
        started = time.monotonic()
        with self._holding(job, piece):
            try:
                if piece.quarantined:
                    answers = self._suspicious(job, piece, batch)
                else:
                    answers = self._pipeline.classify(batch, _SHARE * self._settings.batch_seconds)
            except NotHeld as exc:
                # Nobody publishes it now, so the sweep will, after a while in which things may mend.
                logger.warning("job %s: batch %s waits again, it can't be tried: %s", job, piece.key, exc)
                self._retrying(lambda: self._ledger.release(job, piece, untried=True))
                return False
            except FolderGone as exc:
                self._hold_back(job, piece, exc)
                return False
            with self._counts.stage("commit"):
                counted = self._commit(job, piece, batch, answers)
        if counted:
            self._counts.batch(answers)
        # Celery's own lines name a task, not the job that a user knows.
        what = f"{len(answers)} images ({len(answers.errors)} errors) in {time.monotonic() - started:.2f} s"
        logger.info("job %s: batch %s: %s%s", job, piece.key, what, "" if counted else "; somebody else was first")
        return counted

    def _commit(self, job: str, piece: Piece, batch: Batch, answers: Answers) -> bool:
        """Commit the rows of a piece, and publish the images that there was no time for; return whether they count."""
        if len(answers) == len(batch):
            return self._retrying(lambda: self._ledger.commit(job, piece, answers))
        parts = self._retrying(lambda: self._ledger.divide(job, piece, len(answers), len(batch)))
        if parts is None:
            return False
        done, rest = parts
        logger.info("job %s: batch %s takes long; any worker may take its part %s", job, piece.key, rest.key)
        counted = self._retrying(lambda: self._ledger.commit(job, done, answers))
        self._retrying(lambda: self._queue.publish(self._model, job, rest))
        return counted

    def dead_letter(self, what: str, exc: PigeonholeError) -> None:
        """Keep what can't be understood where `status` shows it."""
        logger.error("%s can't be understood: %s", what, exc)
        self._retrying(lambda: self._dead_letters.add(what, str(exc)))

    def _hold_back(self, job: str, piece: Piece, exc: FolderGone) -> None:
        """Return a batch whose images can't be told from missing ones, for another try; `status` shows why."""
        logger.error("job %s: batch %s waits: %s", job, piece.key, exc)
        self._retrying(lambda: self._dead_letters.add(held_back(job, piece.key), str(exc)))
        time.sleep(_HELD)
        self._retrying(lambda: self._ledger.release(job, piece))

    def _suspicious(self, job: str, piece: Piece, batch: Batch) -> Answers:
        """Classify a quarantined image, once an isolation run has survived it."""
        (location,) = batch.located()
        network = self._retrying(lambda: self._ledger.losses(job, piece)) >= _LOST_ALONE
        try:
            verdict = self._trial.verdict(location, network)
        except NotHeld as exc:
            # There may never be room for another process. Waiting would have no end; the ledger counts losses.
            if not network and self._retrying(lambda: self._ledger.untried(job, piece)) < UNTRIED:
                raise
            logger.warning("job %s: batch %s is classified untried: %s", job, piece.key, exc)
            verdict = None
        return self._pipeline.classify(batch) if verdict is None else Answers.failed(self._identity, [verdict])

    def _retrying(self, step: Callable[[], T]) -> T:
        """Retry a step while Redis is away or full: what has been classified shall not be lost to a restart."""
        logged = set[str]()

        def waiting(exc: Exception) -> None:
            if str(exc) not in logged:  # once, not twice a second
                logged.add(str(exc))
                logger.warning("%s; waiting for it", exc)

        return retry(step, outage(self._settings.patience), may_pass, waiting)

    @contextmanager
    def _holding(self, job: str, piece: Piece) -> Iterator[None]:
        """Renew the lease of a piece for the length of a block."""
        self._held = (job, piece)
        try:
            yield
        finally:
            self._held = None

    def _keep_lease(self) -> None:
        """Renew what is in hand: it lives and dies with this process, so that the lease tells whether that does."""
        while True:
            time.sleep(LEASE / 4)
            held = self._held
            if held is None:
                continue
            try:
                self._ledger.renew(held[0], [held[1]])
            except Exception as exc:  # without this thread, every batch would count as lost
                foreseen = isinstance(exc, PigeonholeError)
                what = "job %s: the lease of batch %s is not renewed: %s"
                logger.warning(what, held[0], held[1].key, exc, exc_info=None if foreseen else exc)
