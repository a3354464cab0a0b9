"""The preprocessing `center-crop`, compared with torchvision."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from pigeonhole.errors import TrainingError
from pigeonhole.imaging.preprocess import decode, prepare
from pigeonhole.imaging.preprocessing import Preprocessing
from tests.messages import check_message
from tests.training.conftest import png

SIZES = ((500, 375), (375, 500), (1000, 750), (224, 224), (256, 256), (427, 640), (301, 257), (100, 333), (50, 60))


def picture(width: int, height: int) -> Image.Image:
    """Return shades without an edge, as sharp as a photo that fills its size."""
    coarse = np.random.default_rng(width).integers(0, 256, (max(height // 12, 2), max(width // 12, 2), 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def reference_crop(preprocessing: Preprocessing, resize: int) -> Compose:
    size = preprocessing.height, preprocessing.width
    mode = InterpolationMode(preprocessing.interpolation)
    return Compose([Resize(resize, mode, antialias=True), CenterCrop(size)])


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("height", "width", "resize", "shorter"),
    [(224, 224, 0, 256), (224, 224, 232, 232), (240, 240, 0, 274), (224, 224, 224, 224), (96, 64, 0, 109)],
)
def test_a_center_crop_agrees_with_torchvision(
    height: int, width: int, resize: int, shorter: int, interpolation: str
) -> None:
    preprocessing = Preprocessing("center-crop", height, width, 3, resize, interpolation)
    reference = reference_crop(preprocessing, shorter)
    for size in SIZES:
        image = picture(*size)
        expected, pixels = np.asarray(reference(image)).astype(int), preprocessing.apply(image)
        # Pillow stores the area to resize in single precision, and may round between its passes in another order.
        differences = np.abs(expected - pixels)
        assert differences.max() <= 2, size
        assert differences.mean() < 0.15, size


def test_an_image_whose_shorter_side_fits_is_cropped_without_resizing() -> None:
    preprocessing = Preprocessing("center-crop", 24, 24, 3, 30)
    for size in ((30, 30), (30, 41), (45, 30)):
        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), np.uint8))
        expected = np.asarray(reference_crop(preprocessing, 30)(image))
        assert np.array_equal(preprocessing.apply(image), expected)
        assert np.array_equal(prepare(png(image), preprocessing, 10_000), expected)


def test_a_rotated_photo_is_cropped_upright() -> None:
    preprocessing = Preprocessing("center-crop", 64, 64, 3, 72)
    image, exif = picture(120, 90), Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    image.save(file, "PNG", exif=exif)
    expected = np.asarray(reference_crop(preprocessing, 72)(ImageOps.exif_transpose(Image.open(file))))
    assert np.abs(expected.astype(int) - prepare(file.getvalue(), preprocessing, 100_000)).max() <= 2


def test_a_narrow_strip_is_resized_only_where_it_is_cropped() -> None:
    # The whole resized image would have 224 x 14,679,840 pixels.
    pixels = Preprocessing("center-crop", 224, 224, 1, 224).apply(Image.new("L", (65_535, 1), 9))
    assert pixels.shape == (224, 224, 1)
    assert (pixels == 9).all()


@pytest.mark.parametrize(
    ("size", "decoded"), [((500, 375), (500, 375)), ((1600, 1023), (1600, 1023)), ((1600, 1200), (800, 600))]
)
def test_a_jpeg_is_not_shrunk_below_twice_its_resized_size(size: tuple[int, int], decoded: tuple[int, int]) -> None:
    file = io.BytesIO()
    picture(*size).save(file, "JPEG")
    image = decode(file.getvalue(), Preprocessing("center-crop", 224, 224, 3), 10_000_000)
    assert isinstance(image, Image.Image)
    assert image.size == decoded


def test_fields_with_default_values_are_not_written() -> None:
    plain = {"kind": "center-crop", "height": 224, "width": 224, "channels": 3}
    assert Preprocessing.from_json(plain).to_json() == plain
    for optional in ({"resize": 232}, {"interpolation": "bicubic"}, {"resize": 232, "interpolation": "bicubic"}):
        assert Preprocessing.from_json(plain | optional).to_json() == plain | optional
    stretch = {"kind": "stretch", "height": 28, "width": 28, "channels": 1}
    assert Preprocessing.from_json(stretch).to_json() == stretch


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"resize": 223}, ["resize", "at least 224", "not 223"]),
        ({"resize": 256.0}, ["resize", "from 0 to 4096, not 256.0"]),
        ({"resize": -1}, ["resize", "from 0 to 4096, not -1"]),
        ({"interpolation": "nearest"}, ["interpolation", "bilinear or bicubic, not 'nearest'"]),
        ({"interpolation": ["bicubic"]}, ["interpolation", "bilinear or bicubic, not ['bicubic']"]),
        ({"kind": "crop", "resize": 256}, ["'crop'", "remove 256"]),
        ({"kind": "stretch", "interpolation": "bicubic"}, ["'stretch'", "remove 'bicubic'"]),
    ],
)
def test_an_invalid_field_of_a_center_crop_is_refused(changes: dict[str, object], parts: list[str]) -> None:
    good = {"kind": "center-crop", "height": 224, "width": 224, "channels": 3}
    with pytest.raises(TrainingError) as caught:
        Preprocessing.from_json({**good, **changes})
    check_message(caught.value, *parts)
