import io
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
from pigeonhole.imaging import decode as decoding
from pigeonhole.imaging import preprocess
from pigeonhole.imaging.preprocess import prepare
from pigeonhole.imaging.preprocessing import Preprocessing
from tests.training.conftest import SHARED, encoded, png

GREY = Preprocessing("stretch", 8, 8, 1)
COLOUR = Preprocessing("stretch", 8, 8, 3)
LIMIT = 10_000_000

# Four quarters of one colour each: enough to test modes, orientation and scaling.
QUARTERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)


def decode(data: bytes, preprocessing: Preprocessing, max_pixels: int) -> Image.Image:
    image = preprocess.decode(data, preprocessing, max_pixels)
    return image if isinstance(image, Image.Image) else Image.fromarray(image)


def quarters(side: int = 16) -> Image.Image:
    return Image.fromarray(QUARTERS.repeat(side // 2, 0).repeat(side // 2, 1))


def failure(data: bytes, preprocessing: Preprocessing = COLOUR, max_pixels: int = LIMIT) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode(data, preprocessing, max_pixels)
    return caught.value


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM", "TGA", "WEBP", "JPEG2000", "PCX", "SGI", "ICO", "QOI"])
def test_a_lossless_format_comes_back_as_it_was(form: str) -> None:
    options = {"lossless": True} if form == "WEBP" else {"sizes": [(16, 16)]} if form == "ICO" else {}
    image = decode(encoded(quarters(), form, **options), COLOUR, LIMIT)
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image), np.asarray(quarters()))


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"])
@pytest.mark.parametrize("preprocessing", [GREY, COLOUR], ids=["grey", "colour"])
def test_black_and_white_stay_black_and_white_in_every_mode(mode: str, preprocessing: Preprocessing) -> None:
    page = np.zeros((16, 16), np.uint8)
    page[:, 8:] = 255
    image = Image.fromarray(page)
    if mode == "I;16":
        image = Image.fromarray(page.astype(np.uint16) * 257)
    elif mode == "LAB":
        image = Image.merge("LAB", [image, Image.new("L", (16, 16), 128), Image.new("L", (16, 16), 128)])
    elif mode in ("PA", "YCbCr", "CMYK"):
        image = image.convert("RGB").convert("RGBA" if mode == "PA" else mode)
    else:
        image = image.convert(mode)
    result = np.asarray(decode(encoded(image, "TIFF" if mode != "P" else "PNG"), preprocessing, LIMIT))
    assert result.shape == ((16, 16) if preprocessing is GREY else (16, 16, 3))
    assert result[:, :8].max() <= 2
    assert result[:, 8:].min() >= 253


def test_sixteen_bits_are_scaled_and_not_cut_off() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    for data in (png(Image.fromarray(ramp)), encoded(Image.fromarray(ramp), "TIFF")):
        result = np.asarray(decode(data, GREY, LIMIT)).astype(int)
        assert np.abs(result - np.rint(ramp / 257)).max() <= 1


def test_big_endian_sixteen_bits_read_as_little_endian_ones() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    big = b"P5 16 16 65535\n" + ramp.astype(">u2").tobytes()
    assert np.abs(np.asarray(decode(big, GREY, LIMIT)).astype(int) - np.rint(ramp / 257)).max() <= 1


@pytest.mark.parametrize("white", [1.0, 255.0, 65535.0])
def test_floats_are_scaled_by_the_range_they_use(white: float) -> None:
    values = np.full((4, 4), white / 2, np.float32)
    values[0], values[1, 0] = white, np.nan
    result = np.asarray(decode(encoded(Image.fromarray(values), "TIFF"), GREY, LIMIT))
    assert (result[0] == 255).all()
    assert result[1, 0] == 0
    assert result[3, 3] in (127, 128)


def test_transparency_is_flattened_on_white() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert np.asarray(decode(png(clear), COLOUR, LIMIT)).min() == 255
    assert 126 <= np.asarray(decode(png(half), GREY, LIMIT)).mean() <= 128


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_a_transparent_palette_entry_or_colour_is_flattened_on_white_too(mode: str) -> None:
    image = Image.new(mode, (4, 4), 0)
    transparent: object = (0, 0, 0) if mode == "RGB" else 0
    assert np.asarray(decode(png(image, transparency=transparent), GREY, LIMIT)).min() == 255


