import gzip
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pigeonhole.errors import DatasetError, ErrorKind
from pigeonhole.imaging.preprocess import prepare
from pigeonhole.imaging.preprocessing import Preprocessing
from tests.training.conftest import SHARED, png
from training.datasets import mnist
from training.datasets.class_folders import ClassFolders
from training.datasets.files.pictures import MAX_PIXELS
from training.datasets.splits import Split

DIGIT = Preprocessing("digit", 28, 28, 1)
STRETCH = Preprocessing("stretch", 28, 28, 1)


def test_mnist_is_read_as_tensors_and_unchanged_by_either_preprocessing(tiny_mnist: Path) -> None:
    stretched, normalised = (mnist.read(tiny_mnist, "train", preprocessing) for preprocessing in (STRETCH, DIGIT))
    assert stretched.images.shape == (600, 28, 28, 1)
    assert stretched.images.dtype == torch.uint8
    assert stretched.labels.bincount().tolist() == [60] * 10
    assert torch.equal(stretched.images, normalised.images)
    assert len(mnist.read(tiny_mnist, "test", STRETCH)) == 100


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    # A request through a proxy on a closed port fails at once, as without a network.
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    # urllib reads the proxies once in a process.
    monkeypatch.setattr("urllib.request._opener", None)


@pytest.mark.usefixtures("no_network")
def test_missing_mnist_without_a_network_is_an_error_that_names_files_and_folder(tmp_path: Path) -> None:
    folder = tmp_path / "none"
    with pytest.raises(DatasetError) as caught:
        mnist.read(folder, "train", DIGIT)
    message = str(caught.value)
    assert f"MNIST is not in {folder}" in message
    assert "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte" in message
    assert f"into {folder / 'MNIST' / 'raw'}" in message
    assert "--data" in message
    assert not folder.exists()


@pytest.mark.usefixtures("no_network")
def test_a_damaged_mnist_has_another_error_than_a_missing_one(tiny_mnist: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_mnist, folder)
    path = folder / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DatasetError, match=r"is damaged.*Delete"):
        mnist.read(folder, "test", DIGIT)
    path.write_bytes(gzip.compress(b"something else"))
    with pytest.raises(DatasetError, match="is damaged"):
        mnist.read(folder, "test", DIGIT)


def test_reading_mnist_writes_nothing_into_its_folder(tiny_mnist: Path, tmp_path: Path) -> None:
    before = sorted(tiny_mnist.rglob("*"))
    mnist.read(tiny_mnist, "test", DIGIT)
    assert sorted(tiny_mnist.rglob("*")) == before


def class_folders(root: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, count in (("3", 4), ("7", 2)):
        (root / name / "deeper").mkdir(parents=True)
        for number in range(count):
            image = Image.fromarray(rng.integers(0, 256, (40, 30), np.uint8))
            (root / name / ("deeper" if number else ".") / f"{number}.png").write_bytes(png(image))
    (root / "7" / "note.txt").write_text("no image")
    (root / "7" / ".hidden").write_text("no image")
    return root


def test_class_folders_are_read_and_unreadable_files_are_listed(tmp_path: Path) -> None:
    root = class_folders(tmp_path)
    read = ClassFolders(str(root)).labelled(STRETCH)
    assert ClassFolders(str(root)).classes == ("3", "7")
    assert read.split.labels.tolist() == [0, 0, 0, 0, 1, 1]
    assert [(one.path, one.label, one.error.kind) for one in read.failed] == [
        (f"{root}/7/note.txt", "7", ErrorKind.NOT_AN_IMAGE)
    ]
    for name, pixels in zip(read.names, read.split.images, strict=True):
        assert np.array_equal(pixels.numpy(), prepare((root / name).read_bytes(), STRETCH, MAX_PIXELS))


def test_training_and_evaluation_read_the_same_files_of_a_folder(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data")
    shown = sorted(path for path in root.rglob("*.png"))
    for hidden in (".cache/9", "3/.cache", "3/deeper/.thumbnails"):
        (root / hidden).mkdir(parents=True)
        (root / hidden / "0.png").write_bytes(shown[0].read_bytes())
    (root / "3" / "link").symlink_to(root / "7", target_is_directory=True)
    os.mkfifo(root / "3" / "fifo")
    data_set = ClassFolders(str(root))
    listed = sorted(Path(picture.path) for picture in data_set.pictures)
    assert listed == sorted([*shown, root / "3" / "fifo", root / "7" / "note.txt"])
    read = data_set.labelled(STRETCH)
    assert sorted(root / name for name in read.names) == shown
    assert [one.error.kind for one in read.failed][:1] == [ErrorKind.NOT_A_FILE]


def test_evaluation_on_a_missing_or_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"none.*No such file or directory"):
        ClassFolders(str(tmp_path / "none")).labelled(STRETCH)
    (tmp_path / "a").mkdir()
    with pytest.raises(DatasetError, match="none of 0 files"):
        ClassFolders(str(tmp_path)).labelled(STRETCH)


def numbered(counts: list[int]) -> Split:
    labels = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
    return Split(torch.arange(len(labels)).to(torch.uint8).reshape(-1, 1, 1, 1), labels)


def test_a_split_keeps_the_proportions_of_the_classes_and_each_image_once() -> None:
    first, second = mnist.divide(numbered([100, 20, 10]), 0.1, seed=1)
    assert second.labels.bincount().tolist() == [10, 2, 1]
    together = torch.cat([first.images, second.images]).flatten()
    assert sorted(together.tolist()) == list(range(130))


def test_the_seed_determines_the_split() -> None:
    split = numbered([100, 100])
    one, same, other = (mnist.divide(split, 0.2, seed)[1].images.flatten().tolist() for seed in (1, 1, 2))
    assert one == same != other


def test_the_validation_split_of_the_shipped_checkpoint_does_not_change() -> None:
    drawn = mnist.divide(numbered([20, 20]), 0.2, seed=3)[1].images.flatten().tolist()
    assert drawn == [3, 6, 7, 12, 21, 22, 24, 27], "the shipped checkpoint was trained on the other images"


def test_a_class_with_too_few_images_to_split_is_an_error() -> None:
    with pytest.raises(DatasetError, match="Class 1 has 1 image"):
        mnist.divide(numbered([50, 1]), 0.1, 0)


@pytest.mark.shared
def test_the_real_mnist_has_its_published_mean() -> None:
    split = mnist.read(SHARED / "mnist", "train", STRETCH)
    assert len(split) == 60_000
    assert float(split.images.double().mean() / 255) == pytest.approx(0.1307, abs=1e-4)
    assert float((split.images.double() / 255).std()) == pytest.approx(0.3081, abs=1e-4)
