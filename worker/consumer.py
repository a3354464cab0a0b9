"""The part of a Celery worker that takes messages: connects again soon, and is brought down by none of them."""

import functools
import logging
from collections.abc import Callable
from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer
from kombu.utils.encoding import safe_repr

from worker.contract.dead_letters import DeadLetters
from worker.contract.errors import PigeonholeError
from worker.contract.redis_client import connect
from worker.contract.settings import Settings

logger = logging.getLogger(__name__)

#: Seconds between attempts to connect: the first pause, what each adds, the longest. By default kombu waits 2, 4, …
#: 30 s, so that after a minute without Redis it would come back half a minute late.
_PAUSES = {"interval_start": 0.5, "interval_step": 0.5, "interval_max": 2.0}


class Consumer(CeleryConsumer):  # type: ignore[misc]  # Celery has no types
    """Takes messages; one that is no task of ours becomes a dead letter."""

    def ensure_connected(self, conn: Any) -> Any:  # noqa: ANN401
        """Connect, as patiently as it takes, and soon after Redis is back."""
        conn.ensure_connection = functools.partial(conn.ensure_connection, **_PAUSES)
        return super().ensure_connected(conn)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:  # noqa: ANN401
        """Give what is called with each message."""
        handle = super().create_task_handler(*args, **kwargs)

        def handle_or_bury(message: Any) -> None:  # noqa: ANN401
            try:
                handle(message)
            except self.connection_errors:
                raise
            except Exception as exc:  # noqa: BLE001  # Celery takes a message's fields for what they should be
                self._bury(message, f"{type(exc).__name__}: {exc}")

        return handle_or_bury

    def on_unknown_message(self, body: object, message: Any) -> None:  # noqa: ANN401
        """Bury what is no task."""
        self._bury(message, "it is no task")

    def on_unknown_task(self, body: object, message: Any, exc: Exception) -> None:  # noqa: ANN401
        """Bury a task that we don't know."""
        self._bury(message, f"no task is called {exc}")

    def on_invalid_task(self, body: object, message: Any, exc: Exception) -> None:  # noqa: ANN401
        """Bury a task that says something impossible of itself."""
        self._bury(message, f"{type(exc).__name__}: {exc}")

    def on_decode_error(self, message: Any, exc: Exception) -> None:  # noqa: ANN401
        """Bury what can't be read; a pickle, for instance, is never loaded."""
        self._bury(message, f"{type(exc).__name__}: {exc}")

    def _bury(self, message: Any, why: str) -> None:  # noqa: ANN401
        what = f"a message with headers {safe_repr(message.headers)} and body {safe_repr(message.body)}"
        logger.error("dropped %.300s: %.300s", what, why)
        try:
            _dead_letters().bury(what, why)
        except PigeonholeError as exc:
            logger.warning("not noted: %s", exc)
        message.reject_log_error(logger, self.connection_errors)


@functools.cache
def _dead_letters() -> DeadLetters:
    settings = Settings.from_environment()
    # No retries: this is the loop that takes messages.
    return DeadLetters(settings, client=connect(settings.broker_url, retries=0))
