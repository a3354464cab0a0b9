"""The task queue: publish messages and count them.

A message contains a job id and the name of a piece, nothing else. The ledger knows which pieces are pending, so lost,
duplicated and forged messages do no harm.
"""

from functools import cached_property
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from pigeonhole.errors import BrokerUnreachable, PigeonholeError
from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.queue.celery_app import LOWEST_PRIORITY, configure
from pigeonhole.ledger.redis.client import explained
from pigeonhole.retry import PUBLISH
from pigeonhole.settings import Settings, masked

TASK = "pigeonhole.classify"
#: The retry policy in kombu's form.
_RETRIES = {
    "max_retries": PUBLISH.retries,
    "interval_start": PUBLISH.first,
    "interval_step": PUBLISH.step,
    "interval_max": PUBLISH.longest,
}


def queue_name(model: str) -> str:
    """Return the name of the queue that workers of a model consume."""
    return f"classify.{model}"


def priority(number: int) -> int:
    """Return the priority of a batch, so that the first batches of a job precede the later ones of large jobs.

    The first batch has 0, the highest priority. It falls by one each time that the number doubles.
    """
    return min(number.bit_length(), LOWEST_PRIORITY)


class Queue:
    """The task queues in one Redis.

    Args:
        settings: the settings with the broker URL.
        app: a Celery app to use; None: a new one.
    """

    def __init__(self, settings: Settings, app: Celery | None = None) -> None:
        self._settings = settings
        self._given = app

    @cached_property
    def _app(self) -> Celery:
        return self._given or configure(self._settings)

    def publish(self, model: str, job: str, piece: Piece, first: bool = False) -> None:
        """Ask the model's workers to classify a pending piece.

        Args:
            model: the model's name, which selects the queue.
            job: the job's id.
            piece: the piece to classify.
            first: publish it with the highest priority, as the first batch of a job.

        Raises:
            BrokerUnreachable: Redis does not accept the message.
        """
        try:
            self._app.send_task(
                TASK,
                args=(job, str(piece)),
                queue=queue_name(model),
                priority=0 if first else priority(piece.number),
                retry_policy=_RETRIES,
            )
        except (OperationalError, RedisError) as exc:
            raise self._explained(exc) from exc

    def depth(self, model: str) -> int:
        """Return the number of messages that wait for a model's workers.

        Raises:
            BrokerUnreachable: Redis does not answer.
        """
        try:
            with self._app.connection_for_write() as connection:
                connection.ensure_connection(**_RETRIES)
                # Not `passive`, which ignores the key prefix (kombu 5.7). On Redis, declaring a queue writes nothing.
                channel: Any = connection.default_channel
                return int(channel.queue_declare(queue_name(model)).message_count)
        except (OperationalError, RedisError) as exc:
            raise self._explained(exc) from exc

    def _explained(self, exc: Exception) -> PigeonholeError:
        """Return our error for one of kombu's, which wraps redis-py's errors while connecting, or of redis-py's."""
        cause = exc if isinstance(exc, RedisError) else exc.__cause__
        if isinstance(cause, RedisError):
            return explained(cause, self._settings.broker_url)
        return BrokerUnreachable(f"no answer from Redis at {masked(self._settings.broker_url)}: {exc}")
