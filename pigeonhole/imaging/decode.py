"""Bytes of an image file → an upright, opaque, 8-bit Pillow image, or an `ImageError`.

This module keeps no state, so any number of threads may decode at once. Pillow's own limit for the process
(`PIL.Image.MAX_IMAGE_PIXELS`) stays unchanged. Our limit is checked first, against the size in the header. Pillow's
limit then covers images inside containers, whose size is not in that header.
"""

import ctypes
import io
import logging
import re
import struct
import warnings
import zlib
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, _imaging
from PIL.TiffImagePlugin import TILELENGTH, TILEWIDTH, TiffImageFile

from pigeonhole.errors import ErrorKind, ImageError
from pigeonhole.imaging import flatten
from pigeonhole.version import install_hint

#: A decoded image before preprocessing: Pillow's, or uint8 [height, width] or [height, width, 3].
Decoded = Image.Image | NDArray[np.uint8]

_WHITE = 255

# Limits far above any normal file. A hostile file could take minutes without them; each allows about a second of work.
_MAX_READS = 1_000_000  # calls of `read` by a format's plugin, for chunks, segments, tags and padding
_MAX_SCANS = 100  # scans of a JPEG, each of which may touch every pixel; libtiff has the same limit for JPEG in TIFF
_MAX_COMMENTS = 1_000  # comments in a plain PPM: Pillow copies up to a megabyte for each
_SLOW_PIXELS = 16_000_000  # pixels in a format that Pillow decodes in Python, at half a microsecond each
_LONGEST_SIDE = 65_535  # pixels, the limit of JPEG: resizing takes memory for each row and each column
_LONGEST_TEXT = 200  # characters of Pillow's message, which may quote the file at any length

# Value of EXIF tag 0x0112 → the transposition that makes the image upright (CIPA DC-008, "Orientation").
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)  # orientations that swap width and height

# For EPS, Pillow would run Ghostscript on an untrusted file. A BLP or IPTC record contains a whole file of another
# format, and only Pillow's own limit bounds its size.
_REFUSED_FORMATS = frozenset({"EPS", "BLP", "IPTC"})

