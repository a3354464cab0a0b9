"""The retry policies: which operations are retried, how often, and after which pauses."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

R = TypeVar("R")


@dataclass(frozen=True)
class RetryPolicy:
    """The number of retries after transient errors, and the pauses before them.

    Args:
        retries: the largest number of retries; None: no limit.
        first: the first pause, in seconds.
        step: the increase of each further pause, in seconds.
        longest: the longest pause, in seconds.
        seconds: no retry starts later than this after the first try.
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


#: Commands of redis-py after a lost connection: about two seconds if connections are refused. All commands of
#: the ledger are idempotent, so they may be sent twice. redis-py doubles the pauses, with jitter.
COMMAND = RetryPolicy(retries=4, first=0.05, longest=1.0)
#: Publishing a message with kombu: about as long as a command.
PUBLISH = RetryPolicy(retries=4, step=0.2, longest=1.0)
#: A worker's connection to the queue. By default kombu waits 2, 4, … 30 s, so that a worker would stay away for up to
#: half a minute after Redis is back.
CONNECT = RetryPolicy(first=0.5, step=0.5, longest=2.0)
#: Reading an image: five tries in one second.
READ = RetryPolicy(retries=4, first=0.1, step=0.1)


def outage(seconds: float) -> RetryPolicy:
    """Return the policy while Redis is down or full; `seconds` is `PIGEONHOLE_OUTAGE_SECONDS`."""
    return RetryPolicy(first=0.5, longest=0.5, seconds=seconds)


def retry(
    step: Callable[[], R],
    policy: RetryPolicy,
    is_transient: Callable[[Exception], bool],
    before_pause: Callable[[Exception], None] = lambda exc: None,
    sleep: Callable[[float], object] = time.sleep,
) -> R:
    """Call a function, and call it again after transient errors.

    Args:
        step: the function. It must be safe to call it more than once.
        policy: the number of retries, and the pauses before them.
        is_transient: returns whether an error may be gone at the next try; any other error is raised at once.
        before_pause: called with the error before each pause; an exception that it raises ends the retries.
        sleep: pauses for a number of seconds; if it returns False, there is no further try.

    Raises:
        Exception: the last error of `step`.
    """
    give_up = time.monotonic() + policy.seconds
    for pause in policy.pauses():
        try:
            return step()
        except Exception as exc:
            if not is_transient(exc) or time.monotonic() > give_up:
                raise
            before_pause(exc)
            if sleep(pause) is False:
                raise
    return step()
