"""A quick decoder for plain PNG files, which are what most small images come as; Pillow takes all others.

Plain is: 8 bits, grey or red, green and blue as is asked for, not interlaced, at most 512 x 512 pixels, and no chunk
that bears on the pixels or on how they are shown. libspng then gives what Pillow gives in a sixth of the time.
What it won't decode, Pillow decodes or refuses, so that what is said of a damaged file comes from one place.
"""

import struct
import zlib
from functools import cache
from importlib import import_module
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

#: What every file begins with, up to the name of its first chunk (PNG specification, 5.2 and 11.2.1), and ends with.
_SIGNATURE = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"
_END = b"\0\0\0\0IEND\xaeB`\x82"
#: All of a file before its second chunk: that, width and height, depth to interlacing, the first one's checksum.
_HEADER = struct.Struct(">16sII5sI")
#: Pillow's mode → 8 bits, the PNG colour type, and neither another compression or filtering, nor interlacing.
_FORM = {"L": b"\x08\0\0\0\0", "RGB": b"\x08\x02\0\0\0"}
#: A chunk is its length and kind, its bytes, and the checksum of kind and bytes.
_CHUNK, _CHECK = struct.Struct(">I4s"), struct.Struct(">I")
#: Pixels; beyond this the time is zlib's, whoever calls it.
_LONGEST_SIDE = 512
#: Chunks that a plain file may have, and the bytes below which Pillow calls one truncated: those of the pixels, and
#: when it was made, by what, and its pixels' size and colours.
_HARMLESS = {b"IDAT": 0, b"tIME": 0, b"tEXt": 0, b"pHYs": 9, b"gAMA": 4, b"sRGB": 1, b"cHRM": 0}
#: Of these there may be some; a file of nothing but chunks is for Pillow to refuse.
_MOST_CHUNKS = 64


def decode(data: bytes, mode: str, max_pixels: int) -> NDArray[np.uint8] | None:
    """Decode a plain PNG.

    Args:
        data: The whole file.
        mode: "L" or "RGB".
        max_pixels: The most pixels the header may announce; Pillow says so of a file that has more.

    Returns:
        uint8 [height, width] or [height, width, 3]; None: it is not plain, is damaged, or pyspng-seunglab is missing.
    """
    spng = _spng()
    if spng is None or not _is_plain(data, mode, max_pixels):
        return None
    try:
        pixels: NDArray[np.uint8] = spng.load(data, mode)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, Pillow says it in our words
        return None
    return pixels


def _is_plain(data: bytes, mode: str, max_pixels: int) -> bool:
    """Whether the header and every chunk, with its checksum, is as it must be."""
    last = len(data) - len(_END)
    if last < _HEADER.size or not data.endswith(_END):
        return False
    signature, width, height, form, check = _HEADER.unpack_from(data)
    if signature != _SIGNATURE or form != _FORM[mode] or check != zlib.crc32(data[12:29]):
        return False
    if not (0 < width <= _LONGEST_SIDE and 0 < height <= _LONGEST_SIDE and width * height <= max_pixels):
        return False
    at = _HEADER.size
    for _ in range(_MOST_CHUNKS):
        if at >= last:
            return at == last
        size, kind = _CHUNK.unpack_from(data, at)
        end = at + 12 + size
        if (
            end > last
            or size < _HARMLESS.get(kind, len(data))
            or zlib.crc32(data[at + 4 : end - 4]) != _CHECK.unpack_from(data, end - 4)[0]
        ):
            return False
        at = end
    return False


@cache
def _spng() -> ModuleType | None:
    try:
        return import_module("pyspng")
    except ImportError:  # not for this Python or machine: Pillow does
        return None
