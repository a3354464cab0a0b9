"""Preprocessings: prepared pixels, and their fields in JSON."""

import ast
import inspect
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pigeonhole.errors import ImageError, TrainingError
from pigeonhole.imaging import preprocess
from pigeonhole.imaging.preprocess import decode, prepare
from pigeonhole.imaging.preprocessing import Preprocessing
from tests.messages import check_message
from tests.training.conftest import TOP, png
from training.datasets.files import pictures


def test_prepared_pixels_have_the_shape_of_the_preprocessing_and_are_writable() -> None:
    picture = Image.new("RGB", (40, 30), (10, 20, 30))
    picture.paste((250, 240, 230), (18, 8, 22, 24))
    image = png(picture)
    for kind, height, width, channels in (("stretch", 12, 17, 3), ("stretch", 30, 40, 3), ("digit", 28, 28, 1)):
        pixels = prepare(image, Preprocessing(kind, height, width, channels), 10_000)
        assert pixels.shape == (height, width, channels)
        assert pixels.dtype == np.uint8
        assert pixels.flags.writeable
        assert pixels.flags.c_contiguous


def test_prepare_is_decode_and_apply() -> None:
    preprocessing = Preprocessing("stretch", 9, 7, 3)
    content = png(Image.fromarray(np.random.default_rng(0).integers(0, 255, (33, 21, 3), np.uint8)))
    both = preprocessing.apply(decode(content, preprocessing, 10_000))
    assert np.array_equal(prepare(content, preprocessing, 10_000), both)


def test_stretching_to_the_original_size_changes_no_pixel() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (28, 28), np.uint8)
    assert np.array_equal(
        prepare(png(Image.fromarray(pixels)), Preprocessing("stretch", 28, 28, 1), 784)[..., 0], pixels
    )


def test_preparing_an_empty_file_raises_an_image_error() -> None:
    with pytest.raises(ImageError, match=r"^empty: "):
        prepare(b"", Preprocessing("digit", 28, 28, 1), 100)


def test_a_preprocessing_is_read_back_from_json() -> None:
    preprocessing = Preprocessing("stretch", 64, 48, 3)
    assert Preprocessing.from_json(preprocessing.to_json()) == preprocessing


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"kind": "zoom"}, ["'zoom'", "stretch, digit, crop, center-crop"]),
        ({"height": 0}, ["height", "from 1 to 4096, not 0"]),
        ({"width": 28.0}, ["width", "from 1 to 4096, not 28.0"]),
        ({"channels": 4}, ["channels", "1 or 3, not 4"]),
        ({"channels": True}, ["channels", "1 or 3, not True"]),
        ({"kind": "digit", "height": 32}, ["'digit'", "28 x 28 x 1, not 32 x 28 x 1"]),
        ({"blur": 2}, ["'blur'"]),
    ],
)
def test_an_invalid_or_unknown_field_of_a_preprocessing_is_refused(
    changes: dict[str, object], parts: list[str]
) -> None:
    good = {"kind": "stretch", "height": 28, "width": 28, "channels": 1}
    with pytest.raises(TrainingError) as caught:
        Preprocessing.from_json({**good, **changes})
    check_message(caught.value, *parts)


def test_a_missing_field_of_a_preprocessing_is_refused() -> None:
    with pytest.raises(TrainingError, match="lacks 'channels'"):
        Preprocessing.from_json({"kind": "stretch", "height": 28, "width": 28})


def calls_prepare(path: Path) -> bool:
    names = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return any(getattr(name, "attr", getattr(name, "id", "")) == "prepare" for name in names)


def test_evaluation_and_worker_use_the_same_preparation() -> None:
    assert calls_prepare(Path(inspect.getfile(pictures)))
    assert calls_prepare(TOP / "pigeonhole" / "imaging" / "reader.py")
    for path in sorted((TOP / "worker").glob("*.py")):
        assert "PIL" not in path.read_text(), f"{path} decodes on its own"
    assert preprocess.prepare is prepare
