"""Any picture of one digit → the form MNIST's own images have.

Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits": the ink is bright on black, its
longest side is 20 pixels with the aspect kept, and its centre of mass lies in the middle of 28 x 28.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training import clutter, ink
from training.decode import Decoded
from training.errors import ImageError

SIDE = 28  # pixels, the whole image
BOX = 20  # pixels, the ink's longest side
FINEST_SIDE = 1024  # pixels; what a larger picture shows beyond that is never looked at
_WORKING_SIDE = 384  # pixels; a larger picture is reduced first, and a small digit in it then looked at closer
_CLOSER = 2 * BOX  # pixels; a digit that is smaller in a reduced picture is small

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
_SHEET = 0.72  # share of its box that a sheet of paper covers, and hardly a digit does
_MARGIN = 0.08  # of its longer side, where a sheet may lie askew
_WHITE = 0.75  # quantile of the ink's pixels that is white: in MNIST more than a quarter of them is
_PALE = 0.1  # share of full ink; what has less is no ink

_AXIS = np.arange(SIDE, dtype=np.float64)
_MOMENTS = np.stack([np.ones(SIDE), _AXIS], axis=1).astype(np.float32)  # [28, 2]


Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels; the last two are exclusive


@dataclass(frozen=True)
class Trace:
    """What the normalisation did with a picture.

    Args:
        pixels: uint8 [28, 28], the result: the ink bright on 0.
        size: Of the picture, width and height in pixels.
        box: The part of the picture that the digit was found in.
        unchanged: Whether the picture already had MNIST's form.
        dark: Whether the ink is darker than the paper: then it was inverted.
        paper: The paper's grey level, 0…255; where it is uneven, that of the brightest (the darkest, for bright ink).
        flattened: Whether the paper was uneven, by shadow or fog.
        lines: Whether lines beside the digit were taken away: a frame, a grid, ruled paper.
        specks: How many other things beside it were.
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    box: Box
    unchanged: bool = False
    dark: bool = False
    paper: int = 0
    flattened: bool = False
    lines: bool = False
    specks: int = 0


def normalise(image: Decoded) -> NDArray[np.uint8]:
    """Bring one digit into MNIST's form; an image that has it comes back unchanged.

    Args:
        image: Mode "L" or uint8 [h, w], of at least 1 x 1 pixel, ink darker or brighter than the paper.

    Returns:
        uint8 [28, 28], the ink bright on 0.

    Raises:
        ImageError: `blank`: the image holds no contrast, or noise alone.
    """
    return trace(image).pixels


def trace(image: Decoded) -> Trace:
    """Do what `normalise` does, and tell it."""
    if _as_mnists([image])[0] is not None:
        return Trace(np.asarray(image), (SIDE, SIDE), (0, 0, SIDE, SIDE), unchanged=True)
    found = _bring(image)
    if isinstance(found, ImageError):
        raise found
    return found


def normalise_all(images: Sequence[Decoded]) -> list[NDArray[np.uint8] | ImageError]:
    """Do the same for many: those that have MNIST's form are told all at once, at 2 µs each in place of 500.

    Returns:
        For each image what `normalise` gives or raises.
    """
    found = _as_mnists(images)
    return [_pixels(_bring(images[at])) if done is None else done for at, done in enumerate(found)]


def _pixels(found: Trace | ImageError) -> NDArray[np.uint8] | ImageError:
    return found if isinstance(found, ImageError) else found.pixels


def _as_mnists(images: Sequence[Decoded]) -> list[NDArray[np.uint8] | None]:
    """The pixels of those images that have MNIST's form, None for the others."""
    found: list[NDArray[np.uint8] | None] = [None] * len(images)
    small = [at for at, image in enumerate(images) if _size(image) == (SIDE, SIDE)]
    if small:
        pixels = np.stack([np.asarray(images[at]) for at in small])  # [n, 28, 28]
        for at, one, normal in zip(small, pixels, are_normal(pixels).tolist(), strict=True):
            if normal:
                found[at] = one
    return found


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


