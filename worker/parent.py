"""What a pool process and its parent say to each other, beside Celery. Imports next to nothing, as the parent does."""

import os
import signal

#: The variable in which a worker's first process leaves its id to those that it starts.
_PARENT = "WORKER_PARENT_PID"


def register() -> None:
    """Make this process the parent of the pool processes that it will start."""
    os.environ[_PARENT] = str(os.getpid())


def end_parent() -> None:
    """Send SIGUSR2 to the parent, which `worker.app` takes as a request to end.

    Nothing is sent where that parent has ended: another process is this one's parent then, process 1 for instance.
    """
    parent = os.getppid()
    if os.environ.get(_PARENT) == str(parent):
        os.kill(parent, signal.SIGUSR2)
