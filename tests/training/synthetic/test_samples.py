import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pigeonhole.errors import ImageError
from pigeonhole.imaging.digits import form
from pigeonhole.imaging.preprocess import prepare
from pigeonhole.imaging.preprocessing import Preprocessing
from tests.training.conftest import SHARED, TOP, write_mnist
from training.recipes.defaults import plan

SAMPLES = TOP / "samples"
DIGIT = plan("digits").preprocessing


def labels() -> dict[str, int]:
    with (TOP / "samples-labels.csv").open(newline="", encoding="utf-8") as file:
        return {row["path"]: int(row["label"]) for row in csv.DictReader(file)}


def test_there_are_twenty_labelled_samples_of_each_digit() -> None:
    assert Counter(labels().values()) == dict.fromkeys(range(10), 20)
    assert all((TOP / path).is_file() for path in labels())


def test_every_sample_has_the_normal_form_of_mnist() -> None:
    for path in labels():
        pixels = prepare((TOP / path).read_bytes(), Preprocessing("stretch", 28, 28, 1), 784)
        assert form.are_normal(pixels[..., 0][None]).all()


def test_three_samples_are_errors_of_different_kinds() -> None:
    others = sorted(path.name for path in SAMPLES.iterdir() if f"samples/{path.name}" not in labels())
    kinds = set()
    for name in others:
        with pytest.raises(ImageError) as caught:
            prepare((SAMPLES / name).read_bytes(), DIGIT, 784)
        kinds.add(caught.value.kind)
    assert kinds == {"empty", "not-an-image", "truncated"}
    assert len(others) == 3


def test_file_names_do_not_reveal_labels() -> None:
    ordered = [label for _path, label in sorted(labels().items())]
    assert len(set(ordered[:20])) > 5  # not sorted by label
    assert all(len(Path(path).stem) == 6 for path in labels())


@pytest.mark.shared
def test_the_samples_are_mnist_test_images_with_their_own_labels() -> None:
    raw = SHARED / "mnist" / "MNIST" / "raw"
    images = np.frombuffer((raw / "t10k-images-idx3-ubyte").read_bytes(), np.uint8, offset=16).reshape(-1, 784)
    known = {
        image.tobytes(): int(label)
        for image, label in zip(images, (raw / "t10k-labels-idx1-ubyte").read_bytes()[8:], strict=True)
    }
    assert {path: known[prepare((TOP / path).read_bytes(), DIGIT, 784).tobytes()] for path in labels()} == labels()


def test_the_script_makes_the_same_samples_from_the_same_data(tmp_path: Path) -> None:
    data = write_mnist(tmp_path / "data", train=1, test=25)
    made = []
    for number in range(2):
        top = tmp_path / str(number)
        (top / "scripts").mkdir(parents=True)
        script = top / "scripts" / "make_samples.py"
        script.write_text((TOP / "scripts" / "make_samples.py").read_text())
        subprocess.run([sys.executable, script, data], check=True, capture_output=True)
        made.append({path.name: path.read_bytes() for path in (top / "samples").iterdir()})
    assert made[0] == made[1]
    assert len(made[0]) == 203
