"""The health of a worker, judged by its announcement: for container health checks and `pigeonhole doctor`.

A running process is not enough: a worker may have lost its connection when Redis restarted. A healthy worker announces
itself from the loop that takes its messages, has loaded its model, and is not idle while messages wait in its queue.
"""

from pigeonhole.ledger.workers import Announcement

#: Seconds that a worker may be idle while messages wait: taking one needs milliseconds.
IDLE_AT_MOST = 30.0


def trouble(worker: Announcement | None, waiting: int, now: float) -> str | None:
    """Return the problem of a worker, in words; None if it is healthy.

    Args:
        worker: its announcement; None: it has none.
        waiting: the number of messages in its queue.
        now: the time in seconds since the epoch, on the announcement's clock.
    """
    if worker is None:
        return "it does not announce itself: it is starting, has lost its connection to Redis, or hangs"
    if not worker.processes:
        return "none of its processes has loaded the model yet"
    if waiting and now - worker.busy > IDLE_AT_MOST:
        return f"{waiting} messages wait and it has taken none for {now - worker.busy:.0f} s"
    return None
