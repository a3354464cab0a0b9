"""Corrected labels, from the file that a report exports to the next checkpoint."""

import random
from pathlib import Path

import pytest
from PIL import Image

from pigeonhole.errors import DatasetError
from pigeonhole.imaging.preprocess import prepare
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models.checkpoint import Checkpoint, describe
from pigeonhole.models.networks.network import Network
from tests.training.conftest import drawn_digit, save_fresh
from tests.training.datasets.test_folder import GREY, QUICK, folder, read, run
from training.datasets import corrections, mnist
from training.datasets.data_set import TrainingData
from training.datasets.splits import Split

GREY_DIGIT = Preprocessing("digit", 28, 28, 1)


def pixels(path: Path) -> bytes:
    return prepare(path.read_bytes(), GREY, 10_000).tobytes()


def labels(split: Split) -> dict[bytes, int]:
    return {image.numpy().tobytes(): int(label) for image, label in zip(split.images, split.labels, strict=True)}


def corrections_file(file: Path, *lines: str) -> Path:
    file.write_text("\n".join(("path,label,was,confidence", *lines)) + "\n")
    return file


def corrected(into: TrainingData, scratch: Path, *files: Path) -> TrainingData:
    given = [corrections.read(file, into.classes, into.data_set.folder) for file in files]
    return corrections.apply(given, into, scratch)


