"""The part of a Celery worker that takes messages: connects again soon after Redis is back, and opens no other door."""

import logging
import time
import warnings
from itertools import islice
from typing import Any

from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.state import maybe_shutdown
from redis import RedisError

from pigeonhole.ledger.redis_client import explained
from pigeonhole.retry import CONNECT
from pigeonhole.settings import Settings, masked
from worker.transport import Transport

logger = logging.getLogger(__name__)

#: As kombu spells the policy.
_PAUSES = {"interval_start": CONNECT.first, "interval_step": CONNECT.step, "interval_max": CONNECT.longest}
#: Seconds after which a connection counts as one that worked. Where Redis lets us connect and then answers with an
#: error, it is of no use, and nobody but us waits before the next.
_WORKED = 5.0
#: What subscribes to channels on which anybody who reaches Redis may speak to a worker. Workers need
#: nothing of each other, and what they do they announce themselves.
_OFF = {"without_gossip": True, "without_mingle": True, "without_heartbeat": True}


class Consumer(CeleryConsumer):  # type: ignore[misc]  # Celery has no types
    """Takes tasks from the queue, through our own transport, and nothing else from anywhere."""

    def __init__(self, *args: Any, worker_options: dict[str, Any] | None = None, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, worker_options=(worker_options or {}) | _OFF, **kwargs)
        # Not -1: at its first start Celery ends the worker if one of its processes has ended by then. Another takes
        # its place, and a process that can't load its checkpoint says so itself.
        self.restart_count = 0
        # Not of kombu's own transport, which Celery asked before it could know of ours.
        self.connection_errors = Transport.connection_errors
        self._url = Settings.from_environment().broker_url
        self._connected = 0.0
        self._useless = 0
        self._away = False
        self._logged = ""

    def ensure_connected(self, conn: Any) -> Any:  # noqa: ANN401
        """Connect, with as many retries as it takes, and log why that takes long."""
        if self._useless:
            time.sleep(next(islice(CONNECT.pauses(), self._useless - 1, None)))
            maybe_shutdown()
        conn.transport_cls = Transport
        conn.ensure_connection(self._not_connected, callback=maybe_shutdown, **_PAUSES)
        self.first_connection_attempt = False
        if self._away:
            self._away = False
            logger.warning("connected to Redis at %s again", masked(self._url))
        self._connected = time.monotonic()
        return conn

    def _not_connected(self, exc: Exception, pause: float = 0.0) -> None:
        """Log what is wrong and what to do about it: once, not at each attempt."""
        self._away = True
        away = f"no answer from Redis at {masked(self._url)}: {exc}"
        wrong = str(explained(exc, self._url)) if isinstance(exc, RedisError) else away
        if wrong != self._logged:
            self._logged = wrong
            logger.error("%s; trying again until it works", wrong)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Log what is wrong."""
        self._not_connected(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Log what Redis said, and what to do about it: Celery only says each time that the connection is lost."""
        if time.monotonic() - self._connected < _WORKED:
            self._useless += 1
        else:
            self._useless, self._logged = 0, ""  # what is wrong now is another matter
        self._not_connected(exc)
        with warnings.catch_warnings():
            # Nine lines each time about a setting that `worker.app` makes on purpose.
            warnings.simplefilter("ignore", CPendingDeprecationWarning)
            super().on_connection_error_after_connected(exc)
