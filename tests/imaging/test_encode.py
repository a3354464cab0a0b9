"""Images in memory become the bytes of image files, without loss."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pigeonhole.errors import UsageError
from pigeonhole.imaging.decode import decode
from pigeonhole.imaging.encode import encoded
from pigeonhole.version import install_hint
from tests.messages import check_message

NOISE = np.random.default_rng(1).integers(0, 256, (5, 7, 4), np.uint8)


def pixels(data: bytes | None) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    assert data is not None
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("content", [b"anything", bytearray(b"anything"), memoryview(b"anything")])
def test_bytes_are_used_as_the_content_of_a_file(content: bytes) -> None:
    assert encoded(content, "image 0") == b"anything"


@pytest.mark.parametrize("array", [NOISE[:, :, 0], NOISE[:, :, :1], NOISE[:, :, :3], NOISE, NOISE[::-1, ::2]])
def test_an_array_keeps_its_pixels(array: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> None:
    kept = pixels(encoded(array, "image 0"))
    assert np.array_equal(kept, array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_pillow_image_keeps_its_pixels(mode: str) -> None:
    source = Image.new("I;16", (7, 5), 40_000) if mode == "I;16" else Image.fromarray(NOISE).convert(mode)
    kept = Image.open(io.BytesIO(encoded(source, "image 0") or b""))
    assert (kept.mode, kept.tobytes()) == (mode, source.tobytes())


def test_an_opened_file_keeps_its_orientation_and_no_other_exif(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    Image.fromarray(NOISE[:, :, :3]).save(tmp_path / "rotated.png", exif=exif)
    with Image.open(tmp_path / "rotated.png") as image:
        data = encoded(image, "image 0")
        assert image.getexif()[0x010E] == "a description", "the image of the caller is not changed"
    assert data is not None
    assert b"description" not in data
    both = [decode(file, "RGB", (1, 1), 100) for file in (data, (tmp_path / "rotated.png").read_bytes())]
    assert both[0].size == (5, 7)
    assert both[0].tobytes() == both[1].tobytes()


@pytest.mark.parametrize(
    ("array", "shape"),
    [
        (NOISE.astype(np.float32), r"float32 \[5, 7, 4\]"),
        (NOISE > 1, r"bool \[5, 7, 4\]"),
        (NOISE[0, 0], r"uint8 \[4\]"),
        (NOISE[:, :, :2], r"uint8 \[5, 7, 2\]"),
        (NOISE[:0], r"uint8 \[0, 7, 4\]"),
        (NOISE[None], r"uint8 \[1, 5, 7, 4\].*; list\(array\) makes a list of several images$"),
    ],
)
def test_an_array_that_is_no_image_is_refused_with_its_name_and_shape(array: object, shape: str) -> None:
    with pytest.raises(UsageError, match=rf"image 3 .*{shape}"):
        encoded(array, "image 3")


@pytest.mark.parametrize("mode", ["CMYK", "F", "I", "YCbCr", "LAB"])
def test_a_pillow_image_with_an_unsupported_mode_is_refused(mode: str) -> None:
    with pytest.raises(UsageError, match=rf"image 3 .*'{mode}'.*convert\('RGB'\)"):
        encoded(Image.new(mode, (2, 2)), "image 3")


def test_a_damaged_opened_file_is_refused() -> None:
    file = io.BytesIO()
    Image.fromarray(NOISE).save(file, "PNG")
    with pytest.raises(UsageError, match=r"image 3 .*encoded"):
        encoded(Image.open(io.BytesIO(file.getvalue()[:-40])), "image 3")


def test_without_pillow_the_error_has_the_command_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UsageError) as error:
        encoded(NOISE, "image 3")
    check_message(error.value, "image 3", install_hint("report"))


@pytest.mark.parametrize("other", ["a path", Path("a path"), 3, None, [NOISE]])
def test_an_object_that_is_no_image_is_not_encoded(other: object) -> None:
    assert encoded(other, "image 0") is None
