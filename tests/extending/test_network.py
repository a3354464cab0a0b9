"""A network is added with one class and one line."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pigeonhole.models import checkpoint
from pigeonhole.models.classifier import Classifier
from pigeonhole.models.networks.network import Network
from pigeonhole.models.networks.registry import DIGIT, NETWORKS, build
from pigeonhole.settings import Settings
from tests.training.test_cli import run
from training.datasets import mnist
from training.loop.initial_weights import Learned


class Tiny(Network):
    """One convolution with batch normalisation; 28 x 28 x 1 only."""

    preprocessing = DIGIT

    def __init__(
        self,
        classes: int,
        width: int = 32,
        mean: float | Sequence[float] = 0.5,
        std: float | Sequence[float] = 0.25,
    ) -> None:
        super().__init__(mean, std)
        self.layers = nn.Sequential(nn.Conv2d(1, width, 7, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.AvgPool2d(2))
        self.head = nn.Linear(16 * width, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 [N, 28, 28, 1] → float32 logits [N, classes]."""
        logits: Tensor = self.head(self.layers(self.pixels(pixels)).flatten(1))
        return logits


def test_a_new_network_can_be_trained_saved_served_and_fine_tuned(
    tiny_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NETWORKS, "tiny", f"{__name__}:Tiny")
    path, again = tmp_path / "tiny.safetensors", tmp_path / "again.safetensors"
    quick = ("--data", tiny_mnist, "--network", "tiny", "--epochs", 1, "--no-synthetic", "--device", "cpu", "--quiet")
    trained = run("train", *quick, "-o", path)
    assert trained.exit_code == 0, trained.output

    described, network = checkpoint.load(path)
    assert (described.network, described.arguments["width"]) == ("tiny", 32)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())

    fresh = build("tiny", described.arguments, 10)
    images = mnist.read(tiny_mnist, "train", described.preprocessing).images
    Learned(described, network).initialise(fresh, described.classes, images)
    assert torch.allclose(fresh.eval()(images), network(images), atol=1e-3)

    classifier = Classifier.load(path, Settings())
    test = mnist.read(tiny_mnist, "test", described.preprocessing)
    best = torch.from_numpy(classifier.predict(test.images.numpy()).best[:, 0])
    accuracy = float((best == test.labels).double().mean())
    assert accuracy == described.measured["test"]["accuracy"] > 0.2

    further = run("train", *quick, "--from", path, "-o", again)
    assert further.exit_code == 0, further.output
    assert checkpoint.describe(again).trained["start"] == {"name": "tiny", "digest": described.digest}
    assert checkpoint.describe(again).measured["test"]["accuracy"] > 0.2
    assert json.loads(run("inspect", again, "--json").stdout)["network"] == "tiny"
