"""Normalised digits: every image becomes one in the form of MNIST."""

import random

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pigeonhole.errors import ImageError
from pigeonhole.imaging.decode import Decoded
from pigeonhole.imaging.digits import form, normalise
from tests.training.conftest import SHARED, drawn_digit

MARGINS = [(0, 0), (60, 10), (200, 150)]


def five(paper: int = 255, ink: int = 0, width: int = 90, margin: tuple[int, int] = (60, 10)) -> Image.Image:
    """Draw a 5 of about `width` pixels, off-centre on larger paper."""
    glyph = Image.new("L", (200, 200), paper)
    font = ImageFont.load_default(size=int(width * 1.6))
    ImageDraw.Draw(glyph).text((30, 0), "5", fill=ink, font=font, stroke_width=3)
    box = Image.eval(glyph, lambda level: 255 if abs(level - paper) > 10 else 0).getbbox()
    assert box is not None
    crop = glyph.crop(box)
    page = Image.new("L", (crop.width + 2 * margin[0], crop.height + 3 * margin[1]), paper)
    page.paste(crop, margin)
    return page


def centre_of_mass(pixels: NDArray[np.uint8]) -> tuple[float, float]:
    rows, columns = np.indices(pixels.shape)
    return float((rows * pixels.astype(float)).sum() / pixels.sum()), float(
        (columns * pixels.astype(float)).sum() / pixels.sum()
    )


def box(pixels: NDArray[np.uint8]) -> tuple[int, int]:
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    return int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)


def correlation(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Return the correlation of two images, −1…1."""
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def test_an_image_in_the_form_of_mnist_is_not_changed() -> None:
    rng = random.Random(1)
    for label in range(10):
        pixels = drawn_digit(label, rng)
        assert form.are_normal(pixels[None]).all()
        assert np.array_equal(normalise.normalise(Image.fromarray(pixels)), pixels)


def test_an_inverted_image_in_the_form_of_mnist_is_only_inverted() -> None:
    rng = random.Random(1)
    digits = [drawn_digit(label, rng) for label in range(10)]
    found, _ = normalise.normalise_all([*digits, *(255 - one for one in digits)])
    assert np.array_equal(found, [*digits, *digits])
    trace = normalise.trace(255 - digits[3])
    assert np.array_equal(trace.pixels, digits[3])
    assert (trace.unchanged, trace.dark, trace.paper) == (False, True, 255)


def test_a_batch_is_normalised_like_single_images_and_errors_have_their_positions() -> None:
    rng = random.Random(1)
    digit, blank = drawn_digit(4, rng), np.full((28, 28), 255, np.uint8)
    photo = Image.fromarray(digit).resize((90, 90)).convert("L")
    pictures: list[Decoded] = [blank, digit, photo, Image.new("L", (50, 40)), 255 - digit, np.roll(digit, 3)]
    pixels, errors = normalise.normalise_all(pictures)
    assert {at: error.kind for at, error in errors.items()} == {0: "blank", 3: "blank"}
    assert np.array_equal(
        pixels, [normalise.normalise(picture) for picture in (digit, photo, 255 - digit, pictures[5])]
    )
    assert [len(found) for found in normalise.normalise_all([])] == [0, 0]


@pytest.mark.parametrize("change", ["shifted", "pale", "large", "noisy"])
def test_an_image_in_another_form_is_normalised(change: str) -> None:
    pixels = drawn_digit(3, random.Random(2))
    changed = {
        "shifted": np.roll(pixels, 3, axis=1),
        "pale": pixels // 2,
        "large": np.asarray(Image.fromarray(pixels[3:25, 3:25]).resize((28, 28))),
        "noisy": np.maximum(pixels, np.random.default_rng(0).integers(0, 60, (28, 28), np.uint8)),
    }[change]
    assert not form.are_normal(changed[None]).any()
    assert correlation(normalise.normalise(Image.fromarray(changed)), pixels) > 0.9


@pytest.mark.parametrize("margin", MARGINS)
def test_the_normalised_ink_is_20_pixels_long_with_its_centre_of_mass_in_the_middle(margin: tuple[int, int]) -> None:
    page = five(margin=margin)
    result = normalise.normalise(page)
    assert result.shape == (28, 28)
    assert result.dtype == np.uint8
    height, width = box(result)
    assert max(height, width) == 20
    y, x = centre_of_mass(result)
    assert abs(y - 14) <= 0.55
    assert abs(x - 14) <= 0.55
    assert result.max() == 255


def test_the_aspect_ratio_is_kept() -> None:
    page = Image.new("L", (300, 300), 255)
    ImageDraw.Draw(page).rectangle((100, 50, 119, 249), fill=0)  # 20 x 200
    assert box(normalise.normalise(page)) == (20, 2)


@pytest.mark.parametrize(("paper", "ink"), [(255, 0), (0, 255), (200, 120), (40, 90), (255, 200), (10, 30)])
def test_any_polarity_and_contrast_is_normalised_to_the_same_image(paper: int, ink: int) -> None:
    assert correlation(normalise.normalise(five(paper, ink)), normalise.normalise(five())) > 0.99


def test_a_thick_stroke_over_the_border_does_not_invert_the_polarity() -> None:
    page = Image.new("L", (60, 60), 255)
    ImageDraw.Draw(page).rectangle((22, 0, 40, 59), fill=0)
    result = normalise.normalise(page)
    assert result[14, 14] == 255
    assert result[14, 2] == 0


def test_a_small_digit_in_a_large_image_is_found() -> None:
    page = Image.new("L", (3000, 2000), 255)
    page.paste(five(margin=(0, 0)), (2500, 200))
    assert correlation(normalise.normalise(page), normalise.normalise(five())) > 0.95


def test_noise_of_the_paper_is_not_ink() -> None:
    page = np.asarray(five()).astype(float)
    noisy = np.clip(page * 0.7 + 40 + np.random.default_rng(3).normal(0, 4, page.shape), 0, 255).astype(np.uint8)
    assert correlation(normalise.normalise(Image.fromarray(noisy)), normalise.normalise(five())) > 0.97


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("size", [(1, 1), (28, 28), (500, 3)])
def test_a_blank_page_is_an_error_and_not_a_digit(level: int, size: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match=r"^blank: "):
        normalise.normalise(Image.new("L", size, level))


@pytest.mark.parametrize("size", [(1, 2), (2, 1), (3, 3), (5000, 2), (2, 5000)])
def test_images_of_extreme_sizes_are_normalised(size: tuple[int, int]) -> None:
    page = Image.new("L", size, 255)
    page.paste(0, (0, 0, (size[0] + 1) // 3 or 1, (size[1] + 1) // 3 or 1))
    assert normalise.normalise(page).shape == (28, 28)


@pytest.mark.shared
@pytest.mark.parametrize("part", ["train", "t10k"])
def test_every_image_of_mnist_is_recognised_as_normalised(part: str) -> None:
    raw = SHARED / "mnist" / "MNIST" / "raw" / f"{part}-images-idx3-ubyte"
    images = np.frombuffer(raw.read_bytes(), np.uint8, offset=16).reshape(-1, 28, 28)
    assert all(form.are_normal(some).all() for some in np.split(images, 10))


@pytest.mark.parametrize("column", range(184, 190))
def test_a_thin_stroke_with_a_line_across_the_whole_image_is_centred(column: int) -> None:
    page = np.full((300, 384), 255, np.uint8)
    page[60:240, column : column + 3] = 0
    page[150:152] = 0
    rows = np.flatnonzero(normalise.normalise(page).max(axis=1) > 100)
    assert (rows[0], rows[-1]) == (4, 23)
