"""The part of a Celery worker that takes messages: connects again soon after Redis is back, and opens no other door."""

import functools
from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer

from worker.transport import Transport

#: Seconds between attempts to connect: the first pause, what each adds, the longest. By default kombu waits 2, 4, …
#: 30 s, so that after a minute without Redis it would come back half a minute late.
_PAUSES = {"interval_start": 0.5, "interval_step": 0.5, "interval_max": 2.0}
#: What subscribes to channels on which whoever reaches Redis may speak to a worker, or publishes on them. Workers need
#: nothing of each other, and what they do they announce themselves.
_OFF = {"without_gossip": True, "without_mingle": True, "without_heartbeat": True}


class Consumer(CeleryConsumer):  # type: ignore[misc]  # Celery has no types
    """Takes tasks from the queue, through our own transport, and nothing else from anywhere."""

    def __init__(self, *args: Any, worker_options: dict[str, Any] | None = None, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, worker_options=(worker_options or {}) | _OFF, **kwargs)
        # Not -1: at its first start Celery ends the worker if one of its processes has ended by then. Another takes
        # its place, and a process that can't load its checkpoint says so itself.
        self.restart_count = 0

    def ensure_connected(self, conn: Any) -> Any:  # noqa: ANN401
        """Connect, as patiently as it takes."""
        conn.transport_cls = Transport
        conn.ensure_connection = functools.partial(conn.ensure_connection, **_PAUSES)
        return super().ensure_connected(conn)
