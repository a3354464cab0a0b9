"""End to end with each runtime: the same rows, from the same model."""

import csv
import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from pigeonhole.models import checkpoint as checkpoints
from pigeonhole.models.classifier import Classifier
from pigeonhole.models.networks import registry as networks
from pigeonhole.models.record import ONNX_RUNTIME, TORCH
from pigeonhole.models.runtimes.choice import THIS
from pigeonhole.models.scores import confidences, likeliest, review_scores
from pigeonhole.settings import Settings
from tests.conftest import SHARED
from tests.e2e.conftest import Run
from training.datasets import registry as datasets

#: The largest difference of confidences between the runtimes.
TOLERANCE = 1e-4


@pytest.fixture(params=["digits", "imported"])
def model(request: pytest.FixtureRequest, home: Path, embedded: Run) -> str:
    """Return the shipped model, or one that `import` made from a state_dict."""
    if request.param == "digits":
        return "digits"
    torch.manual_seed(1)
    layers = networks.build("classic", {}, 10).layers
    assert isinstance(layers, torch.nn.Module)
    torch.save(layers.state_dict(), home / "mnist_cnn.pt")
    run = embedded("import", "mnist_cnn.pt", "-o", "classic.safetensors")
    assert run.returncode == 0, run.stderr
    return "classic.safetensors"


def rows_of(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.read_text())))


def test_both_runtimes_write_the_same_rows(home: Path, embedded: Run, model: str) -> None:
    rows = {}
    for runtime in (ONNX_RUNTIME, TORCH):
        environment = os.environ | {"PIGEONHOLE_RUNTIME": runtime}
        run = embedded("classify", "samples", "--model", model, "-o", f"{runtime}.csv", env=environment)
        assert run.returncode == 3, run.stderr
        rows[runtime] = rows_of(home / f"{runtime}.csv")
    assert len(rows[TORCH]) == 203
    for ours, theirs in zip(rows[ONNX_RUNTIME], rows[TORCH], strict=True):
        for column in ("path", "label", "review", "error", "model"):
            assert ours[column] == theirs[column]
        if not ours["error"]:
            assert float(ours["confidence"]) == pytest.approx(float(theirs["confidence"]), abs=TOLERANCE)


def test_a_cpu_needs_no_torch(home: Path, embedded: Run, tmp_path: Path) -> None:
    for name in ("torch", "torchvision", "onnx"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('missing')\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    run = embedded("classify", "samples", "-o", "rows.csv", env=environment)
    assert run.returncode == 3, run.stderr
    assert sum(bool(row["label"]) for row in rows_of(home / "rows.csv")) == 200
    inspected = embedded("inspect", "digits", "--image", "samples/003b50.png", env=environment)
    assert inspected.returncode == 0, inspected.stderr


@pytest.mark.skipif(not THIS.has_bf16(), reason="this processor does not multiply bfloat16")
def test_rows_in_another_precision_name_it(home: Path, embedded: Run) -> None:
    environment = os.environ | {"PIGEONHOLE_RUNTIME": TORCH, "PIGEONHOLE_PRECISION": "bf16"}
    run = embedded("classify", "samples/003b50.png", "-o", "half.csv", env=environment)
    assert run.returncode == 0, run.stderr
    (row,) = rows_of(home / "half.csv")
    assert (row["label"], row["model"]) == ("8", checkpoints.describe(checkpoints.find("digits")).identity("bf16"))


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("name", ["mnist", "drawn", "pen"])
def test_both_runtimes_agree_on_every_image_of_a_test_set(name: str) -> None:
    classifiers = [
        Classifier.load(checkpoints.find("digits"), Settings(runtime=runtime, device="cpu"))
        for runtime in (ONNX_RUNTIME, TORCH)
    ]
    about = classifiers[0].checkpoint
    folder = SHARED / "mnist" if name == "mnist" else SHARED / "real-digits" / name
    data_set = datasets.find("mnist", folder) if name == "mnist" else datasets.find(f"folder:{folder}")
    pixels = data_set.labelled(about.preprocessing).split.images.numpy()
    ours, theirs = (
        np.concatenate([one.runtime.logits(pixels[at : at + 256]) for at in range(0, len(pixels), 256)])
        for one in classifiers
    )
    np.testing.assert_array_equal(likeliest(ours, 10), likeliest(theirs, 10))
    a, b = (confidences(logits, about.calibration, 10) for logits in (ours, theirs))
    np.testing.assert_allclose(a, b, atol=TOLERANCE)
    scores = [review_scores(logits, about.calibration, 10) for logits in (ours, theirs)]
    differ = (scores[0] < about.calibration.review_below) != (scores[1] < about.calibration.review_below)
    assert (np.abs(scores[0][differ] - about.calibration.review_below) < TOLERANCE).all()
