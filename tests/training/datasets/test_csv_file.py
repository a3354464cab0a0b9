"""A CSV file of paths and labels as a data set, and the names of data sets in `train` and `evaluate`."""

import json
from pathlib import Path

import pytest

from pigeonhole.errors import DatasetError
from pigeonhole.ledger.wire.messages import Row
from pigeonhole.models.checkpoint import describe
from pigeonhole.sinks.csv_rows import Csv, SafeCsv
from tests.training.datasets.test_folder import GREY, QUICK, folder, run
from training.datasets import registry
from training.datasets.csv_file import CsvFile, rows
from training.datasets.data_set import DataSet


def write_csv(root: Path, counts: dict[str, int]) -> Path:
    """Write a CSV file beside a folder of pictures whose names do not contain their classes."""
    folder(root, counts)
    lines = [f"{path.relative_to(root.parent)},{path.parent.name},note" for path in sorted(root.rglob("*.png"))]
    file = root.parent / "labels.csv"
    file.write_text("\n".join(("path,label,remark", *lines)) + "\n")
    return file


def test_a_csv_file_is_a_data_set_and_its_missing_files_are_left_out(tmp_path: Path) -> None:
    file, path = write_csv(tmp_path / "data" / "pictures", {"a": 20, "b": 20}), tmp_path / "mine.safetensors"
    with file.open("a") as text:
        text.write(f"gone.png,a,\n{tmp_path}/data/pictures/a/0.png,a,twice\n")
    result = run("train", "--dataset", f"csv:{file}", "-o", path, *QUICK)
    assert result.exit_code == 0, result.output
    described = describe(path)
    assert (described.classes, described.trained["dataset"]) == (("a", "b"), f"csv:{file}")
    assert (described.trained["training_images"], described.trained["validation_images"]) == (32, 8)
    assert "left out: 1 unreadable" in result.stderr
    assert f"{tmp_path}/data/gone.png: corrupt: " in result.stderr
    evaluated = [
        json.loads(run("evaluate", path, *options, "--json").stdout)
        for options in (("--dataset", f"csv:{file}"), ("--dataset", "csv", "--data", file), ("--data", file))
    ]
    assert evaluated[0] == evaluated[1] == evaluated[2]
    assert evaluated[0]["source"] == f"the validation part of {file}"
    assert evaluated[0]["note"].startswith("validation part: 8 of 40 images")
    assert sum(map(sum, evaluated[0]["confusion"])) == 8
    assert [failed["path"] for failed in evaluated[0]["failed"]] == [f"{tmp_path}/data/gone.png"]


@pytest.mark.parametrize("format", [Csv(), SafeCsv()])
def test_results_are_read_with_their_original_paths_from_both_csv_formats(format: Csv, tmp_path: Path) -> None:
    stored = [Row(path, label, 0.5, False, "", "m", ()) for path, label in (("=1+1.png", "-1"), ("'a'.png", "b"))]
    file = tmp_path / "results.csv"
    file.write_bytes(format.header + format.encode(stored))
    assert list(rows(file)) == [(2, "=1+1.png", "-1"), (3, "'a'.png", "b")]


def test_corrections_escaped_for_spreadsheets_are_read_with_their_original_values(tmp_path: Path) -> None:
    file = tmp_path / "corrections.csv"
    for header, path in (('"path",label,was,confidence', "=1.png"), ('"path",label', "'=1.png")):
        file.write_text(f"{header}\n'=1.png,7,'-1,0.5\n")
        assert list(rows(file)) == [(2, path, "7")]


def test_training_from_a_checkpoint_uses_its_csv_file_and_finds_corrected_images_beside_it(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "data" / "pictures", {"a": 10, "b": 10})
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    assert run("train", "--dataset", f"csv:{file}", "-o", first, *QUICK).exit_code == 0
    (tmp_path / "corrections.csv").write_text("path,label\npictures/a/0.png,b\n")
    options = ("--from", first, "--corrections", tmp_path / "corrections.csv", "--epochs", 1, "--device", "cpu")
    result = run("train", *options, "-o", second)
    assert result.exit_code == 0, result.output
    assert describe(second).trained["dataset"] == f"csv:{file}"
    assert "1 correction: 0 new images, 1 relabelled" in result.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,class\nx.png,a\n", r"labels\.csv .*'label'"),
        ("x.png,a\n", r"labels\.csv .*'label'"),
        ("path,label\nx.png,a\ny.png,\n", r"labels\.csv, line 3: .*empty"),
        ("path,label\nx.png,a\n", r"labels\.csv .*two classes"),
        ('path,label\n"x.png,a\n', r"labels\.csv is not a CSV file"),
        ("path,label\nx.png,a\nx\0y.png,b\n", r"at least 5 "),
    ],
)
def test_an_invalid_csv_file_is_an_error(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "labels.csv"
    file.write_text(content)
    result = run("train", "--dataset", f"csv:{file}", "-o", tmp_path / "x.safetensors", "--network", "digits")
    assert result.exit_code == 2, result.output
    with pytest.raises(DatasetError, match=message):
        raise DatasetError(result.stderr)
    with pytest.raises(DatasetError, match=r"none\.csv does not exist"):
        CsvFile(str(tmp_path / "none.csv")).labelled(GREY)


@pytest.mark.parametrize("scheme", registry.KINDS)
def test_each_registered_kind_is_a_data_set_with_its_scheme(scheme: str) -> None:
    kind = registry.kind(scheme)
    assert issubclass(kind, DataSet)
    assert kind.scheme == scheme
    assert kind("there").name in (scheme, f"{scheme}:{Path.cwd() / 'there'}")


def test_a_name_without_a_path_uses_the_option_data_and_two_paths_are_refused(tmp_path: Path) -> None:
    assert registry.find("mnist").path == Path("data")
    assert registry.find("mnist", tmp_path).path == registry.find(f"mnist:{tmp_path}").path == tmp_path
    assert registry.find("mnist:there").name == "mnist", "a checkpoint does not record the folder of MNIST"
    with pytest.raises(DatasetError, match=r"folder:x and --data "):
        registry.find("folder:x", tmp_path)


def test_unknown_classes_and_unknown_kinds_of_data_set_are_errors(tmp_path: Path) -> None:
    folder(tmp_path / "data", {"1": 1, "cat": 1})
    for options, *parts in (
        (("--data", tmp_path / "data"), "'cat'", "0, 1, 2, 3"),
        (("--dataset", "mnits"), "'mnits'", "did you mean mnist?"),
    ):
        result = run("evaluate", "digits", *options)
        assert (result.exit_code, result.stdout) == (2, "")
        assert [part for part in parts if part not in result.stderr] == []
