"""`python -m worker.health`: check that all workers of this machine take batches, for a container's health check.

`pigeonhole.ledger.health` decides whether one worker is healthy.
"""

import socket
import sys

from pigeonhole.errors import PigeonholeError
from pigeonhole.ledger.health import trouble
from pigeonhole.ledger.queue.task_queue import Queue
from pigeonhole.ledger.workers import Workers
from pigeonhole.settings import Settings


def main() -> int:
    """Print whether the workers are healthy, with the reason if not, and return the exit code."""
    try:
        settings = Settings.from_environment()
        workers = Workers(settings)
        mine = [worker for worker in workers.alive() if worker.host == socket.gethostname()]
        queue, now = Queue(settings), workers.time()
        troubles = [trouble(worker, queue.depth(worker.model), now) for worker in mine] or [trouble(None, 0, now)]
        wrong = next(filter(None, troubles), None)
    except PigeonholeError as exc:
        wrong = str(exc)
    sys.stdout.write(f"unhealthy: {wrong}\n" if wrong else "healthy\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
