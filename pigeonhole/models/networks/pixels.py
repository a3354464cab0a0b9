"""From bytes to what a network computes with."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Pixels(nn.Module):
    """uint8 [N, H, W, C] in 0…255 → float32 [N, C, H, W], (x / 255 − mean) / std, in channels-last memory.

    Args:
        mean: Of each channel, in units of 255; a number stands for one channel.
        std: Of each channel, likewise.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        super().__init__()
        centre = torch.tensor(mean, dtype=torch.float64).reshape(-1)  # [C]
        spread = torch.tensor(std, dtype=torch.float64).reshape(-1)  # [C]
        if len(centre) != len(spread) or not len(centre) or float(spread.min()) <= 0:
            raise ValueError(f"mean {mean!r} and std {std!r} must be of one length, std above 0")
        self.register_buffer("scale", (1 / (255 * spread)).float().reshape(-1, 1, 1))  # [C, 1, 1]
        self.register_buffer("shift", (-centre / spread).float().reshape(-1, 1, 1))  # [C, 1, 1]

    def forward(self, pixels: Tensor) -> Tensor:
        """Scale and normalise."""
        # A view: N, H, W, C in memory is what "channels last" means.
        return pixels.permute(0, 3, 1, 2).to(self.scale.dtype) * self.scale + self.shift