def test_a_correction_relabels_an_image_of_the_data_set_or_adds_a_new_one_to_training(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", {"a": 20, "b": 20})
    other = folder(tmp_path / "new", {"x": 2}, (50, 40), seed=5) / "x"
    before = read(root)
    kept = sorted(labels(before.validation))
    of_validation = next(path for path in (root / "a").iterdir() if pixels(path) in kept)
    of_training = next(path for path in (root / "a").iterdir() if pixels(path) not in kept)
    copied = tmp_path / "copy.png"
    copied.write_bytes(of_training.read_bytes())
    file = corrections_file(
        tmp_path / "corrections.csv",
        f"{of_validation},b,a,0.6",
        f"{copied},b,a,0.7",
        f"{root / 'b' / '0.png'},b,b,0.5",
        f"{other / '0.png'},a,b,0.4",
        "new/x/1.png,b,,",  # beside the file
        "somewhere.png,,a,0.3",
    )
    after = corrected(before, tmp_path, file)
    assert labels(before.training)[pixels(of_training)] == labels(before.validation)[pixels(of_validation)] == 0
    assert labels(after.training)[pixels(of_training)] == labels(after.validation)[pixels(of_validation)] == 1
    assert len(after.validation) == len(before.validation)
    assert len(after.training) == len(before.training) + 2
    assert [labels(after.training)[pixels(other / f"{number}.png")] for number in (0, 1)] == [0, 1]
    for part in (f"{file}: 5 corrections", "2 new images", "2 relabelled", "1 unchanged", "1 without a label"):
        assert part in after.notes[-1]
    assert after.digest != before.digest


def test_the_last_correction_wins_and_resolves_an_ambiguous_picture(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", {"a": 10, "b": 10})
    (root / "b" / "both.png").write_bytes((root / "a" / "0.png").read_bytes())
    before = read(root)
    assert {file.reason for file in before.left_out} == {"ambiguous"}
    first = corrections_file(tmp_path / "first.csv", f"{root / 'a' / '0.png'},a,,", f"{root / 'a' / '1.png'},b,,")
    second = corrections_file(tmp_path / "second.csv", f"{root / 'a' / '1.png'},a,,")
    after = corrected(before, tmp_path, first, second)
    known = labels(after.training) | labels(after.validation)
    assert known[pixels(root / "a" / "0.png")] == known[pixels(root / "a" / "1.png")] == 0
    assert [file.path for file in after.left_out] == [str(root / "b" / "both.png")]


def test_a_corrected_image_that_cannot_be_decoded_is_left_out_and_listed(tmp_path: Path) -> None:
    before = read(folder(tmp_path / "data", {"a": 10, "b": 10}))
    (tmp_path / "broken.png").touch()
    after = corrected(before, tmp_path, corrections_file(tmp_path / "c.csv", "broken.png,a,,"))
    (left_out,) = after.left_out
    assert str(left_out).startswith(f"{tmp_path}/broken.png: empty: ")
    assert len(after.training) == len(before.training)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,label\nc.csv,c\n", r"c\.csv, line 2: 'c' .*a, b"),
        ("path,label\nnone.png,a\n", r"c\.csv, line 2: .*none\.png"),
        ("path,label\nc.csv,a\nc.csv,b\n", r"line 3: c\.csv .*'b' .*'a'"),
        ("path,label\nc.csv,\n", r"c\.csv .*no line"),
        ("path,class\n", r"c\.csv .*'label'"),
        ("", r"c\.csv .*'label'"),
        ('path,label\n"c.csv,a\n', r"c\.csv is not a CSV file"),
    ],
)
def test_an_invalid_corrections_file_is_an_error(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "c.csv"
    file.write_text(content)
    with pytest.raises(DatasetError, match=message):
        corrections.read(file, ("a", "b"), tmp_path)
    with pytest.raises(DatasetError, match=r"none\.csv does not exist; did you mean .*c\.csv\?"):
        corrections.read(tmp_path / "none.csv", ("a", "b"), tmp_path)


def test_a_results_file_with_a_name_that_is_not_utf8_is_read(tmp_path: Path) -> None:
    (tmp_path / "b\udcff,.png").touch()
    (tmp_path / "c.csv").write_bytes(b'\xef\xbb\xbfpath,label,confidence,review\n"b\xff,.png",a,0.5,true\n')
    assert list(corrections.read(tmp_path / "c.csv", ("a", "b"), tmp_path).labels) == [f"{tmp_path}/b\udcff,.png"]


def test_training_with_corrections_keeps_the_data_set_and_validation_split_of_the_checkpoint(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", {"a": 20, "b": 20})
    new = folder(tmp_path / "new", {"x": 2}, seed=5) / "x"
    first, second, third = (tmp_path / f"{name}.safetensors" for name in ("first", "second", "third"))
    result = run("train", "--dataset", f"folder:{root}", "-o", first, "--seed", "3", *QUICK)
    assert result.exit_code == 0, result.output
    first_file = corrections_file(tmp_path / "once.csv", f"{new / '0.png'},a,b,0.5", f"{root / 'a' / '0.png'},b,a,0.5")
    second_file = corrections_file(tmp_path / "twice.csv", f"{new / '1.png'},b,a,0.5")
    quick = ("--epochs", "1", "--device", "cpu")
    result = run("train", "--from", first, "--corrections", first_file, "-o", second, *quick)
    assert result.exit_code == 0, result.output
    assert f"Training {first} on " in result.stderr
    assert f"{first_file}: 2 corrections: 1 new image, 1 relabelled, 0 unchanged" in result.stderr
    trained = describe(second).trained
    assert (trained["dataset"], trained["seed"], trained["division_seed"]) == (f"folder:{root}", 0, 3)
    assert (trained["validation"], trained["corrections"]) == (0.2, [str(first_file)])
    assert (trained["training_images"], trained["validation_images"]) == (33, 8)
    assert f"corrected by {first_file}" in run("inspect", second).stdout
    # A further training keeps the corrections of its checkpoint.
    assert run("train", "--from", second, "--corrections", second_file, "-o", third, *quick).exit_code == 0
    trained = describe(third).trained
    assert (trained["corrections"], trained["training_images"]) == ([str(first_file), str(second_file)], 34)
    assert trained["division_seed"] == 3
    refused = run("train", "--from", first, "--validation", "0.5", "-o", third, *quick)
    assert " 0.2" in refused.stderr
    assert "--validation" in refused.stderr


def test_a_checkpoint_of_mnist_is_trained_on_corrected_and_new_digits(tiny_mnist: Path, tmp_path: Path) -> None:
    pictures = mnist.read(tiny_mnist, "train", GREY_DIGIT)
    for number in (0, 1):
        Image.fromarray(pictures.images[number, :, :, 0].numpy()).save(tmp_path / f"{number}.png")
    Image.fromarray(drawn_digit(4, random.Random(11))).save(tmp_path / "new.png")
    wrong = (int(pictures.labels[0]) + 1) % 10
    file = corrections_file(tmp_path / "c.csv", f"0.png,{wrong},,", f"1.png,{int(pictures.labels[1])},,", "new.png,4,,")
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    quick = ("--data", tiny_mnist, "--epochs", "1", "--batch-size", "32", "--device", "cpu", "--no-synthetic")
    assert run("train", "-o", first, "--validation", "0.2", *quick).exit_code == 0
    result = run("train", "--from", first, "--corrections", file, "-o", second, *quick)
    assert result.exit_code == 0, result.output
    assert "3 corrections: 1 new image, 1 relabelled, 1 unchanged" in result.stderr
    trained = describe(second).trained
    assert (trained["dataset"], trained["training_images"], trained["validation_images"]) == ("mnist", 481, 120)
    assert describe(second).measured["test"]["images"] == 100


def test_corrections_without_a_checkpoint_or_a_data_set_are_errors(
    fresh: tuple[Path, Checkpoint, Network], tmp_path: Path
) -> None:
    file = corrections_file(tmp_path / "c.csv", "c.csv,a,,")
    output = tmp_path / "x.safetensors"
    result = run("train", "--corrections", file, "-o", output)
    assert "--from CHECKPOINT" in result.stderr
    other = tmp_path / "other.safetensors"
    save_fresh(other, fresh[2], classes=tuple("abcdefghij"))
    result = run("train", "--from", other, "--corrections", file, "-o", output)
    assert "fresh" in result.stderr
    assert "--dataset folder:DIR" in result.stderr
    result = run("train", "--data", tmp_path, "--dataset", f"folder:{tmp_path}", "-o", output)
    assert f"folder:{tmp_path} and --data {tmp_path}" in result.stderr
    assert not output.exists()
