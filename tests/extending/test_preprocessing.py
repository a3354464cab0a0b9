"""A preprocessing is added with one class and one line."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from pigeonhole.imaging.decode import Decoded
from pigeonhole.imaging.preprocess import prepare
from pigeonhole.imaging.preprocessing import KINDS, Preprocessing
from pigeonhole.imaging.preprocessings.stretch import Stretch
from pigeonhole.models import checkpoint
from pigeonhole.models.classifier import Classifier
from pigeonhole.models.networks.classic import Classic
from pigeonhole.settings import Settings
from tests.training.conftest import png
from tests.training.test_cli import run
from training.datasets import mnist


class Negative(Stretch):
    """Stretches an image and inverts it."""

    summary = "stretched to the network's size and inverted"

    def fitted(self, image: Decoded) -> NDArray[np.uint8]:
        """Return the negative of an image."""
        return 255 - super().fitted(image)


def test_a_new_preprocessing_is_used_in_training_recorded_and_served(
    tiny_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KINDS, "negative", f"{__name__}:Negative")
    negative = Preprocessing("negative", 28, 28, 1)
    monkeypatch.setattr(Classic, "preprocessing", negative)
    path = tmp_path / "negative.safetensors"
    trained = run("train", "--data", tiny_mnist, "--network", "classic", "-o", path, "--epochs", 1, "--device", "cpu")
    assert trained.exit_code == 0, trained.output

    classifier = Classifier.load(path, Settings())
    described = classifier.checkpoint
    assert described.preprocessing == checkpoint.describe(path).preprocessing == negative
    test = mnist.read(tiny_mnist, "test", unchanged())
    files = [png(Image.fromarray(image)) for image in test.images[..., 0].numpy()]
    pixels = np.stack([prepare(file, described.preprocessing, 10_000) for file in files])
    assert np.array_equal(pixels, 255 - test.images.numpy())
    best = torch.from_numpy(classifier.predict(pixels).best[:, 0])
    assert float((best == test.labels).double().mean()) == described.measured["test"]["accuracy"] > 0.2

    Image.new("L", (40, 40), 255).save(tmp_path / "white.png")
    shown = run("inspect", path, "--image", tmp_path / "white.png", "-o", tmp_path / "seen.png")
    assert "stretched to the network's size and inverted" in shown.stdout
    assert Image.open(tmp_path / "seen.png").getextrema() == (0, 0)


def unchanged() -> Preprocessing:
    return Preprocessing("stretch", 28, 28, 1)
