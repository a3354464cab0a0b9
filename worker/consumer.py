"""The part of a Celery worker that takes messages; it reconnects soon after Redis is back."""

import logging
import time
import warnings
from itertools import islice
from typing import Any

from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.state import maybe_shutdown
from redis import RedisError

from pigeonhole.ledger.redis.client import explained
from pigeonhole.retry import CONNECT
from pigeonhole.settings import Settings, masked
from worker.transport import Transport

logger = logging.getLogger(__name__)

#: The retry policy as kombu's arguments.
_PAUSES = {"interval_start": CONNECT.first, "interval_step": CONNECT.step, "interval_max": CONNECT.longest}
#: Seconds after which a connection counts as one that worked. If Redis accepts connections and then answers with
#: errors, Celery would connect again without a pause.
_WORKED = 5.0
#: Features that subscribe to channels on which any client of Redis could send a worker messages. Workers
#: announce themselves in the ledger instead.
_OFF = {"without_gossip": True, "without_mingle": True, "without_heartbeat": True}


class Consumer(CeleryConsumer):  # type: ignore[misc]  # Celery has no types
    """Takes tasks from the queue through `worker.transport`, and accepts no other messages."""

    def __init__(self, *args: Any, worker_options: dict[str, Any] | None = None, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, worker_options=(worker_options or {}) | _OFF, **kwargs)
        # At -1, a process that ends during the first start would end the worker. It is replaced, and a process that
        # can't load its checkpoint reports that itself.
        self.restart_count = 0
        # Celery read these from kombu's own transport before it could know ours.
        self.connection_errors = Transport.connection_errors
        self._url = Settings.from_environment().broker_url
        self._connected = 0.0
        self._useless = 0
        self._away = False
        self._logged = ""

    def ensure_connected(self, conn: Any) -> Any:  # noqa: ANN401
        """Connect to Redis, retry until that works, and log the reason of a failure."""
        if self._useless:
            time.sleep(next(islice(CONNECT.pauses(), self._useless - 1, None)))
            maybe_shutdown()
        conn.transport_cls = Transport
        conn.ensure_connection(self._not_connected, callback=maybe_shutdown, **_PAUSES)
        self.first_connection_attempt = False
        if self._away:
            self._away = False
            logger.warning("reconnected to Redis at %s", masked(self._url))
        self._connected = time.monotonic()
        return conn

    def _not_connected(self, exc: Exception, pause: float = 0.0) -> None:
        """Log what failed and what to do about it: once, not at each attempt."""
        self._away = True
        away = f"no answer from Redis at {masked(self._url)}: {exc}"
        wrong = str(explained(exc, self._url)) if isinstance(exc, RedisError) else away
        if wrong != self._logged:
            self._logged = wrong
            logger.error("%s; retrying", wrong)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Log what failed."""
        self._not_connected(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Log the error of Redis and what to do about it; Celery only logs that the connection is lost."""
        if time.monotonic() - self._connected < _WORKED:
            self._useless += 1
        else:
            self._useless, self._logged = 0, ""  # this is a new failure
        self._not_connected(exc)
        with warnings.catch_warnings():
            # Celery would warn in nine lines about a setting that `worker.app` makes on purpose.
            warnings.simplefilter("ignore", CPendingDeprecationWarning)
            super().on_connection_error_after_connected(exc)
