"""The sweep: publish lost pieces again, and repair whatever prevents a job from finishing."""

import logging

from pigeonhole.errors import BrokerUnreachable, MessageInvalid
from pigeonhole.ledger.dead_letters import DeadLetters, about
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.queue.task_queue import Queue
from pigeonhole.ledger.status import JobStatus

logger = logging.getLogger(__name__)

#: Sweeps are this many seconds apart; `Workers.may_sweep` keeps them one at a time.
SWEEP_EVERY = 5.0


def sweep(ledger: Ledger, queue: Queue) -> int:
    """Publish overdue pieces again. Any process may call this at any time.

    - Claimed pieces: when a lease has expired, its process counts as lost. If there was no sweep for a while, Redis
      may have been down and nobody could renew; then the piece gets a new lease instead.
    - Waiting pieces: a piece may just be far back in the queue. Messages are lost only if the queue holds fewer
      messages than there are waiting pieces; that number of pieces is published again. Duplicates are harmless.
    - Starving jobs: the first batches of other jobs have priority, so a job may get no turn. Each sweep then publishes
      its oldest batch ahead of all others.
    - Abandoned jobs: an open job without a submitter for `result_ttl` seconds is cancelled.

    If a job can't be swept, the reason becomes a dead letter, and the sweep continues with the other jobs.

    Returns:
        The number of pieces published.

    Raises:
        BrokerUnreachable: Redis does not answer.
    """
    return _Sweep(ledger, queue).run()


class _Sweep:
    """One sweep over all unfinished jobs."""

    def __init__(self, ledger: Ledger, queue: Queue) -> None:
        self._ledger, self._queue = ledger, queue
        self._letters = DeadLetters(ledger.settings, client=ledger.client)
        self._steady = False
        self._published = 0

    def run(self) -> int:
        """Sweep all jobs and record the time; return the number of pieces published."""
        self._steady = self._ledger.swept_lately()
        self._mend_lists()
        active = [status for status in self._ledger.statuses(active_only=True) if not status.over]
        for model in sorted({status.model for status in active}):
            jobs = [status for status in active if status.model == model]
            lost = max(0, sum(status.batches_waiting for status in jobs) - self._queue.depth(model))
            for status in jobs:
                lost -= self._isolated(status, lost)
        self._ledger.note_sweep()
        return self._published

    def _mend_lists(self) -> None:
        removed = self._ledger.mend_lists()
        for key in removed:
            self._dead_letter(f"key {key}", "it had another type than our list of jobs, and was removed")
        if removed:  # each job is in the other list
            for status in self._ledger.statuses() + self._ledger.statuses(active_only=True):
                if not status.over:
                    self._ledger.list_again(status.job)

    def _isolated(self, status: JobStatus, lost: int) -> int:
        """Sweep one job, turning an error into a dead letter; return what `_job` returns."""
        try:
            return self._job(status, lost)
        except BrokerUnreachable:
            raise
        except Exception as exc:  # noqa: BLE001  # one job's damage must not stop the recovery of all others
            self._dead_letter(f"job {status.job}", f"it can't be swept: {exc}")
            return 0

    def _job(self, status: JobStatus, lost: int) -> int:
        """Sweep one job; return the number of its pieces whose messages count as lost."""
        found = self._ledger.overdue(status.job, lost, self._steady)
        if found.cancelled:
            logger.warning("job %s: cancelled, because its submitter has been gone for too long", status.job)
        for member in found.removed:
            self._dead_letter(about(status.job, member), "no such piece of this job is pending; it was removed")
        lapsed = found.lapsed
        if not self._steady and lapsed:
            self._ledger.renew(status.job, lapsed)
            lapsed = []
        parts = [part for piece in lapsed for part in self._after_loss(status, piece)]
        for piece in found.lost + parts:
            self._queue.publish(status.model, status.job, piece)
            self._published += 1
        if found.promoted:
            self._queue.publish(status.model, status.job, found.promoted, first=True)
        return len(found.lost)

    def _after_loss(self, status: JobStatus, piece: Piece) -> list[Piece]:
        try:
            return self._ledger.lose(status.job, piece, status.model)
        except MessageInvalid as exc:
            self._dead_letter(about(status.job, piece.key), str(exc))
            self._ledger.release(status.job, piece)  # another worker may be able to read it
            return []

    def _dead_letter(self, what: str, why: str) -> None:
        logger.warning("%s: %s", what, why)
        self._letters.add(what, why)
