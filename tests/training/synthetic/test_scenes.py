"""Digits in photographs, scans and frames are normalised like MNIST; the pictures are composed from the samples."""

import csv
import io
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pigeonhole.errors import ImageError
from pigeonhole.imaging.digits import normalise
from tests.training.conftest import TOP

Grey = NDArray[np.uint8]


def samples() -> list[Grey]:
    """Return a picture of each digit: uint8 [28, 28]."""
    with (TOP / "samples-labels.csv").open(newline="", encoding="utf-8") as file:
        paths = {row["label"]: row["path"] for row in csv.DictReader(file)}
    return [np.asarray(Image.open(TOP / path).convert("L")) for _label, path in sorted(paths.items())]


SAMPLES = samples()


def grey(values: NDArray[np.floating]) -> Grey:
    pixels: Grey = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return pixels


def ink(sample: Grey, side: int) -> NDArray[np.float64]:
    """Return the ink of a digit of about `side` pixels, 0…1, with sharp strokes."""
    large = Image.fromarray(sample).resize((side * 28 // 20,) * 2, Image.Resampling.BICUBIC)
    return np.clip((np.asarray(large) / 255.0 - 0.5) * max(1.0, side / 30) + 0.5, 0.0, 1.0)


def page(sample: Grey, side: int = 70, paper: float = 235.0, pen: float = 40.0, size: int = 140) -> NDArray[np.float64]:
    """Return a digit off-centre on a page of `size` x `size` pixels."""
    amount = np.zeros((size, size))
    drawn = ink(sample, side)
    at = size // 8
    amount[at : at + len(drawn), at : at + len(drawn)] = drawn
    return paper + (pen - paper) * amount


def noise(deviation: float, shape: tuple[int, ...]) -> NDArray[np.float64]:
    return np.random.default_rng(5).normal(0.0, deviation, shape)


def filled(sample: Grey, side: int) -> Grey:
    """Return the cropped digit; its longer side has `side` pixels."""
    inked = np.argwhere(sample > 30)
    (top, left), (bottom, right) = inked.min(axis=0), inked.max(axis=0) + 1
    crop = Image.fromarray(sample[top:bottom, left:right])
    scale = side / max(crop.size)
    size = round(crop.width * scale), round(crop.height * scale)
    return np.asarray(crop.resize(size, Image.Resampling.BILINEAR))


def ramp(size: int) -> NDArray[np.float64]:
    """Return brightness that falls from 1 in one corner to 0.3 in the opposite one."""
    y, x = np.mgrid[0:size, 0:size] / (size - 1)
    return np.asarray(1.0 - 0.35 * (x + y))


def shadow(size: int) -> NDArray[np.float64]:
    """Return brightness with the edge of a shadow across the page."""
    y, x = np.mgrid[0:size, 0:size] / (size - 1)
    return np.asarray(1.0 - 0.45 / (1.0 + np.exp(-(x + 0.4 * y - 0.7) / 0.02)))


def vignette(size: int) -> NDArray[np.float64]:
    y, x = np.mgrid[-0.5 : 0.5 : size * 1j, -0.5 : 0.5 : size * 1j]
    return np.asarray(1.0 - 1.2 * (x * x + y * y))


def jpeg(values: Grey) -> Grey:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "JPEG", quality=20)
    return np.asarray(Image.open(buffer))


def lined(values: NDArray[np.float64], *lines: tuple[slice, slice], level: float = 20.0) -> NDArray[np.float64]:
    values = values.copy()
    for rows, columns in lines:
        values[rows, columns] = level
    return values


ALL = slice(None)
FRAME = ((slice(3), ALL), (slice(-3, None), ALL), (ALL, slice(3)), (ALL, slice(-3, None)))
BOX = (
    (slice(6, 9), slice(6, 134)),
    (slice(131, 134), slice(6, 134)),
    (slice(6, 134), slice(6, 9)),
    (slice(6, 134), slice(131, 134)),
)
RULES = tuple((slice(y, y + 1), ALL) for y in range(10, 140, 26))
SPECKS = tuple((slice(y, y + 4), slice(x, x + 4)) for y, x in ((5, 120), (130, 8), (128, 130), (100, 4)))


def touching(sample: Grey) -> Grey:
    """Return a digit whose top touches one of two lines along the edge."""
    values = page(sample)
    first = int(np.flatnonzero((values < 150).any(axis=1))[0])
    return grey(lined(np.roll(values, 4 - first, axis=0), (slice(5), ALL), (ALL, slice(4))))


SCENES: dict[str, Callable[[Grey], Grey]] = {
    "a page": lambda it: grey(page(it)),
    "a bright digit in a dark photo": lambda it: grey(page(it, paper=40, pen=220) + noise(3, (140, 140))),
    "grey on grey": lambda it: grey(page(it, paper=120, pen=100)),
    "falling light": lambda it: grey(page(it) * ramp(140) + noise(2, (140, 140))),
    "a shadow's edge": lambda it: grey(page(it) * shadow(140) + noise(2, (140, 140))),
    "a vignette": lambda it: grey(page(it) * vignette(140) + noise(2, (140, 140))),
    "noise": lambda it: grey(page(it) + noise(20, (140, 140))),
    "JPEG blocks": lambda it: jpeg(grey(page(it))),
    "specks": lambda it: grey(lined(page(it), *SPECKS)),
    "a frame at the edge": lambda it: grey(lined(page(it), *FRAME)),
    "a frame on the page": lambda it: grey(lined(page(it), *BOX)),
    "a cell of a grid": lambda it: grey(lined(page(it), *FRAME[:1], *FRAME[2:3]) * ramp(140)),
    "lines that the digit touches": touching,
    "a sheet on a dark table": lambda it: np.pad(grey(page(it, pen=60)), 24, constant_values=50),
    "ruled paper": lambda it: grey(np.minimum(page(it), lined(page(it), *RULES, level=175))),
    "a tiny digit in a large picture": lambda it: grey(page(it, side=24, size=900) + noise(4, (900, 900))),
    "a digit in a very large picture": lambda it: grey(page(it, side=300, size=2500)),
    "16 pixels, filled": lambda it: filled(it, 16),
    "12 pixels, filled, dark": lambda it: 255 - filled(it, 12),
    "fog": lambda it: grey(it * 0.5 + 90 * ramp(28) + noise(4, (28, 28))),
    "brightness": lambda it: grey(it * 0.6 + 100),
    "speckle": lambda it: grey(it + noise(25, (28, 28))),
    "the left third inverted": lambda it: np.where(np.arange(28) < 9, 255 - it, it).astype(np.uint8),
}


def similarity(one: Grey, other: Grey) -> float:
    """Return the largest correlation, −1…1, over shifts of at most one pixel."""
    shifts = [np.roll(one, (y, x), axis=(0, 1)).ravel() for y in (-1, 0, 1) for x in (-1, 0, 1)]
    return max(float(np.corrcoef(shifted, other.ravel())[0, 1]) for shifted in shifts)


@pytest.mark.parametrize("scene", SCENES)
def test_a_digit_in_any_scene_is_normalised_like_the_plain_digit(scene: str) -> None:
    scores = [similarity(normalise.normalise(SCENES[scene](sample)), sample) for sample in SAMPLES]
    assert min(scores) > 0.8, f"{scores}"
    assert np.mean(scores) > 0.9, f"{scores}"


def test_the_trace_records_each_step() -> None:
    plain = normalise.trace(grey(page(SAMPLES[4])))
    assert (plain.dark, plain.paper, plain.flattened, plain.lines, plain.specks) == (True, 235, False, False, 0)
    left, top, right, bottom = plain.box
    inked = np.argwhere(page(SAMPLES[4]) < 150)
    (first_row, first_column), (last_row, last_column) = inked.min(axis=0), inked.max(axis=0)
    assert (
        np.abs(np.array([left, top, right - 1, bottom - 1]) - [first_column, first_row, last_column, last_row]).max()
        <= 1
    )
    assert normalise.trace(SCENES["a shadow's edge"](SAMPLES[4])).flattened
    assert normalise.trace(SCENES["a frame at the edge"](SAMPLES[4])).lines
    assert normalise.trace(SCENES["specks"](SAMPLES[4])).specks == 4
    assert not normalise.trace(SCENES["a bright digit in a dark photo"](SAMPLES[4])).dark
    assert normalise.trace(SAMPLES[4]).unchanged


def test_the_box_is_in_pixels_of_the_original_picture() -> None:
    found = normalise.trace(grey(page(SAMPLES[7], side=60, size=2400)))
    drawn = 300 + np.argwhere(ink(SAMPLES[7], 60) > 0.5)  # [n, 2]
    wanted = [*drawn.min(axis=0)[::-1], *drawn.max(axis=0)[::-1]]
    assert found.size == (2400, 2400)
    assert np.abs(np.array(found.box) - wanted).max() <= 12  # two pixels of the reduced picture


@pytest.mark.parametrize("thickness", [5, 9])
def test_a_thick_digit_that_fills_the_picture_keeps_its_polarity(thickness: int) -> None:
    for dark in (False, True):
        picture = Image.new("L", (40, 56))
        draw = ImageDraw.Draw(picture)
        draw.line([(3, 3), (36, 3), (16, 53)], fill=255, width=thickness)  # a 7
        pixels = np.asarray(picture)
        trace = normalise.trace(255 - pixels if dark else pixels)
        result = trace.pixels
        assert 0.05 < (result > 128).mean() < 0.3
        assert result[[0, 0, -1, -1], [0, -1, 0, -1]].max() == 0
        assert trace.dark == dark


def test_a_line_across_a_digit_does_not_change_its_size_or_place() -> None:
    for sample in SAMPLES:
        crossed = sample.copy()
        crossed[13:15] = 255
        result = normalise.normalise(crossed)
        assert np.corrcoef(result.ravel(), crossed.ravel())[0, 1] > 0.7


@pytest.mark.parametrize(
    "empty",
    {
        "noise": grey(128 + noise(10, (90, 120))),
        "falling light": grey(230 * ramp(120)),
        "falling light and noise": grey(230 * ramp(120) + noise(2, (120, 120))),
        "an empty cell": grey(lined(np.full((60, 60), 230.0), *FRAME)),
    }.values(),
)
def test_an_empty_page_is_blank(empty: Grey) -> None:
    with pytest.raises(ImageError, match=r"^blank: "):
        normalise.normalise(empty)


def any_picture() -> st.SearchStrategy[Grey]:
    sizes = st.tuples(st.integers(1, 70), st.integers(1, 70))
    levels = st.one_of(st.integers(0, 255), st.sampled_from([0, 255]))
    return sizes.flatmap(lambda size: arrays.arrays(np.uint8, size, elements=levels))


@settings(max_examples=60, deadline=None)
@given(any_picture())
def test_any_picture_gives_a_digit_or_the_error_blank(picture: Grey) -> None:
    pixels, errors = normalise.normalise_all([picture])
    if errors:
        assert (len(pixels), errors[0].kind) == (0, "blank")
        return
    (found,) = pixels
    trace = normalise.trace(picture)
    assert np.array_equal(found, trace.pixels)
    assert found.shape == (28, 28)
    left, top, right, bottom = trace.box
    assert 0 <= left < right <= picture.shape[1]
    assert 0 <= top < bottom <= picture.shape[0]
