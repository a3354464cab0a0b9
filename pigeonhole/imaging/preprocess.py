"""Bytes of an image file → the array a network sees. Training and workers share these functions."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pigeonhole.imaging import decode as decoding
from pigeonhole.imaging import plain_png
from pigeonhole.imaging.preprocessing import Preprocessing

Decoded: TypeAlias = decoding.Decoded


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
    return preprocessing.clearest(
        image, lambda mode, ground: decoding.decode(data, mode, preprocessing.least, max_pixels, ground)
    )


def prepare(data: bytes, preprocessing: Preprocessing, max_pixels: int) -> NDArray[np.uint8]:
    """Return what the network sees of an image file: `decode`, then `Preprocessing.apply`.

    Returns:
        uint8 [height, width, channels], 0…255.
    """
    return preprocessing.apply(decode(data, preprocessing, max_pixels))
