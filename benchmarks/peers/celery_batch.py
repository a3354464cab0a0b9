"""A Celery task for each 256 images, written for throughput.

It follows Celery's guides: the model is loaded once in each pool process (`worker_process_init`), the images of a task
go through the network at once, all tasks are one group, and features for clusters of workers are off.
"""

from collections.abc import Sequence

from celery import Celery, group, signals

from benchmarks.common.machine import PROCESSES
from benchmarks.common.measure import Clock, Images
from benchmarks.peers.celery_worker import CeleryWorker
from benchmarks.peers.eager import Eager

SIZE = 256
SETTINGS = (
    "2 prefork processes; model loaded in `worker_process_init`; `-O fair`; the default prefetch of 4 tasks a process. "
    "No gossip, mingle, heartbeats; no rate limits; JSON. One `group`, whose results Redis announces; Redis on a Unix "
    "socket"
)

app = Celery("celery_batch")  # its worker gets the URLs in CELERY_BROKER_URL and CELERY_RESULT_BACKEND
app.conf.worker_disable_rate_limits = True  # recommended in Celery's guide: "if you have no tasks with rate limits"
model: Eager


@signals.worker_process_init.connect
def load(**_: object) -> None:
    """Load the model once in each process."""
    global model
    model = Eager("digits")


@app.task
def classify(paths: list[str]) -> list[str]:
    """Classify a list of images."""
    return model.classify(paths)


class CeleryBatch:
    """A worker with two processes, and the calling process.

    Args:
        socket: the path of a Redis socket.
    """

    def __init__(self, socket: str) -> None:
        options = ["--concurrency", str(PROCESSES), "-O", "fair"]
        options += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        self._worker = CeleryWorker(app, socket, options)

    def start(self) -> None:
        """Start the worker."""
        self._worker.start()

    def run(self, images: Images, clock: Clock) -> Sequence[str]:
        """Send a task for each 256 images, and wait for all results."""
        chunks = [images.paths[at : at + SIZE] for at in range(0, len(images), SIZE)]
        results = group(classify.s(chunk) for chunk in chunks).apply_async()
        labels = [label for chunk in results.get() for label in chunk]
        results.forget()
        return labels

    def stop(self) -> None:
        """Stop the worker."""
        self._worker.stop()
