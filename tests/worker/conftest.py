import io
import shutil
from pathlib import Path

import pytest
from PIL import Image

from training import checkpoint as checkpoints
from worker.classifier import Classifier
from worker.contract.ledger import Ledger
from worker.contract.messages import Batch
from worker.contract.pieces import Piece
from worker.contract.queue import Queue
from worker.contract.settings import Settings

SAMPLES = Path(__file__).resolve().parent.parent.parent / "samples"


@pytest.fixture(scope="session")
def classifier() -> Classifier:
    """The shipped checkpoint, loaded."""
    return Classifier.load(checkpoints.find("digits"), "cpu")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An image root with the shipped samples in it."""
    shutil.copytree(SAMPLES, tmp_path / "root" / "samples")
    return tmp_path / "root"


def png(size: tuple[int, int] = (28, 28)) -> bytes:
    """A plain grey PNG."""
    file = io.BytesIO()
    Image.new("L", size, 90).save(file, "PNG")
    return file.getvalue()


def published(settings: Settings, batch: Batch) -> str:
    """Submit a job of one batch; gives its name."""
    ledger = Ledger(settings)
    job = ledger.create("digits", ("test",))
    ledger.add(job, 0, batch)
    Queue(settings).publish("digits", job, Piece(0))
    ledger.close(job, 1)
    return job
