"""The comparison of two checkpoints, with invented predictions and with the shipped checkpoint."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from pigeonhole.models import checkpoint
from pigeonhole.models.networks import registry as networks
from tests.training.conftest import TOP, save_fresh
from tests.training.evaluation.test_report import small
from tests.training.test_cli import outliers, run
from training.evaluation.compared import Compared, mcnemar, reorder
from training.evaluation.measure import measure
from training.recipes.defaults import plan
from training.report.text import comparison


def test_mcnemars_test_uses_the_exact_binomial_distribution() -> None:
    assert [mcnemar(*pair) for pair in ((0, 0), (3, 3), (5, 4))] == [1.0, 1.0, 1.0]
    assert (mcnemar(0, 5), mcnemar(5, 0)) == (2 / 2**5, 2 / 2**5)
    assert mcnemar(8, 1) == 2 * (1 + 9) / 2**9
    assert mcnemar(6, 16) == pytest.approx(0.0525, abs=1e-4)
    assert mcnemar(10_200, 10_550) == pytest.approx(math.erfc(349 / math.sqrt(2 * 20_750)), rel=0.01), (
        "the normal approximation"
    )
    assert mcnemar(0, 5_000) == 0.0, "the exact value is smaller than the smallest float"


def invented(first_wrong: int, second_wrong: int, both_wrong: int) -> Compared:
    """Return 100 images of three classes; a wrong prediction is "c"; A predicts "b" where both are wrong."""
    labels = torch.zeros(100, dtype=torch.int64)
    start, logits = 0, [torch.tensor([[5.0, 0, 0]]).repeat(100, 1) for _ in range(2)]
    for count, which in ((first_wrong, (0,)), (second_wrong, (1,)), (both_wrong, (0, 1))):
        for one in which:
            logits[one][start : start + count] = torch.tensor([0.0, 4, 3] if (one, len(which)) == (0, 2) else [0, 3, 4])
        start += count
    base = small()
    first, second = (measure(each, labels, ("a", "b", "c"), base.checkpoint.calibration) for each in logits)
    names = tuple(f"{index}.png" for index in range(100))
    return Compared((replace(base, report=first, names=names), replace(base, report=second, names=names)))


def test_a_significant_difference_is_reported_and_a_chance_difference_is_not() -> None:
    clear = invented(9, 1, 2)
    assert (clear.only, clear.both, clear.neither) == ((1, 9), 88, 2)
    assert (clear.better, clear.p) == ("B", 2 * (1 + 10) / 2**10)
    assert comparison(clear).splitlines()[2:4] == [
        "right: both 88, only A 1, only B 9, neither 2",
        "B is better, p = 0.021 (McNemar's exact test)",
    ]
    chance = invented(3, 1, 0)
    assert chance.better is None
    assert "no significant difference, p = 0.62 (McNemar's exact test)" in comparison(chance)
    assert invented(0, 6, 0).better == "A"


def test_disagreements_are_sorted_by_the_confidence_of_the_mistake() -> None:
    compared = invented(2, 0, 1)
    logits = torch.tensor([[5.0, 0, 0]]).repeat(100, 1)
    logits[:3] = torch.tensor([[0, 0.5, 0], [0, 9, 0], [0, 4, 3]])
    first = measure(logits, torch.zeros(100, dtype=torch.int64), ("a", "b", "c"), small().checkpoint.calibration)
    compared = Compared((replace(compared.pair[0], report=first), compared.pair[1]))
    assert compared.disagreements == [1, 2, 0]
    assert [(compared.truth(index), *compared.predicted(index)) for index in compared.disagreements] == [
        ("a", "b", "a"),
        ("a", "b", "c"),
        ("a", "b", "a"),
    ]
    assert [line.split()[0] for line in comparison(invented(30, 0, 0)).splitlines()[-20:]] == ["a"] * 20
    assert "20 of 30" in comparison(invented(30, 0, 0))
    assert len(invented(30, 0, 0).to_json()["disagreements"]) == 30


def test_logits_are_reordered_to_the_other_models_classes_and_unknown_stays_last() -> None:
    logits = torch.tensor([[1.0, 2, 3, 9]])
    assert reorder(logits, ("a", "b", "c"), ("c", "a", "b")).tolist() == [[3, 1, 2, 9]]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy ten samples of each digit that the shipped checkpoint classifies right into class folders."""
    whole, folder = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("labelled")
    for line in (TOP / "samples-labels.csv").read_text().splitlines()[1:]:
        path, label = line.split(",")
        (whole / label).mkdir(exist_ok=True)
        shutil.copy(TOP / path, whole / label)
    mistakes = json.loads(run("evaluate", "digits", "--data", whole, "--json").stdout)["mistakes"]
    for mistake in mistakes:
        (whole / mistake["image"]).unlink()
    for label in "0123456789":
        (folder / label).mkdir()
        for image in sorted((whole / label).iterdir())[:10]:
            image.rename(folder / label / image.name)
    return folder


