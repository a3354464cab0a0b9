"""Retries while Redis is away or full, and the notice of an outage."""

import logging
import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

from pigeonhole.errors import BrokerUnreachable
from pigeonhole.ledger.redis_client import is_transient
from pigeonhole.retry import outage, retry
from pigeonhole.settings import Settings
from pigeonhole.text import printable

T = TypeVar("T")

logger = logging.getLogger(__name__)


class OutageView(Protocol):
    """Shows that Redis, or a volume, is waited for; called from any thread."""

    def away(self, exc: BrokerUnreachable) -> None:
        """Show that an outage has begun, and why."""

    def back(self) -> None:
        """Show that it is over."""

    def held(self, why: str) -> None:
        """Show why workers hold batches back; called every few seconds while they do."""


class Silent:
    """Shows no outage; see `OutageView`."""

    def away(self, exc: BrokerUnreachable) -> None:
        """Show nothing."""

    def back(self) -> None:
        """Show nothing."""

    def held(self, why: str) -> None:
        """Show nothing."""


class Logged:
    """Writes outages to Python's log, for programs that use the library; see `OutageView`."""

    def away(self, exc: BrokerUnreachable) -> None:
        """Log what is wrong."""
        logger.warning("waiting for Redis: %s", printable(str(exc)))

    def back(self) -> None:
        """Log that it is over."""
        logger.warning("Redis is back")

    def held(self, why: str) -> None:
        """Log why."""
        logger.warning("waiting: %s", printable(why))


class Retrying:
    """Retries steps while Redis is away or full. An outage is shown once, whichever threads meet it.

    Args:
        seconds: after which a step is given up.
        shown: is called when an outage begins and when it is over; another may take its place at any time.

    Attributes:
        check: is called before each pause; what it raises ends the retries. Another may take its place.
    """

    def __init__(self, seconds: float = Settings.patience, shown: OutageView | None = None) -> None:
        self.shown: OutageView = shown or Silent()
        self.check: Callable[[], None] = lambda: None
        self._policy = outage(seconds)
        self._waiting = 0
        self._lock = threading.Lock()

    def __call__(self, step: Callable[[], T], meanwhile: Callable[[], None] = lambda: None) -> T:
        """Do a step, and again if need be.

        Args:
            step: may be done more than once.
            meanwhile: is called before each pause; what it raises ends the retries.

        Raises:
            BrokerRefuses: at once, since waiting does not help.
            BrokerUnreachable: Redis is still away after the policy's time.
        """
        waited = False

        def waiting(exc: Exception) -> None:
            nonlocal waited
            if not waited and isinstance(exc, BrokerUnreachable):
                waited = True
                self._begin(exc)
            self.check()
            meanwhile()

        try:
            done = retry(step, self._policy, is_transient, waiting)
        except BaseException:
            if waited:
                self._end()
            raise
        if waited and self._end() == 0:
            self.shown.back()
        return done

    def _begin(self, exc: BrokerUnreachable) -> None:
        with self._lock:
            self._waiting += 1
            first = self._waiting == 1
        if first:
            self.shown.away(exc)

    def _end(self) -> int:
        with self._lock:
            self._waiting -= 1
            return self._waiting
