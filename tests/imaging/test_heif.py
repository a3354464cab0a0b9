"""Photos of iPhones (HEIF, also called HEIC) are decoded with pillow-heif, and become a clear error without it."""

import io
import random
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pigeonhole.errors import ErrorKind
from pigeonhole.imaging import decode as decoding
from pigeonhole.sources.folders import is_found
from pigeonhole.version import install_hint
from tests.imaging.decoded import COLOUR, decode, failure, outcome, quarters
from tests.messages import check_message

LIMIT = 10_000_000
_ORIENTATION, _TURNED_RIGHT = 0x0112, 6


@pytest.fixture
def uncached() -> Iterator[None]:
    decoding._reads_heif.cache_clear()
    yield
    decoding._reads_heif.cache_clear()


def heif(image: Image.Image, orientation: int = 1) -> bytes:
    assert decoding._reads_heif()
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[_ORIENTATION] = orientation
    image.save(buffer, "HEIF", quality=95, exif=exif.tobytes())
    return buffer.getvalue()


def test_a_photo_of_an_iphone_is_decoded_upright() -> None:
    wide = quarters(64).resize((96, 64))
    image = decode(heif(wide, _TURNED_RIGHT), COLOUR, LIMIT)
    assert image.size == (64, 96)
    expected = wide.transpose(Image.Transpose.ROTATE_270)
    for at in ((8, 8), (56, 8), (8, 88), (56, 88)):
        found, wanted = image.getpixel(at), expected.getpixel(at)
        assert isinstance(found, tuple)
        assert isinstance(wanted, tuple)
        assert all(abs(a - b) < 30 for a, b in zip(found, wanted, strict=True)), at


def test_the_pixel_limit_is_checked_from_the_header_of_a_heif_file() -> None:
    error = failure(heif(quarters(64)), max_pixels=1000)
    assert error.kind == ErrorKind.TOO_LARGE
    check_message(error.message, "64 x 64", "4,096 pixels", "1,000")


def test_without_pillow_heif_the_error_has_the_command_to_install_it(
    uncached: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = heif(quarters())
    decoding._reads_heif.cache_clear()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    error = failure(data)
    assert error.kind == ErrorKind.UNSUPPORTED
    assert install_hint("heif") in error.message


@settings(max_examples=200, deadline=None)
@given(st.randoms())
def test_a_damaged_heif_file_is_an_image_or_an_image_error(rng: random.Random) -> None:
    data = bytearray(heif(quarters()))
    for _ in range(rng.randrange(1, 8)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    del data[rng.randrange(len(data) // 2, 2 * len(data)) :]
    shape, error = outcome(bytes(data), COLOUR)
    assert shape == (8, 8, 3) or error in list(ErrorKind)


@pytest.mark.parametrize("name", ["IMG_0001.HEIC", "a.heif", "a.hif", "a.avif"])
def test_a_folder_lists_heif_files(name: str) -> None:
    assert is_found(name)
