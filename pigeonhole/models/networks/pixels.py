"""The first layer of each network: bytes → normalised floats."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Pixels(nn.Module):
    """Normalises pixels, (x / 255 − mean) / std: uint8 [N, H, W, C] in 0…255 → float32 [N, C, H, W], channels last.

    Args:
        mean: The mean of each channel, as a share of 255; a number for one channel.
        std: The standard deviation of each channel, as a share of 255; a number for one channel.
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
        """Return the normalised pixels."""
        # `permute` only returns a view: [N, H, W, C] in memory is torch's "channels last" format.
        return pixels.permute(0, 3, 1, 2).to(self.scale.dtype) * self.scale + self.shift
