"""Residual networks for pictures of any size, small enough for a CPU, in three sizes.

K. He et al., "Deep Residual Learning for Image Recognition", 2016. Every number of channels is a multiple of 16,
because oneDNN, which computes torch's convolutions on a CPU, works on 16 channels at once.
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional

from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models.networks.network import Network

_WIDTHS = (32, 64, 128, 256)  # channels at 1, 1/2, 1/4 and 1/8 of the side after the first convolution
_AT_ONCE = 16  # channels that oneDNN works on at once
_LAST = 4  # pixels: the approximate side of the last feature map, for every size of images


class Residual(Network):
    """A convolution, stages of residual blocks, global average pooling, one linear layer.

    Args:
        classes: The number of logits.
        widths: The channels of the first convolution, then of each stage.
        strides: The stride of the first convolution, then of each stage.
        blocks: The number of blocks in each stage; the first block has the stride.
        mean: As for `Network`.
        std: As for `Network`.
    """

    part: ClassVar[float] = 1.0  # channels of a new network, as a multiple of `_WIDTHS`
    depth: ClassVar[int] = 1  # blocks in a stage of a new network

    def __init__(
        self,
        classes: int,
        widths: Sequence[int] = _WIDTHS,
        strides: Sequence[int] = (1, 2, 2, 2),
        blocks: int = 1,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.25, 0.25, 0.25),
    ) -> None:
        super().__init__(mean, std)
        self.stem = _convolution(len(mean), widths[0], 3, strides[0])
        stages: list[nn.Module] = []
        inputs = widths[0]
        for width, stride in zip(widths[1:], strides[1:], strict=True):
            for number in range(blocks):
                stages.append(_Block(inputs, width, 1 if number else stride))
                inputs = width
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(inputs, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits: uint8 [N, H, W, C] → float32 [N, classes]."""
        first = functional.relu(self.stem(self.pixels(pixels)), inplace=True)  # [N, widths[0], h, w]
        features = self.stages(first)  # [N, widths[-1], about 4, about 4]
        logits: Tensor = self.head(features.mean(dim=(2, 3)))
        return logits

    @classmethod
    def fitting(cls, preprocessing: Preprocessing) -> dict[str, Any]:
        """Return the arguments of a network that halves the side of images until about 4 pixels are left.

        Up to three stages halve the side. For larger images the first convolution has a stride, too. For still larger
        images, more stages with few channels come first.
        """
        halvings = max(1, round(math.log2(min(preprocessing.height, preprocessing.width) / _LAST)))
        stages = min(halvings, 3) + max(0, halvings - 4)
        widths = [max(_AT_ONCE, _WIDTHS[3] >> (3 - at)) for at in range(3 - stages, 4)]
        return {
            "widths": [math.ceil(width * cls.part / _AT_ONCE) * _AT_ONCE for width in widths],
            "strides": [2 if halvings > 3 else 1, *[2] * stages],
            "blocks": cls.depth,
            "mean": [0.5] * preprocessing.channels,
            "std": [0.25] * preprocessing.channels,
        }


class ResidualLarge(Residual):
    """`Residual` with 1.5 times the channels and twice the blocks."""

    part, depth = 1.5, 2


class ResidualSmall(Residual):
    """`Residual` with half the channels."""

    part = 0.5


class _Block(nn.Module):
    """Two convolutions, and a shortcut connection."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(inputs, outputs, 3, stride)
        self.second = _convolution(outputs, outputs, 3, 1)
        # Average pooling before a stride: the stride alone would ignore three of four pixels.
        self.pool = nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity()
        fits = stride == 1 and inputs == outputs
        self.past = nn.Identity() if fits else _convolution(inputs, outputs, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features: [N, inputs, h, w] → [N, outputs, h / stride, w / stride], rounded up."""
        inner = self.second(functional.relu(self.first(x), inplace=True))
        return functional.relu(inner + self.past(self.pool(x)), inplace=True)


def _convolution(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))
