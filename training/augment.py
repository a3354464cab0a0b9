"""Variety for training, on whole batches of tensors at once."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Augmentation:
    """How far a training image may be moved; each image draws its own, uniformly from −x to x.

    Args:
        degrees: Of rotation.
        scale: Of each axis on its own, as a share of 1.
        shear: Slant, as a share of the height.
        shift: Of each axis, in pixels.
    """

    degrees: float = 12.0
    scale: float = 0.15
    shear: float = 0.2
    shift: float = 2.0

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return asdict(self)


def augment(images: Tensor, how: Augmentation, generator: torch.Generator) -> Tensor:
    """Move each image by an affine transformation of its own; what comes in from outside is 0.

    Args:
        images: uint8 [N, H, W, C].
        how: The limits.
        generator: Draws; on the CPU, whatever the device, so that a seed means the same on all.

    Returns:
        uint8 [N, H, W, C], in new memory.
    """
    grid = functional.affine_grid(
        _transformations(images, how, generator).to(images.device),
        [len(images), images.shape[3], images.shape[1], images.shape[2]],
        align_corners=False,
    )  # [N, H, W, 2]
    moved = functional.grid_sample(
        images.permute(0, 3, 1, 2).float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )  # [N, C, H, W], 0…255
    return moved.round_().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _transformations(images: Tensor, how: Augmentation, generator: torch.Generator) -> Tensor:
    """float32 [N, 2, 3] on the CPU: where each output pixel comes from, in units of half the picture."""
    count, height, width = images.shape[:3]
    draws = torch.rand(6, count, generator=generator) * 2 - 1  # [6, N] in −1…1
    angle = draws[0] * math.radians(how.degrees)
    wide, high = 1 + draws[1] * how.scale, 1 + draws[2] * how.scale
    slant = draws[3] * how.shear
    cosine, sine = angle.cos(), angle.sin()
    # Rotation · slant · scale.
    rows = [
        torch.stack([cosine / wide, (cosine * slant - sine) / high, draws[4] * how.shift * 2 / width]),
        torch.stack([sine / wide, (sine * slant + cosine) / high, draws[5] * how.shift * 2 / height]),
    ]
    return torch.stack(rows).permute(2, 0, 1)  # [2, 3, N] → [N, 2, 3]
