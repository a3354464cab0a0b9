"""The shipped model, the samples, and jobs of one batch."""

import io
import shutil
from pathlib import Path

import pytest
from PIL import Image

from pigeonhole.ledger.ledger import Ledger
from pigeonhole.ledger.queue.task_queue import Queue
from pigeonhole.ledger.wire.messages import Batch, Group
from pigeonhole.models import checkpoint as checkpoints
from pigeonhole.models.classifier import Classifier
from pigeonhole.settings import Settings
from pigeonhole.sources.reference import Location

SAMPLES = Path(__file__).resolve().parent.parent.parent / "samples"


@pytest.fixture(scope="session")
def classifier() -> Classifier:
    """Load the shipped checkpoint."""
    return Classifier.load(checkpoints.find("digits"), Settings())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return an image root that contains the shipped samples."""
    shutil.copytree(SAMPLES, tmp_path / "root" / "samples")
    return tmp_path / "root"


@pytest.fixture
def samples(root: Path) -> Batch:
    """Return a batch of all samples; three of them become error rows."""
    names = tuple(sorted(file.name for file in (root / "samples").iterdir()))
    return Batch((Group("file", "samples/", "samples/", names),))


def png(size: tuple[int, int] = (28, 28)) -> bytes:
    """Return the bytes of a grey PNG."""
    file = io.BytesIO()
    Image.new("L", size, 90).save(file, "PNG")
    return file.getvalue()


def file_at(path: str) -> Location:
    """Return the location of a file below the image root."""
    return Location("file", "", path)


def published(settings: Settings, batch: Batch) -> str:
    """Submit a job of one batch; return its id."""
    ledger = Ledger(settings)
    job = ledger.create("digits", ("test",))
    piece = ledger.add(job, 0, batch)
    assert piece is not None
    Queue(settings).publish("digits", job, piece)
    ledger.close(job, 1)
    return job
