"""Operations on stacks of small grey images, which all kinds share: move, blur, thin, draw."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Ink: TypeAlias = NDArray[np.float32]  # [n, h, w], 0…1: amount of ink in each pixel
Raw: TypeAlias = Sequence[NDArray[np.uint8]]  # n pictures [h, w], as a file has them before preprocessing
Rng: TypeAlias = np.random.Generator

SIDE = 28


@dataclass(frozen=True)
class Digits:
    """The digits that pictures of a kind are made from.

    Args:
        ink: float32 [n, h, h], bright on a background of 0.
        labels: int64 [n], 0 to 9.
    """

    ink: Ink
    labels: NDArray[np.int64]


Draw: TypeAlias = Callable[[Digits, Rng], Raw | NDArray[np.uint8]]


def uniform(rng: Rng, low: float, high: float, count: int) -> Ink:
    """Draw a uniform random number for each picture of a stack: float32 [count, 1, 1]."""
    return (low + (high - low) * rng.random((count, 1, 1), np.float32)).astype(np.float32)


def chosen(rng: Rng, share: float, count: int) -> NDArray[np.bool_]:
    """Choose random pictures of a stack, `share` of them on average: bool [count, 1, 1]."""
    return rng.random((count, 1, 1), np.float32) < share


def grey(values: Ink) -> NDArray[np.uint8]:
    """Return grey levels: values clipped to 0…1 → uint8 of the same shape."""
    levels: NDArray[np.uint8] = np.rint(np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8)
    return levels


def blur(images: Ink, sigma: Ink | float) -> Ink:
    """Blur images by a Gaussian; `sigma` in pixels, one for all or [n, 1, 1]. Pixels outside do not count."""
    width = np.maximum(np.asarray(sigma, np.float32), 1e-3)
    down, across = (_kernel(side, width) for side in images.shape[1:])
    soft: Ink = np.matmul(np.matmul(down, images), across.swapaxes(-1, -2))
    return soft


def _kernel(side: int, sigma: Ink) -> Ink:
    axis = np.arange(side, dtype=np.float32)
    weights = np.exp(-0.5 * ((axis[:, None] - axis[None, :]) / sigma) ** 2)  # [side, side] or [n, side, side]
    kernel: Ink = (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)
    return kernel


def field(rng: Rng, count: int, side: int, cells: int) -> Ink:
    """Return smooth random fields, `cells` bumps across, of mean 0 and variance near 1: [count, side, side]."""
    basis = _bumps(side, cells)
    draws = rng.standard_normal((count, cells + 2, cells + 2), np.float32)
    smooth: Ink = np.matmul(np.matmul(basis, draws), basis.T)
    return smooth


@cache
def _bumps(side: int, cells: int) -> Ink:
    """Return the height of each bump at each pixel: float32 [side, cells + 2]."""
    axis = (np.arange(side, dtype=np.float32) + 0.5) / side * cells
    weights = np.exp(-0.5 * ((axis[:, None] - (np.arange(cells + 2) - 0.5)) / 0.55) ** 2)
    basis: Ink = (weights / np.sqrt((weights**2).sum(axis=1, keepdims=True))).astype(np.float32)
    return basis


def clouds(rng: Rng, count: int, side: int, fall: float = 0.6) -> Ink:
    """Return fractal clouds of mean 0 and variance 1: [count, side, side].

    They are a sum of random fields, each twice as fine as the one before and weaker by the factor `fall`.
    """
    total = np.zeros((count, side, side), np.float32)
    cells, weight, power = 2, 1.0, 0.0
    while cells <= side // 2:
        total += np.float32(weight) * field(rng, count, side, cells)
        power += weight**2
        cells, weight = cells * 2, weight * fall
    total /= np.float32(np.sqrt(power))
    return total


def moved(images: Ink, matrices: NDArray[np.float32]) -> Ink:
    """Apply an affine map to each image, about its centre, bilinear; pixels from outside are 0.

    Args:
        images: Images [n, h, w].
        matrices: Maps float32 [n, 2, 3] from x and y of an output pixel to those of the input, from the centre.
    """
    height, width = images.shape[1:]
    middle = np.array([(width - 1) / 2, (height - 1) / 2], np.float32)
    # Pillow's coordinates start at the corner of the first pixel, not at its centre.
    corner = middle + 0.5
    shift = matrices[:, :, 2] + corner - matrices[:, :, :2] @ corner  # [n, 2]
    table = np.concatenate([matrices[:, :, :2], shift[:, :, None]], axis=2).reshape(-1, 6).tolist()
    return np.stack(
        [
            np.asarray(
                Image.fromarray(image).transform(
                    (width, height), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR
                )
            )
            for image, data in zip(images, table, strict=True)
        ]
    )


def turned(degrees: Ink, scale: Ink | float = 1.0) -> NDArray[np.float32]:
    """Return the maps that rotate by `degrees` [n, 1, 1] and enlarge by `scale`: float32 [n, 2, 3]."""
    angle = np.radians(degrees[:, 0, 0])
    size = np.broadcast_to(np.asarray(scale, np.float32), degrees.shape)[:, 0, 0]
    cosine, sine, none = np.cos(angle) / size, np.sin(angle) / size, np.zeros_like(angle)
    rows = [np.stack([cosine, sine, none], axis=1), np.stack([-sine, cosine, none], axis=1)]
    return np.stack(rows, axis=1).astype(np.float32)


def resized(images: Ink, side: int) -> Ink:
    """Resize images, averaging if they shrink, bilinear if they grow: [n, h, w] → [n, side, side]."""
    return np.stack(
        [np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)) for image in images]
    )


def enlarged(images: Ink, side: int) -> Ink:
    """Enlarge images, bicubic, so that soft edges keep their place: [n, h, w] → [n, side, side] in 0…1."""
    large = [np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)) for image in images]
    cut: Ink = np.clip(np.stack(large), 0.0, 1.0)
    return cut


def edged(images: Ink, level: Ink | float, softness: Ink | float) -> Ink:
    """Return strokes whose edges are where `images` pass `level`; softness 0 is a hard edge: [n, h, w] → the same."""
    strokes: Ink = np.clip((images - level) / np.maximum(softness, 1e-3) + 0.5, 0.0, 1.0).astype(np.float32)
    return strokes


def thinned(strokes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Thin strokes to one pixel (T. Zhang, C. Suen, "A Fast Parallel Algorithm for Thinning", 1984): [n, h, w]."""
    thin = np.pad(strokes, ((0, 0), (1, 1), (1, 1))).astype(np.uint8)
    active = np.arange(len(thin))  # images that still lose pixels: most finish long before the last
    while active.size:
        part = thin[active]
        inside = part[:, 1:-1, 1:-1]
        before = inside.sum(axis=(1, 2), dtype=np.int64)
        for table in _thinning_tables():
            inside &= table[_neighbours(part)]
        thin[active] = part
        active = active[inside.sum(axis=(1, 2), dtype=np.int64) < before]
    return thin[:, 1:-1, 1:-1].astype(np.bool_)


