"""Any picture of one digit → the form MNIST's own images have.

Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits": the ink is bright on black, its
longest side is 20 pixels with the aspect kept, and its centre of mass lies in the middle of 28 x 28.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training import clutter, ink
from training.decode import Decoded
from training.errors import ImageError

SIDE = 28  # pixels, the whole image
BOX = 20  # pixels, the ink's longest side
WORKING_SIDE = 1024  # pixels; a larger picture is reduced first: a digit in it is still hundreds across

# What all 70,000 images of MNIST have: ink of at most 20 x 20 with one side of 20 (counted above 32 of 255,
# which JPEG's ripples stay under: 18 or more), a centre of mass within 13.48 to 14.50 and a brightest pixel of
# 254 or 255, a mean of at most 102.
_FAINT = 32
_MIN_SIDE = 18
_BRIGHT = 200
_MAX_MEAN = 110.0
_CENTRE = 14.0
_OFF_CENTRE = 0.55

_THIN = 0.15  # of the picture's height; a column of less ink holds one line
_ROOM = 0.15  # of the picture's height, above and below

_AXIS = np.arange(SIDE, dtype=np.float64)
_MOMENTS = np.stack([np.ones(SIDE), _AXIS], axis=1).astype(np.float32)  # [28, 2]


def normalise(image: Decoded) -> NDArray[np.uint8]:
    """Bring one digit into MNIST's form; an image that has it comes back unchanged.

    Args:
        image: Mode "L" or uint8 [h, w], of at least 1 x 1 pixel, ink darker or brighter than the paper.

    Returns:
        uint8 [28, 28], the ink bright on 0.

    Raises:
        ImageError: `blank`: the image holds no contrast.
    """
    (found,) = normalise_all([image])
    if isinstance(found, ImageError):
        raise found
    return found


def normalise_all(images: Sequence[Decoded]) -> list[NDArray[np.uint8] | ImageError]:
    """Do the same for many: those that have MNIST's form are told all at once, at 2 µs each in place of 500.

    Returns:
        For each image what `normalise` gives or raises.
    """
    found: list[NDArray[np.uint8] | ImageError | None] = [None] * len(images)
    small = [at for at, image in enumerate(images) if _size(image) == (SIDE, SIDE)]
    if small:
        pixels = np.stack([np.asarray(images[at]) for at in small])  # [n, 28, 28]
        for at, one, normal in zip(small, pixels, are_normal(pixels).tolist(), strict=True):
            if normal:
                found[at] = one
    return [_bring(images[at]) if done is None else done for at, done in enumerate(found)]


def are_normal(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tell which images already have MNIST's form: uint8 [N, 28, 28] → bool [N]."""
    columns, rows = pixels.max(axis=1), pixels.max(axis=2)  # both [N, 28]: the brightest pixel of each
    side = np.maximum(_extents(rows > _FAINT), _extents(columns > _FAINT))
    # Whole numbers below 2**24, so exact in float32: the sum of each row, and its columns' first moment.
    sums = (pixels.reshape(-1, SIDE).astype(np.float32) @ _MOMENTS).reshape(-1, SIDE, 2).astype(np.float64)
    total = np.maximum(sums[:, :, 0].sum(axis=1), 1.0)  # [N]
    y, x = sums[:, :, 0] @ _AXIS / total, sums[:, :, 1].sum(axis=1) / total
    bright = (rows.max(axis=1) >= _BRIGHT) & (total <= _MAX_MEAN * SIDE * SIDE)
    centred = (np.abs(y - _CENTRE) <= _OFF_CENTRE) & (np.abs(x - _CENTRE) <= _OFF_CENTRE)
    normal: NDArray[np.bool_] = bright & centred & (side >= _MIN_SIDE) & (side <= BOX)
    return normal


