"""An image → the array a network sees. `prepare` is the one function that training and worker both call."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageStat

from pigeonhole.errors import ImageError
from pigeonhole.imaging import decode as decoding
from pigeonhole.imaging import plain_png
from pigeonhole.imaging.digits import normalise
from pigeonhole.imaging.digits.normalise import Trace
from pigeonhole.imaging.preprocessing import Preprocessing

Decoded: TypeAlias = decoding.Decoded

_RESAMPLING = Image.Resampling.BILINEAR
_FLAT = 24  # grey levels; a picture that spans fewer may have its digit in the colours, or white on nothing
_LARGEST_AGAIN = 4_000_000  # pixels of a picture that is decoded again for that


def decode(data: bytes, preprocessing: Preprocessing, max_pixels: int) -> Decoded:
    """Decode one image file for `preprocessing`: first frame, upright, flattened on white, 8 bits.

    Args:
        data: The whole file.
        preprocessing: Decides between grey and colour, and how far a JPEG may be shrunk on the way.
        max_pixels: The most pixels the header may announce.

    Returns:
        An image of mode "L" or "RGB", or its pixels, whichever is at hand.

    Raises:
        ImageError: It can't be decoded; nothing else is raised.
    """
    plain = plain_png.decode(data, preprocessing.mode, max_pixels)
    if plain is not None:
        return plain
    image = decoding.decode(data, preprocessing.mode, preprocessing.least, max_pixels)
    small = preprocessing.kind == "digit" and image.width * image.height <= _LARGEST_AGAIN
    if small and int(np.ptp(np.asarray(image))) < _FLAT:
        return _with_contrast(data, preprocessing, max_pixels, image)
    return image


def _with_contrast(data: bytes, preprocessing: Preprocessing, max_pixels: int, grey: Image.Image) -> Image.Image:
    """A picture whose `grey` is nearly of one level: in the colour, or on the ground, that shows most of it."""
    colours = decoding.decode(data, "RGB", preprocessing.least, max_pixels)
    on_black = decoding.decode(data, "L", preprocessing.least, max_pixels, ground=0)
    return max(grey, *colours.split(), on_black, key=lambda one: ImageStat.Stat(one).stddev[0])


def apply(preprocessing: Preprocessing, image: Decoded) -> NDArray[np.uint8]:
    """Bring a decoded image into the form the network takes.

    Args:
        preprocessing: Which form.
        image: Of `preprocessing.mode`, as `decode` returns it.

    Returns:
        uint8 [height, width, channels], 0…255, in memory of its own.
    """
    return traced(preprocessing, image)[0]


def traced(preprocessing: Preprocessing, image: Decoded) -> tuple[NDArray[np.uint8], Trace | None]:
    """Do what `apply` does, and tell what the normalisation did, if there is one."""
    trace = normalise.trace(image) if preprocessing.kind == "digit" else None
    pixels = _resized(image, preprocessing) if trace is None else trace.pixels
    return _shaped(preprocessing, pixels), trace


def apply_all(
    preprocessing: Preprocessing, images: Sequence[Decoded]
) -> tuple[NDArray[np.uint8], dict[int, ImageError]]:
    """Bring many images into the form the network takes: as `apply` does, in less time.

    Returns:
        uint8 [n, height, width, channels], those that could be, in order; and what is wrong with each other one, by its
        position.
    """
    shape = (-1, preprocessing.height, preprocessing.width, preprocessing.channels)
    if preprocessing.kind == "digit":
        pixels, errors = normalise.normalise_all(images)
        return pixels.reshape(shape), errors
    return np.array([apply(preprocessing, image) for image in images], np.uint8).reshape(shape), {}


def _resized(image: Decoded, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    size = width, height = preprocessing.width, preprocessing.height
    if isinstance(image, np.ndarray):
        if image.shape[:2] == (height, width):
            return image
        image = Image.fromarray(image)
    if image.size == size:
        return np.asarray(image)
    box = _middle(image.size, size) if preprocessing.kind == "crop" else None
    return np.asarray(image.resize(size, _RESAMPLING, box))


def _middle(size: tuple[int, int], form: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest box of `form`'s aspect in the middle of a picture: left, top, right, bottom, in pixels."""
    scale = min(size[0] / form[0], size[1] / form[1])
    width, height = scale * form[0], scale * form[1]
    left, top = (size[0] - width) / 2, (size[1] - height) / 2
    return left, top, min(left + width, size[0]), min(top + height, size[1])


def _shaped(preprocessing: Preprocessing, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    shape = (preprocessing.height, preprocessing.width, preprocessing.channels)
    # A copy where it still is Pillow's own memory, which is read-only.
    return np.require(pixels, np.uint8, ["C", "W"]).reshape(shape)


def prepare(data: bytes, preprocessing: Preprocessing, max_pixels: int) -> NDArray[np.uint8]:
    """Bytes of an image file → what the network sees: `decode`, then `apply`.

    Args:
        data: The whole file.
        preprocessing: Of the checkpoint that will read it.
        max_pixels: The most pixels the header may announce.

    Returns:
        uint8 [height, width, channels], 0…255.

    Raises:
        ImageError: It can't be decoded; nothing else is raised.
    """
    return apply(preprocessing, decode(data, preprocessing, max_pixels))
