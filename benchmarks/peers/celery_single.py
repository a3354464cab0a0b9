"""A Celery task for each image, with default settings, as in typical tutorials.

The model is an attribute of the task that is loaded on first use, as in Celery's guide on tasks, "Instantiation".
"""

from collections.abc import Sequence
from functools import cached_property

from celery import Celery, Task

from benchmarks.common.machine import PROCESSES
from benchmarks.common.measure import Clock, Images
from benchmarks.peers.celery_worker import CeleryWorker
from benchmarks.peers.eager import Eager

SETTINGS = "2 prefork processes; everything else is Celery's default; `delay` for each, then `get` for each"

app = Celery("celery_single")  # its worker gets the URLs in CELERY_BROKER_URL and CELERY_RESULT_BACKEND


class Classify(Task):  # type: ignore[misc]  # Celery has no types
    """A task with the model of its process."""

    @cached_property
    def model(self) -> Eager:
        """Load the model once in each process."""
        return Eager("digits")


@app.task(base=Classify, bind=True)
def classify(self: Classify, path: str) -> str:
    """Classify one image."""
    return self.model.classify([path])[0]


class CelerySingle:
    """A worker with two processes, and the calling process.

    Args:
        socket: the path of a Redis socket.
    """

    def __init__(self, socket: str) -> None:
        self._worker = CeleryWorker(app, socket, ["--concurrency", str(PROCESSES)])

    def start(self) -> None:
        """Start the worker."""
        self._worker.start()

    def run(self, images: Images, clock: Clock) -> Sequence[str]:
        """Send a task for each image, and wait for each result."""
        results = [classify.delay(path) for path in images.paths]
        return [result.get() for result in results]

    def stop(self) -> None:
        """Stop the worker."""
        self._worker.stop()
