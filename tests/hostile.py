"""Hostile image files, which ask a reader for far more time or memory than their size suggests.

`benchmarks/studies/worst_images.py` measures them at full size, and tests/models/test_hostile.py tests small ones.
"""

import gzip
import io
import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

from PIL import Image

PNG = b"\x89PNG\r\n\x1a\n"
#: 10,000 x 10,000: over the pixel limit of 80 million, under Pillow's own.
SIDE = 10_000
#: Bytes of a text or colour profile after decompression.
SWOLLEN = 100_000_000


class Hostile(NamedTuple):
    """One kind of hostile file.

    Args:
        make: returns the file; its argument is the approximate size in bytes, for files that repeat something.
        kind: the kind of the error that the file must become; "" if its first picture is valid.
    """

    make: Callable[[int], bytes]
    kind: str


def chunk(kind: bytes, body: bytes) -> bytes:
    """Return a chunk of a PNG with the right checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, bits: int = 8, colour: int = 0, extra: bytes = b"") -> bytes:
    """Return a black PNG of the given depth and colour type, with `extra` chunks before its pixels."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = bytes(1 + (width * samples * bits + 7) // 8)
    deflate = zlib.compressobj(9)
    pixels = b"".join([deflate.compress(row) for _ in range(height)] + [deflate.flush()])
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return PNG + header + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    """Return an image as a file of the format `form`."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def tiff(tags: list[tuple[int, int, int, int]], after: bytes = b"", following: int = 0) -> bytes:
    """Return a little-endian TIFF with one directory.

    Args:
        tags: its tags: number, type, count, value or offset.
        after: bytes after the directory, which begin at byte 4,096 if the directory is shorter.
        following: the offset of the next directory.
    """
    entries = b"".join(struct.pack("<HHLL", *tag) for tag in tags)
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<L", following)
    return (b"II*\0\x08\0\0\0" + directory).ljust(4096 if after else 0, b"\0") + after


def _in_jpeg(extra: bytes) -> bytes:
    page = encoded(Image.new("RGB", (16, 16), "white"), "JPEG")
    return page[:2] + extra + page[2:]


def _in_gif(extra: bytes) -> bytes:
    page = encoded(Image.new("P", (16, 16)), "GIF")
    at = page.index(b",", 13)  # the picture's descriptor, after header and palette
    return page[:at] + extra + page[at:]


def _scans(side: int, number: int) -> bytes:
    page = encoded(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    last = page.rindex(b"\xff\xda")
    return page[:-2] + page[last:-2] * number + page[-2:]


def _frames(form: str, **options: object) -> bytes:
    pages = [Image.new("RGB", (16, 16), (number % 256, number // 256, 0)) for number in range(3000)]
    return encoded(pages[0], form, save_all=True, append_images=pages[1:], **options)


def _webp(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _empty_webp() -> bytes:
    canvas = b"\x02\0\0\0" + struct.pack("<I", 16382)[:3] + struct.pack("<I", 4880)[:3]
    return _webp((b"VP8X", canvas), (b"ANIM", bytes(6)), (b"ANMF", bytes(16)))


def _webp_metadata(size: int) -> bytes:
    page = encoded(Image.new("RGB", (16, 16)), "WEBP", lossless=True)
    canvas = b"\x2c\0\0\0" + b"\x0f\0\0" * 2  # flags: profile, EXIF, XMP
    blank = bytes(size // 3)
    return _webp((b"VP8X", canvas), (b"ICCP", blank), (page[12:16], page[20:]), (b"EXIF", blank), (b"XMP ", blank))


def _one_pixel(*more: tuple[int, int, int, int]) -> list[tuple[int, int, int, int]]:
    tags = [(256, 4, 1, 1), (257, 4, 1, 1), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 0)]
    return sorted([*tags, (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, 1, 1), *more])


def _tiff_frames(number: int) -> bytes:
    directory = tiff(_one_pixel())[8:-4]
    ends = (8 + (page + 1) * (len(directory) + 4) for page in range(number))
    return b"II*\0\x08\0\0\0" + b"".join(directory + struct.pack("<L", end) for end in ends) + b"\0\0"


def _tiff_tile() -> bytes:
    tile = zlib.compress(bytes(20_000 * 20_000))
    tags = [(256, 4, 1, 1), (257, 4, 1, 1), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1)]
    return tiff([*tags, (322, 4, 1, 20_000), (323, 4, 1, 20_000), (324, 4, 1, 4096), (325, 4, 1, len(tile))], tile)


def _bmp_runs(side: int) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, 0, 0, 0, 256, 0)
    runs = b"\xff\1" * (side * side // 255)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + 40 + 1024) + header + bytes(1024) + runs + b"\0\1"


def _qoi_runs(side: int) -> bytes:
    return b"qoif" + struct.pack(">II", side, side) + b"\4\0" + b"\xfd" * (side * side // 62 + 1) + bytes(7) + b"\1"


def _fits_gzip(side: int) -> bytes:
    def header(*cards: str) -> bytes:
        pairs = (card.split(" ", 1) for card in cards)
        return b"".join(f"{name:8}= {value:>20}".encode().ljust(80) for name, value in pairs) + b"END"

    primary = header("SIMPLE T", "BITPIX 8", "NAXIS 0").ljust(2880)
    table = ("XTENSION 'BINTABLE'", "BITPIX 8", "NAXIS 2", "NAXIS1 8", "NAXIS2 1", "PCOUNT 0", "GCOUNT 1", "TFIELDS 1")
    image = ("ZIMAGE T", "ZCMPTYPE 'GZIP_1  '", "ZBITPIX 8", "ZNAXIS 2", f"ZNAXIS1 {side}", f"ZNAXIS2 {side}")
    return primary + header(*table, *image).ljust(2880) + bytes(8) + gzip.compress(bytes(4 * side * side))


def _icon(picture: bytes, pictures: int = 1) -> bytes:
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(picture), 6 + 16 * pictures)
    return b"\0\0\1\0" + struct.pack("<H", pictures) + entry * pictures + picture


def _icns(*blocks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(kind + struct.pack(">I", 8 + len(data)) + data for kind, data in blocks)
    return b"icns" + struct.pack(">I", 8 + len(body)) + body


def _jpeg2000_header(side: int) -> bytes:
    size = struct.pack(">HIIIIIIIIH", 0, side, side, 0, 0, side, side, 0, 0, 1) + b"\7\1\1"
    return b"\xff\x4f\xff\x51" + struct.pack(">H", 2 + len(size)) + size


def _psd(size: int) -> bytes:
    header = b"8BPS" + struct.pack(">H6xHIIHHI", 1, 3, 8, 8, 8, 3, 0)
    resources = (b"8BIM\0\1" + bytes(6)) * (size // 12)
    return header + struct.pack(">I", len(resources)) + resources + bytes(6) + bytes(192)


#: The name of each file in docs/guide/bad-input.md → the file.
HOSTILE: dict[str, Hostile] = {
    "PNG of 100 megapixels in 12 KB": Hostile(lambda _: png(SIDE, SIDE, bits=1), "too-large"),
    "PNG of 2.5 gigapixels": Hostile(lambda _: png(50_000, 50_000, bits=1), "too-large"),
    "PNG, 1 pixel wide and 79 million high": Hostile(lambda size: png(1, min(79_000_000, size)), ""),
    "PNG, 79 million pixels wide and 1 high": Hostile(lambda size: png(min(79_000_000, size), 1), ""),
    "PNG of chunks without end": Hostile(
        lambda size: png(16, 16, extra=chunk(b"teSt", b"") * (size // 12)), "too-large"
    ),
    "PNG whose zTXt swells to 100 MB": Hostile(
        lambda _: png(16, 16, extra=chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(SWOLLEN)))), "too-large"
    ),
    "PNG whose iTXt swells to 100 MB": Hostile(
        lambda _: png(16, 16, extra=chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(bytes(SWOLLEN)))), "too-large"
    ),
    "PNG whose colour profile swells to 100 MB": Hostile(
        lambda _: png(16, 16, extra=chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(SWOLLEN)))), "too-large"
    ),
    "PNG of 1,000 texts of 1 MB each": Hostile(
        lambda _: png(16, 16, extra=chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1_000_000))) * 1000), "too-large"
    ),
    "PNG with an enormous text": Hostile(lambda size: png(16, 16, extra=chunk(b"tEXt", b"k\0" + b"x" * size)), ""),
    "PNG with an enormous EXIF": Hostile(
        lambda size: png(16, 16, extra=chunk(b"eXIf", tiff([(tag, 7, size, 8) for tag in range(60_000)], bytes(size)))),
        "",
    ),
    "PNG animation of 3,000 frames": Hostile(lambda _: _frames("PNG"), ""),
    "JPEG of empty segments": Hostile(lambda size: _in_jpeg(b"\xff\xe9\0\2" * (size // 4)), "too-large"),
    "JPEG of padding": Hostile(lambda size: _in_jpeg(b"\xff" * size), "too-large"),
    "JPEG of EXIF segments": Hostile(
        lambda size: _in_jpeg((b"\xff\xe1\xff\xffExif\0\0" + bytes(65_527)) * (size // 65_537)), "too-large"
    ),
    "JPEG of other APP segments": Hostile(
        lambda size: _in_jpeg((b"\xff\xe2\xff\xffICC_PROFILE\0\1\1" + bytes(65_519)) * (size // 65_537)), ""
    ),
    "progressive JPEG of 50 megapixels and 10,000 scans": Hostile(lambda _: _scans(7_000, 10_000), "too-large"),
    "GIF of empty extensions": Hostile(lambda size: _in_gif(b"!\xfe\0" * (size // 3)), "too-large"),
    "GIF of a comment in blocks of one byte": Hostile(
        lambda size: _in_gif(b"!\xfe" + b"\1x" * (size // 2) + b"\0"), "too-large"
    ),
    "GIF whose screen has 4 gigapixels": Hostile(
        lambda _: b"GIF89a\xff\xff\xff\xff\xf0\0\0" + bytes(6) + b",\0\0\0\0\x08\0\x08\0\0\2\2\x4c\1\0;", "too-large"
    ),
    "GIF of 3,000 frames": Hostile(lambda _: _frames("GIF"), ""),
    "TIFF of 100,000 frames": Hostile(lambda _: _tiff_frames(100_000), ""),
    "TIFF of 65,535 tags that all hold the whole file": Hostile(
        lambda size: tiff([(1 + tag, 7, size, 0) for tag in range(65_535)], bytes(size)), "corrupt"
    ),
    "TIFF with an enormous tag": Hostile(lambda size: tiff(_one_pixel((700, 1, size, 4096)), bytes(size)), ""),
    "TIFF of one pixel on a tile of 400 megapixels": Hostile(lambda _: _tiff_tile(), "too-large"),
    "TIFF whose directories contain and follow each other": Hostile(
        lambda _: tiff(_one_pixel((330, 4, 1, 8), (34665, 4, 1, 8), (34853, 4, 1, 8)), following=8), ""
    ),
    "WebP whose canvas of 79 megapixels holds nothing": Hostile(lambda _: _empty_webp(), "corrupt"),
    "WebP animation of 3,000 frames": Hostile(lambda _: _frames("WEBP", lossless=True), ""),
    "WebP with enormous profile, EXIF and XMP": Hostile(_webp_metadata, ""),
    "BMP of 79 megapixels in runs": Hostile(lambda _: _bmp_runs(8_900), "too-large"),
    "QOI of 79 megapixels in runs": Hostile(lambda _: _qoi_runs(8_900), "too-large"),
    "QOI of 16 megapixels": Hostile(lambda size: _qoi_runs(min(4_000, size // 8_000)), ""),
    "FITS of 100 megapixels, compressed": Hostile(lambda _: _fits_gzip(SIDE), "too-large"),
    "icon of 65,535 pictures": Hostile(lambda _: _icon(png(16, 16), pictures=65_535), ""),
    "icon that holds a PNG of 100 megapixels": Hostile(lambda _: _icon(png(SIDE, SIDE, bits=1)), "too-large"),
    "icon that holds a bitmap of 100 megapixels": Hostile(
        lambda _: _icon(
            struct.pack("<IiiHHIIiiII", 40, SIDE, 2 * SIDE, 1, 1, 0, 0, 0, 0, 2, 0) + bytes(8 + SIDE * 2520)
        ),
        "too-large",
    ),
    "icns that holds a JPEG 2000 of 100 megapixels": Hostile(
        lambda _: _icns((b"ic10", _jpeg2000_header(SIDE))), "too-large"
    ),
    "icns of empty blocks": Hostile(lambda size: _icns(*[(b"none", b"")] * (size // 8)), "too-large"),
    "PSD of empty resources": Hostile(_psd, "too-large"),
    "plain PPM of comments": Hostile(lambda size: b"P2 16 16 255\n" + b"#\n" * (size // 2), "too-large"),
    "binary PPM of comments": Hostile(
        lambda size: b"P5 " + b"#\n" * (size // 2) + b"16 16 255\n" + bytes(256), "too-large"
    ),
    "XPM of colours": Hostile(
        lambda size: b'/* XPM */\nstatic char*x[]={\n"8 8 9000000 4",\n' + b'"aaaa c #000000",\n' * (size // 18),
        "too-large",
    ),
}
