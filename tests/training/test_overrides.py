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


def test_a_value_is_replaced_and_the_last_of_a_name_wins() -> None:
    assert changed("epochs=3", "learning_rate=1", "epochs=4") == Recipe(epochs=4, learning_rate=1.0)
    assert type(changed("learning_rate=1").learning_rate) is float
    assert changed("augmentation.degrees=5", "augmentation.flip=true").augmentation == Augmentation(
        degrees=5.0, flip=True
    )


def test_an_augmentation_is_turned_off_and_begins_from_nothing_again() -> None:
    assert changed("augmentation.degrees=5", "augmentation=null").augmentation is None
    only = changed("augmentation=null", "augmentation.degrees=5").augmentation
    assert only == Augmentation(degrees=5.0, scale=0.0, shear=0.0, shift=0.0)
    assert changed('augmentation={"outside": "border"}').augmentation == Augmentation(outside="border")


@pytest.mark.parametrize("recipe", [Recipe(augmentation=None), *RECIPES.values()])
def test_a_recipe_that_was_printed_is_read_back_as_it_was(recipe: Recipe, tmp_path: Path) -> None:
    file = tmp_path / "recipe.json"
    file.write_text(json.dumps(asdict(recipe)))
    assert changed(file=file) == recipe
    assert changed("epochs=7", file=file).epochs == 7, "--set is on top of the file"
    assert overrides.differences(changed("epochs=7", file=file), recipe) == {"epochs": 7}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("epochs", "--set takes NAME=VALUE, such as --set epochs=50, not 'epochs'."),
        ("epoch=3", "--set: a recipe has no 'epoch'; did you mean epochs?"),
        ("augmentation.degree=3", "--set: a recipe has no 'augmentation.degree'; did you mean augmentation.degrees?"),
        ("zzz=3", "--set: a recipe has no 'zzz'; it has epochs, batch_size, learning_rate, "),
        ("epochs=many", "--set: epochs is many, and must be a whole number from 1 to 10,000."),
        ("epochs=2.5", "--set: epochs is 2.5, and must be a whole number from 1 to 10,000."),
        ("epochs=true", "--set: epochs is true, and must be a whole number from 1 to 10,000."),
        ("epochs=", "--set: epochs is , and must be a whole number"),
        ("learning_rate=2", "--set: learning_rate is 2, and must be a number from 1e-06 to 1."),
        ("learning_rate=NaN", "--set: learning_rate is NaN, and must be a number from 1e-06 to 1."),
        ("augmentation.flip=1", "--set: augmentation.flip is 1, and must be true or false."),
        ("augmentation.outside=mirror", "--set: augmentation.outside is mirror, and must be zeros or border."),
        (
            "augmentation=5",
            "augmentation is 5, and must be null, for none; set its values by names such as augmentation.d",
        ),
    ],
)
def test_what_cannot_be_a_value_is_a_clear_error(setting: str, message: str) -> None:
    with pytest.raises(TrainingError) as refused:
        changed(setting)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "recipe.json is not a JSON file (Expecting property name"),
        ("[1]", "recipe.json is not a JSON object; write names and values, such as"),
        ('{"epoch": 1}', "recipe.json: a recipe has no 'epoch'; did you mean epochs?"),
        (
            '{"augmentation": {"degrees": -1}}',
            "recipe.json: augmentation.degrees is -1, and must be a number from 0 to 180.",
        ),
    ],
)
def test_a_file_that_is_no_recipe_is_a_clear_error(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(content)
    with pytest.raises(TrainingError) as refused:
        changed(file=tmp_path / "recipe.json")
    assert message in str(refused.value)
    with pytest.raises(TrainingError, match=r"recipes\.json does not exist; did you mean .*/recipe\.json\?"):
        changed(file=tmp_path / "recipes.json")


def test_a_training_takes_a_printed_and_changed_recipe_and_its_model_file_records_the_differences(
    tmp_path: Path,
) -> None:
    photos, path = folder(tmp_path / "photos", {"a": 10, "b": 10}), tmp_path / "mine.safetensors"
    line = ("train", "--data", photos, "-o", path, "--network", "residual-small", "--device", "cpu")
    printed = run(*line, "--show-recipe")
    assert printed.exit_code == 0, printed.output
    assert not path.exists()
    assert json.loads(printed.stdout)["augmentation"]["outside"] == "border"
    (tmp_path / "recipe.json").write_text(json.dumps({**json.loads(printed.stdout), "epochs": 9, "mixing": 0.25}))
    given = (
        "--recipe",
        tmp_path / "recipe.json",
        "--set",
        "epochs=2",
        "--set",
        "augmentation.degrees=3",
        "--patience",
        1,
    )
    result = run(*line, *given)
    assert result.exit_code == 0, result.output
    trained = describe(path).trained
    wanted = {"epochs": 2, "patience": 1, "mixing": 0.25, "augmentation.degrees": 3.0}
    assert trained["overrides"] == wanted, "an option for a value wins over the file"
    assert trained["recipe"]["augmentation"]["degrees"] == 3.0
    shown = run("inspect", path).stdout
    assert "recipe         augmentation.degrees 3.0, epochs 2, mixing 0.25, patience 1; else the default" in shown


def test_a_recipe_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    result = run("train", "--data", tmp_path, "-o", tmp_path / "x.safetensors", "--set", "epoch=1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "pigeonhole: --set: a recipe has no 'epoch'; did you mean epochs?\n"


@pytest.mark.parametrize(
    "setting", ["synthetic=0.001", "pool=1", "averaging=0", "warmup=1", "augmentation=null", "mixing=1"]
)
def test_values_at_the_ends_of_their_ranges_can_be_trained_with(setting: str, tmp_path: Path) -> None:
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


def test_synthetic_data_for_a_network_that_has_none_is_refused(tiny_mnist: Path, tmp_path: Path) -> None:
    line = ("train", "--data", tiny_mnist, "-o", tmp_path / "x.safetensors", "--network", "classic")
    result = run(*line, "--set", "synthetic=0.5")
    assert "the network 'classic'; give --no-synthetic" in result.stderr
