"""A quick decoder for plain PNG files, which are what most small images come as; Pillow takes all others.

Plain is: 8 bits, grey or red, green and blue as is asked for, not interlaced, at most 512 x 512 pixels, and no chunk
that bears on the pixels or on how they are shown. libspng then gives what Pillow gives in a quarter of the time.
What it won't decode, Pillow decodes or refuses, so that what is said of a damaged file comes from one place.
"""

import struct
import zlib
from functools import cache
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: The first chunk from its length to its checksum: IHDR, 13 bytes (PNG specification, 11.2.1).
_HEADER = struct.Struct(">I4sIIBBBBBI")
#: Pillow's mode → the PNG colour type.
_COLOUR = {"L": 0, "RGB": 2}
#: Pixels; beyond this the time is zlib's, whoever calls it.
_LONGEST_SIDE = 512
#: Chunks that a plain file may have, beside those of the pixels: when it was made, by what, and its pixels' size.
_HARMLESS = frozenset({b"tIME", b"tEXt", b"pHYs", b"gAMA", b"sRGB", b"cHRM"})
#: Of these there may be some; a file of nothing but chunks is for Pillow to refuse.
_MOST_CHUNKS = 64


def decode(data: bytes, mode: str, max_pixels: int) -> NDArray[np.uint8] | None:
    """Decode a plain PNG.

    Args:
        data: The whole file.
        mode: "L" or "RGB".
        max_pixels: The most pixels the header may announce; Pillow says so of a file that has more.

    Returns:
        uint8 [height, width] or [height, width, 3]; None: it is not plain, is damaged, or imagecodecs is missing.
    """
    codecs = _codecs()
    if codecs is None or not _is_plain(data, mode, max_pixels):
        return None
    try:
        pixels: NDArray[np.uint8] = codecs.spng_decode(data)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, Pillow says it in our words
        return None
    return pixels


def _is_plain(data: bytes, mode: str, max_pixels: int) -> bool:
    """Whether the header and every chunk, with its checksum, is as it must be."""
    if not data.startswith(_SIGNATURE) or len(data) < 8 + _HEADER.size:
        return False
    length, kind, width, height, *form, _ = _HEADER.unpack_from(data, 8)
    if (length, kind, form) != (13, b"IHDR", [8, _COLOUR[mode], 0, 0, 0]):
        return False
    if not (0 < width <= _LONGEST_SIDE and 0 < height <= _LONGEST_SIDE and width * height <= max_pixels):
        return False
    at = 8
    for _ in range(_MOST_CHUNKS):
        if at + 12 > len(data):
            return False
        size, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        end = at + 12 + size
        if int.from_bytes(data[end - 4 : end]) != zlib.crc32(data[at + 4 : end - 4]) or end > len(data):
            return False
        if kind == b"IEND":
            return end == len(data)
        if kind not in (b"IHDR", b"IDAT") and kind not in _HARMLESS:
            return False
        at = end
    return False


@cache
def _codecs() -> ModuleType | None:
    try:
        import imagecodecs
    except ImportError:  # not for this Python or machine: Pillow does
        return None
    return imagecodecs
