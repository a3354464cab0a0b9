"""The classic small network for MNIST."""

from collections.abc import Sequence

from torch import Tensor, nn

from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models.networks.network import Network


class Classic(Network):
    """Two convolutions and two linear layers, as published; for images of 28 x 28 x 1 only.

    Args:
        classes: The number of logits.
        mean: As for `Network`; the published network does not subtract a mean.
        std: As for `Network`.
    """

    preprocessing = Preprocessing("stretch", 28, 28, 1)

    def __init__(self, classes: int, mean: float | Sequence[float] = 0.0, std: float | Sequence[float] = 1.0) -> None:
        super().__init__(mean, std)
        self.layers = nn.Sequential(
            nn.Conv2d(1, 32, 3),  # [N, 32, 26, 26]
            nn.ReLU(),
            nn.Conv2d(32, 16, 5),  # [N, 16, 22, 22]
            nn.ReLU(),
            nn.Flatten(),  # [N, 7744], channels outermost
            nn.Linear(7744, 128),
            nn.ReLU(),
            nn.Linear(128, classes),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits: uint8 [N, 28, 28, 1] → float32 [N, classes]."""
        logits: Tensor = self.layers(self.pixels(pixels))
        return logits
