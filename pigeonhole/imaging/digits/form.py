"""The form of MNIST's images: recognise it, and bring a digit's ink into it.

Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits": the ink is bright on black, its longest side
has 20 pixels, its aspect ratio is kept, and its centre of mass is in the middle of 28 x 28 pixels.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pigeonhole.imaging.preprocessings.digit import SIDE as SIDE  # pixels, width and height of the whole image

BOX = 20  # pixels, the longest side of the ink

Box: TypeAlias = tuple[int, int, int, int]  # left, top, right, bottom in pixels; the last two are exclusive

# All 70,000 images of MNIST have ink of at most 20 x 20 pixels with one side of 20, a centre of mass from 13.48 to
# 14.50, a brightest pixel of 254 or 255, and a mean of at most 102. Pixels above 32 count as ink, because JPEG
# artefacts stay below; the longest side is then 18 or more.
_FAINT = 32
_MIN_SIDE = 18
_BRIGHT = 200
_MAX_MEAN = 110.0
_CENTRE = 14.0
_OFF_CENTRE = 0.55
_CLEAN = 0.8  # share of white pixels at the edge, unless it is a photograph; MNIST's largest digits touch the edge

_THIN = 0.15  # share of the picture's height; a column with less ink contains one thin line
_ROOM = 0.15  # empty share of the picture's height, above and below the ink together
_WHITE = 0.75  # quantile of the ink's pixels that becomes white: in MNIST more than a quarter of them are white
_PALE = 0.1  # share of full ink; a pixel with less does not count as ink

_AXIS = np.arange(SIDE, dtype=np.float64)
_MOMENTS = np.stack([np.ones(SIDE), _AXIS], axis=1).astype(np.float32)  # [28, 2]


def are_normal(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which images already have MNIST's form: uint8 [N, 28, 28] → bool [N]."""
    columns, rows = pixels.max(axis=1), pixels.max(axis=2)  # both [N, 28]: the brightest pixel of each
    side = np.maximum(_extents(rows > _FAINT), _extents(columns > _FAINT))
    # The sum and the first moment of each row: whole numbers below 2**24, so they are exact in float32.
    sums = (pixels.reshape(-1, SIDE).astype(np.float32) @ _MOMENTS).reshape(-1, SIDE, 2).astype(np.float64)
    total = np.maximum(sums[:, :, 0].sum(axis=1), 1.0)  # [N]
    y, x = sums[:, :, 0] @ _AXIS / total, sums[:, :, 1].sum(axis=1) / total
    bright = (rows.max(axis=1) >= _BRIGHT) & (total <= _MAX_MEAN * SIDE * SIDE)
    centred = (np.abs(y - _CENTRE) <= _OFF_CENTRE) & (np.abs(x - _CENTRE) <= _OFF_CENTRE)
    normal: NDArray[np.bool_] = bright & centred & (side >= _MIN_SIDE) & (side <= BOX)
    return normal


def are_inverted(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which images have MNIST's form in black on white: uint8 [N, 28, 28] → bool [N]."""
    ends = [0, SIDE - 1]
    white = (pixels[:, ends] == 255).sum(axis=(1, 2)) + (pixels[:, :, ends] == 255).sum(axis=(1, 2))
    found: NDArray[np.bool_] = white >= _CLEAN * 4 * SIDE
    if found.any():
        found[found] = are_normal(255 - pixels[found])
    return found


def _extents(lines: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the number of pixels from the first to the last set one of each line: bool [N, 28] → int64 [N]."""
    spans: NDArray[np.int64] = SIDE - lines.argmax(axis=1) - lines[:, ::-1].argmax(axis=1)
    return np.where(lines.any(axis=1), spans, 0)


def place(amount: NDArray[np.float32], box: Box) -> NDArray[np.uint8]:
    """Scale the ink in `box` to 20 pixels on its longest side, and put its centre of mass in the middle.

    Args:
        amount: float32 [h, w], 0…1, the ink of the whole picture.
        box: The part of the picture that contains the digit.

    Returns:
        uint8 [28, 28].
    """
    left, top, right, bottom = box
    crop = amount[top:bottom, left:right]
    first, last = _core(crop, amount.shape)
    scale = BOX / max(bottom - top, last - first)
    height, width = (max(1, round(side * scale)) for side in crop.shape)
    # In floats, to round only once. Pillow's bilinear filter is anti-aliased when it shrinks, so thin strokes survive.
    resampling = Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BILINEAR
    small = np.asarray(Image.fromarray(crop).resize((width, height), resampling))
    # Thin strokes of a large picture become pale, and so do anti-aliased ones, so the ink is stretched to full white.
    inked = np.sort(small[small > _PALE * small.max()])
    white = float(inked[round(_WHITE * (len(inked) - 1))])
    small = np.rint(np.clip(small / white, 0.0, 1.0) * 255.0).astype(np.uint8)
    first = min(round(first * scale), width - 1)
    last = max(round(last * scale), first + 1)  # a thin stroke of a large picture may be less than a pixel wide
    y, x = _centre_of_mass(small[:, first:last])
    return _pasted(small, _start(y, height), _start(first + x, width))


def _core(crop: NDArray[np.float32], shape: tuple[int, ...]) -> tuple[int, int]:
    """Return first and end of the columns of `crop` that decide the digit's size, usually all of them.

    If the ink reaches both sides of the picture, whose shape is `shape`, with room above and below, thin columns at
    both ends are a line across the digit. They do not count.
    """
    height, width = crop.shape
    if width == shape[1] and shape[0] - height >= _ROOM * shape[0]:
        thick = np.flatnonzero(crop.sum(axis=0) > _THIN * shape[0])
        if len(thick) and thick[0] > 0 and thick[-1] < width - 1 and max(thick[-1] - thick[0], height) >= 0.4 * width:
            return int(thick[0]), int(thick[-1]) + 1
    return 0, width


def _start(centre: float, length: int) -> int:
    """Return the start of `length` pixels within 28 that puts `centre` in the middle, or as near as they fit."""
    start = round(_CENTRE - centre)
    return min(max(start, 0), SIDE - length) if length <= SIDE else start


def _centre_of_mass(pixels: NDArray[np.uint8]) -> tuple[float, float]:
    """Return row and column of the centre of mass, in pixels from the middle of the first; `pixels` uint8 [h, w]."""
    rows, columns = pixels.sum(axis=1, dtype=np.int64), pixels.sum(axis=0, dtype=np.int64)
    total = max(float(rows.sum()), 1.0)
    return float(rows @ np.arange(rows.size)) / total, float(columns @ np.arange(columns.size)) / total


def _pasted(small: NDArray[np.uint8], top: int, left: int) -> NDArray[np.uint8]:
    """Paste `small` on black, and crop the parts outside: uint8 [h, w] → uint8 [28, 28]."""
    image = np.zeros((SIDE, SIDE), np.uint8)
    shown = small[max(-top, 0) : SIDE - top, max(-left, 0) : SIDE - left]
    top, left = max(top, 0), max(left, 0)
    image[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
    return image
