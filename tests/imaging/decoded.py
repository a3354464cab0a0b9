"""Images of four colours, and the results of decoding them."""

import numpy as np
import pytest
from PIL import Image

from pigeonhole.errors import ImageError
from pigeonhole.imaging import preprocess
from pigeonhole.imaging.preprocess import prepare
from pigeonhole.imaging.preprocessing import Preprocessing

GREY = Preprocessing("stretch", 8, 8, 1)
COLOUR = Preprocessing("stretch", 8, 8, 3)
LIMIT = 10_000_000

# Four quarters of one colour each: enough to test modes, orientation and scaling.
QUARTERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)


def decode(data: bytes, preprocessing: Preprocessing, max_pixels: int) -> Image.Image:
    image = preprocess.decode(data, preprocessing, max_pixels)
    return image if isinstance(image, Image.Image) else Image.fromarray(image)


def quarters(side: int = 16) -> Image.Image:
    return Image.fromarray(QUARTERS.repeat(side // 2, 0).repeat(side // 2, 1))


def failure(data: bytes, preprocessing: Preprocessing = COLOUR, max_pixels: int = LIMIT) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode(data, preprocessing, max_pixels)
    return caught.value


def outcome(data: bytes, preprocessing: Preprocessing) -> tuple[tuple[int, ...], str]:
    try:
        return prepare(data, preprocessing, LIMIT).shape, ""
    except ImageError as error:
        return (), error.kind
