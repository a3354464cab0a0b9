"""Residual networks for pictures of any size, small enough for a CPU, in three sizes.

K. He et al., "Deep Residual Learning for Image Recognition", 2016. Every number of channels is a multiple of 16:
oneDNN, which computes torch's convolutions on a CPU, works on 16 of them at once.
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional

from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models.networks.network import Network

_WIDTHS = (32, 64, 128, 256)  # channels at 1, 1/2, 1/4 and 1/8 of the side after the first convolution
_AT_ONCE = 16  # channels, as said above
_LAST = 4  # pixels: about the side of the last map, whatever the picture's


class Residual(Network):
    """A convolution, stages of residual blocks, the mean over the last map, one linear layer.

    Args:
        classes: How many logits.
        widths: Channels of the first convolution, then of each stage.
        strides: Of the first convolution, then of each stage.
        blocks: In each stage; the first block strides.
        mean: As of `Network`.
        std: As of `Network`.
    """

    part: ClassVar[float] = 1.0  # of `_WIDTHS`, in a new network
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
        """uint8 [N, H, W, C] → float32 logits [N, classes]."""
        first = functional.relu(self.stem(self.pixels(pixels)), inplace=True)  # [N, widths[0], h, w]
        features = self.stages(first)  # [N, widths[-1], about 4, about 4]
        logits: Tensor = self.head(features.mean(dim=(2, 3)))
        return logits

    @classmethod
    def fitting(cls, seen: Preprocessing) -> dict[str, Any]:
        """Return the arguments of a network that halves the side until about 4 pixels are left.

        Up to three stages halve it. For larger pictures the first convolution strides too; beyond that, narrow stages
        come first.
        """
        halvings = max(1, round(math.log2(min(seen.height, seen.width) / _LAST)))
        stages = min(halvings, 3) + max(0, halvings - 4)
        widths = [max(_AT_ONCE, _WIDTHS[3] >> (3 - at)) for at in range(3 - stages, 4)]
        return {
            "widths": [math.ceil(width * cls.part / _AT_ONCE) * _AT_ONCE for width in widths],
            "strides": [2 if halvings > 3 else 1, *[2] * stages],
            "blocks": cls.depth,
            "mean": [0.5] * seen.channels,
            "std": [0.25] * seen.channels,
        }


class ResidualLarge(Residual):
    """Wider, and twice as deep."""

    part, depth = 1.5, 2


class ResidualSmall(Residual):
    """Half as wide."""

    part = 0.5


class _Block(nn.Module):
    """Two convolutions, and a shortcut past them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(inputs, outputs, 3, stride)
        self.second = _convolution(outputs, outputs, 3, 1)
        # The mean of each square, where the picture shrinks: a stride alone would leave three pixels of four out.
        self.pool = nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity()
        fits = stride == 1 and inputs == outputs
        self.past = nn.Identity() if fits else _convolution(inputs, outputs, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, h, w] → [N, outputs, h / stride, w / stride], rounded up."""
        inner = self.second(functional.relu(self.first(x), inplace=True))
        return functional.relu(inner + self.past(self.pool(x)), inplace=True)


def _convolution(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))
