"""The services under test, their folders, and the operations that several checks share."""

import csv
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.services.compose.stack import ANY_USER, ROOT, Stack, check, say

#: Bytes that the image of a worker may add to its base image: with Docker's own, of some 130 MB, less than 600 MB.
LARGEST_WORKER = 450_000_000
#: The base image, if PYTHON_IMAGE names no other.
BASE = "python:3.11-slim-bookworm"
#: Copies of the samples in the larger job, which takes seconds, so that a worker can be stopped meanwhile.
COPIES = 1_000
#: Confidences of two runtimes, and of two builds of one, may differ by rounding.
TOLERANCE = 1e-4
#: The exit code of `pigeonhole classify` with error rows; three of the samples are no images.
ERROR_ROWS = 3


class FileRow(NamedTuple):
    """A line of a CSV file that `pigeonhole` wrote."""

    path: str
    label: str
    review: str
    error: str
    model: str
    confidence: float

    def agrees(self, other: "FileRow") -> bool:
        """Return whether two rows differ in nothing but the path and the rounding of the confidence."""
        return self[1:-1] == other[1:-1] and abs(self.confidence - other.confidence) <= TOLERANCE


def read(path: Path) -> list[FileRow]:
    """Return the rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            FileRow(row["path"], row["label"], row["review"], row["error"], row["model"], float(row["confidence"] or 0))
            for row in csv.DictReader(file)
        ]


@contextmanager
def folders() -> Iterator[Path]:
    """Yield a folder with images/, results/, models/, mnist/ and data/ that the containers' user may use."""
    work = Path(tempfile.mkdtemp(prefix="pigeonhole-compose-"))
    try:
        work.chmod(0o755)
        shutil.copytree(ROOT / "samples", work / "images" / "samples")
        for number in range(COPIES):
            shutil.copytree(
                work / "images" / "samples", work / "images" / "more" / f"{number:03}", copy_function=os.link
            )
        for name in ("results", "models", "mnist", "data"):
            (work / name).mkdir()
            if os.getuid() == 0:
                os.chown(work / name, ANY_USER, ANY_USER)
        yield work
    finally:
        shutil.rmtree(work)


class Site:
    """The services, and the rows that they must return.

    Args:
        stack: The services of docker-compose.yml.
        work: The folder that `folders` made.
    """

    def __init__(self, stack: Stack, work: Path) -> None:
        self.stack, self.work = stack, work
        #: The rows of the embedded run, by the name of the image.
        self.expected: dict[str, FileRow] = {}

    def build(self, *services: str) -> None:
        """Build the images of services, and check the size of the worker's."""
        started = time.monotonic()
        self.stack("build", *services)
        size = {service: self._size(f"pigeonhole-{service}") for service in services}
        sizes = ", ".join(f"{service} {bytes_ / 1e6:,.0f} MB" for service, bytes_ in size.items())
        say(f"build: {sizes}; {time.monotonic() - started:.0f} s")
        if "worker" in size:
            own = size["worker"] - self._size(self.stack.environment.get("PYTHON_IMAGE") or BASE)
            say(f"build: the worker's image adds {own / 1e6:,.0f} MB to its base image")
            check(own < LARGEST_WORKER, f"the worker's image adds more than {LARGEST_WORKER:,} bytes")

    def _size(self, image: str) -> int:
        return int(self.stack.docker("image", "inspect", "-f", "{{.Size}}", image).stdout)

    def up(self, workers: int, **settings: str) -> None:
        """Start the services with changed settings, and wait until all workers are healthy."""
        started = time.monotonic()
        self.stack.environment |= settings
        self.stack("up", "-d", "--scale", f"worker={workers}")
        running = self.stack.containers("worker")
        check(len(running) == workers, f"{len(running)} workers run, not {workers}")
        for worker in running:
            self.wait_until_healthy(worker)
        say(f"up: {workers} workers are healthy after {time.monotonic() - started:.0f} s")

    def wait_until_healthy(self, container: str) -> None:
        """Wait until the health check of a container passes."""
        health = "{{.State.Health.Status}}"
        self.wait(lambda: self.stack.inspect(container, health) == "healthy", f"{container} to be healthy", 180)

    def wait(self, condition: Callable[[], object], what: str, seconds: float) -> None:
        """Wait until a condition holds; raise Failed after some seconds."""
        deadline = time.monotonic() + seconds
        while not condition():
            check(time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}")
            time.sleep(0.5)

    def run_inside(self, container: str, script: str) -> str:
        """Run a shell script in a container, and return both of its outputs in order."""
        return self.stack.docker("exec", container, "sh", "-c", f"exec 2>&1; {script}", check_it=False).stdout

    def workers(self) -> list[str]:
        """Return the workers' containers, including stopped ones."""
        label = f"label=com.docker.compose.project={self.stack.environment['COMPOSE_PROJECT_NAME']}"
        service = "label=com.docker.compose.service=worker"
        return self.stack.docker("ps", "--all", "--quiet", "--filter", label, "--filter", service).stdout.split()

    def classify_samples(self, name: str) -> list[FileRow]:
        """Classify the samples with the producer; return the rows of the result file."""
        self.stack.task("producer", "classify", "/images/samples", "-o", f"/results/{name}", codes=(ERROR_ROWS,))
        return read(self.work / "results" / name)

    def compare(self, name: str, copies: int = 1) -> None:
        """Check that a result file has the rows of the embedded run, once for each copy of the samples."""
        rows = read(self.work / "results" / name)
        wanted = len(self.expected) * copies
        check(len(rows) == wanted, f"{name}: {len(rows)} rows, not {wanted}")
        check(len({row.path for row in rows}) == wanted, f"{name}: two rows have the same path")
        for row in rows:
            expected = self.expected[Path(row.path).name]
            check(row.agrees(expected), f"{name}: {row}, embedded {expected}")
        owner = (self.work / "results" / name).stat().st_uid
        check(owner in (os.getuid(), ANY_USER), f"{name}: belongs to user {owner}")
