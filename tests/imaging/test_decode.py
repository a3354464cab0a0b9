"""Decoding valid files: formats, modes, transparency, orientation and scaling."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pigeonhole.imaging import decode as decoding
from pigeonhole.imaging.preprocess import prepare
from pigeonhole.imaging.preprocessing import Preprocessing
from tests.imaging.decoded import COLOUR, GREY, LIMIT, decode, quarters
from tests.training.conftest import SHARED, encoded, png


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM", "TGA", "WEBP", "JPEG2000", "PCX", "SGI", "ICO", "QOI"])
def test_a_lossless_format_is_decoded_unchanged(form: str) -> None:
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


def test_sixteen_bit_samples_are_scaled_and_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    for data in (png(Image.fromarray(ramp)), encoded(Image.fromarray(ramp), "TIFF")):
        result = np.asarray(decode(data, GREY, LIMIT)).astype(int)
        assert np.abs(result - np.rint(ramp / 257)).max() <= 1


def test_big_endian_sixteen_bit_samples_are_decoded_like_little_endian_ones() -> None:
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
def test_a_transparent_palette_entry_or_colour_is_flattened_on_white(mode: str) -> None:
    image = Image.new(mode, (4, 4), 0)
    transparent: object = (0, 0, 0) if mode == "RGB" else 0
    assert np.asarray(decode(png(image, transparency=transparent), GREY, LIMIT)).min() == 255


def test_the_transparent_level_of_a_sixteen_bit_png_is_flattened_on_white() -> None:
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
def test_every_exif_orientation_is_decoded_upright(orientation: int, form: str) -> None:
    transposed = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    upright = quarters(32).crop((0, 0, 32, 24))
    image = upright.transpose(transposed[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    result = decode(encoded(image, form, exif=exif), COLOUR, LIMIT)
    assert result.size == upright.size
    difference = np.abs(np.asarray(result).astype(int) - np.asarray(upright))
    assert np.median(difference) <= 3  # JPEG blurs the seams


@pytest.mark.parametrize("form", ["GIF", "TIFF", "PNG", "WEBP"])
def test_the_first_of_several_frames_is_decoded(form: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("white", "black", "black")]
    options = {"lossless": True} if form == "WEBP" else {}
    data = encoded(frames[0], form, save_all=True, append_images=frames[1:], **options)
    assert np.asarray(decode(data, GREY, LIMIT)).min() >= 254


def test_a_large_jpeg_is_shrunk_while_decoding_but_not_below_twice_the_needed_size() -> None:
    data = encoded(quarters(800), "JPEG")
    image = decode(data, Preprocessing("stretch", 64, 90, 3), LIMIT)
    assert image.size == (200, 200)  # an eighth would be 100, less than twice 90
    assert decode(data, Preprocessing("digit", 28, 28, 1), LIMIT).size == (800, 800)


def test_a_large_colour_jpeg_that_is_shrunk_to_grey_looks_like_the_original() -> None:
    data = encoded(quarters(800), "JPEG")
    shrunk = prepare(data, GREY, LIMIT)
    whole = prepare(png(quarters(800)), GREY, LIMIT)
    assert np.abs(shrunk.astype(int) - whole).max() <= 4


def test_a_very_long_side_is_shrunk_before_resizing() -> None:
    rows = np.tile(np.array([[0], [255]], np.uint8), (100_000, 1))  # [200,000, 1]
    rows[:100_000] = 255
    for pixels in (rows, rows.T):
        image = decode(png(Image.fromarray(pixels)), GREY, LIMIT)
        assert sorted(image.size) == [1, 50_000]
        pixels_2x2 = prepare(png(Image.fromarray(pixels)), Preprocessing("stretch", 2, 2, 1), LIMIT)
        assert sorted(pixels_2x2.ravel().tolist()) == [
            146,
            146,
            237,
            237,
        ]  # half stripes, half white; the filter is soft


def test_a_decoded_image_does_not_depend_on_its_file() -> None:
    buffer = png(quarters())
    image = decode(buffer, COLOUR, LIMIT)
    assert getattr(image, "fp", None) is None
    assert image.getpixel((15, 15)) == (255, 255, 255)


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


def test_a_large_sixteen_bit_image_is_scaled_in_bands_without_seams() -> None:
    rows, columns = 1_201, 1_003  # more than one band, and not a whole number of them
    values = (np.arange(rows * columns, dtype=np.uint32).reshape(rows, columns) * 7919 % 65536).astype(np.uint16)
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    preprocessing = Preprocessing("stretch", rows, columns, 1)
    pixels = prepare(file.getvalue(), preprocessing, max_pixels=rows * columns)[:, :, 0]
    np.testing.assert_array_equal(pixels, np.rint(values / 65535.0 * 255.0).astype(np.uint8))