def test_the_transparent_level_of_a_sixteen_bit_png_is_flattened_on_white_too() -> None:
    image = Image.fromarray(np.full((4, 4), 0x1234, np.uint16))
    data = png(image)
    chunk = b"tRNS" + struct.pack(">H", 0x1234)
    chunk = struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk))
    at = data.index(b"IDAT") - 4
    transparent = data[:at] + chunk + data[at:]
    assert np.asarray(decode(transparent, GREY, LIMIT)).min() == 255
    assert np.asarray(decoding.decode(transparent, "L", (4, 4), LIMIT, background=0)).max() == 0


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_exif_orientation_comes_out_upright(orientation: int, form: str) -> None:
    turned = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    upright = quarters(32).crop((0, 0, 32, 24))
    image = upright.transpose(turned[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    result = decode(encoded(image, form, exif=exif), COLOUR, LIMIT)
    assert result.size == upright.size
    difference = np.abs(np.asarray(result).astype(int) - np.asarray(upright))
    assert np.median(difference) <= 3  # JPEG blurs the seams


def test_damaged_exif_costs_nothing_but_the_orientation() -> None:
    data = encoded(quarters(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    assert decode(data, COLOUR, LIMIT).size == (16, 16)


@pytest.mark.parametrize("form", ["GIF", "TIFF", "PNG", "WEBP"])
def test_a_file_of_several_frames_counts_by_its_first(form: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("white", "black", "black")]
    options = {"lossless": True} if form == "WEBP" else {}
    data = encoded(frames[0], form, save_all=True, append_images=frames[1:], **options)
    assert np.asarray(decode(data, GREY, LIMIT)).min() >= 254


def test_a_large_jpeg_is_shrunk_while_decoding_and_never_below_what_is_needed() -> None:
    data = encoded(quarters(800), "JPEG")
    image = decode(data, Preprocessing("stretch", 64, 90, 3), LIMIT)
    assert image.size == (200, 200)  # an eighth would be 100, less than twice 90
    assert decode(data, Preprocessing("digit", 28, 28, 1), LIMIT).size == (800, 800)


def test_a_large_colour_jpeg_shrunk_to_grey_looks_as_the_whole_one() -> None:
    data = encoded(quarters(800), "JPEG")
    shrunk = prepare(data, GREY, LIMIT)
    whole = prepare(png(quarters(800)), GREY, LIMIT)
    assert np.abs(shrunk.astype(int) - whole).max() <= 4


def test_the_pixel_limit_is_checked_from_the_header_before_decoding() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    for side in (20_000, 50_000):  # Pillow's own limit is between these
        header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
        bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100_000)))
        assert failure(bomb + chunk(b"IEND", b"")).kind == "too-large"
    error = failure(png(quarters()), max_pixels=255)
    assert str(error) == "too-large: 16 x 16 is 256 pixels, and the limit is 255"
    assert decode(png(quarters()), COLOUR, 256).size == (16, 16)


def test_a_large_png_inside_a_small_icon_counts_by_its_own_size() -> None:
    icon = bytearray(encoded(quarters(), "ICO", sizes=[(16, 16)]))
    at = icon.index(b"IHDR")
    icon[at + 4 : at + 12] = struct.pack(">II", 12_000, 12_000)  # under Pillow's own limit
    icon[at + 17 : at + 21] = struct.pack(">I", zlib.crc32(icon[at : at + 17]))
    assert failure(bytes(icon)).kind == "too-large"


def test_a_side_longer_than_any_jpegs_is_shrunk_so_that_resizing_it_stays_cheap() -> None:
    rows = np.tile(np.array([[0], [255]], np.uint8), (100_000, 1))  # [200,000, 1]
    rows[:100_000] = 255
    for pixels in (rows, rows.T):
        image = decode(png(Image.fromarray(pixels)), GREY, LIMIT)
        assert sorted(image.size) == [1, 50_000]
        seen = prepare(png(Image.fromarray(pixels)), Preprocessing("stretch", 2, 2, 1), LIMIT)
        assert sorted(seen.ravel().tolist()) == [146, 146, 237, 237]  # half stripes, half white; the filter is soft


def test_a_file_within_the_limits_on_repetition_is_read() -> None:
    jpeg = encoded(quarters(64), "JPEG", progressive=True)
    last = jpeg.rindex(b"\xff\xda")
    many = jpeg[:-2] + jpeg[last:-2] * 80 + jpeg[-2:]
    assert np.array_equal(np.asarray(decode(many, COLOUR, LIMIT)), np.asarray(decode(jpeg, COLOUR, LIMIT)))
    plain = b"P2\n" + b"# a remark\n" * 1000 + b"1 1 255\n 255\n"
    assert np.asarray(decode(plain, GREY, LIMIT)).tolist() == [[255]]


def test_what_a_file_makes_pillow_say_is_cut_short() -> None:
    tags = [(256, 4, 1, 1), (257, 4, 1, 1), (258, 3, 50_000, 200), (262, 3, 1, 1), (277, 3, 1, 1)]
    entries = b"".join(struct.pack("<HHLL", *tag) for tag in tags)
    file = (b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)).ljust(200, b"\0")
    error = failure(file + struct.pack("<50000H", *range(50_000)))  # one number of bits for each sample
    assert len(error.message) <= 300


