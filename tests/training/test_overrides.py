"""Recipes that a user changes with `--recipe` and `--set`."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from pigeonhole.errors import TrainingError
from pigeonhole.models.checkpoint import describe
from tests.training.datasets.test_folder import folder, run
from training.recipes import overrides
from training.recipes.augment import Augmentation
from training.recipes.defaults import RECIPES
from training.recipes.recipe import Recipe


def changed(*settings: str, file: Path | None = None, recipe: Recipe | None = None) -> Recipe:
    return overrides.apply(recipe or Recipe(), overrides.read(file, settings))


def test_a_setting_replaces_a_value_and_the_last_one_wins() -> None:
    assert changed("epochs=3", "learning_rate=1", "epochs=4") == Recipe(epochs=4, learning_rate=1.0)
    assert type(changed("learning_rate=1").learning_rate) is float
    assert changed("augmentation.degrees=5", "augmentation.flip=true").augmentation == Augmentation(
        degrees=5.0, flip=True
    )


def test_null_turns_augmentation_off_and_later_settings_start_from_zero() -> None:
    assert changed("augmentation.degrees=5", "augmentation=null").augmentation is None
    only = changed("augmentation=null", "augmentation.degrees=5").augmentation
    assert only == Augmentation(degrees=5.0, scale=0.0, shear=0.0, shift=0.0)
    assert changed('augmentation={"outside": "border"}').augmentation == Augmentation(outside="border")


@pytest.mark.parametrize("recipe", [Recipe(augmentation=None), *RECIPES.values()])
def test_a_printed_recipe_is_read_back_unchanged(recipe: Recipe, tmp_path: Path) -> None:
    file = tmp_path / "recipe.json"
    file.write_text(json.dumps(asdict(recipe)))
    assert changed(file=file) == recipe
    assert changed("epochs=7", file=file).epochs == 7, "--set overrides the file"
    assert overrides.differences(changed("epochs=7", file=file), recipe) == {"epochs": 7}


@pytest.mark.parametrize(
    ("setting", "value", "remedy"),
    [
        ("epochs", "'epochs'", "--set epochs=50"),
        ("epoch=3", "'epoch'", "epochs?"),
        ("augmentation.degree=3", "'augmentation.degree'", "augmentation.degrees?"),
        ("zzz=3", "'zzz'", "epochs, batch_size, learning_rate, "),
        ("epochs=many", "epochs is many", "a whole number from 1 to 10,000"),
        ("epochs=2.5", "epochs is 2.5", "a whole number from 1 to 10,000"),
        ("epochs=true", "epochs is true", "a whole number from 1 to 10,000"),
        ("epochs=", "epochs is ", "a whole number"),
        ("learning_rate=2", "learning_rate is 2", "a number from 1e-06 to 1"),
        ("learning_rate=NaN", "learning_rate is NaN", "a number from 1e-06 to 1"),
        ("augmentation.flip=1", "augmentation.flip is 1", "true or false"),
        ("augmentation.outside=mirror", "augmentation.outside is mirror", "zeros or border"),
        ("augmentation=5", "augmentation is 5", "null"),
    ],
)
def test_an_invalid_setting_is_an_error(setting: str, value: str, remedy: str) -> None:
    with pytest.raises(TrainingError) as caught:
        changed(setting)
    assert str(caught.value).startswith("--set")
    assert value in str(caught.value)
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("{", "not a JSON file"),
        ("[1]", "not a JSON object"),
        ('{"epoch": 1}', "epochs?"),
        ('{"augmentation": {"degrees": -1}}', "augmentation.degrees is -1"),
    ],
)
def test_a_file_that_is_not_a_recipe_is_an_error(content: str, part: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(content)
    with pytest.raises(TrainingError) as caught:
        changed(file=tmp_path / "recipe.json")
    assert "recipe.json" in str(caught.value)
    assert part in str(caught.value)
    with pytest.raises(TrainingError, match=r"recipes\.json .*/recipe\.json\?"):
        changed(file=tmp_path / "recipes.json")


def test_an_edited_recipe_is_used_and_the_model_file_records_the_differences(
    tmp_path: Path,
) -> None:
    photos, path = folder(tmp_path / "photos", {"a": 10, "b": 10}), tmp_path / "mine.safetensors"
    line = ("train", "--data", photos, "-o", path, "--network", "residual-small", "--device", "cpu")
    printed = run(*line, "--show-recipe")
    assert printed.exit_code == 0, printed.output
    assert not path.exists()
    assert json.loads(printed.stdout)["augmentation"]["outside"] == "border"
    (tmp_path / "recipe.json").write_text(json.dumps({**json.loads(printed.stdout), "epochs": 9, "mixing": 0.25}))
    options = (
        "--recipe",
        tmp_path / "recipe.json",
        "--set",
        "epochs=2",
        "--set",
        "augmentation.degrees=3",
        "--patience",
        1,
    )
    result = run(*line, *options)
    assert result.exit_code == 0, result.output
    trained = describe(path).trained
    wanted = {"epochs": 2, "patience": 1, "mixing": 0.25, "augmentation.degrees": 3.0}
    assert trained["overrides"] == wanted, "options override the file"
    assert trained["recipe"]["augmentation"]["degrees"] == 3.0
    shown = run("inspect", path).stdout
    assert "recipe         augmentation.degrees 3.0, epochs 2, mixing 0.25, patience 1; else the default" in shown


def test_an_invalid_recipe_is_refused_before_the_data_is_read(tmp_path: Path) -> None:
    result = run("train", "--data", tmp_path, "-o", tmp_path / "x.safetensors", "--set", "epoch=1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--set: " in result.stderr
    assert "'epoch'" in result.stderr
    assert result.stderr.endswith("epochs?\n")


@pytest.mark.parametrize(
    "setting", ["synthetic=0.001", "pool=1", "averaging=0", "warmup=1", "augmentation=null", "mixing=1"]
)
def test_training_works_with_values_at_the_ends_of_their_ranges(setting: str, tmp_path: Path) -> None:
    photos = folder(tmp_path / "photos", {"a": 10, "b": 10})
    line = ("train", "--data", photos, "-o", tmp_path / "x.safetensors", "--network", "residual-small", "--epochs", 1)
    assert run(*line, "--device", "cpu", "--set", setting).exit_code == 0


def test_out_of_distribution_images_need_a_share_of_outliers(tmp_path: Path) -> None:
    photos = folder(tmp_path / "photos", {"a": 10, "b": 10})
    line = ("train", "--data", photos, "-o", tmp_path / "x.safetensors", "--epochs", 1, "--device", "cpu")
    refused = run(*line, "--set", "outliers=0")
    assert refused.exit_code == 2
    assert "pigeonhole: outliers is 0" in refused.stderr
    assert "--no-synthetic" in refused.stderr
    assert run(*line, "--set", "outliers=0", "--no-synthetic").exit_code == 0


def test_synthetic_data_is_refused_for_a_network_without_it(tiny_mnist: Path, tmp_path: Path) -> None:
    line = ("train", "--data", tiny_mnist, "-o", tmp_path / "x.safetensors", "--network", "classic")
    result = run(*line, "--set", "synthetic=0.5")
    assert "'classic'" in result.stderr
    assert "--no-synthetic" in result.stderr
