"""The networks for single digits, in three sizes."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from pigeonhole.models.networks.network import Network
from pigeonhole.models.networks.registry import DIGIT

# Mean and standard deviation of the pixels in MNIST's 60,000 training images, as a share of 255.
_MEAN, _STD = 0.1307, 0.3081


class Digits(Network):
    """Convolutions, of which the first two halve the picture, and one linear layer; for images of 28 x 28 x 1 only.

    The cost of a convolution grows with the area of its output. After two strides, the other convolutions work on 7 x 7
    pixels or fewer, where more channels cost little.

    Args:
        classes: The number of logits.
        widths: The channels of each convolution; the first is 5 x 5, the others are 3 x 3.
        strides: The stride of each convolution.
        paddings: The padding of each convolution, in pixels on each side.
        mean: As for `Network`.
        std: As for `Network`.
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
        """Return the logits: uint8 [N, 28, 28, 1] → float32 [N, classes]."""
        features = self.layers(self.pixels(pixels))  # [N, widths[-1], side, side]
        logits: Tensor = self.head(features.flatten(1))
        return logits


class DigitsLarge(Digits):
    """`Digits` with more channels and larger feature maps."""

    arguments: ClassVar = {"widths": (48, 96, 128, 192), "strides": (2, 1, 2, 1), "paddings": (1, 0, 1, 0)}


class DigitsSmall(Digits):
    """`Digits` with fewer channels."""

    arguments: ClassVar = {"widths": (16, 24, 32, 48), "paddings": (0, 1, 0, 0)}
