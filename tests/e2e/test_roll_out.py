"""Roll out a model: train, serve, classify, review, retrain, serve both, compare, stop the old one."""

import csv
import json
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from pigeonhole.models.checkpoint import describe
from tests.e2e.conftest import Run, StartWorker, rows_of
from training.cli import app

#: Class → the axis of its stripes; None: no stripes.
STRIPES = {"rows": (1, 0), "columns": (0, 1), "plain": (0, 0)}


def picture(path: Path, stripes: tuple[int, int], rng: np.random.Generator) -> None:
    """Write a noisy image of 32 x 32 pixels, with stripes along an axis or without."""
    down, across = np.mgrid[:32, :32]
    phase = (down * stripes[0] + across * stripes[1]) / 6 * np.pi + rng.uniform(0, np.pi)
    pixels = np.stack([90 + 60 * np.sin(phase), np.full((32, 32), 60.0), np.full((32, 32), 30.0)], axis=2)
    pixels = np.clip(pixels + rng.normal(0, 10, pixels.shape), 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def trained(*arguments: object) -> None:
    result = CliRunner().invoke(app, ["train", *map(str, arguments), "--quiet", "--device", "cpu"])
    assert result.exit_code == 0, result.output


@pytest.fixture
def album(home: Path) -> Path:
    """Return the user's folder: photos/ for training, new/ without labels, and test/ for the comparison."""
    rng = np.random.default_rng(0)
    for name, stripes in STRIPES.items():
        for index in range(24):
            picture(home / "photos" / name / f"{index:02}.png", stripes, rng)
        for index in range(16):
            picture(home / "new" / f"{name}-{index:02}.png", stripes, rng)
            picture(home / "test" / name / f"{index:02}.png", stripes, rng)
    return home


@pytest.mark.slow
def test_a_model_is_trained_served_corrected_retrained_and_rolled_out(
    album: Path, brokered: Run, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(album)
    trained("--dataset", "folder:photos", "-o", "first.safetensors", "--epochs", 1, "--network", "residual-small")
    first = describe("first.safetensors")
    old = start_worker("celery@old", PIGEONHOLE_MODEL=str(album / "first.safetensors"))
    classified = brokered("classify", "new", "--model", "first", "-o", "new.csv", "--review-below", "1")
    assert classified.returncode == 0, classified.stderr
    rows = rows_of((album / "new.csv").read_bytes())
    assert {row["model"] for row in rows} == {f"first@{first.digest[:12]}"}
    to_review = [row for row in rows if row["review"] == "true"]
    assert to_review, "one epoch is too short to learn the classes"

    # In the format of the report's export; all corrections are right.
    with Path("corrections.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "was", "confidence"])
        for row in to_review:
            table.writerow([row["path"], Path(row["path"]).name.partition("-")[0], row["label"], row["confidence"]])
    trained(
        "--corrections", "corrections.csv", "--from", "first.safetensors", "-o", "second.safetensors", "--epochs", 12
    )
    second = describe("second.safetensors")
    assert second.trained["training_images"] > first.trained["training_images"]

    start_worker("celery@new", PIGEONHOLE_MODEL=str(album / "second.safetensors"))
    jobs = {
        model: brokered("submit", "test", "--model", model).stdout.decode().strip() for model in ("first", "second")
    }
    for model, about in (("second", second), ("first", first)):
        waited = brokered("wait", jobs[model], "-o", f"{model}.csv")
        assert waited.returncode == 0, waited.stderr
        answered = {row["model"] for row in rows_of((album / f"{model}.csv").read_bytes())}
        assert answered == {f"{model}@{about.digest[:12]}"}

    compared = CliRunner().invoke(
        app, ["evaluate", "first.safetensors", "second.safetensors", "--data", "test", "--json"]
    )
    assert compared.exit_code == 0, compared.output
    values = json.loads(compared.stdout)
    correct = []
    for model in ("first", "second"):
        rows = rows_of((album / f"{model}.csv").read_bytes())
        correct.append({row["path"] for row in rows if row["label"] == row["path"].split("/")[1]})
    a, b = correct
    wanted = {"both": len(a & b), "only_A": len(a - b), "only_B": len(b - a), "neither": len(rows) - len(a | b)}
    assert values["right"] == wanted, "workers have the labels of the evaluation"
    assert values["better"] == "B"

    old.send_signal(signal.SIGTERM)
    assert old.wait(60) == 0
    gone = brokered("classify", "new", "--model", "first", "-o", "gone.csv")
    assert gone.returncode == 5, gone.stderr
    assert brokered("classify", "new", "--model", "second", "-o", "better.csv").returncode == 0
