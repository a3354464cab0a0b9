"""The heartbeat of a job's submitter, and its watch by followers."""

import logging
import math
import shlex
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pigeonhole.errors import NoSubmitter, PigeonholeError
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.status import HEARTBEAT, SILENT_AFTER, JobStatus
from pigeonhole.text import timestamp

logger = logging.getLogger(__name__)

#: Seconds without a heartbeat after which a follower gives up: twelve heartbeats, and longer than a restart of Redis.
GIVE_UP_AFTER = 60.0


@contextmanager
def heartbeat(ledger: Ledger, job: str) -> Iterator[None]:
    """Send heartbeats of a job's submitter during the block, however slow a source or Redis is."""
    over = threading.Event()

    def beat() -> None:
        while True:
            try:
                ledger.note_submitter(job)
            except PigeonholeError as exc:  # the submission itself retries, or raises the error
                logger.debug("job %s: no heartbeat: %s", job, exc)
            if over.wait(HEARTBEAT):
                return

    threading.Thread(target=beat, name="heartbeat", daemon=True).start()
    try:
        yield
    finally:
        over.set()


@dataclass
class SubmitterWatch:
    """Watches the submitter of an open job.

    A long silence on Redis' clock is not enough to call a submitter lost: the clock may have stepped, Redis may have
    been down, or this process may have been suspended together with the submitter. So the silence must also last for
    `SILENT_AFTER` seconds of regular polls.

    Args:
        clock: returns seconds; replaced in tests.
    """

    clock: Callable[[], float]
    _known: float | None = field(default=None, init=False)
    _checked: float = field(default=-math.inf, init=False)
    _silent_since: float = field(default=0.0, init=False)

    def check(self, status: JobStatus) -> None:
        """Raise NoSubmitter if an open job's submitter has been silent for too long; called at every poll."""
        now = self.clock()
        if status.silent is None or status.submitter_seen != self._known or now - self._checked > HEARTBEAT:
            self._silent_since = now
        self._known, self._checked = status.submitter_seen, now
        if (status.silent or 0.0) >= GIVE_UP_AFTER and now - self._silent_since >= SILENT_AFTER:
            raise NoSubmitter(no_submitter(status))


def no_submitter(status: JobStatus) -> str:
    """Return a message about the lost submitter of an open job, with the remedy."""
    again = shlex.join(["pigeonhole", "submit", "--job", status.job, *status.sources])
    since = timestamp(status.created if status.submitter_seen is None else status.submitter_seen)
    return (
        f"the submission of job {status.job} was cut off at {since}. Submit the rest: `{again}`, or cancel the job: "
        f"`pigeonhole cancel {status.job}`"
    )
