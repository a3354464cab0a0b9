"""An installation that is broken in many ways, and what its rows should be."""

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

#: So many copies of the 203 samples: a dozen batches.
COPIES = 5


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One for all tests: each mends what it broke. Its worker `first` has two processes."""
    # What is lost is found by the next sweep, not only after the defaults' 15 and 20 s.
    site = Site(tmp_path_factory.mktemp("site"), publish_seconds=1, lease=4.0)
    try:
        site.copy_samples(COPIES)
        site.start_worker("first")
        yield site
    finally:
        site.close()


@pytest.fixture(scope="session")
def undisturbed(site: Site) -> dict[str, FileRow]:
    """The row of each sample, by its name, from a run without any fault."""
    command = [sys.executable, "-m", "pigeonhole", "classify", "images/000", "-o", "undisturbed.csv", "-q"]
    subprocess.run(
        command, cwd=site.folder, env=site.environment() | {"PYTHONPATH": str(ROOT)}, timeout=60, check=False
    )
    return {Path(row.path).name: row for row in read(site.folder / "undisturbed.csv")}


class Job:
    """A job of this test's own, followed by a thread while the test breaks things."""

    def __init__(self, site: Site, undisturbed: dict[str, FileRow], images: int | None) -> None:
        self.site, self._undisturbed, self._images = site, undisturbed, images
        self.sources = [str(site.images)]
        self.connection = Connection(site.settings, Retrying())
        self.id = self.connection.create(self.sources)
        self._pool = ThreadPoolExecutor(1)

    @property
    def listed(self) -> list[str]:
        """What is submitted, in its order."""
        return [reference.shown + reference.path for reference in self.references()]

    def submit(self) -> "Job":
        """Put all of it on record, and in the queue."""
        self.connection.submit(self.id, self.references())
        return self

    def follow(self) -> "Future[list[FileRow]]":
        """Follow it to its end, as `wait` does, from a thread."""
        return self._pool.submit(lambda: [FileRow.of(row) for rows in self.connection.follow(self.id) for row in rows])

    def await_claimed(self) -> set[str]:
        """Wait until some of it is in hand, and give these pieces."""
        self.site.await_claim(self.id, set(), within=60)
        return set(self.site.claimed(self.id))

    def assert_whole(self, rows: list[FileRow]) -> None:
        """Each image in exactly one row, in the order of submission, and it says what it says undisturbed."""
        assert not difference(rows, self.listed, self._undisturbed)
        assert [row.path for row in rows] == self.listed
        status = self.site.ledger.status(self.id)
        assert (status.state, status.done, status.images) == ("finished", len(rows), len(rows))

    def references(self) -> Iterator[Reference]:
        """What it is of."""
        return islice(expand(self.sources, Root(self.site.settings.image_root)), self._images)


@pytest.fixture
def new_job(site: Site, undisturbed: dict[str, FileRow]) -> Iterator[Callable[..., Job]]:
    """A function that opens a job of all images, or of the first so many; faults end with the test."""
    yield lambda images=None: Job(site, undisturbed, images)
    site.mend()
    for status in site.ledger.statuses(active_only=True):  # the test has failed
        # Whoever has some of it in hand when the next test shuts the gate would wait there, and take nothing else.
        with suppress(AssertionError):
            wait_for(partial(_is_over, site, status.job), f"the end of {status.job}")
        site.ledger.cancel(status.job)


def _is_over(site: Site, job: str) -> bool:
    return site.ledger.status(job).over
