"""Handles worker losses in the parent: a pool process ended while it had a piece.

An image of the piece may be the cause, so the ledger splits the piece, and its parts are published. Celery does not
deliver the message again.
"""

import logging
from typing import Any

from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery.worker.request import Request

from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.queue.task_queue import Queue
from pigeonhole.ledger.redis.client import connect
from pigeonhole.settings import Settings
from worker.monitoring import logs

logger = logging.getLogger(__name__)


class WatchedRequest(Request):  # type: ignore[misc]  # Celery has no types
    """A task in a pool process, as its parent sees it."""

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> None:  # noqa: ANN401
        """Record a worker loss before Celery handles the failure."""
        failure = getattr(exc_info.exception, "exc", exc_info.exception)
        # SystemExit: the process ended during a task, by a signal of its own or by `exit`.
        if isinstance(failure, (WorkerLostError, SystemExit, TimeLimitExceeded)):
            self._record_loss()
        super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)

    def _record_loss(self) -> None:
        try:
            job, name = self.args
            piece = Piece.parse(name)
            ledger, queue, model, identity = _services[0]
            parts = ledger.lose(job, piece, identity)
            for part in parts:
                queue.publish(model, job, part)
            what = "job %s: a process was lost with batch %s; published %d parts"
            logger.warning(what, job, piece.key, len(parts), extra=logs.extra_for(job, piece.key))
        except Exception:  # Celery must handle the failure in any case
            logger.exception("cannot record a worker loss; the sweep will find the expired lease")


_services: list[tuple[Ledger, Queue, str, str]] = []


def watch(settings: Settings, model: str, identity: str) -> None:
    """Set the ledger and the queue for worker losses; the parent process calls this once.

    Args:
        settings: the worker's.
        model: the checkpoint's name, after which the queue is named.
        identity: the checkpoint's name and digest, for the error row of an image that causes worker losses.
    """
    # No retries: they would block the loop that takes messages.
    ledger = Ledger(settings, client=connect(settings.broker_url, retries=0))
    _services[:] = [(ledger, Queue(settings), model, identity)]
