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
from tests.training.conftest import TOP, png
from training.datasets.files import pictures


def test_the_array_has_the_size_and_channels_asked_for_and_is_writable() -> None:
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


def test_stretching_to_the_size_it_has_changes_nothing() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (28, 28), np.uint8)
    assert np.array_equal(
        prepare(png(Image.fromarray(pixels)), Preprocessing("stretch", 28, 28, 1), 784)[..., 0], pixels
    )


def test_a_file_that_is_no_image_is_an_image_error_here_too() -> None:
    with pytest.raises(ImageError, match=r"^empty: "):
        prepare(b"", Preprocessing("digit", 28, 28, 1), 100)


def test_json_brings_the_same_back() -> None:
    preprocessing = Preprocessing("stretch", 64, 48, 3)
    assert Preprocessing.from_json(preprocessing.to_json()) == preprocessing


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "zoom"}, "Unknown preprocessing 'zoom'; this version knows stretch, digit, crop, center-crop."),
        ({"height": 0}, "height must be a whole number from 1 to 4096, not 0."),
        ({"width": 28.0}, "width must be a whole number from 1 to 4096, not 28.0."),
        ({"channels": 4}, "channels must be 1 or 3, not 4."),
        ({"channels": True}, "channels must be 1 or 3, not True."),
        ({"kind": "digit", "height": 32}, "The preprocessing 'digit' returns 28 x 28 x 1, not 32 x 28 x 1."),
        ({"blur": 2}, "Unknown preprocessing key 'blur'; a newer version may know it."),
    ],
)
def test_what_this_version_does_not_know_is_an_error(changes: dict[str, object], message: str) -> None:
    good = {"kind": "stretch", "height": 28, "width": 28, "channels": 1}
    with pytest.raises(TrainingError) as caught:
        Preprocessing.from_json({**good, **changes})
    assert message in str(caught.value)


def test_a_missing_key_is_an_error() -> None:
    with pytest.raises(TrainingError, match="lacks 'channels'"):
        Preprocessing.from_json({"kind": "stretch", "height": 28, "width": 28})


def calls_prepare(path: Path) -> bool:
    names = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return any(getattr(name, "attr", getattr(name, "id", "")) == "prepare" for name in names)


def test_evaluation_and_worker_make_their_pixels_with_the_one_function() -> None:
    assert calls_prepare(Path(inspect.getfile(pictures)))
    assert calls_prepare(TOP / "pigeonhole" / "imaging" / "reader.py")
    for path in sorted((TOP / "worker").glob("*.py")):
        assert "PIL" not in path.read_text(), f"{path} decodes on its own"
    assert preprocess.prepare is prepare
