"""A small network for 64x64 colour images, for the comparison with photos, because the shipped models take digits only.

Its weights are random. Decoding takes nearly all of a photo's time, so the network matters little.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.common.machine import ROOT
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models import checkpoint
from pigeonhole.models.checkpoint import Calibration, Checkpoint
from pigeonhole.models.networks import registry as networks
from pigeonhole.models.networks.network import Network

NAME = "colour"
#: The PYTHONPATH with which a worker's processes register the network.
PYTHONPATH = f"{ROOT / 'benchmarks' / 'standins' / 'colour'}:{ROOT}"


class Colour(Network):
    """Three convolutions, each of which halves the image, and global average pooling.

    Args:
        classes: the number of logits.
    """

    def __init__(self, classes: int) -> None:
        super().__init__([0.5] * 3, [0.25] * 3)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1),  # [N, 16, 32, 32]
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1),  # [N, 32, 16, 16]
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, 2, 1),  # [N, 64, 8, 8]
            nn.ReLU(),
        )
        self.head = nn.Linear(64, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits: uint8 [N, 64, 64, 3] → float32 [N, classes]."""
        logits: Tensor = self.head(self.layers(self.pixels(pixels)).mean((2, 3)))
        return logits


def register() -> None:
    """Register the network in this process."""
    networks.NETWORKS[NAME] = "benchmarks.colour:Colour"


def save(folder: Path) -> str:
    """Write a checkpoint of the network, and return its path."""
    register()
    torch.manual_seed(1)
    path = folder / f"{NAME}.safetensors"
    checkpoint.save(
        path,
        networks.build(NAME, {}, 10).eval(),
        Checkpoint(
            name=NAME,
            network=NAME,
            arguments={},
            classes=tuple("0123456789"),
            preprocessing=Preprocessing("stretch", 64, 64, 3),
            calibration=Calibration(1.0, 0.5),
            trained={"dataset": "none"},
        ),
    )
    return str(path)
