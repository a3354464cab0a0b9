"""The errors of `--data` and `--dataset` for a name that does not exist, or is another kind of data set."""

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
    # A proxy on a closed port: a download would fail with another error.
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    return tmp_path


@pytest.mark.parametrize(
    ("options", "value", "remedy"),
    [
        (("--data", "photo"), "photo does not exist", "did you mean photos?"),
        (("--data", "Photos"), "Photos does not exist", "did you mean photos?"),
        (("--data", "elsewhere"), "elsewhere does not exist", "--data takes a folder"),
        (("--data", "mixed"), "mixed holds no data set", "--data takes a folder"),
        (("--dataset", "photos"), "'photos'", "did you mean folder:photos?"),
        (("--dataset", "labels.csv"), "'labels.csv'", "did you mean csv:labels.csv?"),
        (("--dataset", "folder:photo"), "photo does not exist", "did you mean photos?"),
        (("--dataset", "folder:labels.csv"), "labels.csv is a file", "did you mean csv:labels.csv?"),
        (("--dataset", "mnist", "--data", "photos"), "photos holds other files", "--dataset folder:photos"),
        (("--dataset", "mnist", "--data", "labels.csv"), "labels.csv is a file", "name another"),
    ],
)
def test_a_wrong_name_or_kind_is_an_error_that_suggests_the_right_one(
    here: Path, options: tuple[str, ...], value: str, remedy: str
) -> None:
    before = sorted(here.rglob("*"))
    for command in (("train", "-o", "x.safetensors"), ("evaluate", "digits")):
        result = run(*command, *options)
        assert (result.exit_code, result.stdout) == (2, "")
        assert value in result.stderr
        assert remedy in result.stderr
        assert options[0] == "--dataset" or "MNIST is" not in result.stderr
    assert sorted(here.rglob("*")) == before


def test_the_option_data_alone_chooses_the_kind_of_data_set(here: Path) -> None:
    result = run("train", "--data", "photos", "-o", "x.safetensors")
    assert "residual on folder:photos" in result.stderr.splitlines()[0]
    assert "at least 5 " in result.stderr


def test_mnist_is_not_downloaded_into_a_folder_with_other_files(here: Path) -> None:
    folder(here / "data", {"cats": 1, "dogs": 1})
    for command in (
        ("train", "--dataset", "mnist", "-o", "x.safetensors"),
        ("evaluate", "digits", "--dataset", "mnist"),
    ):
        result = run(*command)
        assert "data holds other files, such as 'cats'" in result.stderr
        assert not (here / "data" / "MNIST").exists()


def test_a_missing_checkpoint_is_an_error_that_suggests_the_nearest_one(here: Path) -> None:
    (here / "hands.safetensors").touch()
    for name, near in (("hands", "hands.safetensors"), ("digit", "digits"), ("hnads.safetensors", "hands.safetensors")):
        result = run("evaluate", name, "--data", "elsewhere")
        assert result.exit_code == 2
        assert result.stderr.endswith(f"Did you mean {near}?\n")


def test_a_misspelt_outliers_is_an_error_that_suggests_the_right_name(here: Path) -> None:
    result = run("evaluate", "digits", "--dataset", "outlier:photos")
    assert "'outlier:photos'" in result.stderr
    assert result.stderr.endswith("did you mean outliers?\n")
