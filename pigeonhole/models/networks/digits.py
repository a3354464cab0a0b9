"""The networks for single digits, in three sizes."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from pigeonhole.models.networks.network import Network
from pigeonhole.models.networks.registry import DIGIT

# Of the pixels of MNIST's 60,000 training images, in units of 255.
_MEAN, _STD = 0.1307, 0.3081


class Digits(Network):
    """Convolutions that halve the picture early, then one linear layer; 28 x 28 x 1 only.

    The cost of a convolution grows with its area, so the first two stride: the others work on 7 x 7 and less, where
    channels are cheap.

    Args:
        classes: How many logits.
        widths: Channels of each convolution; the first is 5 x 5, the others 3 x 3.
        strides: Of each convolution.
        paddings: Of each convolution, in pixels on each side.
        mean: As of `Network`.
        std: As of `Network`.
    """

    preprocessing = DIGIT
    arguments: ClassVar = {"widths": (16, 48, 64, 96), "paddings": (0, 1, 0, 0)}

    def __init__(
        self,
        classes: int,
        widths: Sequence[int] = (24, 32, 48, 64),
        strides: Sequence[int] = (2, 2, 1, 1),
        paddings: Sequence[int] = (1, 1, 0, 0),
        mean: float | Sequence[float] = _MEAN,
        std: float | Sequence[float] = _STD,
    ) -> None:
        super().__init__(mean, std)
        blocks: list[nn.Module] = []
        inputs, side = 1, DIGIT.height
        for width, stride, padding in zip(widths, strides, paddings, strict=True):
            kernel = 3 if blocks else 5
            convolution = nn.Conv2d(inputs, width, kernel, stride, padding, bias=False)
            blocks.append(nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU()))
            inputs, side = width, (side + 2 * padding - kernel) // stride + 1
        self.layers = nn.Sequential(*blocks)  # [N, widths[-1], side, side]
        self.head = nn.Linear(inputs * side * side, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 [N, 28, 28, 1] → float32 logits [N, classes]."""
        features = self.layers(self.pixels(pixels))  # [N, widths[-1], side, side]
        logits: Tensor = self.head(features.flatten(1))
        return logits


class DigitsLarge(Digits):
    """More channels, at a larger area."""

    arguments: ClassVar = {"widths": (48, 96, 128, 192), "strides": (2, 1, 2, 1), "paddings": (1, 0, 1, 0)}


class DigitsSmall(Digits):
    """Fewer channels."""

    arguments: ClassVar = {"widths": (16, 24, 32, 48), "paddings": (0, 1, 0, 0)}
