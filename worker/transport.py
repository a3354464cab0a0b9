"""kombu's Redis transport, which accepts only messages that our own producer could have sent.

kombu and Celery trust every field of a message. A malformed one ends the worker, or is redelivered for ever. A hostile
one can do more: callbacks and chains publish messages, a time limit kills a process, an ETA or a compressed body fills
the memory. So each message is checked here first and rebuilt from the few fields that we use.
"""

import functools
import json
import logging
from base64 import b64decode, b64encode
from typing import Any

from kombu.transport import redis
from redis import RedisError

from pigeonhole.errors import MessageInvalid, PigeonholeError
from pigeonhole.ledger.dead_letters import DeadLetters
from pigeonhole.ledger.queue.celery_app import LOWEST_PRIORITY
from pigeonhole.ledger.queue.task_queue import TASK
from pigeonhole.ledger.redis.client import connect
from pigeonhole.settings import Settings

logger = logging.getLogger(__name__)

#: The most characters of a message's body, and of each name in it. Our own have about 150 and 40.
_LONGEST_BODY, _LONGEST_NAME = 4096, 256
_EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


class Channel(redis.Channel):
    """Reads the queue, and makes a malformed message a dead letter."""

    #: Messages are not put back when a connection ends: the ledger still has their batches.
    do_restore = False

    def _brpop_read(self, **options: Any) -> Any:  # noqa: ANN401
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError) as exc:
            # The message is not JSON, but it has been popped and the connection works. `_deliver` raises no such error.
            dead_letter(getattr(exc, "doc", "a message"), f"{type(exc).__name__}: {exc}")
            return True

    # kombu calls the next two whenever it connects: a worker needs neither, and a full Redis refuses both.

    def _queue_bind(self, *args: object) -> None:
        """Do nothing: messages are published by the queue's name, not by kombu's list of queues."""

    def _size(self, queue: str) -> int:
        """Return 0 without a request to Redis: a worker does not use the queue's length."""
        return 0


class Transport(redis.Transport):
    """Passes rebuilt messages to Celery."""

    Channel = Channel
    #: Every error reply counts as a lost connection, after which Celery connects again; other errors end the worker.
    #: A full disk, a fail-over or an overwritten key is temporary too.
    connection_errors = (*redis.Transport.connection_errors, RedisError)

    def _deliver(self, message: Any, queue: str) -> None:  # noqa: ANN401
        try:
            sound = rebuilt(message, queue)
        except MessageInvalid as exc:
            dead_letter(message, str(exc))
            return
        super()._deliver(sound, queue)  # type: ignore[no-untyped-call]


def rebuilt(message: Any, queue: str) -> dict[str, object]:  # noqa: ANN401
    """Return a message that has only a job, a piece, and the fields that Celery needs to deliver them.

    Raises:
        MessageInvalid: our producer could not have sent the message.
    """
    try:
        headers, properties = message["headers"], message["properties"]
        task, name, tag = headers["task"], headers["id"], properties["delivery_tag"]
        kind = (message["content-type"], message["content-encoding"], properties["body_encoding"])
        level, body = properties.get("priority", 0), message["body"]
        if task != TASK:
            raise MessageInvalid(f"no task is called {str(task)[:_LONGEST_NAME]!r}")
        if kind != ("application/json", "utf-8", "base64"):
            raise MessageInvalid(f"its content type is {str(kind)[:_LONGEST_NAME]}, not JSON")
        if len(body) > _LONGEST_BODY:
            raise MessageInvalid(f"its body has {len(body)} characters, and at most {_LONGEST_BODY} are allowed")
        (job, piece), _, _ = json.loads(b64decode(body, validate=True))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as exc:
        raise MessageInvalid(f"it does not have the form of a producer's message: {exc!r}") from exc
    for text in (name, tag, job, piece):
        if not (isinstance(text, str) and text.isascii() and text.isprintable() and len(text) <= _LONGEST_NAME):
            raise MessageInvalid(f"{str(text)[:_LONGEST_NAME]!r} is not a valid name")
    if type(level) is not int or not 0 <= level <= LOWEST_PRIORITY:
        raise MessageInvalid(f"its priority is {str(level)[:_LONGEST_NAME]}, not 0 to {LOWEST_PRIORITY}")
    data = json.dumps([[job, piece], {}, _EMBED]).encode()
    return {
        "body": b64encode(data).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"lang": "py", "task": TASK, "id": name, "root_id": name, "ignore_result": True},
        "properties": {
            "correlation_id": name,
            "delivery_tag": tag,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": level,
            "body_encoding": "base64",
        },
    }


def dead_letter(message: object, why: str) -> None:
    """Store a message as a dead letter, which `status` shows."""
    what = f"a message: {str(message)[:1000]}"
    logger.error("dropped %.300r: %.300r", what, why)  # `repr`, or a message could forge log lines
    try:
        _dead_letters().add(what, why)
    except PigeonholeError as exc:
        logger.warning("cannot store a dead letter: %s", exc)


@functools.cache
def _dead_letters() -> DeadLetters:
    settings = Settings.from_environment()
    # No retries: they would block the loop that takes messages.
    return DeadLetters(settings, client=connect(settings.broker_url, retries=0))
