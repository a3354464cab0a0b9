"""The one task: claim a batch, classify its images, commit their rows.

A process loads its checkpoint when it starts; `worker.processor` does the work.
"""

import logging
import os
from typing import TYPE_CHECKING

from celery import shared_task, signals

from pigeonhole.errors import MessageInvalid, PigeonholeError, UnknownJob
from pigeonhole.ledger.dead_letters import about
from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.task_queue import TASK
from pigeonhole.settings import Settings
from worker import logs, parent
from worker.refusal import refuse

if TYPE_CHECKING:
    from worker.processor import Processor

logger = logging.getLogger(__name__)

_processor: "Processor | None" = None


@signals.worker_process_init.connect
def _start_process(**_: object) -> None:
    """Make this process ready for tasks; Celery calls it once, when a pool process starts, and says then that it is up.

    It is here, not with the app: a spawned process imports the task's module, not the app's.
    """
    global _processor
    settings = None
    try:
        settings = Settings.from_environment()
        # Only now: the parent process imports this module too, and needs neither numpy nor Pillow.
        from worker.processor import Processor

        _processor = Processor.start(settings)
    except Exception as exc:  # Celery would swallow it, and give messages to a process that fails each of them
        if not isinstance(exc, PigeonholeError):
            logger.exception("a process could not start")
            model = settings.model if settings else "?"
            exc = PigeonholeError(f"the checkpoint {model!r} can't be made ready: {type(exc).__name__}: {exc}")
        parent.end_parent()  # which would start this process again and again
        raise refuse(exc) from None


# acks_late: a process gets no second task while it has one in hand; the other workers may have it sooner.
@shared_task(name=TASK, acks_late=True, ignore_result=True, Request="worker.losses:WatchedRequest")
def classify(job: str, piece: str) -> None:
    """Classify one piece of a job; see the module."""
    if _processor is None:
        raise RuntimeError("this process has no checkpoint: the worker's pool must be prefork (celery -P prefork)")
    try:
        parsed = Piece.parse(piece)
    except MessageInvalid as exc:
        _processor.dead_letter(about(job, piece), exc)
        return
    with logs.in_hand(job, parsed.key):
        _work(_processor, job, parsed)


def _work(processor: "Processor", job: str, piece: Piece) -> None:
    try:
        processor.work(job, piece)
    except (MessageInvalid, UnknownJob) as exc:
        processor.dead_letter(about(job, piece.key), exc)
    except PigeonholeError:
        raise  # Redis was away for too long, or a GPU is lost: the lease expires, and the sweep finds the piece
    except Exception:
        # Not foreseen, so nobody knows what else this process would fail. (And a MemoryError that leaves a task is
        # raised again in the parent and ends the whole worker.) The loss splits the piece and is counted.
        logger.critical("job %s: batch %s: this process ends", job, piece.key, exc_info=True)
        os._exit(1)
