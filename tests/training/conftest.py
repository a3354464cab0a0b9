"""Test data: MNIST files with digits in Pillow's default font, and an untrained checkpoint."""

import io
import random
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pigeonhole.imaging.digits.normalise import normalise
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models import checkpoint
from pigeonhole.models.checkpoint import Calibration, Checkpoint
from pigeonhole.models.networks import registry as networks
from pigeonhole.models.networks.network import Network
from training.datasets import splits
from training.recipes.defaults import plan

# The networks of the tests are tiny: a second thread makes them slower.
torch.set_num_threads(1)

TOP = Path(__file__).resolve().parents[2]
SHARED = TOP.parent / "shared"


def png(image: Image.Image, **options: object) -> bytes:
    return encoded(image, "PNG", **options)


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def drawn_digit(label: int, rng: random.Random) -> NDArray[np.uint8]:
    """Return a random rendered digit in MNIST's form: uint8 [28, 28]."""
    image = Image.new("L", (80, 80))
    font = ImageFont.load_default(size=rng.randrange(40, 60))
    ImageDraw.Draw(image).text((20, 5), str(label), fill=255, font=font, stroke_width=rng.randrange(3))
    return normalise(image.rotate(rng.uniform(-15, 15), Image.Resampling.BILINEAR))


def write_idx(path: Path, values: NDArray[np.uint8]) -> None:
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    path.write_bytes(header + values.tobytes())


def write_mnist(root: Path, train: int, test: int) -> Path:
    """Write MNIST files in torchvision's folders, with `train` and `test` images of each digit."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    rng = random.Random(7)
    for start, count in (("train", train), ("t10k", test)):
        labels = [label for label in range(10) for _ in range(count)]
        rng.shuffle(labels)
        write_idx(raw / f"{start}-images-idx3-ubyte", np.stack([drawn_digit(label, rng) for label in labels]))
        write_idx(raw / f"{start}-labels-idx1-ubyte", np.array(labels, np.uint8))
    return root


@pytest.fixture(scope="session")
def tiny_mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mnist(tmp_path_factory.mktemp("data"), train=60, test=10)


@pytest.fixture
def digit_preprocessing() -> Preprocessing:
    return plan("digits").preprocessing


@pytest.fixture
def fresh(tmp_path: Path) -> tuple[Path, Checkpoint, Network]:
    """Save an untrained digits network."""
    arguments = networks.complete("digits", {})
    network = networks.build("digits", arguments, 10).fold()
    path = tmp_path / "fresh.safetensors"
    return path, save_fresh(path, network), network


def save_fresh(path: Path, served: Network, /, **changes: object) -> Checkpoint:
    content: dict[str, object] = {
        "name": "fresh",
        "network": "digits",
        "arguments": networks.complete("digits", {}),
        "classes": splits.MNIST_CLASSES,
        "preprocessing": plan("digits").preprocessing,
        "calibration": Calibration(1.25, 0.5),
        "trained": {"dataset": "none"},
        "measured": {},
    }
    return checkpoint.save(path, served, Checkpoint(**{**content, **changes}))  # type: ignore[arg-type]