def _extents(lines: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Pixels from the first to the last that is set in each of `lines`: bool [N, 28] → int64 [N]."""
    spans: NDArray[np.int64] = SIDE - lines.argmax(axis=1) - lines[:, ::-1].argmax(axis=1)
    return np.where(lines.any(axis=1), spans, 0)


def _size(image: Decoded) -> tuple[int, int]:
    return image.size if isinstance(image, Image.Image) else (image.shape[1], image.shape[0])


def _bring(image: Decoded) -> NDArray[np.uint8] | ImageError:
    factor = -(-max(_size(image)) // WORKING_SIDE)  # rounded up
    if factor > 1:
        image = (image if isinstance(image, Image.Image) else Image.fromarray(image)).reduce(factor)
    found = ink.find(np.asarray(image))
    if found is None or not (found.amount > clutter.INKED).any():
        return ImageError("blank", "it is of one colour, or nearly: there is nothing to read")
    return _placed(clutter.clear(found.amount).ink)


def _placed(amount: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Bring the ink's longest side to 20 pixels and its centre of mass to the middle; `amount` float32 [h, w].

    Returns:
        uint8 [28, 28].
    """
    inked = amount > clutter.INKED
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    top, left, bottom, right = int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
    crop = amount[top:bottom, left:right]
    first, last = _core(crop, amount.shape)
    scale = BOX / max(bottom - top, last - first)
    height, width = (max(1, round(side * scale)) for side in crop.shape)
    # "F": rounding once, at the end. Bilinear widens its support when it shrinks, so thin strokes survive.
    small = np.asarray(Image.fromarray(crop).resize((width, height), Image.Resampling.BILINEAR))
    # A thin stroke of a large picture comes out pale; MNIST's brightest pixel is white.
    peak = max(float(small.max()), 1e-6)
    small = np.rint(np.clip(small / peak, 0.0, 1.0) * 255.0).astype(np.uint8)
    first, last = round(first * scale), round(last * scale)
    y, x = _centre_of_mass(small[:, first:last])
    return _pasted(small, _start(y, height), _start(first + x, width))


def _core(crop: NDArray[np.float32], shape: tuple[int, ...]) -> tuple[int, int]:
    """The columns of `crop` that decide the digit's size: first and end.

    All of them, but where the ink goes from the picture's left side to its right (`shape` is the picture's), with room
    above and below: what ends in a thin stroke on both sides there is a digit with a line across it.
    """
    height, width = crop.shape
    if width == shape[1] and shape[0] - height >= _ROOM * shape[0]:
        thick = np.flatnonzero(crop.sum(axis=0) > _THIN * shape[0])
        if len(thick) and thick[0] > 0 and thick[-1] < width - 1 and max(thick[-1] - thick[0], height) >= 0.4 * width:
            return int(thick[0]), int(thick[-1]) + 1
    return 0, width


def _start(centre: float, length: int) -> int:
    """Where `length` pixels begin in 28, so that their `centre` lies in the middle, as far as they fit."""
    start = round(_CENTRE - centre)
    return min(max(start, 0), SIDE - length) if length <= SIDE else start


def _centre_of_mass(pixels: NDArray[np.uint8]) -> tuple[float, float]:
    """Row and column, in pixels from the first one's middle; `pixels` uint8 [h, w]."""
    rows, columns = pixels.sum(axis=1, dtype=np.int64), pixels.sum(axis=0, dtype=np.int64)
    total = max(float(rows.sum()), 1.0)
    return float(rows @ np.arange(rows.size)) / total, float(columns @ np.arange(columns.size)) / total


def _pasted(small: NDArray[np.uint8], top: int, left: int) -> NDArray[np.uint8]:
    """`small` on black, what lies outside cut away: uint8 [h, w] → uint8 [28, 28]."""
    image = np.zeros((SIDE, SIDE), np.uint8)
    shown = small[max(-top, 0) : SIDE - top, max(-left, 0) : SIDE - left]
    top, left = max(top, 0), max(left, 0)
    image[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
    return image
