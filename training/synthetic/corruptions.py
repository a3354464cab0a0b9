"""The corruptions of MNIST-C, as its authors describe them, with a wider range of severities.

N. Mu, J. Gilmer, "MNIST-C: A Robustness Benchmark for Computer Vision", 2019. Noise, blur, fog and spatter are from D.
Hendrycks, T. Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", 2019.
Each function takes digits of 28 x 28 pixels and returns a picture of 28 x 28 for each.
"""

import math

import numpy as np
from numpy.typing import NDArray

from training.synthetic.raster import (
    SIDE,
    Digits,
    Ink,
    Rng,
    blur,
    chosen,
    clouds,
    drawn,
    field,
    grey,
    moved,
    turned,
    uniform,
)

Pictures = NDArray[np.uint8]  # [n, 28, 28]

_ROW, _COLUMN = np.mgrid[:SIDE, :SIDE]


def identity(digits: Digits, rng: Rng) -> Pictures:
    """Return the digits unchanged."""
    return grey(digits.ink)


def shot_noise(digits: Digits, rng: Rng) -> Pictures:
    """Add shot noise: Poisson noise of few photons in each pixel, none on black."""
    photons = np.exp(uniform(rng, math.log(2.0), math.log(20.0), len(digits.ink)))
    return grey((rng.poisson(digits.ink * photons) / photons).astype(np.float32))


def impulse_noise(digits: Digits, rng: Rng) -> Pictures:
    """Add salt-and-pepper noise: some pixels become black or white."""
    share = uniform(rng, 0.03, 0.3, len(digits.ink))
    draws = rng.random(digits.ink.shape, np.float32)
    return grey(np.where(draws < share / 2, 0.0, np.where(draws < share, 1.0, digits.ink)).astype(np.float32))


def glass_blur(digits: Digits, rng: Rng) -> Pictures:
    """Blur as frosted glass does: blur, take each pixel from a near one, blur again."""
    count = len(digits.ink)
    sigma = uniform(rng, 0.4, 0.9, count)
    image = blur(digits.ink, sigma)
    pictures = np.arange(count)[:, None, None]
    for _ in range(2):
        reach = np.where(chosen(rng, 0.5, count), 1.0, 1.49)
        step = np.rint((rng.random((2, *image.shape), np.float32) * 2 - 1) * reach).astype(np.int64)
        image = image[pictures, (_ROW + step[0]).clip(0, SIDE - 1), (_COLUMN + step[1]).clip(0, SIDE - 1)]
    return grey(blur(image, sigma))


def motion_blur(digits: Digits, rng: Rng) -> Pictures:
    """Blur along a straight line, as motion during the exposure does."""
    count = len(digits.ink)
    length, angle = rng.uniform(3.0, 10.0, count), rng.uniform(0.0, math.pi, count)
    steps = np.linspace(-0.5, 0.5, 13)
    # [n, 13]: position of the digit at each moment, in whole pixels, inside a border of 6.
    left = np.rint(6 + np.outer(length * np.cos(angle), steps)).astype(int)
    top = np.rint(6 + np.outer(length * np.sin(angle), steps)).astype(int)
    padded = np.pad(digits.ink, ((0, 0), (6, 6), (6, 6)))
    image = np.stack(
        [
            sum(one[y : y + SIDE, x : x + SIDE] for y, x in zip(ys, xs, strict=True))
            for one, ys, xs in zip(padded, top.tolist(), left.tolist(), strict=True)
        ]
    )
    # The mean over the exposure makes thin strokes pale; some brightness is restored.
    return grey((image / len(steps) * uniform(rng, 1.0, 1.6, count)).astype(np.float32))


def shear(digits: Digits, rng: Rng) -> Pictures:
    """Slant the digits, far more than people write."""
    slant = uniform(rng, 0.2, 0.75, len(digits.ink)) * _sign(rng, len(digits.ink))
    matrices = np.zeros((len(digits.ink), 2, 3), np.float32)
    matrices[:, 0, 0] = matrices[:, 1, 1] = 1.0
    matrices[:, 0, 1] = slant[:, 0, 0]
    return grey(moved(digits.ink, matrices))


