"""A person's labels, from the file that a report exports to the next checkpoint."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.training.test_folder import GREY, folder, read
from training import corrections
from training.data import Split
from training.datasets import DataSet
from training.errors import DatasetError
from training.preprocess import prepare


def pixels(path: Path) -> bytes:
    return prepare(path.read_bytes(), GREY, 10_000).tobytes()


def labels(split: Split) -> dict[bytes, int]:
    return {image.numpy().tobytes(): int(label) for image, label in zip(split.images, split.labels, strict=True)}


def written(file: Path, *lines: str) -> Path:
    file.write_text("\n".join(("path,label,was,confidence", *lines)) + "\n")
    return file


def brought(into: DataSet, scratch: Path, *files: Path, folders: Sequence[Path] = ()) -> DataSet:
    given = [corrections.read(file, into.classes, folders) for file in files]
    return corrections.bring(given, into, scratch)


def test_a_picture_of_the_data_set_gets_its_label_where_it_is_and_another_is_trained_on(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", {"a": 20, "b": 20})
    other = folder(tmp_path / "new", {"x": 2}, (50, 40), seed=5) / "x"
    before = read(root)
    kept = sorted(labels(before.validation))
    of_validation = next(path for path in (root / "a").iterdir() if pixels(path) in kept)
    of_training = next(path for path in (root / "a").iterdir() if pixels(path) not in kept)
    copied = tmp_path / "copy.png"
    copied.write_bytes(of_training.read_bytes())
    file = written(
        tmp_path / "corrections.csv",
        f"{of_validation},b,a,0.6",
        f"{copied},b,a,0.7",
        f"{root / 'b' / '0.png'},b,b,0.5",
        f"{other / '0.png'},a,b,0.4",
        "new/x/1.png,b,,",  # beside the file
        "somewhere.png,,a,0.3",
    )
    after = brought(before, tmp_path, file)
    assert labels(before.training)[pixels(of_training)] == labels(before.validation)[pixels(of_validation)] == 0
    assert labels(after.training)[pixels(of_training)] == labels(after.validation)[pixels(of_validation)] == 1
    assert len(after.validation) == len(before.validation)
    assert len(after.training) == len(before.training) + 2
    assert [labels(after.training)[pixels(other / f"{number}.png")] for number in (0, 1)] == [0, 1]
    assert after.notes[-1] == (
        f"{file}: 5 pictures with a label, of which the data set had 3, 2 of them with another; 2 are added. "
        "Lines without a label, which are skipped: 1."
    )
    assert after.digest != before.digest
    assert after.corrections == (str(file),)


def test_a_later_file_wins_and_a_picture_that_was_in_two_classes_is_settled(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", {"a": 10, "b": 10})
    (root / "b" / "both.png").write_bytes((root / "a" / "0.png").read_bytes())
    before = read(root)
    assert {file.reason for file in before.left_out} == {"ambiguous"}
    first = written(tmp_path / "first.csv", f"{root / 'a' / '0.png'},a,,", f"{root / 'a' / '1.png'},b,,")
    second = written(tmp_path / "second.csv", f"{root / 'a' / '1.png'},a,,")
    after = brought(before, tmp_path, first, second)
    known = labels(after.training) | labels(after.validation)
    assert known[pixels(root / "a" / "0.png")] == known[pixels(root / "a" / "1.png")] == 0
    assert [file.path for file in after.left_out] == [str(root / "b" / "both.png")]


def test_what_a_person_labelled_and_nobody_can_decode_is_left_out_and_listed(tmp_path: Path) -> None:
    before = read(folder(tmp_path / "data", {"a": 10, "b": 10}))
    (tmp_path / "broken.png").touch()
    after = brought(before, tmp_path, written(tmp_path / "c.csv", "broken.png,a,,"))
    assert [str(file) for file in after.left_out] == [f"{tmp_path}/broken.png: empty: the file has no bytes"]
    assert len(after.training) == len(before.training)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,label\nc.csv,c\n", r"c\.csv, line 2: 'c' is none of the classes; they are a, b\. Mend the label, or"),
        ("path,label\nnone.png,a\n", r"c\.csv, line 2: there is no file none\.png; run the command where its paths"),
        ("path,label\nc.csv,a\nc.csv,b\n", r"line 3: c\.csv is 'b' here and 'a' on a line before; take one away"),
        ("path,label\nc.csv,\n", r"c\.csv has no line with a label, so there is nothing to learn from it"),
        ("path,class\n", r"c\.csv has no column 'label'; it needs a first line with the names of its columns"),
        ("", r"c\.csv has no column 'label'"),
        ('path,label\n"c.csv,a\n', r"c\.csv is no CSV file \("),
    ],
)
def test_a_file_that_will_not_do_is_a_clear_error(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "c.csv"
    file.write_text(content)
    with pytest.raises(DatasetError, match=message):
        corrections.read(file, ("a", "b"), ())
    with pytest.raises(DatasetError, match=r"none\.csv: can't be read \(No such file or directory\); check --corr"):
        corrections.read(tmp_path / "none.csv", ("a", "b"), ())


def test_names_that_are_not_utf8_and_the_columns_of_results_are_understood(tmp_path: Path) -> None:
    (tmp_path / "b\udcff,.png").touch()
    (tmp_path / "c.csv").write_bytes(b'\xef\xbb\xbfpath,label,confidence,review\n"b\xff,.png",a,0.5,true\n')
    assert list(corrections.read(tmp_path / "c.csv", ("a", "b"), ()).labels) == [f"{tmp_path}/b\udcff,.png"]
