"""Retries while Redis is down or full, and notices about outages."""

import logging
import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

from pigeonhole.errors import BrokerUnreachable
from pigeonhole.ledger.redis.client import is_transient
from pigeonhole.retry import outage, retry
from pigeonhole.settings import Settings
from pigeonhole.text import printable

T = TypeVar("T")

logger = logging.getLogger(__name__)


class OutageView(Protocol):
    """Shows that a command waits for Redis or for a volume; called from any thread."""

    def away(self, exc: BrokerUnreachable) -> None:
        """Show that an outage has begun, with its error."""

    def back(self) -> None:
        """Show that the outage is over."""

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
        """Log the error of an outage."""
        logger.warning("waiting for Redis: %s", printable(str(exc)))

    def back(self) -> None:
        """Log that the outage is over."""
        logger.warning("Redis is back")

    def held(self, why: str) -> None:
        """Log why workers hold batches back."""
        logger.warning("waiting: %s", printable(why))


class Retrying:
    """Retries steps while Redis is down or full. An outage is shown once, even if several threads retry.

    Args:
        seconds: the seconds after which retries end.
        shown: shows outages; may be replaced at any time.

    Attributes:
        check: called before each pause; its exceptions end the retries. May be replaced.
    """

    def __init__(self, seconds: float = Settings.outage_seconds, shown: OutageView | None = None) -> None:
        self.shown: OutageView = shown or Silent()
        self.check: Callable[[], None] = lambda: None
        self._policy = outage(seconds)
        self._waiting = 0
        self._lock = threading.Lock()

    def __call__(self, step: Callable[[], T], meanwhile: Callable[[], None] = lambda: None) -> T:
        """Return the result of a step, retrying it while Redis is down or full.

        Args:
            step: a function that may be called several times.
            meanwhile: called before each pause; its exceptions end the retries.

        Raises:
            BrokerRefuses: Redis refuses access; raised without retries.
            BrokerUnreachable: Redis is still down or full at the end of the retries.
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
