"""Processes one batch in a worker process: claim it, classify its images, commit their rows.

`worker.processing.pipeline` classifies; meanwhile a thread renews the lease of the batch.
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
from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.queue.task_queue import Queue
from pigeonhole.ledger.redis.client import is_transient
from pigeonhole.ledger.wire.messages import Answers, Batch
from pigeonhole.models.classifier import Classifier
from pigeonhole.retry import outage, retry
from pigeonhole.settings import Settings
from worker.devices.client import load
from worker.monitoring.metrics import Counts, counts
from worker.processing.folders import FolderGone
from worker.processing.isolation import IsolationRun, IsolationUnavailable
from worker.processing.pipeline import Pipeline

logger = logging.getLogger(__name__)
T = TypeVar("T")

#: A batch that takes longer than this share of `PIGEONHOLE_BATCH_SECONDS` is divided after the current chunk. Its rows
#: so far are committed, and any worker may take the rest. So large files do not time out or delay a worker's stop.
_SHARE = 0.1
#: Seconds to wait before returning a batch whose volume is gone; meanwhile workers that have the volume take others.
_HELD = 5.0
#: After this many worker losses, the isolation run of a quarantined image runs the network too, not just the reader.
_LOST_ALONE = 2


class Processor:
    """Claims, classifies and commits batches in one worker process.

    Args:
        settings: the worker's.
        classifier: the loaded model, warmed up.
        ledger: where batches are claimed and committed.
        counts: the counters for metrics; None: nothing is counted.
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
        self._isolation_run = IsolationRun(self._pipeline.reader, settings.batch_seconds / 3, settings)
        self._held: tuple[str, Piece] | None = None
        threading.Thread(target=self._keep_lease, name="lease", daemon=True).start()

    @classmethod
    def start(cls, settings: Settings) -> "Processor":
        """Load the checkpoint that the settings name.

        Raises:
            CheckpointError, SettingsError: the checkpoint can't be used, or not on that device.
        """
        classifier = load(settings)
        return cls(settings, classifier, Ledger(settings), counts(settings, classifier.checkpoint.name))

    def work(self, job: str, piece: Piece) -> bool:
        """Claim a piece, classify it and commit its rows.

        Returns:
            True if its rows were committed. False if there was nothing to do, another worker committed first, or the
            piece is pending again.
        """
        try:
            batch = self._retrying(lambda: self._ledger.claim(job, piece))
        except MessageInvalid as exc:
            self.dead_letter(about(job, piece.key), exc)
            self._retrying(lambda: self._ledger.release(job, piece))  # a worker of another version may understand it
            return False
        if batch is None:
            return False
        started = time.monotonic()
        with self._holding(job, piece):
            try:
                if piece.quarantined:
                    answers = self._classify_quarantined(job, piece, batch)
                else:
                    answers = self._pipeline.classify(batch, _SHARE * self._settings.batch_seconds)
            except IsolationUnavailable as exc:
                # It is not published now: the sweep publishes it later, when memory may be free again.
                logger.warning("job %s: batch %s waits again, its isolation run failed: %s", job, piece.key, exc)
                self._retrying(lambda: self._ledger.release(job, piece, untried=True))
                return False
            except FolderGone as exc:
                self._hold_back(job, piece, exc)
                return False
            with self._counts.stage("commit"):
                counted = self._commit(job, piece, batch, answers)
        if counted:
            self._counts.batch(answers)
        # Celery's own lines name a task, but users know the job.
        what = f"{len(answers)} images ({len(answers.errors)} errors) in {time.monotonic() - started:.2f} s"
        logger.info("job %s: batch %s: %s%s", job, piece.key, what, "" if counted else "; was committed before")
        return counted

    def _commit(self, job: str, piece: Piece, batch: Batch, answers: Answers) -> bool:
        """Commit the rows of a piece and publish its remaining images; return whether the commit was the first."""
        if len(answers) == len(batch):
            return self._retrying(lambda: self._ledger.commit(job, piece, answers))
        parts = self._retrying(lambda: self._ledger.divide(job, piece, len(answers), len(batch)))
        if parts is None:
            return False
        done, rest = parts
        logger.info("job %s: batch %s takes long; published the rest as %s", job, piece.key, rest.key)
        counted = self._retrying(lambda: self._ledger.commit(job, done, answers))
        self._retrying(lambda: self._queue.publish(self._model, job, rest))
        return counted

    def dead_letter(self, what: str, exc: PigeonholeError) -> None:
        """Store a message or batch that is invalid as a dead letter, which `status` shows."""
        logger.error("%s is invalid: %s", what, exc)
        self._retrying(lambda: self._dead_letters.add(what, str(exc)))

    def _hold_back(self, job: str, piece: Piece, exc: FolderGone) -> None:
        """Return a batch whose volume is gone, for a retry later; `status` shows the reason."""
        logger.error("job %s: batch %s waits: %s", job, piece.key, exc)
        self._retrying(lambda: self._dead_letters.add(held_back(job, piece.key), str(exc)))
        time.sleep(_HELD)
        self._retrying(lambda: self._ledger.release(job, piece))

    def _classify_quarantined(self, job: str, piece: Piece, batch: Batch) -> Answers:
        """Classify a quarantined image if its isolation run succeeds, else return an error row for it."""
        (location,) = batch.located()
        network = self._retrying(lambda: self._ledger.losses(job, piece)) >= _LOST_ALONE
        try:
            verdict = self._isolation_run.verdict(location, network)
        except IsolationUnavailable as exc:
            # There may never be memory for another process, so the retries end; the ledger counts worker losses.
            if not network and self._retrying(lambda: self._ledger.untried(job, piece)) < UNTRIED:
                raise
            logger.warning("job %s: batch %s is classified without an isolation run: %s", job, piece.key, exc)
            verdict = None
        return self._pipeline.classify(batch) if verdict is None else Answers.failed(self._identity, [verdict])

    def _retrying(self, step: Callable[[], T]) -> T:
        """Retry a step while Redis is away or full, so that a classified batch is not lost."""
        logged = set[str]()

        def waiting(exc: Exception) -> None:
            if str(exc) not in logged:  # log it once, not twice a second
                logged.add(str(exc))
                logger.warning("%s; waiting for it", exc)

        return retry(step, outage(self._settings.outage_seconds), is_transient, waiting)

    @contextmanager
    def _holding(self, job: str, piece: Piece) -> Iterator[None]:
        """Renew the lease of a piece for the length of a block."""
        self._held = (job, piece)
        try:
            yield
        finally:
            self._held = None

    def _keep_lease(self) -> None:
        """Renew the lease of the current piece for ever; the lease expires when this process ends."""
        while True:
            time.sleep(LEASE / 4)
            held = self._held
            if held is None:
                continue
            try:
                self._ledger.renew(held[0], [held[1]])
            except Exception as exc:  # without this thread, every batch would count as lost
                expected = isinstance(exc, PigeonholeError)
                what = "job %s: the lease of batch %s is not renewed: %s"
                logger.warning(what, held[0], held[1].key, exc, exc_info=None if expected else exc)
