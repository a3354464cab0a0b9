"""The retry policy: what is tried again, how often and after which pauses, all in one place."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

R = TypeVar("R")


@dataclass(frozen=True)
class RetryPolicy:
    """When a step that failed in passing is tried again.

    Args:
        retries: how often at the most; None: without a limit.
        first, step, longest: seconds of the first pause, what each further one adds, and of the longest.
        seconds: no retry begins later than this after the first try.
    """

    retries: int | None = None
    first: float = 0.0
    step: float = 0.0
    longest: float = math.inf
    seconds: float = math.inf

    def pauses(self) -> Iterator[float]:
        """Yield the pause before each retry."""
        for number in count() if self.retries is None else range(self.retries):
            yield min(self.first + number * self.step, self.longest)


#: A command whose connection is lost, by redis-py: some two seconds where connecting fails at once. All commands of the
#: ledger may be sent again: what is done twice there counts once. redis-py doubles the pauses, with jitter.
COMMAND = RetryPolicy(retries=4, first=0.05, longest=1.0)
#: Publishing a message, by kombu: as long as a command.
PUBLISH = RetryPolicy(retries=4, step=0.2, longest=1.0)
#: A worker's connection to the queue. By default kombu waits 2, 4, … 30 s: after a minute without Redis it would come
#: back half a minute late.
CONNECT = RetryPolicy(first=0.5, step=0.5, longest=2.0)
#: An image that can't be read: five tries in one second.
READ = RetryPolicy(retries=4, first=0.1, step=0.1)


def outage(seconds: float) -> RetryPolicy:
    """Return the policy while Redis is away or full: `PIGEONHOLE_PATIENCE` seconds."""
    return RetryPolicy(first=0.5, longest=0.5, seconds=seconds)


def retry(
    step: Callable[[], R],
    policy: RetryPolicy,
    passing: Callable[[Exception], bool],
    waiting: Callable[[Exception], None] = lambda exc: None,
    sleep: Callable[[float], object] = time.sleep,
) -> R:
    """Do a step, and again while it fails in passing.

    Args:
        step: may be done more than once.
        policy: when it is tried again.
        passing: tells whether an error may be gone at the next try; any other is raised at once.
        waiting: called with the error before each pause; what it raises ends the retries.
        sleep: pauses for a number of seconds; where it returns False there is no further try.

    Raises:
        Exception: the step's last.
    """
    give_up = time.monotonic() + policy.seconds
    for pause in policy.pauses():
        try:
            return step()
        except Exception as exc:
            if not passing(exc) or time.monotonic() > give_up:
                raise
            waiting(exc)
            if sleep(pause) is False:
                raise
    return step()
