"""The evaluation of a model on the data set that it was trained on."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pigeonhole.models.checkpoint import describe
from tests.training.datasets.test_folder import QUICK, folder, run

#: The start of the line that names the measured images.
PART = "validation part: 8 of 40 images"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a model on `photos` of two classes, and return the folder of both."""
    home = tmp_path_factory.mktemp("home")
    folder(home / "photos", {"a": 20, "b": 20})
    result = run("train", "--dataset", f"folder:{home / 'photos'}", "-o", home / "mine.safetensors", *QUICK)
    assert result.exit_code == 0, result.output
    return home


@pytest.fixture
def home(trained: Path, tmp_path: Path) -> Iterator[Path]:
    """Yield the folder of the model and its photos, and restore the photos after the test."""
    shutil.copytree(trained / "photos", tmp_path / "before")
    yield trained
    shutil.rmtree(trained / "photos", ignore_errors=True)
    shutil.copytree(tmp_path / "before", trained / "photos")


def lines(home: Path, *options: object) -> list[str]:
    result = run("evaluate", home / "mine.safetensors", *options)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def test_only_the_validation_split_of_the_training_data_is_measured_and_the_first_line_names_it(home: Path) -> None:
    measured = describe(home / "mine.safetensors").measured["validation"]
    for options in (("--data", home / "photos"), ("--dataset", f"folder:{home / 'photos'}"), ()):
        first, second, *_rest = lines(home, *options)
        assert first.startswith(PART)
        assert second.startswith(f"{measured['accuracy']:.2%} right of 8 images")


def test_the_same_data_in_another_place_is_recognised(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "photos", tmp_path / "copy")
    (tmp_path / "link").symlink_to(home / "photos")
    names = sorted((home / "photos").rglob("*.png"))
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *(f"{path},{path.parent.name}" for path in names)]))
    for name in ("copy", "link", "list.csv"):
        assert lines(home, "--data", tmp_path / name)[0].startswith(PART)
    shutil.rmtree(home / "photos")
    assert lines(home, "--data", tmp_path / "copy")[0].startswith(PART)


def test_changed_data_is_split_again_and_the_first_line_warns(home: Path) -> None:
    folder(home / "photos", {"a": 25, "b": 25}, seed=3)
    first = lines(home, "--data", home / "photos")[0]
    assert first.startswith("validation part: 10 of 50 images")
    assert "files have changed" in first


def test_evaluation_on_a_part_of_the_training_images_warns(home: Path, tmp_path: Path) -> None:
    part = tmp_path / "part"
    for name in ("a/1.png", "b/1.png"):
        (part / name).parent.mkdir(parents=True)
        (part / name).symlink_to(home / "photos" / name)
    first = lines(home, "--data", part)[0]
    assert first.startswith("warning: mine was trained with all of these 2 ")
    assert f"folder:{home / 'photos'}" in first
    shutil.copy(home / "photos" / "a" / "2.png", part / "a" / "new.png")
    assert lines(home, "--data", part)[0].startswith("warning: mine was trained with 2 of these 3 ")


def test_new_images_are_all_measured_without_a_warning(home: Path, tmp_path: Path) -> None:
    folder(tmp_path / "new", {"a": 20, "b": 20}, seed=9)
    assert " right of 40 images" in lines(home, "--data", tmp_path / "new")[0]


def test_two_models_are_compared_on_images_that_neither_was_trained_on(home: Path, tmp_path: Path) -> None:
    other, photos = tmp_path / "other.safetensors", home / "photos"
    assert run("train", "--data", photos, "-o", other, *QUICK, "--seed", 1).exit_code == 0
    mine, options = home / "mine.safetensors", ("--data", photos, "--json")
    alone = [json.loads(run("evaluate", each, *options).stdout) for each in (mine, other)]
    assert all(values["note"].startswith(PART) for values in alone)
    values = json.loads(run("evaluate", mine, mine, *options).stdout)
    assert (len(values["notes"]), values["A"]["images"]) == (1, 8)
    assert values["notes"][0].startswith(PART)
    values = json.loads(run("evaluate", mine, other, *options).stdout)
    assert (len(values["notes"]), values["A"]["images"]) == (1, 1), "one image is in both validation parts"
    assert values["notes"][0].startswith(PART)
