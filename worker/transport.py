"""The worker's door: kombu's Redis transport, let through only what our own producer could have sent.

kombu and Celery take every field of a message for what it should be, after the message has left the queue: one that
is not ends the worker, or comes back for ever as unacknowledged. And most of what Celery lets a message say is not for
anybody to say: callbacks and chains make a worker publish wherever they like, a time limit has its process killed,
an ETA or a compressed body fills its memory. So each message is read here, before anything else sees it, for the
little that we use, and made anew from that; the rest of it goes nowhere.
"""

import functools
import json
import logging
from base64 import b64decode, b64encode
from typing import Any

from kombu.transport import redis
from redis import RedisError

from pigeonhole.errors import MessageInvalid, PigeonholeError
from pigeonhole.ledger.celery_app import LOWEST_PRIORITY
from pigeonhole.ledger.dead_letters import DeadLetters
from pigeonhole.ledger.redis_client import connect
from pigeonhole.ledger.task_queue import TASK
from pigeonhole.settings import Settings

logger = logging.getLogger(__name__)

#: Characters that a message's body, and each name in it, may have: ours have some 150 and 40.
_LONGEST_BODY, _LONGEST_NAME = 4096, 256
_EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


class Channel(redis.Channel):
    """Reads the queue."""

    #: Nothing is put back when a connection ends: what was taken and not begun waits in the ledger.
    do_restore = False

    def _brpop_read(self, **options: Any) -> Any:  # noqa: ANN401
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError) as exc:
            # It is no JSON. It has been popped, the connection is sound, and `_deliver` lets no such error out.
            dead_letter(getattr(exc, "doc", "a message"), f"{type(exc).__name__}: {exc}")
            return True

    # Two things that kombu asks whenever it connects: a worker needs neither, and a full Redis refuses both.

    def _queue_bind(self, *args: object) -> None:
        """Leave kombu's list of queues as it is: messages are published by the queue's name."""

    def _size(self, queue: str) -> int:
        """Don't ask how long the queue is: nobody here looks at it."""
        return 0


class Transport(redis.Transport):
    """Hands on what is read."""

    Channel = Channel
    #: An answer that is an error counts as a lost connection, whatever was asked. Celery waits and connects again only
    #: after those and ends the worker after others, but these pass too: a full disk, a fail-over, a key that somebody
    #: has overwritten.
    connection_errors = (*redis.Transport.connection_errors, RedisError)

    def _deliver(self, message: Any, queue: str) -> None:  # noqa: ANN401
        try:
            sound = rebuilt(message, queue)
        except MessageInvalid as exc:
            dead_letter(message, str(exc))
            return
        super()._deliver(sound, queue)  # type: ignore[no-untyped-call]


def rebuilt(message: Any, queue: str) -> dict[str, object]:  # noqa: ANN401
    """Return a message with nothing in it but a job, a piece, and what Celery needs to deliver them.

    Raises:
        MessageInvalid: it does not name these as our producer does.
    """
    try:
        headers, properties = message["headers"], message["properties"]
        task, name, tag = headers["task"], headers["id"], properties["delivery_tag"]
        kind = (message["content-type"], message["content-encoding"], properties["body_encoding"])
        level, body = properties.get("priority", 0), message["body"]
        if task != TASK:
            raise MessageInvalid(f"no task is called {str(task)[:_LONGEST_NAME]!r}")
        if kind != ("application/json", "utf-8", "base64"):
            raise MessageInvalid(f"it is {str(kind)[:_LONGEST_NAME]}, not JSON")
        if len(body) > _LONGEST_BODY:
            raise MessageInvalid(f"its body has {len(body)} characters")
        (job, piece), _, _ = json.loads(b64decode(body, validate=True))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as exc:
        raise MessageInvalid(f"it is not what a producer sends: {exc!r}") from exc
    for text in (name, tag, job, piece):
        if not (isinstance(text, str) and text.isascii() and text.isprintable() and len(text) <= _LONGEST_NAME):
            raise MessageInvalid(f"{str(text)[:_LONGEST_NAME]!r} is no name")
    if type(level) is not int or not 0 <= level <= LOWEST_PRIORITY:
        raise MessageInvalid(f"it has priority {str(level)[:_LONGEST_NAME]}")
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
    """Keep what could not be understood where `status` shows it."""
    what = f"a message: {str(message)[:1000]}"
    logger.error("dropped %.300r: %.300r", what, why)  # as `repr`: it could forge lines otherwise
    try:
        _dead_letters().add(what, why)
    except PigeonholeError as exc:
        logger.warning("not noted: %s", exc)


@functools.cache
def _dead_letters() -> DeadLetters:
    settings = Settings.from_environment()
    # No retries: this is the loop that takes messages.
    return DeadLetters(settings, client=connect(settings.broker_url, retries=0))
