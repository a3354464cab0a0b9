"""The fast decoder returns the same pixels as Pillow, or None."""

import io
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from pigeonhole.errors import ImageError
from pigeonhole.imaging import decode, plain_png
from tests.conftest import ROOT
from tests.fuzz import damaged_files, sound_files

pytest.importorskip("pyspng", reason="without it Pillow decodes everything")
SOUND = sorted(file for file in (ROOT / "samples").glob("*.png") if b"IEND" in file.read_bytes())


def fast(data: bytes, mode: str) -> np.ndarray | None:
    return plain_png.decode(data, mode, 80_000_000)


def by_pillow(data: bytes, mode: str) -> np.ndarray:
    return np.asarray(decode.decode(data, mode, (10_000, 10_000), 80_000_000))


def png(mode: str, side: int = 9, **options: object) -> bytes:
    bands = len(Image.new(mode, (1, 1)).getbands())
    noise = np.random.default_rng(side).integers(0, 256, (side, side, bands)[: 2 + (bands > 1)])
    file = io.BytesIO()
    Image.fromarray(noise.astype(np.uint8)).save(file, "PNG", **options)
    return file.getvalue()


def test_all_samples_are_decoded_like_pillow() -> None:
    assert len(SOUND) == 200
    for file in SOUND:
        pixels = fast(file.read_bytes(), "L")
        assert pixels is not None, file
        assert np.array_equal(pixels, by_pillow(file.read_bytes(), "L"))


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("side", [1, 2, 28, 97, 512])
def test_every_size_is_decoded_like_pillow(mode: str, side: int) -> None:
    pixels = fast(png(mode, side), mode)
    assert pixels is not None
    assert np.array_equal(pixels, by_pillow(png(mode, side), mode))


@pytest.mark.parametrize("seed", [1, 2])
def test_damaged_files_are_decoded_like_pillow_or_not_at_all(seed: int, capfd: pytest.CaptureFixture[str]) -> None:
    decoded = 0
    for sound in (*sound_files(), *(file for file in damaged_files(seed, 3_000) if "png" in file.name)):
        for mode in ("L", "RGB"):
            pixels = fast(sound.data, mode)
            if pixels is not None:
                decoded += 1
                assert np.array_equal(pixels, by_pillow(sound.data, mode)), sound.name
    assert decoded > 50
    assert capfd.readouterr().err == "", "libpng would print the faults of a file there"


def test_a_flipped_bit_is_detected_or_does_not_change_the_pixels() -> None:
    sound, rng = png("L", 12), random.Random(0)
    for at in range(len(sound) * 8):
        data = bytearray(sound)
        data[at // 8] ^= 1 << at % 8
        if rng.random() < 0.5:
            end = 8 + 12 + 13
            data[end - 4 : end] = zlib.crc32(data[12 : end - 4]).to_bytes(4)  # the header's checksum
        pixels = fast(bytes(data), "L")
        if pixels is not None:
            assert np.array_equal(pixels, by_pillow(bytes(data), "L"))


ROWS = bytes(4) * 3  # 3 rows of 3 grey pixels, each after its filter byte


def with_chunks(kind: bytes, content: bytes) -> bytes:
    """Return a PNG of 3 x 3 pixels with one more chunk, whose checksum is right."""
    pixels = () if kind == b"IDAT" else ((b"IDAT", zlib.compress(ROWS)),)
    header = struct.pack(">IIBBBBB", 3, 3, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (kind, content), *pixels, (b"IEND", b""))
    packed = (len(of).to_bytes(4) + name + of + zlib.crc32(name + of).to_bytes(4) for name, of in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


TEXT = PngImagePlugin.PngInfo()
TEXT.add_text("Software", "a camera")


@pytest.mark.parametrize(
    ("data", "mode"),
    [
        pytest.param(png("RGB"), "L", id="colour for a grey mode"),
        pytest.param(png("L"), "RGB", id="grey for a colour mode"),
        pytest.param(png("LA"), "L", id="alpha"),
        pytest.param(png("L", transparency=3), "L", id="a transparent grey"),
        pytest.param(png("L", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0"), "L", id="EXIF with an orientation"),
        pytest.param(png("L", 513), "L", id="large"),
        pytest.param(png("L")[:-12], "L", id="no end"),
        pytest.param(png("L") + b"more", "L", id="bytes after its end"),
        pytest.param(png("L")[:30], "L", id="half a header"),
        pytest.param(with_chunks(b"gAMA", b"\0"), "L", id="a short gAMA, which Pillow refuses"),
        pytest.param(with_chunks(b"IDAT", zlib.compress(ROWS)[:-1] + b"\xff"), "L", id="a wrong checksum of zlib"),
        pytest.param(with_chunks(b"IDAT", zlib.compress(ROWS[:-1])), "L", id="one pixel missing"),
        pytest.param(b"", "L", id="no bytes"),
    ],
)
def test_a_png_that_is_not_plain_is_left_to_pillow(data: bytes, mode: str) -> None:
    assert fast(data, mode) is None


def test_a_plain_png_can_have_harmless_chunks() -> None:
    assert fast(with_chunks(b"gAMA", bytes(4)), "L") is not None
    assert fast(with_chunks(b"IDAT", zlib.compress(ROWS)), "L") is not None
    assert fast(png("L", pnginfo=TEXT, dpi=(72, 72)), "L") is not None


def test_a_damaged_png_has_the_error_of_pillow(tmp_path: Path) -> None:
    data = bytearray(png("L"))
    data[60] ^= 1
    assert fast(bytes(data), "L") is None
    with pytest.raises(ImageError, match="checksum"):
        by_pillow(bytes(data), "L")
