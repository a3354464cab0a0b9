"""The queue: publishing.

A message names a job and a piece and nothing else; which pieces are pending is in the ledger. So a message may be lost
or come twice without harm, and nothing that a worker is sent is believed.
"""

from functools import cached_property
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from pigeonhole.errors import BrokerUnreachable, PigeonholeError
from pigeonhole.ledger.celery_app import LOWEST_PRIORITY, configure
from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.redis_client import explained
from pigeonhole.retry import PUBLISH
from pigeonhole.settings import Settings, masked

TASK = "pigeonhole.classify"
#: As kombu spells the policy.
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
    """Return a batch's priority from its number: the beginning of every job goes ahead of a large one's tail.

    0 for the first batch, then one lower each time that the number doubles.
    """
    return min(number.bit_length(), LOWEST_PRIORITY)


class Queue:
    """The messages that wait in one Redis.

    Args:
        settings: where Redis is.
        app: the Celery app in place of a new one.
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
            model, job, piece: what is asked for.
            first: whether it goes ahead of the later batches of all jobs, as a job's first batch does.

        Raises:
            BrokerUnreachable: Redis does not take it.
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
                # Not `passive`: that asks for keys without the prefix (kombu 5.7). On Redis, declaring makes nothing.
                channel: Any = connection.default_channel
                return int(channel.queue_declare(queue_name(model)).message_count)
        except (OperationalError, RedisError) as exc:
            raise self._explained(exc) from exc

    def _explained(self, exc: Exception) -> PigeonholeError:
        """Return our error: kombu wraps redis-py's when it connects, and lets them pass elsewhere."""
        cause = exc if isinstance(exc, RedisError) else exc.__cause__
        if isinstance(cause, RedisError):
            return explained(cause, self._settings.broker_url)
        return BrokerUnreachable(f"no answer from Redis at {masked(self._settings.broker_url)}: {exc}")
