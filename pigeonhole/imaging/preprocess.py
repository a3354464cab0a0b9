"""Bytes of an image file → the array that a network takes. Training and workers share these functions."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pigeonhole.imaging import decode as decoding
from pigeonhole.imaging import plain_png
from pigeonhole.imaging.preprocessing import Preprocessing

Decoded: TypeAlias = decoding.Decoded


def decode(data: bytes, preprocessing: Preprocessing, max_pixels: int) -> Decoded:
    """Decode the first frame of an image file for a preprocessing: upright, opaque, 8 bits a channel.

    Args:
        data: The whole file.
        preprocessing: Decides between grey and colour, and how far a JPEG may be shrunk while it is decoded.
        max_pixels: The largest number of pixels that the header may announce.

    Returns:
        A Pillow image of mode "L" or "RGB", or its pixels as an array; the fast decoder returns an array.

    Raises:
        ImageError: The file can't be decoded. The function raises no other exception.
    """
    plain = plain_png.decode(data, preprocessing.mode, max_pixels)
    if plain is not None:
        return plain
    image = decoding.decode(data, preprocessing.mode, preprocessing.jpeg_min_size, max_pixels)
    return preprocessing.clearest(
        image, lambda mode, background: decoding.decode(data, mode, preprocessing.jpeg_min_size, max_pixels, background)
    )


def prepare(data: bytes, preprocessing: Preprocessing, max_pixels: int) -> NDArray[np.uint8]:
    """Return the network's input for an image file: `decode`, then `Preprocessing.apply`.

    Returns:
        uint8 [height, width, channels], 0…255.
    """
    return preprocessing.apply(decode(data, preprocessing, max_pixels))