@pytest.fixture(scope="module")
def swapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save the shipped checkpoint with the classes 1 and 7 swapped."""
    about, network = checkpoint.load(checkpoint.find("digits"))
    path = tmp_path_factory.mktemp("models") / "swapped.safetensors"
    classes = tuple({"1": "7", "7": "1"}.get(name, name) for name in about.classes)
    save_fresh(path, network, name="swapped", classes=classes, arguments=about.arguments, calibration=about.calibration)
    return path


def test_two_checkpoints_are_compared_on_a_folder(labelled: Path, swapped: Path, tmp_path: Path) -> None:
    result = run("evaluate", "digits", swapped, "--data", labelled, "--report", tmp_path / "report")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.split()[:3] for line in lines[:2]] == [
        ["A", f"digits@{checkpoint.describe(checkpoint.find('digits')).digest[:12]}", "100.00%"],
        ["B", f"swapped@{checkpoint.describe(swapped).digest[:12]}", "80.00%"],
    ]
    assert lines[2:4] == [
        "right: both 80, only A 20, only B 0, neither 0",
        "A is better, p = 1.9e-06 (McNemar's exact test)",
    ]
    assert {tuple(line.split()[index] for index in (0, 1, 3)) for line in lines[7:]} == {
        ("1", "1", "7"),
        ("7", "7", "1"),
    }
    assert result.stderr == f"report: {tmp_path / 'report' / 'report.html'}\n"
    html = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert html.count("<img") == 20
    assert "A is better, p = 1.9e-06" in html
    assert "The image as both networks get it." in html


def test_a_comparison_is_printed_completely_as_json(labelled: Path, swapped: Path) -> None:
    values = json.loads(run("evaluate", swapped, "digits", "--data", labelled, "--json").stdout)
    assert (values["A"]["checkpoint"]["name"], values["B"]["checkpoint"]["name"]) == ("swapped", "digits")
    assert (values["A"]["accuracy"], values["B"]["accuracy"], values["better"]) == (0.8, 1.0, "B")
    assert values["right"] == {"both": 80, "only_A": 0, "only_B": 20, "neither": 0}
    assert len(values["disagreements"]) == 20
    worst = values["disagreements"][0]
    assert {worst["truth"], worst["A"]["given"]} == {"1", "7"}
    assert worst["truth"] == worst["B"]["given"]
    assert worst["image"].startswith(f"{worst['truth']}/")


def test_each_model_uses_its_own_preprocessing_and_an_image_unreadable_for_one_is_left_out_for_both(
    labelled: Path, tmp_path: Path
) -> None:
    shutil.copytree(labelled / "3", tmp_path / "data" / "3")
    Image.new("L", (50, 50), 255).save(tmp_path / "data" / "3" / "paper.png")
    (tmp_path / "data" / "3" / "text.png").write_text("text")
    network = networks.build("classic", networks.complete("classic", {}), 10).eval()
    other, preprocessing = tmp_path / "classic.safetensors", plan("classic").preprocessing
    save_fresh(
        other, network, network="classic", arguments=networks.complete("classic", {}), preprocessing=preprocessing
    )
    result = run("evaluate", other, "digits", "--data", tmp_path / "data", "--report", tmp_path / "report")
    assert result.exit_code == 0, result.output
    assert [line.split("right of ")[1].split()[0] for line in result.stdout.splitlines()[:2]] == ["10", "10"]
    left_out = [line.removeprefix(f"left out: {tmp_path}/data/3/") for line in result.stderr.splitlines()[1:]]
    assert left_out[0].startswith("text.png: not-an-image: ")
    assert not left_out[0].endswith(")"), "neither can read it"
    assert left_out[1].startswith("paper.png: blank: ")
    assert left_out[1].endswith(" (B)"), "A can read it"
    assert "The image as A gets it, and as B does." in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


def test_checkpoints_that_cannot_be_compared_are_an_error(labelled: Path, tmp_path: Path) -> None:
    about, network = checkpoint.load(checkpoint.find("digits"))
    other = tmp_path / "letters.safetensors"
    classes = (*about.classes[:9], "g")
    save_fresh(other, network, classes=classes, arguments=about.arguments, calibration=about.calibration)
    result = run("evaluate", "digits", other, "--data", labelled)
    assert (result.exit_code, result.stdout) == (2, "")
    shipped = checkpoint.find("digits")
    assert f"{shipped} has 9" in result.stderr
    assert f"{other} has g" in result.stderr
    folder = outliers(tmp_path / "outliers")
    result = run("evaluate", "digits", "digits", "--data", folder, "--dataset", "outliers")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--dataset outliers" in result.stderr


def test_a_folder_with_splits_is_evaluated_on_its_test_images(labelled: Path, tmp_path: Path) -> None:
    for part, label in (("train", "1"), ("val", "2"), ("test", "3")):
        shutil.copytree(labelled / label, tmp_path / part / label)
    result = run("evaluate", "digits", "digits", "--data", tmp_path)
    assert result.exit_code == 0, result.output
    assert "right: both 10, only A 0" in result.stdout
    assert json.loads(run("evaluate", "digits", "--data", tmp_path, "--json").stdout)["confusion"][3][3] == 10


def test_models_are_compared_on_mnist_with_their_classes_in_any_order(tiny_mnist: Path, swapped: Path) -> None:
    values = json.loads(run("evaluate", swapped, "digits", "--data", tiny_mnist, "--json").stdout)
    assert values["source"] == "MNIST's test images"
    predictions = [(each["A"]["given"], each["B"]["given"]) for each in values["disagreements"]]
    assert {*predictions} == {("1", "7"), ("7", "1")}