def scale(digits: Digits, rng: Rng) -> Pictures:
    """Shrink the digits inside their frame."""
    count = len(digits.ink)
    return grey(
        moved(blur(digits.ink, 0.5), turned(np.zeros((count, 1, 1), np.float32), uniform(rng, 0.4, 0.9, count)))
    )


def rotate(digits: Digits, rng: Rng) -> Pictures:
    """Rotate the digits further than people write, but not into another digit."""
    count = len(digits.ink)
    return grey(moved(digits.ink, turned(uniform(rng, 10.0, 35.0, count) * _sign(rng, count))))


def brightness(digits: Digits, rng: Rng) -> Pictures:
    """Brighten all pixels by the same amount, up to white."""
    return grey(digits.ink + uniform(rng, 0.2, 0.8, len(digits.ink)))


def translate(digits: Digits, rng: Rng) -> Pictures:
    """Shift the digits to an edge, or a little over it."""
    matrices = np.zeros((len(digits.ink), 2, 3), np.float32)
    matrices[:, 0, 0] = matrices[:, 1, 1] = 1.0
    matrices[:, :, 2] = rng.uniform(-6.0, 6.0, (len(digits.ink), 2))
    return grey(moved(digits.ink, matrices))


def stripe(digits: Digits, rng: Rng) -> Pictures:
    """Invert a stripe, most often a vertical one."""
    count = len(digits.ink)
    width = np.rint(uniform(rng, 3.0, 11.0, count))
    start = np.rint(uniform(rng, -2.0, SIDE - 2.0, count))
    across = np.where(chosen(rng, 0.8, count), _COLUMN, _ROW)  # [n, 28, 28]
    inside = (across >= start) & (across < start + width)
    return grey(np.where(inside, 1.0 - digits.ink, digits.ink).astype(np.float32))


def fog(digits: Digits, rng: Rng) -> Pictures:
    """Add fractal fog in front of the digits, and lower the contrast accordingly."""
    count = len(digits.ink)
    mist = clouds(rng, count, SIDE)
    mist -= mist.min(axis=(1, 2), keepdims=True)
    mist /= np.maximum(mist.max(axis=(1, 2), keepdims=True), 1e-6)
    density = uniform(rng, 0.4, 1.8, count)
    return grey((digits.ink + density * mist) / (1.0 + density) * uniform(rng, 1.0, 1.3, count))


def spatter(digits: Digits, rng: Rng) -> Pictures:
    """Add bright or dark drops, as on a lens."""
    count = len(digits.ink)
    drops = field(rng, count, SIDE, 9) + 0.4 * field(rng, count, SIDE, 14)
    cover = np.clip((drops - uniform(rng, 1.3, 2.1, count)) * 3.0, 0.0, 1.0) * uniform(rng, 0.5, 1.0, count)
    tone = np.where(chosen(rng, 0.7, count), uniform(rng, 0.5, 1.0, count), 0.0)
    return grey((digits.ink * (1.0 - cover) + tone * cover).astype(np.float32))


def dotted_line(digits: Digits, rng: Rng) -> Pictures:
    """Add a straight dotted line from edge to edge."""
    gap = uniform(rng, 2.0, 4.0, len(digits.ink))[:, 0, 0]
    lines = []
    for start, end, step in zip(*_ends(rng, len(digits.ink)), gap.tolist(), strict=True):
        count = max(2, int(math.dist(start, end) / step))
        points = start + np.linspace(0.0, 1.0, count)[:, None] * (end - start)  # [count, 2], x and y in pixels
        image = np.zeros((SIDE, SIDE), np.float32)
        at = np.rint(points).astype(int).clip(0, SIDE - 1)
        image[at[:, 1], at[:, 0]] = 1.0
        lines.append(image)
    return grey(np.maximum(digits.ink, _soft(np.stack(lines), rng)))


