"""Synthetic out-of-distribution images for any classes, made from the training images.

A network learns the class "unknown" from them. Most keep the colours, the grain or the strokes of a training image, so
that a network must use its whole content: shuffled squares of an image, a corner much enlarged, its grain without
its shapes, shapes in its colours. Others are noise, or nearly empty.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from pigeonhole.errors import DatasetError
from training.datasets.splits import Split

_ROUND = 64  # images at once, to limit memory; each round has its own grain and number of squares


def make(training: Split, classes: int, count: int, seed: int) -> Split:
    """Make out-of-distribution images; the same arguments give the same images, bit for bit.

    Args:
        training: Training images, uint8 [N, H, W, C], N at least 1.
        classes: Number of classes, which is the label of every image here.
        count: Number of images.
        seed: Seed of all random draws.

    Returns:
        uint8 [count, H, W, C] and int64 [count], the kinds in turn.

    Raises:
        DatasetError: There are no training images.
    """
    if not len(training):
        raise DatasetError("There are no training images to make out-of-distribution images from.")
    generator = torch.Generator().manual_seed(seed)
    # The kinds alternate; training shuffles the images.
    kinds = torch.arange(count) % len(_KINDS)
    pictures = torch.empty((count, *training.images.shape[1:]), dtype=torch.uint8)
    for at, kind in enumerate(_KINDS):
        alike = (kinds == at).nonzero().flatten()
        for start in range(0, len(alike), _ROUND):
            members = alike[start : start + _ROUND]
            chosen = torch.randint(len(training), (len(members),), generator=generator)
            sources = training.take(chosen).images.permute(0, 3, 1, 2).float()  # [n, C, H, W] in 0…255
            made = kind(sources, generator)
            pictures[members] = made.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    return Split(pictures, torch.full((count,), classes, dtype=torch.int64))


def _shuffled(images: Tensor, generator: torch.Generator) -> Tensor:
    """Cut images into rectangles, 2 to 4 along a side, and put these together in another order."""
    count, channels, height, width = images.shape
    parts = int(torch.randint(2, 5, (1,), generator=generator))
    high, wide = -(-height // parts), -(-width // parts)
    whole = functional.pad(images, (0, wide * parts - width, 0, high * parts - height), mode="replicate")
    cut = whole.reshape(count, channels, parts, high, parts, wide).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    # A random cycle through all parts: each takes the place of the next, so none stays.
    trip = torch.rand(count, parts * parts, generator=generator).argsort(1)  # [n, parts²]
    order = torch.empty_like(trip).scatter_(1, trip, trip.roll(1, 1))
    mixed = cut[torch.arange(count)[:, None], order].reshape(count, parts, parts, channels, high, wide)
    return mixed.permute(0, 3, 1, 4, 2, 5).reshape(count, channels, high * parts, wide * parts)[..., :height, :width]


def _close(images: Tensor, generator: torch.Generator) -> Tensor:
    """Enlarge a part of each image 4 to 8 times."""
    count = len(images)
    share = 1 / (4 + 4 * torch.rand(count, generator=generator))
    centre = (torch.rand(2, count, generator=generator) * 2 - 1) * (1 - share)
    zero = torch.zeros(count)
    affine = torch.stack([torch.stack([share, zero, centre[0]]), torch.stack([zero, share, centre[1]])]).permute(
        2, 0, 1
    )
    grid = functional.affine_grid(affine, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _empty(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return a gradient between two colours of each image, or one colour alone, with a little noise."""
    count, _channels, height, width = images.shape
    one, two = _colours(images, generator)
    draws = torch.rand(3, count, 1, 1, 1, generator=generator)
    angle = draws[0] * 2 * torch.pi
    x, y = torch.linspace(-1, 1, width), torch.linspace(-1, 1, height)[:, None]
    along = 0.5 + 0.35 * (x * angle.cos() + y * angle.sin())  # [n, 1, H, W], about 0…1
    return torch.lerp(one, two, along * (draws[1] < 0.5)) + 6 * draws[2] * torch.randn(
        images.shape, generator=generator
    )


def _colours(images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return two random pixels of each image: [n, C, 1, 1] each."""
    count, _channels, height, width = images.shape
    places = torch.randint(height * width, (2, count), generator=generator)
    one, two = (images.flatten(2)[torch.arange(count), :, at][..., None, None] for at in places)
    return one, two


def _textured(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return noise with each image's spectrum: its grain and contrast, without its shapes."""
    spectrum = torch.fft.rfft2(images)
    noise = torch.fft.rfft2(torch.randn(len(images), 1, *images.shape[2:], generator=generator))
    phase = noise / noise.abs().clamp(min=1e-6)
    phase[..., 0, 0] = 1  # the mean stays
    made: Tensor = torch.fft.irfft2(spectrum.abs() * phase, images.shape[2:])
    return made


def _shapes(images: Tensor, generator: torch.Generator) -> Tensor:
    """Draw rectangles, discs and stripes in two colours of each image."""
    count, _channels, height, width = images.shape
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    draws = torch.rand(6, count, 1, 1, generator=generator)
    x, y = x - (draws[0] - 0.5), y - (draws[1] - 0.5)
    angle = draws[2] * torch.pi
    along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()  # [n, H, W]
    size, ratio = 0.2 + 0.6 * draws[3], 0.2 + 0.8 * draws[4]
    forms = torch.stack(
        [
            (along.abs() < size) & (across.abs() < size * ratio),
            along**2 + (across / ratio) ** 2 < size**2,
            (along * (3 + 12 * draws[5])).sin() > ratio - 0.5,
            ((along.abs() < size) & (across.abs() < size * ratio)) ^ ((along.abs() + across.abs()) < size * ratio),
        ]
    )  # [4, n, H, W]
    which = torch.randint(len(forms), (count,), generator=generator)
    inside = forms[which, torch.arange(count)][:, None]  # [n, 1, H, W]
    one, two = _colours(images, generator)
    # Two colours of an image are often the same, but a shape must be visible.
    return torch.where(inside, one, torch.where((one - two).abs().mean(1, keepdim=True) < 32, 255 - one, two))


def _noise(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return noise, fine or coarse, of random strength and mean."""
    count, channels, height, width = images.shape
    draws = torch.rand(3, count, 1, 1, 1, generator=generator)
    grain = int(torch.randint(1, 9, (1,), generator=generator))
    size = (-(-height // grain), -(-width // grain))
    coloured = torch.randn(count, channels, *size, generator=generator)
    grey = coloured[:, :1].expand(-1, channels, -1, -1)
    coarse = functional.interpolate(
        torch.where(draws[2] < 0.5, grey, coloured), (height, width), mode="bilinear", align_corners=False
    )
    return draws[0] * 255 + coarse * draws[1] * 128


_KINDS: tuple[Callable[[Tensor, torch.Generator], Tensor], ...] = (
    _shuffled,
    _close,
    _textured,
    _shapes,
    _noise,
    _empty,
)
