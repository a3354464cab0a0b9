"""What happens in a worker's parent process when one of its pool processes dies with a piece in hand.

Celery delivers the message again by itself, unless it ended the process for taking too long. But whatever killed the
process may be in the piece, so the ledger splits it first, and the parts are published; what Celery delivers again
then finds nothing to do.
"""

import logging
from typing import Any

from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery.worker.request import Request

from worker.contract.ledger import Ledger
from worker.contract.pieces import Piece
from worker.contract.queue import Queue
from worker.contract.redis_client import connect
from worker.contract.settings import Settings

logger = logging.getLogger(__name__)


class WatchedRequest(Request):  # type: ignore[misc]  # Celery has no types
    """A task in a pool process, as its parent sees it."""

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> None:  # noqa: ANN401
        """Take note of a death before Celery handles the failure."""
        failure = getattr(exc_info.exception, "exc", exc_info.exception)
        # SystemExit: a process that ended in the middle of a task, by a signal of its own or by `exit`.
        if isinstance(failure, (WorkerLostError, SystemExit, TimeLimitExceeded)):
            self._take_note(delivered_again=not isinstance(failure, TimeLimitExceeded))
        super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)

    def _take_note(self, delivered_again: bool) -> None:
        try:
            job, name = self.args
            piece = Piece.parse(name)
            ledger, queue, name_of_model, answers_as = _services[0]
            published = [
                part for part in ledger.died(job, piece, answers_as) if not (part == piece and delivered_again)
            ]
            for part in published:
                queue.publish(name_of_model, job, part)
            logger.warning("job %s: a process died with %s in hand; published %d parts", job, piece, len(published))
        except Exception:  # whatever it is, Celery must handle the failure as well
            logger.exception("a death could not be noted; the sweep will find the lease run out")


_services: list[tuple[Ledger, Queue, str, str]] = []


def watch(settings: Settings, model: str, answers_as: str) -> None:
    """Say where deaths are noted; called once, in the parent process.

    Args:
        settings: the worker's.
        model: the name of its checkpoint, after which the queue is named that it takes from.
        answers_as: what the row of an image names that is blamed.
    """
    # No retries: this is the loop that takes messages.
    ledger = Ledger(settings, client=connect(settings.broker_url, retries=0))
    _services[:] = [(ledger, Queue(settings), model, answers_as)]