def zigzag(digits: Digits, rng: Rng) -> Pictures:
    """Add a zigzag line from edge to edge."""
    lines = []
    for start, end in zip(*_ends(rng, len(digits.ink)), strict=True):
        count = int(rng.integers(6, 14))
        points = start + np.linspace(0.0, 1.0, count)[:, None] * (end - start)
        normal = np.array([end[1] - start[1], start[0] - end[0]]) / max(math.dist(start, end), 1.0)
        swing = np.where(np.arange(count) % 2, 1.0, -1.0)[:, None] * rng.uniform(0.8, 2.6)
        lines.append(drawn([(points + swing * normal) / SIDE], 1.0, SIDE))
    return grey(np.maximum(digits.ink, _soft(np.stack(lines), rng)))


def canny_edges(digits: Digits, rng: Rng) -> Pictures:
    """Return the outlines, one pixel wide (J. Canny, "A Computational Approach to Edge Detection", 1986)."""
    count = len(digits.ink)
    image = np.pad(blur(digits.ink, uniform(rng, 0.6, 1.2, count)), ((0, 0), (1, 1), (1, 1)), mode="edge")
    smooth_x = image[:, :-2] + 2 * image[:, 1:-1] + image[:, 2:]  # [n, 28, 30]
    smooth_y = image[:, :, :-2] + 2 * image[:, :, 1:-1] + image[:, :, 2:]  # [n, 30, 28]
    x, y = smooth_x[:, :, 2:] - smooth_x[:, :, :-2], smooth_y[:, 2:] - smooth_y[:, :-2]
    size = np.hypot(x, y)
    # An edge is a maximum of the gradient's size along its direction, rounded to one of four.
    sector = np.rint(np.arctan2(y, x) / (math.pi / 4)).astype(int) % 4
    around = np.pad(size, ((0, 0), (1, 1), (1, 1)))
    edge = np.zeros(size.shape, bool)
    for number, (down, right) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        ahead = around[:, 1 + down : SIDE + 1 + down, 1 + right : SIDE + 1 + right]
        behind = around[:, 1 - down : SIDE + 1 - down, 1 - right : SIDE + 1 - right]
        edge |= (sector == number) & (size >= ahead) & (size > behind)
    weak, strong = edge & (size > 0.4), edge & (size > 0.9)
    for _ in range(4):  # weak edges stay if they are connected to strong ones
        strong = weak & (_spread(strong))
    return grey(strong.astype(np.float32))


def _spread(marks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    around = np.pad(marks, ((0, 0), (1, 1), (1, 1)))
    rows = around[:, :-2] | around[:, 1:-1] | around[:, 2:]
    return rows[:, :, :-2] | rows[:, :, 1:-1] | rows[:, :, 2:]


def _sign(rng: Rng, count: int) -> Ink:
    return np.where(chosen(rng, 0.5, count), 1.0, -1.0).astype(np.float32)


def _ends(rng: Rng, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return two points on opposite edges for each of `count` lines: float64 [count, 2] each, x and y in pixels."""
    start, end = np.zeros((2, count, 2))
    across = rng.random(count) < 0.7
    free = rng.uniform(2.0, SIDE - 3.0, (2, count))
    start[:, 0], start[:, 1] = np.where(across, 0.0, free[0]), np.where(across, free[0], 0.0)
    end[:, 0], end[:, 1] = np.where(across, SIDE - 1.0, free[1]), np.where(across, free[1], SIDE - 1.0)
    return start, end


def _soft(lines: Ink, rng: Rng) -> Ink:
    """Blur lines a little, and vary their brightness."""
    count = len(lines)
    wide = blur(lines, uniform(rng, 0.1, 0.6, count))
    wide /= np.maximum(wide.max(axis=(1, 2), keepdims=True), 1e-6)
    return wide * uniform(rng, 0.7, 1.0, count)
