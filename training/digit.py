"""Any picture of one digit → the form MNIST's own images have.

Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits": the ink is bright on black, its
longest side is 20 pixels with the aspect kept, and its centre of mass lies in the middle of 28 x 28.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

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

_MIN_CONTRAST = 8  # grey levels of 255 between ink and paper; less is a blank page
_INK = 0.25  # share of full ink that counts for the crop box: the soft edge of a stroke, not the paper's grain
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
    """Do the same for many: those that have MNIST's form are told all at once, at 2 µs each in place of 100.

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
    ink = _ink(np.asarray(image))
    if ink is None:
        return ImageError("blank", "it is of one colour, or nearly: there is nothing to read")
    return _centre(_shrink(ink))


def _centre_of_mass(pixels: NDArray[np.uint8]) -> tuple[float, float]:
    """Row and column, in pixels from the first one's middle; `pixels` uint8 [h, w], not all 0."""
    rows, columns = pixels.sum(axis=1, dtype=np.int64), pixels.sum(axis=0, dtype=np.int64)
    total = float(rows.sum())
    return float(rows @ _AXIS[: rows.size]) / total, float(columns @ _AXIS[: columns.size]) / total


def _ink(grey: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    """How much of full ink each pixel holds: `grey` uint8 [h, w] → float32 [h, w] in 0…1; None for a blank page."""
    threshold = _otsu(grey)
    bright = grey > threshold
    if not bright.any() or bright.all():
        return None
    dark_ink = _paper_is_bright(bright)
    paper = grey[bright] if dark_ink else grey[~bright]
    strokes = grey[~bright] if dark_ink else grey[bright]
    level = float(np.median(paper))
    depth = float(np.median(strokes)) - level  # negative for dark ink
    if abs(depth) < _MIN_CONTRAST:
        return None
    ink = (grey.astype(np.float32) - level) / depth
    # The paper's grain: three standard deviations of it (by the median deviation, which strokes don't move).
    grain = min(3.0 * 1.4826 * float(np.median(np.abs(paper - level))) / abs(depth), 0.5)
    clean: NDArray[np.float32] = np.clip((ink - grain) / (1.0 - grain), 0.0, 1.0).astype(np.float32)
    return clean


def _otsu(grey: NDArray[np.uint8]) -> int:
    """The grey level that separates two classes best (N. Otsu, 1979); `grey` uint8 [h, w]."""
    counts = np.bincount(grey.ravel(), minlength=256).astype(np.float64)  # [256]
    below = counts.cumsum()
    above = below[-1] - below
    mass = (counts * np.arange(256)).cumsum()
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mass[-1] * below / below[-1] - mass) ** 2 / (below * above)
    return int(np.nan_to_num(between, posinf=0.0).argmax())


def _paper_is_bright(bright: NDArray[np.bool_]) -> bool:
    """Decide the polarity by two witnesses; `bright` bool [h, w] marks the brighter class.

    Paper covers more than ink does, and the picture's edge is mostly paper. The whole area counts for more:
    a stroke over the edge or a frame around the picture deceives the edge alone.
    """
    edge = np.concatenate([bright[0], bright[-1], bright[1:-1, 0], bright[1:-1, -1]])
    return float(bright.mean()) - 0.5 + 0.5 * (float(edge.mean()) - 0.5) > 0.0


def _shrink(ink: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Crop to the ink and bring its longest side to 20 pixels: float32 [h, w] → uint8 [h', w']."""
    inked = ink > _INK
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    crop = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = BOX / max(crop.shape)
    height, width = (max(1, round(side * scale)) for side in crop.shape)
    # "F": rounding once, at the end. Bilinear widens its support when it shrinks, so thin strokes survive.
    small = np.asarray(Image.fromarray(crop).resize((width, height), Image.Resampling.BILINEAR))
    # A thin stroke of a large picture comes out pale; MNIST's brightest pixel is white.
    peak = max(float(small.max()), 1e-6)
    return np.rint(np.clip(small / peak, 0.0, 1.0) * 255.0).astype(np.uint8)


def _centre(small: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put `small` (uint8, at most [20, 20]) so that its centre of mass lies in the middle: uint8 [28, 28]."""
    height, width = small.shape
    y, x = _centre_of_mass(small)
    top = min(max(round(_CENTRE - y), 0), SIDE - height)
    left = min(max(round(_CENTRE - x), 0), SIDE - width)
    image = np.zeros((SIDE, SIDE), np.uint8)
    image[top : top + height, left : left + width] = small
    return image
