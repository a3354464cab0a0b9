"""The one task: claim a batch, classify its images, commit their rows.

A process loads its checkpoint when it starts; `worker.processing.processor` does the work.
"""

import logging
import os
from typing import TYPE_CHECKING

from celery import shared_task, signals

from pigeonhole.errors import MessageInvalid, PigeonholeError, UnknownJob
from pigeonhole.ledger.dead_letters import about
from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.queue.task_queue import TASK
from pigeonhole.settings import Settings
from worker import parent
from worker.monitoring import logs
from worker.refusal import refuse

if TYPE_CHECKING:
    from worker.processing.processor import Processor

logger = logging.getLogger(__name__)

_processor: "Processor | None" = None


@signals.worker_process_init.connect
def _start_process(**_: object) -> None:
    """Load the model; Celery calls this once in each pool process and then reports that the process is up.

    It is here and not in `worker.app`, because a spawned process imports this module only.
    """
    global _processor
    settings = None
    try:
        settings = Settings.from_environment()
        # Imported here: the parent process imports this module too, but needs neither numpy nor Pillow.
        from worker.processing.processor import Processor

        _processor = Processor.start(settings)
    except Exception as exc:  # Celery would ignore it and send messages to a process without a model
        if not isinstance(exc, PigeonholeError):
            logger.exception("a process could not start")
            model = settings.model if settings else "?"
            exc = PigeonholeError(f"the checkpoint {model!r} can't be loaded: {type(exc).__name__}: {exc}")
        parent.end_parent()  # or it would start this process again and again
        raise refuse(exc) from None


# acks_late: a process gets no second task while it works on one; another worker may be free sooner.
@shared_task(name=TASK, acks_late=True, ignore_result=True, Request="worker.losses:WatchedRequest")
def classify(job: str, piece: str) -> None:
    """Classify one piece of a job."""
    if _processor is None:
        raise RuntimeError("this process has no model: start the worker with a prefork pool (celery -P prefork)")
    try:
        parsed = Piece.parse(piece)
    except MessageInvalid as exc:
        _processor.dead_letter(about(job, piece), exc)
        return
    with logs.batch_context(job, parsed.key):
        _work(_processor, job, parsed)


def _work(processor: "Processor", job: str, piece: Piece) -> None:
    try:
        processor.work(job, piece)
    except (MessageInvalid, UnknownJob) as exc:
        processor.dead_letter(about(job, piece.key), exc)
    except PigeonholeError:
        raise  # Redis was away for too long, or a GPU is lost: the lease expires, and the sweep finds the piece
    except Exception:
        # After an unexpected error this process can't be trusted; a MemoryError would even end the parent. Its end
        # counts as a worker loss and splits the piece.
        logger.critical("job %s: batch %s: this process ends", job, piece.key, exc_info=True)
        os._exit(1)
