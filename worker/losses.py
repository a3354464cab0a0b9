"""Worker loss, in the parent: what happens when a pool process ends with a piece in hand.

Whatever ended it may be in the piece, so the ledger splits that, and the parts are published. Celery does not deliver
the message again.
"""

import logging
from typing import Any

from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery.worker.request import Request

from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.redis_client import connect
from pigeonhole.ledger.task_queue import Queue
from pigeonhole.settings import Settings
from worker import logs

logger = logging.getLogger(__name__)


class WatchedRequest(Request):  # type: ignore[misc]  # Celery has no types
    """A task in a pool process, as its parent sees it."""

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> None:  # noqa: ANN401
        """Note a lost process before Celery handles the failure."""
        failure = getattr(exc_info.exception, "exc", exc_info.exception)
        # SystemExit: a process that ended in the middle of a task, by a signal of its own or by `exit`.
        if isinstance(failure, (WorkerLostError, SystemExit, TimeLimitExceeded)):
            self._take_note()
        super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)

    def _take_note(self) -> None:
        try:
            job, name = self.args
            piece = Piece.parse(name)
            ledger, queue, name_of_model, answers_as = _services[0]
            parts = ledger.lose(job, piece, answers_as)
            for part in parts:
                queue.publish(name_of_model, job, part)
            what = "job %s: a process ended with batch %s in hand; published %d parts"
            logger.warning(what, job, piece.key, len(parts), extra=logs.of(job, piece.key))
        except Exception:  # whatever it is, Celery must handle the failure as well
            logger.exception("a lost process could not be noted; the sweep will find the expired lease")


_services: list[tuple[Ledger, Queue, str, str]] = []


def watch(settings: Settings, model: str, answers_as: str) -> None:
    """Set where lost processes are noted; called once, in the parent process.

    Args:
        settings: the worker's.
        model: the name of its checkpoint, after which the queue is named that it takes from.
        answers_as: what the row of an image names that is blamed.
    """
    # No retries: this is the loop that takes messages.
    ledger = Ledger(settings, client=connect(settings.broker_url, retries=0))
    _services[:] = [(ledger, Queue(settings), model, answers_as)]
