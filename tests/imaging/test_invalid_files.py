"""Decoding damaged and oversized files: limits, error kinds, and no output of the libraries."""

import random
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pigeonhole.errors import ErrorKind, ImageError
from pigeonhole.imaging.preprocess import prepare
from tests.imaging.decoded import COLOUR, GREY, LIMIT, decode, failure, outcome, quarters
from tests.messages import check_message
from tests.training.conftest import SHARED, encoded, png


def test_damaged_exif_loses_only_the_orientation() -> None:
    data = encoded(quarters(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    assert decode(data, COLOUR, LIMIT).size == (16, 16)


def test_the_pixel_limit_is_checked_from_the_header_before_decoding() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    for side in (20_000, 50_000):  # Pillow's own limit is between these
        header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
        bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100_000)))
        assert failure(bomb + chunk(b"IEND", b"")).kind == "too-large"
    error = failure(png(quarters()), max_pixels=255)
    check_message(error, "too-large: ", "16 x 16", "256 pixels", "255")
    assert decode(png(quarters()), COLOUR, 256).size == (16, 16)


def test_the_pixel_limit_applies_to_a_large_png_inside_a_small_icon() -> None:
    icon = bytearray(encoded(quarters(), "ICO", sizes=[(16, 16)]))
    at = icon.index(b"IHDR")
    icon[at + 4 : at + 12] = struct.pack(">II", 12_000, 12_000)  # under Pillow's own limit
    icon[at + 17 : at + 21] = struct.pack(">I", zlib.crc32(icon[at : at + 17]))
    assert failure(bytes(icon)).kind == "too-large"


def test_a_file_within_the_limits_on_repetition_is_decoded() -> None:
    jpeg = encoded(quarters(64), "JPEG", progressive=True)
    last = jpeg.rindex(b"\xff\xda")
    many = jpeg[:-2] + jpeg[last:-2] * 80 + jpeg[-2:]
    assert np.array_equal(np.asarray(decode(many, COLOUR, LIMIT)), np.asarray(decode(jpeg, COLOUR, LIMIT)))
    plain = b"P2\n" + b"# a remark\n" * 1000 + b"1 1 255\n 255\n"
    assert np.asarray(decode(plain, GREY, LIMIT)).tolist() == [[255]]


def test_the_message_of_an_error_is_limited_in_length() -> None:
    tags = [(256, 4, 1, 1), (257, 4, 1, 1), (258, 3, 50_000, 200), (262, 3, 1, 1), (277, 3, 1, 1)]
    entries = b"".join(struct.pack("<HHLL", *tag) for tag in tags)
    file = (b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)).ljust(200, b"\0")
    error = failure(file + struct.pack("<50000H", *range(50_000)))  # one number of bits for each sample
    assert len(error.message) <= 300


def test_each_failure_has_its_error_kind() -> None:
    whole = png(Image.fromarray(np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)))
    jpeg = encoded(quarters(64), "JPEG")
    corrupt = bytearray(whole)
    corrupt[len(whole) // 2] ^= 0xFF
    kinds = {
        b"": "empty",
        b"This is a text file.\n": "not-an-image",
        bytes(1000): "not-an-image",
        whole[: len(whole) // 2]: "truncated",
        whole[:20]: "truncated",
        jpeg[: len(jpeg) // 2]: "truncated",
        bytes(corrupt): "corrupt",
        b"\x89PNG\r\n\x1a\n" + bytes(200): "corrupt",
        b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>': "unsupported",
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100): "corrupt",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n": "unsupported",
    }
    assert {data: failure(data).kind for data in kinds} == kinds
    assert set(kinds.values()) < set(ErrorKind)


def test_the_text_of_an_error_has_its_kind_and_value_and_the_cause_is_kept() -> None:
    error = failure(b"nothing of an image")
    check_message(error, "not-an-image: ", "b'nothing '")
    assert error.__cause__ is not None


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "ICO", "JPEG2000"]), st.randoms())
def test_a_file_with_random_damage_is_an_image_or_an_image_error(form: str, rng: random.Random) -> None:
    data = bytearray(encoded(quarters(), form))
    for _ in range(rng.randrange(1, 8)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    del data[rng.randrange(len(data) // 2, 2 * len(data)) :]
    shape, error = outcome(bytes(data), COLOUR)
    assert shape == (8, 8, 3) or error in list(ErrorKind)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_an_image_or_an_image_error(data: bytes) -> None:
    shape, error = outcome(data, GREY)
    assert shape == (8, 8, 1) or error in list(ErrorKind)


def test_threads_decode_without_warnings_and_keep_the_warning_filters() -> None:
    odd = encoded(quarters(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")  # Pillow warns about it
    barrier = threading.Barrier(8)

    def work(_number: int) -> bool:
        barrier.wait()
        return all(decode(odd, COLOUR, LIMIT).size == (16, 16) for _ in range(50))

    decode(odd, COLOUR, LIMIT)
    before, limit = list(warnings.filters), Image.MAX_IMAGE_PIXELS
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert list(warnings.filters) == before
    assert limit == Image.MAX_IMAGE_PIXELS


def test_warnings_of_pillow_are_ignored_even_if_warnings_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "odd.jpg"
    path.write_bytes(encoded(quarters(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage"))
    code = (
        "import sys; from pathlib import Path; from pigeonhole.imaging.preprocess import Preprocessing, decode;"
        "print(decode(Path(sys.argv[1]).read_bytes(), Preprocessing('stretch', 8, 8, 3), 1000).size)"
    )
    run = subprocess.run([sys.executable, "-W", "error", "-c", code, path], capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("(16, 16)\n", "")


def test_libtiff_and_pillow_print_nothing_about_a_damaged_file(tmp_path: Path) -> None:
    whole = encoded(Image.new("L", (64, 64)), "TIFF", compression="tiff_lzw")
    (tmp_path / "lzw.tif").write_bytes(whole.replace(whole[8:24], b"\xff" * 16))
    samples = bytearray(encoded(quarters(), "TIFF"))
    at = samples.index(struct.pack("<HHI", 277, 3, 1)) + 8  # SamplesPerPixel
    samples[at : at + 2] = struct.pack("<H", 2048)
    (tmp_path / "samples.tif").write_bytes(samples)
    code = (
        "import sys; from pathlib import Path; from pigeonhole.errors import ErrorKind, ImageError;"
        "from pigeonhole.imaging.preprocess import Preprocessing, decode\n"
        "for name in sys.argv[1:]:\n"
        "    try: decode(Path(name).read_bytes(), Preprocessing('stretch', 8, 8, 3), 10_000)\n"
        "    except ImageError as error: print(error.kind)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "lzw.tif"), str(tmp_path / "samples.tif")]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("corrupt\ncorrupt\n", "")


@pytest.mark.shared
def test_pngsuite_is_decoded_except_for_its_corrupt_files() -> None:
    files = sorted((SHARED / "odd-images" / "pngsuite").glob("*.png"))
    assert len(files) > 170
    failed = set()
    for path in files:
        for preprocessing in (GREY, COLOUR):
            try:
                prepare(path.read_bytes(), preprocessing, LIMIT)
            except ImageError:
                failed.add(path.name)
    assert failed == {path.name for path in files if path.name.startswith("x")}
