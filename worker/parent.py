"""Signals from a pool process to its parent, beside Celery's. Imports little, because the parent starts with it."""

import os
import signal

#: The variable in which a worker's parent process passes its id to its pool processes.
_PARENT = "WORKER_PARENT_PID"


def register() -> None:
    """Mark this process as the parent of the pool processes that it will start."""
    os.environ[_PARENT] = str(os.getpid())


def end_parent() -> None:
    """Send SIGUSR2 to the parent, which `worker.app` handles as a request to end.

    If the parent has ended, nothing is sent: this process then has another parent, such as process 1.
    """
    parent = os.getppid()
    if os.environ.get(_PARENT) == str(parent):
        os.kill(parent, signal.SIGUSR2)