# The first bytes of image formats: to check a container, and to explain why a file can't be decoded.
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_PLAIN = (b"P1", b"P2", b"P3")
_ICO, _ICNS = b"\0\0\1\0", b"icns"
# Width and height in the header of a PNG and of a JPEG 2000.
_ICON_SIZE = re.compile(re.escape(_PNG) + rb"....IHDR(.{8})|\xff\x4f\xff\x51....(.{8})", re.S)
# A JPEG's "start of scan" for 1 to 4 components, or an EXIF segment. Pillow's time for EXIF segments is quadratic.
_JPEG_REPEATS = re.compile(rb"\xff\xda\0(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)|\xff\xe1..Exif\0\0", re.S)
_DAMAGED = ((_PNG, "PNG"), (_JPEG, "JPEG"), (b"GIF8", "GIF"), (b"BM", "BMP"), (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"))
_SHORTEST = 64  # bytes; a shorter file of these formats ends within its header
_HEIF = re.compile(rb"....ftyp(heic|heix|heim|heis|hevc|hevx|mif1|msf1)", re.S)
_UNSUPPORTED = (
    (re.compile(rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?(<!DOCTYPE svg[^>]*>\s*)?<svg\b", re.S), "SVG"),
    (re.compile(rb"%PDF-"), "PDF"),
    (re.compile(rb"%!PS-Adobe|\xc5\xd0\xd3\xc6"), "EPS"),
)


def decode(
    data: bytes, mode: str, jpeg_min_size: tuple[int, int], max_pixels: int, background: int = _WHITE
) -> Image.Image:
    """Decode the first frame of an image file: upright, and flattened on white.

    Args:
        data: The whole file, in any format that Pillow reads.
        mode: "L" or "RGB", the mode of the result.
        jpeg_min_size: The smallest width and height, in pixels, to which a JPEG may be shrunk while it is decoded.
            Decoding a smaller image costs a fraction of the time.
        max_pixels: The largest number of pixels (width × height) that the header may announce.
        background: The grey level, 0…255, behind transparent pixels.

    Returns:
        An image of the requested mode, 8 bits a channel. A JPEG, and an image with a side of over 65,535 pixels, may
        be smaller than the file says, by a whole factor.

    Raises:
        ImageError: The file can't be decoded; `kind` is the reason. The function raises no other exception.
    """
    if not data:
        raise ImageError(ErrorKind.EMPTY, "the file has no bytes")
    _silence_pillow()
    try:
        _check_container(data, max_pixels)
        with _open(data, max_pixels) as image:
            if max(image.size) > 2 * max(jpeg_min_size):
                image.draft(mode, jpeg_min_size)  # only JPEG takes it
            image.load()
            turn = _UPRIGHT.get(_orientation(image))
        # Converted before it is turned: turning makes a second copy, and the converted image is smaller.
        image = flatten.convert(image, mode, background)
        if max(image.size) > _LONGEST_SIDE:
            image = image.reduce((-(-image.width // _LONGEST_SIDE), -(-image.height // _LONGEST_SIDE)))  # rounded up
        return image if turn is None else image.transpose(turn)
    except ImageError:
        raise
    except Exception as exc:
        # On a damaged file, Pillow's plugins raise exceptions of any type.
        raise _translate(exc, data, max_pixels) from exc


def memory_of(image: Decoded) -> int:
    """Return the memory of a decoded image, in bytes."""
    if isinstance(image, np.ndarray):
        return image.nbytes
    return image.width * image.height * (1 if image.mode == "L" else 4)  # Pillow's RGB has a spare byte for each pixel


def upright_size(data: bytes, max_pixels: int) -> tuple[int, int]:
    """Return the width and height, in pixels, of an image file that can be decoded: upright, and not shrunk."""
    with _open(data, max_pixels) as image:
        width, height = image.size
        image.load()  # the orientation of a PNG may be in its last chunk
        return (height, width) if _orientation(image) in _SIDEWAYS else (width, height)


class _File(io.BytesIO):
    """A file in memory with a limit on the number of reads.

    Pillow's plugins read chunks, segments and tags in Python, a microsecond or more for each, without any limit.
    """

    _reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads > _MAX_READS:
            raise ImageError(ErrorKind.TOO_LARGE, f"its headers have more than {_MAX_READS:,} parts")
        return super().read(size)

    def readline(self, size: int | None = -1, /) -> bytes:
        self.read(0)  # counts this call as a read
        return super().readline(size)


def _open(data: bytes, max_pixels: int) -> Image.Image:
    formats = (*_formats(), "HEIF") if _HEIF.match(data) and _reads_heif() else _formats()
    image = Image.open(_File(data), formats=formats)
    _check_size(image.size, max_pixels)
    if any(tile[0] in Image.DECODERS for tile in image.tile):  # decoders written in Python
        _check_size(image.size, min(max_pixels, _SLOW_PIXELS))
        image.fp = io.BytesIO(data)  # no limit on reads: these decoders read once for each pixel
    if isinstance(image, TiffImageFile):
        # libtiff allocates a whole tile, even if most of it is outside the image.
        _check_size((image.tag_v2.get(TILEWIDTH, 1), image.tag_v2.get(TILELENGTH, 1)), max_pixels)
    return image


def _check_container(data: bytes, max_pixels: int) -> None:
    if data.startswith(_PNG):
        _check_png(data)
    elif data.startswith(_JPEG):
        repeats = sum(1 for _ in _JPEG_REPEATS.finditer(data))
        if repeats > _MAX_SCANS:
            raise ImageError(
                ErrorKind.TOO_LARGE, f"the JPEG has {repeats:,} scans or EXIF segments, and the limit is {_MAX_SCANS}"
            )
    elif data.startswith(_PLAIN) and data.count(b"#") > _MAX_COMMENTS:
        raise ImageError(ErrorKind.TOO_LARGE, f"the plain PPM has more than {_MAX_COMMENTS:,} comments")
    elif data.startswith((_ICO, _ICNS)):
        _check_icon(data, max_pixels)


def _check_icon(data: bytes, max_pixels: int) -> None:
    """Check the sizes of the images in an icon file, which Pillow decodes as soon as it opens the file."""
    for found in _ICON_SIZE.finditer(data):
        _check_size(struct.unpack(">II", found[1] or found[2]), max_pixels)
    if data.startswith(_ICO):
        pictures = int.from_bytes(data[4:6], "little")
        for entry in range(6, min(6 + 16 * pictures, len(data) - 15), 16):
            (at,) = struct.unpack_from("<I", data, entry + 12)
            if not data.startswith(_PNG, at) and at + 12 <= len(data):
                width, height = struct.unpack_from("<ii", data, at + 4)  # of a bitmap; the height includes its mask
                _check_size((abs(width), abs(height) // 2), max_pixels)


def _check_size(size: tuple[int, ...], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageError(
            ErrorKind.TOO_LARGE, f"{width} x {height} is {width * height:,} pixels, and the limit is {max_pixels:,}"
        )
    if width < 1 or height < 1:
        raise ImageError(ErrorKind.CORRUPT, f"the header says {width} x {height} pixels")


def _check_png(data: bytes) -> None:
    """Check the checksums of a PNG's critical chunks, which Pillow does not check for pixel data."""
    at, view = len(_PNG), memoryview(data)
    for _ in range(_MAX_READS):
        if at + 12 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            return  # truncated: decoding reports it
        # A lower-case first letter marks an ancillary chunk, which the pixels do not depend on.
        if kind[:1].isupper() and zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4]):
            raise ImageError(ErrorKind.CORRUPT, f"the PNG chunk {kind!r} at byte {at} doesn't match its checksum")
        at = end + 4
    raise ImageError(ErrorKind.TOO_LARGE, f"the PNG has more than {_MAX_READS:,} chunks")


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in Image.ID if name not in {*_REFUSED_FORMATS, "HEIF"})


@cache
def _reads_heif() -> bool:
    """Register the decoder of HEIF files with Pillow; return whether it is installed."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def _silence_pillow() -> None:
    _silence_logs()
    # Pillow warns about defects of one file, and about 90 million pixels, where our own limit decides.
    # `catch_warnings` is not thread-safe: it swaps the process's filters. One filter for Pillow's modules, added
    # again if it was removed, is safe from any thread.
    if _PILLOW_FILTER not in warnings.filters:
        warnings.filterwarnings("ignore", module=_PILLOW_FILTER[3].pattern)


@cache
def _silence_logs() -> None:
    # Pillow also logs some of the errors that it raises.
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    # libtiff writes the defects of a file to standard error. Pillow raises those that matter.
    library = ctypes.CDLL(_imaging.__file__)  # also finds functions of the libraries that it is linked to
    for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
        set_handler = getattr(library, name, None)  # not visible where Pillow contains its own libtiff
        if set_handler is not None:
            set_handler.argtypes, set_handler.restype = (ctypes.c_void_p,), ctypes.c_void_p
            set_handler(None)


_PILLOW_FILTER = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


def _orientation(image: Image.Image) -> int:
    """Return the orientation in the image's EXIF data, 1…8; 1 if there is none, or it can't be read."""
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - damaged EXIF raises exceptions of any type, and the pixels may be fine
        return 1
    return found if isinstance(found, int) else 1


def _translate(exc: Exception, data: bytes, max_pixels: int) -> ImageError:
    text = " ".join((str(exc) or type(exc).__name__).split())[:_LONGEST_TEXT]
    if isinstance(exc, UnidentifiedImageError):
        return _unidentified(data)
    if isinstance(exc, Image.DecompressionBombError):
        return ImageError(ErrorKind.TOO_LARGE, f"{text} (Pillow's own limit; ours is {max_pixels:,} pixels)")
    if re.search(r"too large|too much memory", text, re.I):
        return ImageError(ErrorKind.TOO_LARGE, text)
    if isinstance(exc, MemoryError):
        return ImageError(ErrorKind.TOO_LARGE, "there is not enough memory to decode it")
    if isinstance(exc, EOFError) or re.search(r"truncated|not enough (image )?data|end of file", text, re.I):
        return ImageError(ErrorKind.TRUNCATED, f"the file ends early ({text})")
    if isinstance(exc, NotImplementedError) or re.search(r"unsupported|not supported|not available|cannot find", text):
        return ImageError(ErrorKind.UNSUPPORTED, text)
    return ImageError(ErrorKind.CORRUPT, text)


def _unidentified(data: bytes) -> ImageError:
    for start, name in _DAMAGED:
        if data.startswith(start):
            if len(data) < _SHORTEST:
                return ImageError(ErrorKind.TRUNCATED, f"the {name} file ends after {len(data)} bytes")
            return ImageError(ErrorKind.CORRUPT, f"it begins as a {name} file, but the rest is damaged")
    if _HEIF.match(data):
        if _reads_heif():
            return ImageError(ErrorKind.CORRUPT, "it begins as a HEIF file, but the rest is damaged")
        hint = install_hint("heif")
        return ImageError(ErrorKind.UNSUPPORTED, f"HEIF (HEIC) needs pillow-heif where the workers run: `{hint}`")
    for pattern, name in _UNSUPPORTED:
        if pattern.match(data[:4096]):
            return ImageError(ErrorKind.UNSUPPORTED, f"{name} files are not decoded; convert it to PNG or JPEG")
    return ImageError(ErrorKind.NOT_AN_IMAGE, f"no known image format begins with {data[:8]!r}")
