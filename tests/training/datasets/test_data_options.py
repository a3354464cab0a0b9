"""The messages of `--data` and `--dataset` for a name that does not exist, or is another kind of data set."""

from pathlib import Path

import pytest

from tests.training.datasets.test_folder import folder, run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Enter a working folder with photos of the classes a and b, and their CSV file."""
    folder(tmp_path / "photos", {"a": 1, "b": 1})
    (tmp_path / "labels.csv").write_text("path,label\nphotos/a/0.png,a\nphotos/b/0.png,b\n")
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "notes.txt").touch()
    monkeypatch.chdir(tmp_path)
    # A proxy that nothing listens on: a download would fail with another message.
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    return tmp_path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--data", "photo"),
            "photo does not exist; did you mean photos? --data takes a folder with one folder of pict",
        ),
        (("--data", "Photos"), "Photos does not exist; did you mean photos? --data takes"),
        (
            ("--data", "elsewhere"),
            "elsewhere does not exist. --data takes a folder with one folder of pictures for each",
        ),
        (("--data", "mixed"), "mixed holds no data set. --data takes a folder with one folder of pictures for each"),
        (("--dataset", "photos"), "There is no data set 'photos': did you mean folder:photos? --dataset takes"),
        (
            ("--dataset", "labels.csv"),
            "There is no data set 'labels.csv': did you mean csv:labels.csv? --dataset takes",
        ),
        (
            ("--dataset", "folder:photo"),
            "photo does not exist; did you mean photos? Check the path of --dataset or --d",
        ),
        (
            ("--dataset", "folder:labels.csv"),
            "labels.csv is a file, and folder:DIR takes a folder; did you mean csv:la",
        ),
        (
            ("--dataset", "mnist", "--data", "photos"),
            "photos holds other files, such as 'a', so MNIST is not downloaded there. Did you mean --dataset "
            "folder:photos? For MNIST, name a new folder: --dataset mnist --data DIR.",
        ),
        (
            ("--dataset", "mnist", "--data", "labels.csv"),
            "labels.csv is a file, and MNIST needs a folder; name another",
        ),
    ],
)
def test_a_name_that_leads_nowhere_is_reported_with_the_nearest_one(
    here: Path, options: tuple[str, ...], message: str
) -> None:
    before = sorted(here.rglob("*"))
    for command in (("train", "-o", "x.safetensors"), ("evaluate", "digits")):
        result = run(*command, *options)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith(f"pigeonhole: {message}")
        assert options[0] == "--dataset" or "MNIST is" not in result.stderr
    assert sorted(here.rglob("*")) == before


def test_training_takes_the_data_set_that_data_holds(here: Path) -> None:
    result = run("train", "--data", "photos", "-o", "x.safetensors")
    assert result.stderr.splitlines()[0] == "Training residual on folder:photos, seed 0."
    assert "each class needs at least 5 different readable pictures" in result.stderr


def test_mnist_is_never_downloaded_beside_other_files_of_the_default_folder(here: Path) -> None:
    folder(here / "data", {"cats": 1, "dogs": 1})
    for command in (
        ("train", "--dataset", "mnist", "-o", "x.safetensors"),
        ("evaluate", "digits", "--dataset", "mnist"),
    ):
        result = run(*command)
        assert "data holds other files, such as 'cats', so MNIST is not downloaded there. Did you mean" in result.stderr
        assert not (here / "data" / "MNIST").exists()


def test_a_checkpoint_that_is_missing_is_reported_with_the_nearest_one(here: Path) -> None:
    (here / "hands.safetensors").touch()
    for name, near in (("hands", "hands.safetensors"), ("digit", "digits"), ("hnads.safetensors", "hands.safetensors")):
        result = run("evaluate", name, "--data", "elsewhere")
        assert result.exit_code == 2
        assert result.stderr.endswith(f"the name of a shipped checkpoint: digits, digits-int8. Did you mean {near}?\n")


def test_a_misspelt_name_for_outliers_is_reported(here: Path) -> None:
    result = run("evaluate", "digits", "--dataset", "outlier:photos")
    assert result.stderr == "pigeonhole: There is no data set 'outlier:photos': did you mean outliers?\n"
