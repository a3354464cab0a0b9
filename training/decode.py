"""Bytes of an image file → an upright, opaque, 8-bit Pillow image, or an `ImageError`.

Nothing here keeps state, so any number of threads may decode at once. Pillow's own process-wide limit
(`PIL.Image.MAX_IMAGE_PIXELS`) is left as it is: ours is checked first, from the header, and Pillow's
stays behind it for what a container hides from the header.
"""

import io
import re
import struct
import warnings
import zlib
from functools import cache

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from training.errors import ImageError

_WHITE = 255
_BAND = 1_000_000  # pixels that are converted at once

# EXIF tag 0x0112 → the transposition that makes the image upright (CIPA DC-008, "Orientation").
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

# Opening an EPS file makes Pillow run Ghostscript on it: no program is run on somebody's upload.
_REFUSED_FORMATS = frozenset({"EPS"})

# How files begin that are images, though none that we decode, or damaged ones that we would have.
_PNG = b"\x89PNG\r\n\x1a\n"
_ICONS = (b"\0\0\1\0", b"icns")
_DAMAGED = ((_PNG, "PNG"), (b"\xff\xd8\xff", "JPEG"), (b"GIF8", "GIF"), (b"BM", "BMP"))
_SHORTEST = 64  # bytes; no such file that holds a picture is shorter, so what is was cut in its header
_UNSUPPORTED = (
    (re.compile(rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?(<!DOCTYPE svg[^>]*>\s*)?<svg\b", re.S), "SVG"),
    (re.compile(rb"....ftyp(heic|heix|hevc|mif1|msf1)", re.S), "HEIF"),
    (re.compile(rb"%PDF-"), "PDF"),
    (re.compile(rb"%!PS-Adobe|\xc5\xd0\xd3\xc6"), "EPS"),
)


def decode(data: bytes, mode: str, least: tuple[int, int], max_pixels: int) -> Image.Image:
    """Decode one image file: its first frame, upright, flattened on white.

    Args:
        data: The whole file, in any format that Pillow reads.
        mode: "L" or "RGB", the mode of the result.
        least: Width and height in pixels that a JPEG may be shrunk to while it is decoded, which costs a
            fraction of decoding it in full; never less than this.
        max_pixels: The most pixels (width × height) the header may announce.

    Returns:
        An image of that mode, 8 bits a channel.

    Raises:
        ImageError: The file is none of that; its `kind` says why. No other exception leaves here.
    """
    if not data:
        raise ImageError("empty", "the file has no bytes")
    _silence_pillow()
    try:
        if data.startswith(_PNG):
            _check_png(data)
        with _open(data, max_pixels) as image:
            if max(image.size) > 2 * max(least):
                image.draft(mode, least)  # only JPEG takes it
            image.load()
            return _convert(_upright(image), mode)
    except ImageError:
        raise
    except Exception as exc:
        # A damaged file makes Pillow's plugins raise just about anything.
        raise _translate(exc, data, max_pixels) from exc


def _open(data: bytes, max_pixels: int) -> Image.Image:
    if data.startswith(_ICONS):
        # Icons hold whole PNG files. Pillow decodes one as soon as it opens the icon, whatever the icon says of
        # its size.
        for found in re.finditer(re.escape(_PNG) + rb"....IHDR(.{8})", data, re.S):
            _check_size(struct.unpack(">II", found[1]), max_pixels)
    image = Image.open(io.BytesIO(data), formats=_formats())
    _check_size(image.size, max_pixels)
    return image


def _check_size(size: tuple[int, ...], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageError(
            "too-large", f"{width} x {height} is {width * height:,} pixels, and the limit is {max_pixels:,}"
        )
    if width < 1 or height < 1:
        raise ImageError("corrupt", f"the header says {width} x {height} pixels")


def _check_png(data: bytes) -> None:
    """Check what Pillow leaves unchecked: the checksums of the chunks that hold the pixels."""
    at = len(_PNG)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            return  # truncated, which decoding it will tell
        # A lower-case first letter: an ancillary chunk, which the picture does without.
        if kind[:1].isupper() and zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4]):
            raise ImageError("corrupt", f"the PNG chunk {kind!r} at byte {at} doesn't match its checksum")
        at = end + 4


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in Image.ID if name not in _REFUSED_FORMATS)


