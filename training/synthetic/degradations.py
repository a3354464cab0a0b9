"""Degraded pictures of digits: other pens, bitmaps, low resolution, blur, noise, hidden parts.

Each function takes digits of 28 x 28 pixels and returns a picture for each.
"""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.synthetic.raster import (
    SIDE,
    Digits,
    Ink,
    Raw,
    Rng,
    blur,
    chosen,
    clouds,
    edged,
    enlarged,
    grey,
    resized,
    thinned,
    uniform,
)

_LARGE = 2 * SIDE
_ROW, _COLUMN = np.mgrid[:SIDE, :SIDE]


def pen(ink: Ink, rng: Rng, soft: bool = True) -> Ink:
    """Draw the same strokes with another pen: [n, 28, 28] → [n, 56, 56], 0…1."""
    count = len(ink)
    even = rng.random(count) < 0.5
    strokes = np.empty((count, _LARGE, _LARGE), np.float32)
    if even.any():
        strokes[even] = uniform_pen(ink[even], rng)
    if not even.all():
        part = ink[~even]
        level = uniform(rng, 0.2, 0.7, len(part))
        softness = uniform(rng, 0.1, 0.8, len(part)) if soft else 0.0
        strokes[~even] = edged(enlarged(part, _LARGE), level, softness)
    return strokes


def uniform_pen(ink: Ink, rng: Rng, thinnest: float = 1.6, widest: float = 5.5) -> Ink:
    """Draw the centre lines of strokes with one width, as on a canvas: [n, 28, 28] → [n, 56, 56]."""
    count = len(ink)
    middle = thinned(enlarged(ink, _LARGE) > 0.45).astype(np.float32)
    width = uniform(rng, thinnest, widest, count)
    # At distance d from a line of one pixel, a blur of sigma has exp(−d²/2 sigma²) of its height.
    sigma = width * 0.5
    height = 1.0 / (sigma * np.float32(np.sqrt(2 * np.pi)))
    return edged(blur(middle, sigma) / height, float(np.exp(-0.5)), 0.35)


def stroke_width(digits: Digits, rng: Rng) -> Raw:
    """Draw thinner or thicker strokes with soft edges."""
    return list(grey(resized(pen(digits.ink, rng), SIDE)))


def binarised(digits: Digits, rng: Rng) -> Raw:
    """Return the digits in black and white, without grey."""
    count = len(digits.ink)
    large = rng.random(count) < 0.5
    level = uniform(rng, 0.25, 0.75, count)
    fine = enlarged(digits.ink, _LARGE) > level
    coarse = digits.ink > level
    return [grey((fine if big else coarse)[at].astype(np.float32)) for at, big in enumerate(large)]


def bitmap(digits: Digits, rng: Rng) -> Raw:
    """Return bitmaps of 14 x 14 to 32 x 32 pixels, as in old data sets; the digit fills the frame, or nearly."""
    middle = thinned(enlarged(digits.ink, _LARGE) > 0.45).astype(np.float32)
    pictures = []
    for strokes, line in zip(enlarged(digits.ink, _LARGE), middle, strict=True):
        thin = rng.random() < 0.6
        side = int(rng.integers(20 if thin else 14, 33))
        crop, width, height = _filling(line if thin else strokes, side, stretched=rng.random() < 0.5)
        cells = np.asarray(Image.fromarray(crop).resize((width, height), Image.Resampling.BOX))
        # A centre line between two cells goes to the one with more of it; a few gaps remain, as in those data sets.
        level = rng.uniform(0.15, 0.3) * cells.max() if thin else rng.uniform(0.3, 0.6)
        pictures.append(_framed(grey((cells > level).astype(np.float32)), side if rng.random() < 0.5 else 0))
    return pictures


def low_resolution(digits: Digits, rng: Rng) -> Raw:
    """Return grey pictures of 8 x 8 to 18 x 18 pixels, filled by the digit, as in reduced scans of envelopes."""
    pictures = []
    large = pen(digits.ink, rng)
    for own, other, same in zip(enlarged(digits.ink, _LARGE), large, rng.random(len(large)) < 0.6, strict=True):
        side = int(rng.integers(8, 19))
        crop, width, height = _filling(own if same else other, side, stretched=rng.random() < 0.3)
        small = np.asarray(Image.fromarray(crop).resize((width, height), Image.Resampling.BOX))
        bright = rng.uniform(1.0, 1.3) / max(float(small.max()), 1e-6)
        pictures.append(_framed(grey(small * np.float32(bright)), side if rng.random() < 0.7 else 0))
    return pictures


def pixelated(digits: Digits, rng: Rng) -> Raw:
    """Pixelate the digits: squares of one grey level."""
    pictures = []
    for image in digits.ink:
        small = Image.fromarray(image).resize((int(rng.integers(10, 17)),) * 2, Image.Resampling.BOX)
        pictures.append(grey(np.asarray(small.resize((SIDE, SIDE), Image.Resampling.NEAREST))))
    return pictures


