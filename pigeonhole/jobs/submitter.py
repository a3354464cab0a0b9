"""The heartbeat of a job's submitter, and what a follower concludes from its silence."""

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

#: Seconds of silence after which a follower does not wait any longer: twelve heartbeats, and longer than a worker or a
#: Redis needs to start again.
GIVE_UP_AFTER = 60.0


@contextmanager
def heartbeat(ledger: Ledger, job: str) -> Iterator[None]:
    """Show for the length of a block that somebody submits to a job, however long a source or Redis takes."""
    over = threading.Event()

    def beat() -> None:
        while True:
            try:
                ledger.note_submitter(job)
            except PigeonholeError as exc:  # the submission itself waits for Redis, or ends with the error
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
    """Watches an open job for its submitter.

    Redis' clock alone does not tell that a submitter is gone: it may have stepped, Redis may have been away, or this
    process may have been stopped together with its submitter. So the silence must last while the job is looked at.

    Args:
        clock: in seconds; tests replace it.
    """

    clock: Callable[[], float]
    _known: float | None = field(default=None, init=False)
    _checked: float = field(default=-math.inf, init=False)
    _silent_since: float = field(default=0.0, init=False)

    def check(self, status: JobStatus) -> None:
        """Raise NoSubmitter if an open job's submitter has been silent for too long; called at every look."""
        now = self.clock()
        if status.silent is None or status.submitter_seen != self._known or now - self._checked > HEARTBEAT:
            self._silent_since = now
        self._known, self._checked = status.submitter_seen, now
        if (status.silent or 0.0) >= GIVE_UP_AFTER and now - self._silent_since >= SILENT_AFTER:
            raise NoSubmitter(no_submitter(status))


def no_submitter(status: JobStatus) -> str:
    """Return in words that nobody submits to an open job any more, and what to do."""
    again = shlex.join(["pigeonhole", "submit", "--job", status.job, *status.sources])
    since = timestamp(status.created if status.submitter_seen is None else status.submitter_seen)
    return (
        f"nobody submits to job {status.job} any more, since {since}: `{again}` submits the rest, or "
        f"`pigeonhole cancel {status.job}` ends it"
    )