def test_each_kind_of_failure_has_its_name() -> None:
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


def test_an_error_reads_as_its_kind_and_message_and_keeps_its_cause() -> None:
    error = failure(b"nothing of an image")
    assert str(error) == "not-an-image: no known image format begins with b'nothing '"
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


def outcome(data: bytes, preprocessing: Preprocessing) -> tuple[tuple[int, ...], str]:
    try:
        return prepare(data, preprocessing, LIMIT).shape, ""
    except ImageError as error:
        return (), error.kind


def test_threads_decode_at_once_without_a_warning_and_leave_the_filters_alone() -> None:
    odd = encoded(quarters(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")  # Pillow warns of it
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


def test_pillows_warnings_are_silent_also_where_warnings_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "odd.jpg"
    path.write_bytes(encoded(quarters(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage"))
    code = (
        "import sys; from pathlib import Path; from pigeonhole.imaging.preprocess import Preprocessing, decode;"
        "print(decode(Path(sys.argv[1]).read_bytes(), Preprocessing('stretch', 8, 8, 3), 1000).size)"
    )
    run = subprocess.run([sys.executable, "-W", "error", "-c", code, path], capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("(16, 16)\n", "")


def test_what_libtiff_and_pillow_have_to_say_of_one_file_goes_nowhere_but_into_its_error(tmp_path: Path) -> None:
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


def test_a_decoded_image_outlives_its_file() -> None:
    buffer = png(quarters())
    image = decode(buffer, COLOUR, LIMIT)
    assert getattr(image, "fp", None) is None
    assert image.getpixel((15, 15)) == (255, 255, 255)


@pytest.mark.shared
def test_pngsuite_decodes_but_for_the_files_that_are_meant_to_be_corrupt() -> None:
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


@pytest.mark.shared
@pytest.mark.parametrize("shape", ["Landscape", "Portrait"])
def test_the_eight_orientations_of_one_photo_look_the_same(shape: str) -> None:
    folder = SHARED / "odd-images" / "exif_orientation"
    upright = Preprocessing("stretch", 60, 60, 1)
    images = [prepare((folder / f"{shape}_{n}.jpg").read_bytes(), upright, LIMIT).astype(int) for n in range(1, 9)]
    for image in images[1:]:
        # Each photo has its own number printed on it, so they differ a little, and upside down a lot.
        assert np.abs(image - images[0]).mean() < 12
        assert np.abs(image[::-1] - images[0]).mean() > 30


def test_a_large_sixteen_bit_image_is_scaled_in_bands_that_show_nowhere() -> None:
    rows, columns = 1_201, 1_003  # more than one band, and not a whole number of them
    values = (np.arange(rows * columns, dtype=np.uint32).reshape(rows, columns) * 7919 % 65536).astype(np.uint16)
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    preprocessing = Preprocessing("stretch", rows, columns, 1)
    seen = prepare(file.getvalue(), preprocessing, max_pixels=rows * columns)[:, :, 0]
    np.testing.assert_array_equal(seen, np.rint(values / 65535.0 * 255.0).astype(np.uint8))