def jpeg(digits: Digits, rng: Rng) -> Raw:
    """Return the digits after JPEG compression of low quality, with its artefacts."""
    side = int(rng.integers(24, 65))
    return [through_jpeg(one, int(rng.integers(5, 40))) for one in grey(enlarged(digits.ink, side))]


def through_jpeg(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Return a picture after JPEG compression: uint8 [h, w] → the same."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def gaussian_blur(digits: Digits, rng: Rng) -> Raw:
    """Blur the digits, as a camera out of focus does."""
    return list(grey(blur(digits.ink, uniform(rng, 0.8, 1.7, len(digits.ink))) * 1.2))


def gaussian_noise(digits: Digits, rng: Rng) -> Raw:
    """Add Gaussian noise of a sensor, on digit and paper."""
    noise = rng.standard_normal(digits.ink.shape, np.float32) * uniform(rng, 0.05, 0.35, len(digits.ink))
    return list(grey(digits.ink * 0.8 + 0.1 + noise))


def contrast(digits: Digits, rng: Rng) -> Raw:
    """Lower the contrast: a grey digit on brighter or darker grey."""
    count = len(digits.ink)
    span = uniform(rng, 0.12, 0.5, count)
    low = uniform(rng, 0.0, 1.0, count) * (1.0 - span)
    shown = np.where(chosen(rng, 0.5, count), digits.ink, 1.0 - digits.ink)
    return list(grey((low + span * shown + rng.standard_normal(shown.shape, np.float32) * 0.01).astype(np.float32)))


def hidden_patch(digits: Digits, rng: Rng) -> Raw:
    """Hide a part of each digit behind a small black or grey patch.

    T. DeVries, G. Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout", 2017.
    """
    count = len(digits.ink)
    height, width = np.rint(uniform(rng, 2.0, 5.0, count)), np.rint(uniform(rng, 2.0, 5.0, count))
    top, left = np.rint(uniform(rng, 5.0, 20.0, count)), np.rint(uniform(rng, 5.0, 20.0, count))
    inside = (top <= _ROW) & (top + height > _ROW) & (left <= _COLUMN) & (left + width > _COLUMN)
    tone = np.where(chosen(rng, 0.7, count), 0.0, uniform(rng, 0.2, 0.9, count))
    return list(grey(np.where(inside, tone, digits.ink).astype(np.float32)))


def erased_line(digits: Digits, rng: Rng) -> Raw:
    """Erase one or two lines across each digit, as a fold or a scratch does."""
    count = len(digits.ink)
    image = digits.ink
    for share in (1.0, 0.4):
        angle = uniform(rng, 0.0, np.pi, count)
        away = (_COLUMN - 13.5) * np.cos(angle) + (_ROW - 13.5) * np.sin(angle) - uniform(rng, -6.0, 6.0, count)
        gone = (np.abs(away) < uniform(rng, 0.5, 1.1, count)) & chosen(rng, share, count)
        image = np.where(gone, 0.0, image).astype(np.float32)
    return list(grey(image))


def worn(digits: Digits, rng: Rng) -> Raw:
    """Draw strokes with gaps in the ink, as a dry pen does on rough paper."""
    count = len(digits.ink)
    strokes = pen(digits.ink, rng)
    gaps = clouds(rng, count, _LARGE, 0.9) + 0.5 * rng.standard_normal(strokes.shape, np.float32)
    taken = edged(gaps, uniform(rng, -2.2, -1.0, count), 0.8)
    return list(grey(strokes * taken))


def _filling(image: Ink, side: int, stretched: bool) -> tuple[Ink, int, int]:
    """Crop [h, w] to its ink, and return it with the width and height that scale its longer side to `side`.

    A stretched picture fills both sides, or nearly. A picture without ink is not cropped.
    """
    rows, columns = (np.flatnonzero((image > 0.2).any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return image, side, side
    crop = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = crop.shape
    if stretched:  # at most twice as wide, so that a 1 stays narrow
        return (
            crop,
            min(side, max(2, round(2 * width * side / height))),
            min(side, max(2, round(2 * height * side / width))),
        )
    factor = side / max(crop.shape)
    return crop, max(2, round(width * factor)), max(2, round(height * factor))


def _framed(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Centre uint8 [h, w] in [side, side]; if `side` is 0, in a frame with a border of one pixel."""
    height, width = picture.shape
    tall, wide = (side, side) if side else (height + 2, width + 2)
    frame = np.zeros((tall, wide), np.uint8)
    top, left = (tall - height) // 2, (wide - width) // 2
    frame[top : top + height, left : left + width] = picture
    return frame