def _bring(image: Decoded) -> Trace | ImageError:
    if max(_size(image)) <= _WORKING_SIDE:
        return _look(np.asarray(image), _size(image))
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    if (factor := -(-max(picture.size) // FINEST_SIDE)) > 1:  # rounded up
        picture = picture.reduce(factor)
    reduced = picture.reduce(-(-max(picture.size) // _WORKING_SIDE))
    found = _look(np.asarray(reduced), _size(image))
    if isinstance(found, ImageError):
        return found
    scale = _size(image)[0] / reduced.width
    if max(found.box[2] - found.box[0], found.box[3] - found.box[1]) >= _CLOSER * scale:
        return found
    return _closer(picture, found) or found


def _closer(picture: Image.Image, found: Trace) -> Trace | None:
    """Look again at the part of `picture` in which `found` is, in full; None: there is nothing to see."""
    scale = found.size[0] / picture.width
    left, top, right, bottom = (side / scale for side in found.box)
    around = 0.4 * max(right - left, bottom - top)
    part = picture.crop(
        (
            max(int(left - around), 0),
            max(int(top - around), 0),
            min(round(right + around) + 1, picture.width),
            min(round(bottom + around) + 1, picture.height),
        )
    )
    seen = _look(np.asarray(part), part.size)
    if isinstance(seen, ImageError):
        return None
    return replace(seen, size=found.size, box=found.box, lines=found.lines or seen.lines, specks=found.specks)


def _look(grey: NDArray[np.uint8], size: tuple[int, int]) -> Trace | ImageError:
    """Find the digit in `grey`, uint8 [h, w], which was `size` (width and height) before it was reduced."""
    found = ink.find(grey)
    if found is None:
        return ImageError("blank", "it is of one colour, or nearly: there is nothing to read")
    if (sheet := _sheet(found.amount)) and (within := _within(grey, size, sheet, found.dark)):
        return within
    cleared = clutter.clear(found.amount)
    if cleared is None:
        return ImageError("blank", "it holds a frame, or lines, and nothing within: there is nothing to read")
    inked = cleared.ink > clutter.INKED
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    box = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    x, y = size[0] / grey.shape[1], size[1] / grey.shape[0]
    return Trace(
        _placed(cleared.ink, box),
        size,
        _scaled(box, x, y, size),
        dark=found.dark,
        paper=found.paper,
        flattened=found.flattened,
        lines=cleared.lines,
        specks=cleared.specks,
    )


def _sheet(amount: NDArray[np.float32]) -> Box | None:
    """A sheet of paper that was taken for ink, on a ground of another colour: where it lies, without its margin."""
    inked = amount > clutter.INKED
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    if min(len(rows), len(columns)) < SIDE:
        return None
    left, top, right, bottom = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    sheet = inked[top:bottom, left:right]
    if sheet.mean() < _SHEET or not clutter.has_corners(sheet):
        return None
    margin = round(_MARGIN * max(bottom - top, right - left))
    if min(bottom - top, right - left) < 2 * margin + SIDE // 2:
        return None
    return left + margin, top + margin, right - margin, bottom - margin


def _within(grey: NDArray[np.uint8], size: tuple[int, int], sheet: Box, dark: bool) -> Trace | None:
    """The digit on a sheet in the picture, if there is one of the other polarity."""
    left, top, right, bottom = sheet
    seen = _look(grey[top:bottom, left:right], (right - left, bottom - top))
    if isinstance(seen, ImageError) or seen.dark == dark:
        return None
    x, y = size[0] / grey.shape[1], size[1] / grey.shape[0]
    box = seen.box[0] + left, seen.box[1] + top, seen.box[2] + left, seen.box[3] + top
    return replace(seen, size=size, box=_scaled(box, x, y, size))


def _scaled(box: Box, x: float, y: float, size: tuple[int, int]) -> Box:
    left, top, right, bottom = box
    return int(left * x), int(top * y), min(round(right * x), size[0]), min(round(bottom * y), size[1])


def _placed(amount: NDArray[np.float32], box: Box) -> NDArray[np.uint8]:
    """Bring the ink in `box` to 20 pixels on its longest side, its centre of mass in the middle.

    Args:
        amount: float32 [h, w], 0…1.
        box: What to crop to.

    Returns:
        uint8 [28, 28].
    """
    left, top, right, bottom = box
    crop = amount[top:bottom, left:right]
    first, last = _core(crop, amount.shape)
    scale = BOX / max(bottom - top, last - first)
    height, width = (max(1, round(side * scale)) for side in crop.shape)
    # "F": rounding once, at the end. Bilinear widens its support when it shrinks, so thin strokes survive.
    resampling = Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BILINEAR
    small = np.asarray(Image.fromarray(crop).resize((width, height), resampling))
    # A thin stroke of a large picture comes out pale, and so does an anti-aliased one.
    inked = np.sort(small[small > _PALE * small.max()])
    white = float(inked[round(_WHITE * (len(inked) - 1))])
    small = np.rint(np.clip(small / white, 0.0, 1.0) * 255.0).astype(np.uint8)
    first = min(round(first * scale), width - 1)
    last = max(round(last * scale), first + 1)  # a thin stroke of a large picture is less than a pixel wide
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
