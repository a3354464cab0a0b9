"""Fixtures: an installation to break in many ways, and its undisturbed rows."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path

import pytest

from pigeonhole.jobs.connection import Connection
from pigeonhole.jobs.retrying import Retrying
from pigeonhole.sources.expand import expand
from pigeonhole.sources.reference import Reference, Root
from tests.conftest import ROOT, wait_for
from tests.faults.rows import FileRow, difference, read
from tests.faults.site import Site

#: The number of copies of the 203 samples: a dozen batches.
COPIES = 5


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Yield the site of all tests, each of which ends its faults; the worker `first` has two processes."""
    # Short times, so that the next sweep finds lost work, and not only after 15 and 20 s.
    site = Site(tmp_path_factory.mktemp("site"), publish_seconds=1, lease=4.0)
    try:
        site.copy_samples(COPIES)
        site.start_worker("first")
        yield site
    finally:
        site.close()


@pytest.fixture(scope="session")
def undisturbed(site: Site) -> dict[str, FileRow]:
    """Return the row of each sample, by its name, from a run without faults."""
    command = [sys.executable, "-m", "pigeonhole", "classify", "images/000", "-o", "undisturbed.csv", "-q"]
    subprocess.run(
        command, cwd=site.folder, env=site.environment() | {"PYTHONPATH": str(ROOT)}, timeout=60, check=False
    )
    return {Path(row.path).name: row for row in read(site.folder / "undisturbed.csv")}


class Job:
    """A job that a thread follows while the test injects faults."""

    def __init__(self, site: Site, undisturbed: dict[str, FileRow], images: int | None) -> None:
        self.site, self._undisturbed, self._images = site, undisturbed, images
        self.sources = [str(site.images)]
        self.connection = Connection(site.settings, Retrying())
        self.id = self.connection.create(self.sources)
        self._pool = ThreadPoolExecutor(1)

    @property
    def listed(self) -> list[str]:
        """Return the paths of the submitted images, in their order."""
        return [reference.shown + reference.path for reference in self.references()]

    def submit(self) -> "Job":
        """Submit all images."""
        self.connection.submit(self.id, self.references())
        return self

    def follow(self) -> "Future[list[FileRow]]":
        """Follow the job to its end in a thread, as `wait` does."""
        return self._pool.submit(lambda: [FileRow.of(row) for rows in self.connection.follow(self.id) for row in rows])

    def await_claimed(self) -> set[str]:
        """Wait until workers have claimed pieces of the job, and return these pieces."""
        self.site.await_claim(self.id, set(), within=60)
        return set(self.site.claimed(self.id))

    def assert_complete(self, rows: list[FileRow]) -> None:
        """Assert that each image has exactly one row, in the order of submission, as in the undisturbed run."""
        assert not difference(rows, self.listed, self._undisturbed)
        assert [row.path for row in rows] == self.listed
        status = self.site.ledger.status(self.id)
        assert (status.state, status.done, status.images) == ("finished", len(rows), len(rows))

    def references(self) -> Iterator[Reference]:
        """Yield the references of all images."""
        return islice(expand(self.sources, Root(self.site.settings.image_root)), self._images)


@pytest.fixture
def new_job(site: Site, undisturbed: dict[str, FileRow]) -> Iterator[Callable[..., Job]]:
    """Yield a function that opens a job of all images, or of the first ones; faults end with the test."""
    yield lambda images=None: Job(site, undisturbed, images)
    site.mend()
    for status in site.ledger.statuses(active_only=True):  # the test has failed
        # Otherwise workers with a piece of this job would wait at the closed gate of the next test.
        with suppress(AssertionError):
            wait_for(partial(_is_over, site, status.job), f"the end of {status.job}")
        site.ledger.cancel(status.job)


def _is_over(site: Site, job: str) -> bool:
    return site.ledger.status(job).over
