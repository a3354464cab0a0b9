"""What happens in a worker's parent process when one of its pool processes dies with a piece in hand.

Celery delivers the message again by itself. But whatever killed the process may be in the piece, so the ledger halves
it first, and the halves are published; what Celery delivers again then finds nothing to do. Where the piece is one
image, the death is counted against it.
"""

import functools
import logging
from typing import Any

from billiard.exceptions import WorkerLostError
from celery.worker.request import Request

from training import checkpoint as checkpoints
from worker.classifier import answers_as
from worker.contract.errors import PigeonholeError
from worker.contract.ledger import Ledger
from worker.contract.pieces import Piece
from worker.contract.queue import Queue
from worker.contract.settings import Settings

logger = logging.getLogger(__name__)


class WatchedRequest(Request):  # type: ignore[misc]  # Celery has no types
    """A task in a pool process, as its parent sees it."""

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> None:  # noqa: ANN401
        """Take note of a death before Celery handles the failure."""
        failure = getattr(exc_info.exception, "exc", exc_info.exception)
        # SystemExit: a process that ended in the middle of a task, by a signal of its own or by `exit`.
        if isinstance(failure, (WorkerLostError, SystemExit)):
            self._take_note()
        super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)

    def _take_note(self) -> None:
        try:
            job, name = self.args
            piece = Piece.parse(name)
            ledger, queue, model = _services()
            halves = [half for half in ledger.died(job, piece, model) if half != piece]  # that one Celery delivers
            for half in halves:
                queue.publish(ledger.status(job).model, job, half)
            logger.warning("job %s: a process died with %s in hand; published %d halves", job, piece, len(halves))
        except (PigeonholeError, ValueError, TypeError) as exc:
            logger.warning("a death could not be noted: %s; the sweep will find the piece overdue", exc)


@functools.cache
def _services() -> tuple[Ledger, Queue, str]:
    settings = Settings.from_environment()
    return Ledger(settings), Queue(settings), answers_as(checkpoints.describe(checkpoints.find(settings.model)))
