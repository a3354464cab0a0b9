"""The choice of a preprocessing by inspecting some of the pictures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from PIL import Image

from pigeonhole.errors import DatasetError, ImageError
from pigeonhole.imaging import decode as decoding
from pigeonhole.imaging.preprocessing import Preprocessing
from training.datasets.files.pictures import MAX_PIXELS, content

SIDES = (28, 32, 48, 64, 96, 128, 160, 192, 224, 256)  # pixels
LARGEST = 64  # pixels, without --size: training on larger images takes long without a GPU
_INSPECTED = 200  # pictures
_SHRUNK_TO = 2 * SIDES[-1]  # pixels: a JPEG is decoded faster at a reduced size
_ONE_TO_ONE = 1.25  # an aspect ratio below this is rounded to 1
_LONGEST = 4.0  # largest ratio of the longer side to the shorter one
_STEP = 8  # pixels: the longer side is a multiple, since networks halve it several times
_GREY = 8  # grey levels between the channels of a grey pixel, from scanning and JPEG
_GREY_SHARE = 0.99  # share of grey pixels in a grey picture


@dataclass(frozen=True)
class Inspection:
    """Statistics of some pictures.

    Args:
        size: Median width and height in pixels; large JPEGs count at the reduced size at which they were decoded.
        aspect: Median of width / height.
        grey: Whether all pictures are grey.
        pictures: Number of pictures that were inspected.
    """

    size: tuple[float, float]
    aspect: float
    grey: bool
    pictures: int

    def preprocessing(self, size: int | None = None) -> Preprocessing:
        """Return a preprocessing with a shorter side of `size` pixels; None for a side that fits the pictures."""
        side = size or max((side for side in SIDES if side <= min(LARGEST, *self.size)), default=SIDES[0])
        long = max(self.aspect, 1 / self.aspect)
        longer = side if long < _ONE_TO_ONE else _STEP * round(side * min(long, _LONGEST) / _STEP)
        width, height = (longer, side) if self.aspect > 1 else (side, longer)
        return Preprocessing("crop", height, width, 1 if self.grey else 3)


def inspect_pictures(paths: Sequence[str]) -> Inspection:
    """Inspect some of the pictures, evenly spread over all.

    Args:
        paths: Paths of all pictures.

    Raises:
        DatasetError: None of the inspected pictures can be read.
    """
    inspected = []
    for at in range(0, len(paths), max(1, math.ceil(len(paths) / _INSPECTED))):
        try:
            image = decoding.decode(content(paths[at]), "RGB", (_SHRUNK_TO, _SHRUNK_TO), MAX_PIXELS)
        except ImageError:
            continue  # reported when all are read
        inspected.append((image.width, image.height, _is_grey(image)))
    if not inspected:
        raise DatasetError(f"None of {len(paths):,} files can be read as a picture; check the folder.")
    return Inspection(
        size=(median(width for width, _, _ in inspected), median(height for _, height, _ in inspected)),
        aspect=median(width / height for width, height, _ in inspected),
        grey=all(grey for _, _, grey in inspected),
        pictures=len(inspected),
    )


def _is_grey(image: Image.Image) -> bool:
    pixels = np.asarray(image.reduce(max(1, min(image.size) // SIDES[-1])))  # uint8 [height, width, 3]
    return bool((np.ptp(pixels, axis=2) <= _GREY).mean() >= _GREY_SHARE)
