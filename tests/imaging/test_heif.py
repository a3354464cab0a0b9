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
from tests.imaging.test_decode import COLOUR, decode, failure, outcome, quarters

LIMIT = 10_000_000
_ORIENTATION, _TURNED_RIGHT = 0x0112, 6


@pytest.fixture
def forgotten() -> Iterator[None]:
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
        shown, meant = image.getpixel(at), expected.getpixel(at)
        assert isinstance(shown, tuple)
        assert isinstance(meant, tuple)
        assert all(abs(a - b) < 30 for a, b in zip(shown, meant, strict=True)), at


def test_its_header_alone_shows_that_it_is_too_large() -> None:
    error = failure(heif(quarters(64)), max_pixels=1000)
    assert (error.kind, error.message) == ("too-large", "64 x 64 is 4,096 pixels, and the limit is 1,000")


def test_without_its_reader_the_message_says_what_to_install(forgotten: None, monkeypatch: pytest.MonkeyPatch) -> None:
    data = heif(quarters())
    decoding._reads_heif.cache_clear()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    error = failure(data)
    assert error.kind == ErrorKind.UNSUPPORTED
    assert install_hint("heif") in error.message


@settings(max_examples=200, deadline=None)
@given(st.randoms())
def test_a_damaged_one_is_an_image_or_an_image_error(rng: random.Random) -> None:
    data = bytearray(heif(quarters()))
    for _ in range(rng.randrange(1, 8)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    del data[rng.randrange(len(data) // 2, 2 * len(data)) :]
    shape, error = outcome(bytes(data), COLOUR)
    assert shape == (8, 8, 3) or error in list(ErrorKind)


@pytest.mark.parametrize("name", ["IMG_0001.HEIC", "a.heif", "a.hif", "a.avif"])
def test_a_folder_knows_them_by_their_names(name: str) -> None:
    assert is_found(name)
