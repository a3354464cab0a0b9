"""A folder of a user's own pictures as a data set, from its files to a checkpoint."""

import json
import os
import random
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from pigeonhole.errors import DatasetError
from pigeonhole.imaging.preprocess import prepare
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models.checkpoint import describe, load
from producer.cli import app
from tests.training.conftest import drawn_digit, png
from training.datasets.class_folders import ClassFolders
from training.datasets.data_set import ReadOptions, TrainingData
from training.datasets.files import cache, inspection
from training.datasets.splits import moments

GREY = Preprocessing("crop", 28, 28, 1)
QUICK = ("--epochs", "2", "--batch-size", "16", "--validation", "0.2", "--device", "cpu", "--network", "residual-small")


def picture(level: int, size: tuple[int, int], colour: bool, rng: np.random.Generator) -> Image.Image:
    """Return a random picture of a class: noise around the level of the class."""
    pixels = np.clip(rng.normal(level, 30, (size[1], size[0], 3 if colour else 1)), 0, 255).astype(np.uint8)
    return Image.fromarray(pixels if colour else pixels[..., 0])


def folder(
    root: Path, counts: dict[str, int], size: tuple[int, int] = (28, 28), colour: bool = False, seed: int = 0
) -> Path:
    """Write class folders with the given numbers of pictures."""
    rng = np.random.default_rng(seed)
    for index, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            data = png(picture(40 + 150 * index // max(1, len(counts) - 1), size, colour, rng))
            (root / name / f"{number}.png").write_bytes(data)
    return root


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "120"})


def read(root: Path, share: float = 0.2, seed: int = 0, preprocessing: Preprocessing | None = GREY) -> TrainingData:
    return ClassFolders(str(root)).read(ReadOptions(root.parent, share, seed, preprocessing))


def test_a_folder_is_a_data_set_and_the_checkpoint_records_its_figures(tmp_path: Path) -> None:
    root, path = folder(tmp_path / "data", {"katze": 20, "犬": 20}), tmp_path / "mine.safetensors"
    (root / "katze" / "broken.png").write_bytes(b"no picture")
    result = run("train", "--dataset", f"folder:{root}", "-o", path, *QUICK)
    assert result.exit_code == 0, result.output
    described, network = load(path)
    assert described.classes == ("katze", "犬")
    assert described.preprocessing == GREY
    assert described.trained["dataset"] == f"folder:{root}"
    assert described.calibration.outlier
    assert network(torch.zeros(1, 28, 28, 1, dtype=torch.uint8)).shape == (1, 3), 'two classes and "unknown"'
    assert described.arguments["mean"] == [pytest.approx(0.45, abs=0.05)]
    assert set(described.measured) == {"validation"}
    assert "Validation accuracy " in result.stdout
    assert " (8 images, " in result.stdout
    for part in (
        f"residual-small on folder:{root}",
        "\nclass  training  validation\n",
        "\n犬     16        4\n",
        "left out: 1 unreadable",
        f"left out: {root}/katze/broken.png: not-an-image: ",
    ):
        assert part in result.stderr
    log = [json.loads(line) for line in path.with_suffix(".log.jsonl").read_text().splitlines()]
    assert [line["path"] for line in log if line["event"] == "left-out"] == [f"{root}/katze/broken.png"]


@pytest.mark.parametrize(
    ("dataset", "parts"),
    [
        ("cifar", ("'cifar'", "--dataset takes mnist, folder, csv")),
        ("fodler:x", ("'fodler:x'", "did you mean folder?")),
        ("folder:{0}/none", ("none does not exist", "did you mean {0}/one?")),
        ("folder:{0}/file", ("file is a file",)),
        ("csv:{0}/one", ("one is a folder", "did you mean folder:{0}/one?")),
        ("folder:{0}/one", ("two classes", "'a'")),
        ("folder:{0}/few", ("at least 5 ", "'b' has 4, 'c' has 0")),
        ("folder:{0}/beside", ("'more'",)),
        ("folder:{0}/foreign", ("at least 5 ", "'a' has 0, 'b' has 1, 'c' ")),
    ],
)
def test_an_invalid_data_set_is_an_error(tmp_path: Path, dataset: str, parts: tuple[str, ...]) -> None:
    (tmp_path / "file").touch()
    folder(tmp_path / "one", {"a": 1})
    folder(tmp_path / "few", {"a": 5, "b": 4, "c": 0})
    for name in ("beside", "foreign"):
        folder(tmp_path / name / "train", {"a": 1, "b": 1})
        folder(tmp_path / name / "val", {"c": 1})
    (tmp_path / "beside" / "more").mkdir()
    result = run("train", "--dataset", dataset.format(tmp_path), "-o", tmp_path / "x.safetensors", *QUICK)
    assert result.exit_code == 2, result.output
    assert [part for part in parts if part.replace("{0}", str(tmp_path)) not in result.stderr] == []
    assert (result.stdout, "Traceback" in result.stderr) == ("", False)