def _silence_pillow() -> None:
    # Pillow warns of what one file has wrong with it (and of 90 million pixels, where our limit decides).
    # `catch_warnings` swaps the process's filters, so with several threads it loses some for good; one filter
    # for Pillow's modules, put back when somebody reset the filters, is safe from any thread.
    if _PILLOW_FILTER not in warnings.filters:
        warnings.filterwarnings("ignore", module=_PILLOW_FILTER[3].pattern)


_PILLOW_FILTER = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - damaged EXIF raises anything, and the pixels are good without it
        orientation = 1
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


def _convert(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == mode and not image.has_transparency_data:
        return image.copy()  # the caller's, with no tie to a file
    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image)
    elif image.mode == "LAB":
        image = _from_lab(image)
    if image.has_transparency_data or image.mode in ("La", "RGBa"):
        image = _flatten(image)
    if image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    return image if image.mode == mode else image.convert(mode)


def _flatten(image: Image.Image) -> Image.Image:
    # Straight to "RGBA" from every mode that can be transparent, palettes and single transparent colours too.
    image = image.convert("RGBA")
    paper = Image.new("RGBA", image.size, (_WHITE, _WHITE, _WHITE, _WHITE))
    return Image.alpha_composite(paper, image).convert("RGB")


def _from_lab(image: Image.Image) -> Image.Image:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    assert converted is not None  # only with inPlace=True
    return converted


def _eight_bits(image: Image.Image) -> Image.Image:
    """A grey image of 16-bit integers (any byte order), 32-bit integers or floats → "L"."""
    values = np.asarray(image)  # [H, W]; uint16 in either byte order, int32 or float32
    transparent = image.info.get("transparency")
    low, high = _range(values, image)
    grey = np.empty(values.shape, np.uint8)
    # In bands: as float64, a whole picture at the pixel limit would take gigabytes.
    rows = max(1, _BAND // max(1, values.shape[1]))
    for top in range(0, values.shape[0], rows):
        band = values[top : top + rows]
        with np.errstate(invalid="ignore"):
            scaled = np.clip((band.astype(np.float64) - low) / (high - low) * 255.0, 0.0, 255.0)
        grey[top : top + rows] = np.rint(np.nan_to_num(scaled)).astype(np.uint8)
        if isinstance(transparent, int):
            grey[top : top + rows][band == transparent] = _WHITE
    return Image.fromarray(grey)


def _range(values: np.ndarray, image: Image.Image) -> tuple[float, float]:
    """What is black and what is white in `values` [H, W]: by the format, or by a guess where it says not."""
    if image.mode.startswith("I;16") or image.format in ("PNG", "PPM"):
        return 0.0, 65535.0 if image.mode != "F" else 1.0
    known = values[np.isfinite(values)] if image.mode == "F" else values
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    if low >= 0.0:
        # The narrowest usual range that holds every value: floats of 0 to 1, bytes, 16-bit words.
        usual = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        for white in usual:
            if high <= white:
                return 0.0, white
    return low, high if high > low else low + 1.0


def _translate(exc: Exception, data: bytes, max_pixels: int) -> ImageError:
    text = str(exc) or type(exc).__name__
    if isinstance(exc, UnidentifiedImageError):
        return _unidentified(data)
    if isinstance(exc, Image.DecompressionBombError):
        return ImageError("too-large", f"{text} (Pillow's own limit; ours is {max_pixels:,} pixels)")
    if isinstance(exc, MemoryError):
        return ImageError("too-large", "there is not enough memory to decode it")
    if isinstance(exc, EOFError) or re.search(r"truncated|not enough (image )?data|end of file", text, re.I):
        return ImageError("truncated", f"the file ends early ({text})")
    if isinstance(exc, NotImplementedError) or re.search(r"unsupported|not supported|not available|cannot find", text):
        return ImageError("unsupported", text)
    return ImageError("corrupt", text)


def _unidentified(data: bytes) -> ImageError:
    for start, name in _DAMAGED:
        if data.startswith(start):
            if len(data) < _SHORTEST:
                return ImageError("truncated", f"the {name} file ends after {len(data)} bytes")
            return ImageError("corrupt", f"it begins as a {name} file and goes on as none")
    for pattern, name in _UNSUPPORTED:
        if pattern.match(data[:4096]):
            return ImageError("unsupported", f"{name} files are not decoded; convert it to PNG or JPEG")
    return ImageError("not-an-image", f"no known image format begins with {data[:8]!r}")