def _neighbours(padded: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the eight neighbours of each pixel as bits, clockwise from the top: [n, h + 2, w + 2] → [n, h, w]."""
    height, width = padded.shape[1] - 2, padded.shape[2] - 2
    steps = ((0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0), (0, 0))
    code = np.zeros((len(padded), height, width), np.uint8)
    for bit, (y, x) in enumerate(steps):
        code |= padded[:, y : y + height, x : x + width] << bit
    return code


@cache
def _thinning_tables() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return a table uint8 [256] for each of the two half steps: 1 if a pixel with these neighbours stays."""
    codes = np.arange(256)
    p = [(codes >> bit & 1).astype(bool) for bit in range(8)]  # top, top right, right, … top left
    count = sum(one.astype(int) for one in p)
    rises = sum((~p[at] & p[(at + 1) % 8]).astype(int) for at in range(8))
    common = (count >= 2) & (count <= 6) & (rises == 1)
    first = common & ~(p[0] & p[2] & p[4]) & ~(p[2] & p[4] & p[6])
    second = common & ~(p[0] & p[2] & p[6]) & ~(p[0] & p[4] & p[6])
    return (~first).astype(np.uint8), (~second).astype(np.uint8)


def drawn(strokes: Sequence[NDArray[np.float64]], width: float, side: int) -> Ink:
    """Draw lines through points, with round joints and ends.

    Args:
        strokes: Points of each line, float [k, 2], x and y in 0…1 of the side.
        width: Width of the pen in pixels.
        side: Side of the picture in pixels.

    Returns:
        float32 [side, side], 0 or 1.
    """
    image = Image.new("L", (side, side))
    canvas = ImageDraw.Draw(image)
    for stroke in strokes:
        points = [(float(x) * side, float(y) * side) for x, y in stroke]
        canvas.line(points, fill=1, width=max(1, round(width)), joint="curve")
        if width >= 2:
            for x, y in (points[0], points[-1]):
                canvas.ellipse([x - width / 2, y - width / 2, x + width / 2, y + width / 2], fill=1)
    return np.asarray(image).astype(np.float32)