def test_a_folder_needs_no_other_option_and_unequal_classes_are_reported_and_weighted(tmp_path: Path) -> None:
    root, path = folder(tmp_path / "data", {"a": 40, "b": 6}, (40, 30), colour=True), tmp_path / "mine.safetensors"
    result = run("train", "--dataset", f"folder:{root}", "-o", path, "--epochs", "1", "--device", "cpu")
    assert result.exit_code == 0, result.output
    described = describe(path)
    assert (described.network, described.preprocessing) == ("residual", Preprocessing("crop", 28, 40, 3))
    assert len(described.arguments["mean"]) == 3
    assert described.trained["recipe"]["balance"] > 0
    for part in ("46 pictures", "40 x 30 pixels", "40 x 28 in colour", "--size", "7.2 times"):
        assert part in result.stderr


def test_class_names_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    for name in (b"a", b"\xff"):
        os.mkdir(os.path.join(os.fsencode(tmp_path), name))
    with pytest.raises(DatasetError, match=r"not UTF-8: b'\\xff'; rename it"):
        read(tmp_path)


def test_files_are_found_at_any_depth_and_hidden_files_are_ignored(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", {"a": 2, "b": 1, "b/deeper": 1, ".cache": 1})
    (root / "a" / ".DS_Store").touch()
    (root / "README").touch()
    found = ClassFolders(str(root))
    assert found.classes == ("a", "b")
    assert [os.path.relpath(picture.path, root) for picture in found.pictures] == [
        *("a/0.png", "a/1.png", "b/0.png", "b/deeper/0.png")
    ]


@pytest.mark.parametrize(("val", "test"), [(True, True), (False, True), (True, False), (False, False)])
def test_the_folders_train_val_and_test_are_the_splits(tmp_path: Path, val: bool, test: bool) -> None:
    root = tmp_path / "data"
    folder(root / "train", {"a": 10, "b": 10}, seed=1)
    if val:
        folder(root / "val", {"a": 4, "b": 4}, seed=2)
    if test:
        folder(root / "test", {"a": 3, "b": 3}, seed=3)
    found = read(root)
    assert (len(found.training), len(found.validation)) == ((20, 8) if val else (16, 4))
    assert (found.test is not None and len(found.test) == 6) == test
    assert len(found.names) == (6 if test else len(found.validation))
    assert found.source.startswith("the test images in " if test else "the validation split of ")
    where = "test" if test else "val" if val else "train"
    assert all(name.startswith(f"{where}/") for name in found.names)
    images = found.test.images if found.test else found.validation.images
    for name, pixels in zip(found.names, images, strict=True):
        assert np.array_equal(pixels.numpy(), prepare((root / name).read_bytes(), GREY, 10_000))


@pytest.mark.parametrize(
    ("size", "colour", "asked", "chosen"),
    [
        ((28, 28), False, None, Preprocessing("crop", 28, 28, 1)),
        ((20, 20), False, None, Preprocessing("crop", 28, 28, 1)),
        ((32, 32), True, None, Preprocessing("crop", 32, 32, 3)),
        ((100, 100), True, None, Preprocessing("crop", 64, 64, 3)),
        ((100, 100), True, 96, Preprocessing("crop", 96, 96, 3)),
        ((120, 60), False, None, Preprocessing("crop", 48, 96, 1)),
        ((60, 120), False, None, Preprocessing("crop", 96, 48, 1)),
        ((110, 100), False, None, Preprocessing("crop", 64, 64, 1)),
    ],
)
def test_the_preprocessing_fits_the_pictures(
    tmp_path: Path, size: tuple[int, int], colour: bool, asked: int | None, chosen: Preprocessing
) -> None:
    root = folder(tmp_path / "data", {"a": 3, "b": 3}, size, colour)
    assert inspection.inspect_pictures([str(path) for path in root.rglob("*.png")]).preprocessing(asked) == chosen


def test_grey_pictures_stored_as_colour_count_as_grey(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(4):
        image = picture(100, (90, 90), False, rng).convert("RGB")
        image.save(tmp_path / f"{number}.jpg", quality=50)
    paths = [str(path) for path in tmp_path.iterdir()]
    assert inspection.inspect_pictures(paths).grey
    picture(100, (90, 90), True, rng).save(tmp_path / "colour.png")
    assert not inspection.inspect_pictures([*paths, str(tmp_path / "colour.png")]).grey


def test_duplicate_and_ambiguous_pictures_are_left_out(tmp_path: Path) -> None:
    root = tmp_path / "data"
    folder(root / "train", {"a": 10, "b": 10}, seed=1)
    folder(root / "test", {"a": 3, "b": 3}, seed=2)

    def copy(source: str, target: str) -> None:
        (root / target).write_bytes((root / source).read_bytes())

    copy("train/a/0.png", "train/a/again.png")
    copy("test/a/0.png", "train/a/tested.png")
    copy("train/a/1.png", "train/b/both.png")
    copy("train/b/2.png", "test/a/both.png")
    Image.open(root / "train/a/3.png").save(root / "train/a/other.bmp")
    found = read(root)
    train, test = f"{root}/train", f"{root}/test"
    assert {(file.path, file.reason, file.detail) for file in found.left_out} == {
        (f"{train}/a/again.png", "duplicate", f"the same picture as {train}/a/0.png"),
        (f"{train}/a/tested.png", "duplicate", f"the same picture as {test}/a/0.png"),
        (f"{train}/a/other.bmp", "duplicate", f"the same picture as {train}/a/3.png"),
        (f"{train}/a/1.png", "ambiguous", "the same picture is in the classes 'a' and 'b'"),
        (f"{train}/b/both.png", "ambiguous", "the same picture is in the classes 'a' and 'b'"),
        (f"{train}/b/2.png", "ambiguous", "the same picture is in the classes 'a' and 'b'"),
        (f"{test}/a/both.png", "ambiguous", "the same picture is in the classes 'a' and 'b'"),
    }
    assert len(found.training) + len(found.validation) == 18
    assert found.test is not None
    assert len(found.test) == 6


def test_the_validation_split_is_stable_when_files_are_added_or_renamed(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", {"a": 40, "b": 20})

    def validated(seed: int = 0) -> set[bytes]:
        return {image.numpy().tobytes() for image in read(root, seed=seed).validation.images}

    before = validated()
    assert len(before) == 8 + 4
    for path in list(root.rglob("*.png")):
        path.rename(path.with_stem(f"photo-{path.stem}"))
    assert validated() == before != validated(seed=1)
    folder(root, {"a": 4, "b": 4}, seed=2)
    assert len(validated() & before) >= 9


def test_a_class_too_small_for_the_validation_share_is_an_error(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", {"a": 40, "b": 5})
    with pytest.raises(DatasetError, match=r"'b' has 5 pictures.* 95%"):
        read(root, share=0.95)


def test_the_digest_depends_on_pixels_labels_and_splits(tmp_path: Path) -> None:
    first, same = (folder(tmp_path / name, {"a": 9, "b": 9}) for name in ("first", "same"))
    assert read(first).digest == read(same).digest != read(first, seed=1).digest
    (same / "a" / "8.png").rename(same / "b" / "9.png")
    assert read(first).digest != read(same).digest


def test_several_processes_read_the_same_images_as_one_and_report_progress(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", {"a": 80, "b": 80}, (40, 30))
    (root / "a" / "broken.png").write_bytes(b"")
    paths = [picture.path for picture in ClassFolders(str(root)).pictures]
    steps: list[tuple[int, int]] = []
    one = cache.read(paths, GREY, tmp_path, processes=1)
    two = cache.read(paths, GREY, tmp_path, processes=2, on_progress=lambda *step: steps.append(step))
    assert np.array_equal(one.images, two.images)
    assert np.array_equal(one.digests, two.digests)
    for failed in (one.failed, two.failed):
        assert {at: str(error) for at, error in failed.items()} == {
            paths.index(f"{root}/a/broken.png"): "empty: the file has no bytes"
        }
    assert steps == [(64, 161), (128, 161), (161, 161)]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["data"], "the cache is an unnamed file"


def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path: Path) -> None:
    wide = Preprocessing("crop", 256, 256, 3)

    def peak(count: int) -> int:
        root = folder(tmp_path / str(count), {"a": count // 2, "b": count // 2})
        tracemalloc.start()
        found = read(root, preprocessing=wide)
        moments(found.training)
        _current, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert found.training.images.nbytes > 0.7 * count * 256 * 256 * 3
        return peak_bytes

    peak(10)  # memory that is allocated once
    assert peak(320) < peak(120) + 4_000_000, "200 pictures more take 39 MB"


def write_digits(root: Path, classes: str, each: int) -> Path:
    rng = random.Random(3)
    for label in classes:
        (root / label).mkdir(parents=True)
        for number in range(each):
            Image.fromarray(drawn_digit(int(label), rng)).save(root / label / f"{number}.png")
    return root


def test_the_digits_network_reads_a_folder_with_its_own_preprocessing(tmp_path: Path) -> None:
    root, path = write_digits(tmp_path / "data", "17", 12), tmp_path / "x.safetensors"
    result = run("train", "--dataset", f"folder:{root}", "-o", path, *QUICK[:-1], "digits")
    assert result.exit_code == 0, result.output
    described = describe(path)
    assert (described.classes, described.preprocessing.kind) == (("1", "7"), "digit")
    refused = run("train", "--dataset", f"folder:{root}", "-o", path, *QUICK[:-1], "digits", "--size", "64")
    assert refused.exit_code == 2
    assert "'digits' takes images of 28 x 28" in refused.stderr
    assert "--size" in refused.stderr
    photos = folder(tmp_path / "photos", {"a": 6, "b": 6})
    refused = run("train", "--dataset", f"folder:{photos}", "-o", path, *QUICK[:-1], "digits")
    assert refused.exit_code == 2
    assert f"{photos}: 12 of 12 pictures" in refused.stderr
