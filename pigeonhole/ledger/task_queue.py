"""The queue: Celery's configuration on both sides, and publishing.

A message names a job and a piece and nothing else; which pieces are pending is in the ledger. So a message may be lost
or come twice without harm, and nothing that a worker is sent is believed.
"""

import os
from functools import cached_property
from typing import Any
from urllib.parse import quote

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from pigeonhole.errors import BrokerUnreachable, PigeonholeError
from pigeonhole.ledger.pieces import Piece
from pigeonhole.ledger.redis_client import connect, explained
from pigeonhole.retry import PUBLISH
from pigeonhole.settings import Settings, masked

TASK = "pigeonhole.classify"
#: On Redis 0 is the highest priority.
LOWEST_PRIORITY = 9
#: As kombu spells the policy.
_RETRIES = {
    "max_retries": PUBLISH.retries,
    "interval_start": PUBLISH.first,
    "interval_step": PUBLISH.step,
    "interval_max": PUBLISH.longest,
}
#: Celery takes these before anything that an app sets, so another project's would send our messages to its Redis.
_TAKEN_FIRST = ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL", "CELERY_RESULT_BACKEND")


def queue_name(model: str) -> str:
    """Return the name of the queue that workers of a model consume."""
    return f"classify.{model}"


def priority(number: int) -> int:
    """Return a batch's priority from its number: the beginning of every job goes ahead of a large one's tail.

    0 for the first batch, then one lower each time that the number doubles.
    """
    return min(number.bit_length(), LOWEST_PRIORITY)


def configure(settings: Settings) -> Celery:
    """Return a Celery app with what producer and worker must agree on."""
    for name in _TAKEN_FIRST:
        os.environ.pop(name, None)
    app = Celery("pigeonhole", set_as_current=False)
    app.conf.update(
        **_broker(settings.broker_url),
        # JSON only: a pickle from the queue would run whatever its writer wants.
        task_serializer="json",
        accept_content=["json"],
        result_accept_content=["json"],
        # The ledger holds the rows; a result backend would double the writes and grow without end.
        task_ignore_result=True,
        broker_transport_options={
            # One Redis can be shared: every key of Celery's begins as ours do.
            "global_keyprefix": f"{settings.prefix}:",
            # By default only four levels exist, and queues take turns whatever their messages' priority.
            "priority_steps": list(range(LOWEST_PRIORITY + 1)),
            "queue_order_strategy": "priority",
            # Pending pieces are in the ledger, so the queue keeps no record of its own of what was taken from it:
            # that would double each message's commands, end a worker when Redis is full, and deliver a task again that
            # runs for long.
            "ack_emulation": False,
            # Without these a connection that broke silently goes unnoticed for minutes.
            "socket_keepalive": True,
            "socket_connect_timeout": 3,
            # A stalled Redis holds a publisher for ever without it; a worker's loop would wait so long for each of the
            # commands that it has on the way when its connection stalls.
            "socket_timeout": 4,
            "health_check_interval": 10,
        },
        # What a remote-control client that vanished did not fetch would stay for ever (celery issue 6089).
        control_queue_expires=60.0,
    )
    return app


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


def _broker(url: str) -> dict[str, object]:
    """Return Celery's settings for a broker URL, read as redis-py reads it.

    kombu reads one differently: it trusts any certificate where the URL says nothing of them, takes no `?db=` and no
    `unix://` with a user, and a `;` in a password for the start of another URL.
    """
    read = connect(url).connection_pool.connection_kwargs
    user, password = (quote(read.get(part) or "", safe="") for part in ("username", "password"))
    login = f"{user}:{password}@" if user or password else ""
    if "path" in read:
        return {"broker_url": f"redis+socket://{login}{quote(read['path'])}?virtual_host={read.get('db', 0)}"}
    host, port, database = read.get("host", "localhost"), read.get("port", 6379), read.get("db", 0)
    place = f"{login}{f'[{host}]' if ':' in host else host}:{port}/{database}"
    if not url.startswith("rediss://"):
        return {"broker_url": f"redis://{place}"}
    tls = {name: value for name, value in read.items() if name.startswith("ssl_")}
    return {"broker_url": f"rediss://{place}", "broker_use_ssl": {"ssl_cert_reqs": "required"} | tls}
