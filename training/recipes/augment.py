"""Random augmentation of training images, a whole batch of tensors at once."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_KNOTS = 5  # points along each side of the grid that a warp moves; it is interpolated between them


@dataclass(frozen=True)
class Augmentation:
    """The limits within which training images are changed; each image gets random values from −limit to limit.

    Args:
        degrees: Largest rotation in degrees.
        scale: Largest change of each axis, as a share of its length.
        shear: Largest slant, as a share of the height.
        shift: Largest shift along each axis, in pixels.
        flip: Whether half of the images are mirrored, left to right.
        warp: Largest local displacement, in pixels.
        outside: Pixels from outside the image: "zeros", or "border" for the nearest pixel of the image.
        colour: Largest change of brightness and contrast, and for colours of saturation and each channel, as a share.
        erasing: Largest sides of a rectangle that is replaced by noise, as a share of the image's sides.
    """

    degrees: float = 12.0
    scale: float = 0.15
    shear: float = 0.2
    shift: float = 2.0
    flip: bool = False
    warp: float = 0.0
    outside: str = "zeros"
    colour: float = 0.0
    erasing: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the limits as plain JSON values; newer ones are left out if they change nothing."""
        values = asdict(self)
        return {key: value for key, value in values.items() if key in _ALWAYS or value != getattr(_NOTHING, key)}

    def scaled(self, share: float) -> "Augmentation":
        """Return an augmentation with every limit multiplied by `share`, 0…1."""
        values: dict[str, Any] = {key: value * share for key, value in asdict(self).items() if type(value) is float}
        return replace(self, **values)


_NOTHING = Augmentation()
# In every record since version 0.1; newer limits are left out if they change nothing.
_ALWAYS = ("degrees", "scale", "shear", "shift")


def augment(images: Tensor, how: Augmentation, generator: torch.Generator) -> Tensor:
    """Apply a random transformation to each image, and change its colours.

    Args:
        images: uint8 [N, H, W, C].
        how: Limits of the changes.
        generator: Random generator on the CPU, so that a seed gives the same on all devices.

    Returns:
        uint8 [N, H, W, C], a copy.
    """
    size = [len(images), images.shape[3], images.shape[1], images.shape[2]]
    affine = _transformations(images, how, generator)
    if how.flip:
        affine[torch.rand(len(images), generator=generator) < 0.5, :, 0] *= -1
    grid = functional.affine_grid(affine.to(images.device), size, align_corners=False)  # [N, H, W, 2]
    if how.warp:
        grid = grid + _warps(images, how.warp, generator).to(images.device)
    moved = functional.grid_sample(
        images.permute(0, 3, 1, 2).float(), grid, mode="bilinear", padding_mode=how.outside, align_corners=False
    )  # [N, C, H, W], 0…255
    if how.colour:
        moved = _coloured(moved, how.colour, generator)
    if how.erasing:
        moved = _erased(moved, how.erasing, generator)
    return moved.round_().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _transformations(images: Tensor, how: Augmentation, generator: torch.Generator) -> Tensor:
    """Return affine maps float32 [N, 2, 3] from output to input pixels, in units of half the image; on the CPU."""
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


def _warps(images: Tensor, pixels: float, generator: torch.Generator) -> Tensor:
    """Return the displacement of each pixel's source, float32 [N, H, W, 2], in units of half the image; on the CPU."""
    count, height, width = images.shape[:3]
    knots = torch.rand(count, 2, _KNOTS, _KNOTS, generator=generator) * 2 - 1
    knots *= pixels * 2 / torch.tensor([width, height]).reshape(2, 1, 1)
    return functional.interpolate(knots, (height, width), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)


def _coloured(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast, saturation and each channel's gain: float32 [N, C, H, W] in 0…255 → the same."""
    count, channels = images.shape[:2]
    draws = torch.rand(3 + channels, count, generator=generator).to(images.device) * 2 - 1
    light, contrast, saturation = (1 + share * draws[:3]).reshape(3, count, 1, 1, 1)
    if channels > 1:
        images = torch.lerp(images.mean(dim=1, keepdim=True), images, saturation)
        images = images * (1 + share / 2 * draws[3:].T.reshape(count, channels, 1, 1))
    centre = images.mean(dim=(1, 2, 3), keepdim=True)
    return torch.lerp(centre, images, contrast).mul_(light).clamp_(0, 255)


def _erased(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Replace a rectangle of each image by noise: float32 [N, C, H, W] in 0…255 → the same.

    Z. Zhong et al., "Random Erasing Data Augmentation", 2020.
    """
    inside = boxes(images, torch.rand(2, len(images), generator=generator) * share, generator)  # [N, 1, H, W]
    noise = torch.rand(images.shape, generator=generator).to(images.device) * 255
    return torch.where(inside, noise, images)


def boxes(images: Tensor, sides: Tensor, generator: torch.Generator) -> Tensor:
    """Return the mask of a rectangle with a random centre for each image.

    Args:
        images: Images [N, C, H, W].
        sides: float32 [2, N] on the CPU: height and width, as shares of the image's.
        generator: Random generator on the CPU.

    Returns:
        bool [N, 1, H, W], on the images' device.
    """
    count, _channels, height, width = images.shape
    centres = torch.rand(2, count, generator=generator)
    rows = _near(height, centres[0], sides[0])  # [N, H]
    columns = _near(width, centres[1], sides[1])  # [N, W]
    return (rows[:, None, :, None] & columns[:, None, None, :]).to(images.device)


def _near(size: int, centre: Tensor, length: Tensor) -> Tensor:
    """Return whether each of `size` pixels lies within half a length of a centre (shares of `size`): bool [N, size]."""
    places = (torch.arange(size) + 0.5) / size  # [size]
    return (places - centre[:, None]).abs() < length[:, None] / 2
