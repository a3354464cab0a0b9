"""Fixtures: a client, photos, and a thread that answers like a worker."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pigeonhole import Client
from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.workers import Announcement, Workers
from pigeonhole.settings import Settings
from tests.ledger.conftest import answers_for
from tests.sources.conftest import touch

PATHS = [f"photos/{number:03}.png" for number in range(150)]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, image_root="/")


@pytest.fixture
def photos(folder: Path) -> Path:
    """Return a folder of 150 images: three batches."""
    touch(*PATHS)
    return folder


@pytest.fixture
def answering(settings: Settings) -> Iterator[None]:
    """Answer all batches in a thread as a worker would, while the test runs."""
    over = threading.Event()

    def work() -> None:
        ledger, workers = Ledger(settings), Workers(settings)
        workers.announce(Announcement(name="celery@one", model="digits", digest="d", version="1", processes=1))
        while not over.wait(0.01):
            for status in ledger.statuses(active_only=True):
                for piece in ledger.pending(status.job):
                    if batch := ledger.claim(status.job, piece):
                        ledger.commit(status.job, piece, answers_for(batch))

    thread = threading.Thread(target=work)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    with Client(settings=settings) as client:
        yield client
