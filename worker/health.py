"""`python -m worker.health`: does this machine's worker consume? For a container's health check.

That a process exists says nothing: a worker can be alive and deaf after its Redis restarted. Healthy is one that
announces itself (from the loop that takes its messages), has loaded its checkpoint, and does not sit idle while
messages wait in its queue.
"""

import socket
import sys

from worker.contract.errors import PigeonholeError
from worker.contract.queue import Queue
from worker.contract.settings import Settings
from worker.contract.workers import Announcement, Workers

#: Seconds that a worker may have nothing in hand while messages wait: taking one needs milliseconds.
IDLE_AT_MOST = 30.0


def trouble(worker: Announcement | None, waiting: int, now: float) -> str | None:
    """Say what is wrong with a worker, or None.

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


def main() -> int:
    """Print what is wrong and give the exit code."""
    try:
        settings = Settings.from_environment()
        workers, name = Workers(settings), f"celery@{socket.gethostname()}"
        worker = next((worker for worker in workers.alive() if worker.name == name), None)
        waiting = Queue(settings).depth(worker.model) if worker else 0
        wrong = trouble(worker, waiting, workers.time())
    except PigeonholeError as exc:
        wrong = str(exc)
    sys.stdout.write(f"unhealthy: {wrong}\n" if wrong else "healthy\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
