"""Health of a worker, by its announcement: for a container's health check and for `pigeonhole doctor`.

That a process exists says nothing: a worker can be alive and deaf after its Redis restarted. Healthy is one that
announces itself (from the loop that takes its messages), has loaded its checkpoint, and does not sit idle while
messages wait in its queue.
"""

from pigeonhole.ledger.workers import Announcement

#: Seconds that a worker may have nothing in hand while messages wait: taking one needs milliseconds.
IDLE_AT_MOST = 30.0


def trouble(worker: Announcement | None, waiting: int, now: float) -> str | None:
    """Return what is wrong with a worker, in words; None if nothing is.

    Args:
        worker: its announcement, if there is one.
        waiting: messages in its queue.
        now: in seconds since the epoch, on the announcement's clock.
    """
    if worker is None:
        return "it does not announce itself: it is starting, has lost its Redis, or stands still"
    if not worker.processes:
        return "none of its processes has loaded the checkpoint yet"
    if waiting and now - worker.busy > IDLE_AT_MOST:
        return f"{waiting} messages wait and it has taken none for {now - worker.busy:.0f} s"
    return None
