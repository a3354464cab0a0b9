import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw
from typer.testing import CliRunner, Result

from pigeonhole.models import checkpoint
from pigeonhole.models.checkpoint import Calibration, describe, load
from pigeonhole.models.networks import registry as networks
from pigeonhole.version import install_hint
from producer.cli import app
from tests.training.conftest import SHARED, TOP, save_fresh
from training.datasets import registry
from training.recipes.defaults import RECIPES

QUICK = ("--epochs", "2", "--batch-size", "32", "--validation", "0.2", "--device", "cpu", "--no-synthetic")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "120"})


@pytest.fixture(scope="module")
def trained(tiny_mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    path = tmp_path_factory.mktemp("models") / "tiny.safetensors"
    return path, run("train", "--data", tiny_mnist, "-o", path, "--name", "tiny", "--seed", 3, *QUICK)


def test_training_writes_a_checkpoint_and_prints_its_accuracy(trained: tuple[Path, Result]) -> None:
    path, result = trained
    assert result.exit_code == 0, result.output
    described, _network = load(path)
    measured = described.measured["test"]
    wrote, quality = result.stdout.splitlines()
    assert wrote.startswith(f"Wrote {path}: tiny@{described.digest[:12]}, 2 epochs in ")
    assert quality.startswith(f"Test accuracy {measured['accuracy']:.2%} (100 images, 95% interval ")
    assert quality.endswith("marked for review.")
    assert measured["accuracy"] > 0.5
    first, second, *epochs, classify, evaluate = result.stderr.splitlines()
    assert first.startswith("Training digits on mnist from ")
    assert "2 epochs" in second
    assert [line.split()[:2] for line in epochs] == [["epoch", "1/2"], ["epoch", "2/2"]]
    assert f"pigeonhole classify photos/ --model {path} -o results.csv" in classify
    assert f"pigeonhole evaluate {path} --data DIR " in evaluate


def test_the_checkpoint_records_how_it_was_trained(trained: tuple[Path, Result]) -> None:
    described = describe(trained[0])
    values = described.trained
    assert (described.name, described.network, described.preprocessing.kind) == ("tiny", "digits", "digit")
    assert (values["dataset"], values["seed"], values["training_images"]) == ("mnist", 3, 480)
    assert values["recipe"]["epochs"] == len(values["epochs"]) == 2
    assert values["versions"]["torch"] == torch.__version__
    assert described.measured["validation"]["images"] == 120
    assert str(trained[0].parent) not in described.to_json()


def test_the_same_seed_trains_the_same_checkpoint(
    trained: tuple[Path, Result], tiny_mnist: Path, tmp_path: Path
) -> None:
    again, other = tmp_path / "again.safetensors", tmp_path / "other.safetensors"
    assert run("train", "--data", tiny_mnist, "-o", again, "--seed", 3, "--quiet", *QUICK).exit_code == 0
    assert run("train", "--data", tiny_mnist, "-o", other, "--seed", 4, "--quiet", *QUICK).exit_code == 0
    assert describe(again).digest == describe(trained[0]).digest != describe(other).digest


def test_a_digits_network_learns_synthetic_images_and_outliers_by_default(
    tiny_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RECIPES, "digits", replace(RECIPES["digits"], pool=60))
    path, again = tmp_path / "varied.safetensors", tmp_path / "again.safetensors"
    quick = (*QUICK[:-1], "--validation", "0.9")
    result = run("train", "--data", tiny_mnist, "-o", path, *quick)
    assert result.exit_code == 0, result.output
    described, network = load(path)
    assert described.calibration.outlier
    assert (described.trained["pool_images"], described.trained["training_images"]) == (60, 60)
    assert network(torch.zeros(1, 28, 28, 1, dtype=torch.uint8)).shape == (1, 11)
    assert run("train", "--data", tiny_mnist, "-o", again, *quick, "--synthetic").exit_code == 0
    assert describe(again).digest == described.digest
    evaluated = run("evaluate", path, "--data", tiny_mnist)
    assert evaluated.exit_code == 0, evaluated.output


def test_quiet_prints_only_the_result(tiny_mnist: Path, tmp_path: Path) -> None:
    result = run("train", "--data", tiny_mnist, "-o", tmp_path / "q.safetensors", "--quiet", *QUICK)
    assert result.stderr == ""
    assert len(result.stdout.splitlines()) == 2


def test_the_option_network_chooses_the_network_and_the_file_names_the_checkpoint(
    tiny_mnist: Path, tmp_path: Path
) -> None:
    path = tmp_path / "mine-v2.safetensors"
    result = run("train", "--data", tiny_mnist, "-o", path, "--network", "classic", *QUICK[:-1])
    assert result.exit_code == 0, result.output
    about = describe(path)
    assert (about.network, about.preprocessing.kind) == ("classic", "stretch")
    assert about.name == "mine-v2", "the name of the file, which is also the name of the queue"


def test_invalid_options_are_refused_before_training(tiny_mnist: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for arguments, *parts in (
        (["-o", tmp_path / "no" / "x.safetensors"], f"{tmp_path}/no", "-o"),
        (["-o", path, "--name", "My Model"], "'My Model'"),
        (["-o", tmp_path / "My Model.safetensors"], "-o", "--name my-model"),
        (["-o", tmp_path / "n.pt"], "n.pt'", f"-o {tmp_path}"),
        (["-o", tmp_path / "v2.1"], f"-o {tmp_path}/v2.1.safetensors"),
        (["-o", path, "--validation", "1.5"], "1.5"),
        (["-o", path, "--fonts", tmp_path], "no font", "--fonts"),
        (["-o", tmp_path, "--name", "x"], f"{tmp_path} is a folder", "-o"),
        (["-o", "/proc/x.safetensors"], "/proc: "),  # even root cannot write there
        (["-o", path, "--fonts", tmp_path, "--no-synthetic"], "--fonts"),
        (["-o", path, "--network", "classic", "--synthetic"], "'classic'", "--no-synthetic"),
    ):
        result = run("train", "--data", tiny_mnist, *arguments)
        assert result.exit_code == 2
        assert [part for part in parts if part not in result.stderr] == []
        assert "epoch 1/" not in result.stderr
        assert result.stdout == ""


def test_ctrl_c_keeps_the_best_epoch_so_far_and_prints_how_to_resume(tiny_mnist: Path, tmp_path: Path) -> None:
    path = tmp_path / "interrupted.safetensors"
    command = [sys.executable, "-m", "training", "train", "--data", str(tiny_mnist), "-o", str(path)]
    process = subprocess.Popen(
        [*command, "--epochs", "10000", "--batch-size", "32", "--device", "cpu", "--no-synthetic"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=TOP,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch 2/"):
            process.send_signal(signal.SIGINT)
            break
    stdout, stderr = process.communicate()
    assert process.returncode == 130
    assert "Interrupted after " in stderr
    assert "--resume" in stderr
    assert path.with_name(f"{path.name}.resume").exists()
    assert "Test accuracy " in stdout
    described, _network = load(path)
    assert described.trained["interrupted"] is True
    assert len(described.trained["epochs"]) >= 2


def test_evaluate_measures_the_same_accuracy_as_training(trained: tuple[Path, Result], tiny_mnist: Path) -> None:
    result = run("evaluate", trained[0], "--data", tiny_mnist)
    assert result.exit_code == 0, result.output
    accuracy, images = re.findall(r"^(.*%) right of (\d+) images ", result.stdout)[0]
    assert trained[1].stdout.splitlines()[1].startswith(f"Test accuracy {accuracy} ({images} images")
    assert "true  read as" in result.stdout


def test_class_folders_are_evaluated_without_their_unreadable_files(tmp_path: Path) -> None:
    for line in (TOP / "samples-labels.csv").read_text().splitlines()[1:]:
        path, label = line.split(",")
        (tmp_path / label).mkdir(exist_ok=True)
        (tmp_path / label / Path(path).name).symlink_to(TOP / path)
    (tmp_path / "0" / "empty.png").touch()
    result = run("evaluate", "digits", "--data", tmp_path, "--dataset", "folder")
    assert result.exit_code == 0, result.output
    assert "right of 200 images" in result.stdout
    assert float(result.stdout.split("%")[0]) >= 98
    assert result.stderr.startswith(f"left out: {tmp_path / '0' / 'empty.png'}: empty: ")
    assert result.stderr.count("\n") == 1


def test_evaluate_prints_all_figures_and_mistakes_as_json(trained: tuple[Path, Result], tiny_mnist: Path) -> None:
    values = json.loads(run("evaluate", trained[0], "--data", tiny_mnist, "--json").stdout)
    measured = describe(trained[0]).measured["test"]
    # Training measures with torch, and `evaluate` with ONNX Runtime.
    for key in ("images", "errors", "accuracy", "interval", "reviews", "wrong_unmarked"):
        assert values[key] == measured[key]
    assert values["nll"] == pytest.approx(measured["nll"], abs=1e-4)
    assert values["source"] == "MNIST's test images"
    assert len(values["mistakes"]) == measured["errors"] == 100 - sum(values["confusion"][i][i] for i in range(10))


def test_training_writes_its_report_into_the_given_folder(tiny_mnist: Path, tmp_path: Path) -> None:
    path, folder = tmp_path / "x.safetensors", tmp_path / "reports" / "x"
    result = run("train", "--data", tiny_mnist, "-o", path, "--quiet", "--report", folder, *QUICK)
    assert result.exit_code == 0, result.output
    assert result.stderr == f"report: {folder / 'report.html'}\n"
    assert {"report.html", "curves.png", "confusion.png"} <= {file.name for file in folder.iterdir()}


def outliers(folder: Path) -> Path:
    """Write crosses, hatched squares and empty paper, a file that is not an image, and an empty folder."""
    for kind in ("cross", "paper", "hatched", "none"):
        (folder / kind).mkdir(parents=True)
    for index in range(3):
        canvas = Image.new("L", (60, 60), 255)
        canvas.save(folder / "paper" / f"{index}.png")
        draw = ImageDraw.Draw(canvas)
        draw.line((10, 10, 50, 50), 0, 6)
        draw.line((50, 10, 10, 50), 0, 6)
        canvas.save(folder / "cross" / f"{index}.png")
        for at in range(5, 60, 8):
            draw.line((at, 5, at, 55), 0, 3)
        canvas.save(folder / "hatched" / f"{index}.png")
    (folder / "hatched" / "text.png").write_text("text")
    return folder


def test_outliers_are_counted_by_kind(tmp_path: Path) -> None:
    folder = outliers(tmp_path / "outliers")
    result = run("evaluate", "digits", "--data", folder, "--dataset", "outliers")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["kind", "images", "marked", "blank", "caught"]
    assert [(line[0], line[1]) for line in lines[1:]] == [("cross", "3"), ("hatched", "3"), ("paper", "3")]
    assert lines[3] == ["paper", "3", "0", "3", "100.0%"]
    assert result.stderr.startswith(f"left out: {folder / 'hatched' / 'text.png'}: not-an-image: ")
    values = json.loads(run("evaluate", "digits", "--data", folder, "--dataset", "outliers", "--json").stdout)
    assert values["kinds"][2] == {"kind": "paper", "images": 3, "marked": 0, "blank": 3, "caught": 1.0}
    assert [each["path"] for each in values["failed"]] == [str(folder / "hatched" / "text.png")]


def test_an_empty_folder_and_a_report_of_outliers_are_refused(tmp_path: Path) -> None:
    result = run("evaluate", "digits", "--data", tmp_path, "--dataset", "outliers")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "none of 0 files" in result.stderr
    result = run("evaluate", "digits", "--data", tmp_path, "--dataset", "outliers", "--report", tmp_path / "r")
    assert (result.exit_code, list(tmp_path.iterdir())) == (2, [])


def test_a_missing_checkpoint_is_a_one_line_error_with_exit_code_2(tmp_path: Path) -> None:
    for command in (["inspect", "nine"], ["evaluate", "nine", "--data", tmp_path]):
        result = run(*command)
        assert result.exit_code == 2
        assert "'nine'" in result.stderr
        assert "digits, digits-int8" in result.stderr
        assert result.stderr.count("\n") == 1


def test_inspect_describes_a_checkpoint() -> None:
    described = describe(checkpoint.find("digits"))
    result = run("inspect", "digits")
    assert result.exit_code == 0, result.output
    for part in (
        described.digest,
        f"{described.cost.multiply_adds:,} multiply-adds per image",
        f"{described.cost.parameters:,} parameters",
        "digit, 28 x 28 pixels, grey",
        "10: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
        f"{described.measured['test']['accuracy']:.2%} right of 10,000 images",
        f"torch {described.trained['versions']['torch']}",
    ):
        assert part in result.stdout


@pytest.mark.parametrize("free", [{}, {"imported": "x.pt"}, {"recipe": {}}, {"versions": []}, {"imported": 1}])
def test_inspect_shows_a_checkpoint_with_a_foreign_record(tmp_path: Path, free: dict[str, object]) -> None:
    path = tmp_path / "theirs.safetensors"
    network = networks.build("digits", networks.complete("digits", {}), 11).eval()
    measured = {"test": {"interval": 1, **free}}
    save_fresh(path, network, calibration=Calibration(outlier=True), trained=free, measured=measured)
    result = run("inspect", path)
    assert result.exit_code == 0, result.output
    assert '8, 9; and one logit for "unknown"' in result.stdout
    assert "trained        unknown" in result.stdout


def test_inspect_prints_json(trained: tuple[Path, Result]) -> None:
    described = describe(trained[0])
    values = json.loads(run("inspect", trained[0], "--json").stdout)
    assert values["digest"] == described.digest
    assert values["cost"] == described.cost.to_json()
    assert values["path"] == str(trained[0])
    assert values["bytes"] == trained[0].stat().st_size


@pytest.mark.parametrize("command", ["train", "evaluate", "import", "inspect"])
def test_each_commands_help_has_an_example(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"Example: pigeonhole {command}" in result.stdout


def test_importing_the_commands_imports_no_heavy_package() -> None:
    heavy = ("torch", "torchvision", "numpy", "PIL", "safetensors", "producer", "worker")
    code = f"import sys, training.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=TOP)
    assert done.stdout == "[]\n"


def test_without_torch_the_error_shows_the_install_command(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n")
    done = subprocess.run(
        [sys.executable, "-m", "training", "train", "-o", str(tmp_path / "x.safetensors")],
        capture_output=True,
        text=True,
        check=False,
        cwd=TOP,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 2
    assert "torch" in done.stderr
    assert done.stderr.endswith(f"{install_hint('training')}\n")


@pytest.mark.shared
@pytest.mark.parametrize(("kind", "wanted"), [("drawn", 0.99), ("pen", 0.97)])
def test_the_shipped_checkpoint_reads_real_handwriting(kind: str, wanted: float) -> None:
    from training.evaluation.evaluate import evaluate

    evaluated = evaluate(checkpoint.find("digits"), registry.find(f"folder:{SHARED}/real-digits/{kind}"))
    assert evaluated.report.accuracy >= wanted
    assert evaluated.failed == ()


@pytest.mark.parametrize("batch_size", [48, 120, 160, 240, 480])
def test_training_works_with_only_a_few_steps(tiny_mnist: Path, tmp_path: Path, batch_size: int) -> None:
    path = tmp_path / "few.safetensors"
    arguments = (
        "--epochs",
        1,
        "--batch-size",
        batch_size,
        "--validation",
        0.2,
        "--device",
        "cpu",
        "--quiet",
        "--no-synthetic",
    )
    result = run("train", "--data", tiny_mnist, "-o", path, *arguments)
    assert result.exit_code == 0, result.output
    assert describe(path).name == "few"
