"""`import --multi-label`: models whose images have several labels or none, with a threshold for each class."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import get_model

from pigeonhole.models import checkpoint
from pigeonhole.models.checkpoint import Calibration
from pigeonhole.models.classifier import Classifier
from pigeonhole.models.networks.network import Network
from pigeonhole.models.runtimes.onnx_runtime import OnnxRuntime
from pigeonhole.settings import Settings
from tests.models.conversion.small import CLASSES, SIDE, classifier, expected
from tests.producer.models.test_import_hubs import CROPPED, saved
from tests.producer.models.test_import_kinds import NAMES, NETWORK, imported, refused

LINE = ("model.onnx", "-o", "x.safetensors", "--classes", "names.txt")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "names.txt").write_text("\n".join(NAMES) + "\n")
    (tmp_path / "model.onnx").write_bytes(classifier(last="Sigmoid").SerializeToString())
    noise = np.random.default_rng(5).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.png")
    return tmp_path


def test_an_onnx_file_of_sigmoids_gives_each_image_its_labels() -> None:
    _stdout, stderr = imported(*LINE, "--multi-label")
    for part in (f"{CLASSES} probabilities", "multi-label", "threshold, 0.5\n"):
        assert part in stderr
    assert stderr.endswith("pigeonhole classify DIR --model x.safetensors\n"), "a multi-label model can't be evaluated"
    assert checkpoint.describe("x.safetensors").calibration == Calibration(thresholds=(0.5,) * CLASSES)
    pixels = np.random.default_rng(7).integers(0, 256, (20, SIDE, SIDE, 3), np.uint8)
    labels = Classifier.load(Path("x.safetensors"), Settings()).predict(pixels).labels
    assert labels is not None
    wanted = expected(pixels) >= 0
    assert 0 < wanted.mean() < 1, "some are labels and some are not"
    ends = np.cumsum(labels.counts)
    for row, (end, count) in zip(wanted, zip(ends, labels.counts, strict=True), strict=True):
        assert set(labels.best[end - count : end].tolist()) == set(np.flatnonzero(row).tolist())


def test_a_threshold_is_for_all_classes_and_a_file_has_one_for_each() -> None:
    imported(*LINE, "--multi-label", "--threshold", "0.25")
    assert checkpoint.describe("x.safetensors").calibration.thresholds == (0.25,) * CLASSES
    values = {name: (position + 1) / 10 for position, name in enumerate(NAMES)}
    Path("t.json").write_text(json.dumps(dict(reversed(values.items()))))
    _stdout, stderr = imported(*LINE, "--multi-label", "--thresholds", "t.json")
    assert checkpoint.describe("x.safetensors").calibration.thresholds == tuple(values.values())
    assert "threshold, from 0.1 to 0.5\n" in stderr


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("{", ("JSON",)),
        ("[0.5]", ("JSON object",)),
        ('{"ant": 0.5, "ant": 0.6}', ("'ant'", "twice")),
        ('{"cow": 0.5}', ("'cow'", "'ant', 'bee', 'cat', 'dog', 'elk'")),
        ('{"ant": 1.5}', ("'ant'", "0 to 1", "1.5")),
        ('{"ant": true}', ("'ant'", "0 to 1", "True")),
        ('{"ant": NaN}', ("'ant'", "0 to 1", "nan")),
        ('{"ant": 0.5, "cat": 0}', ("'bee', 'dog', 'elk'",)),
    ],
)
def test_a_file_of_thresholds_names_each_class_once(text: str, parts: tuple[str, ...]) -> None:
    Path("t.json").write_text(text)
    message = refused(*LINE, "--multi-label", "--thresholds", "t.json")
    for part in ("t.json", *parts):
        assert part in message


def test_conflicting_multi_label_options_are_refused() -> None:
    Path("t.json").write_text("{}")
    both = refused(*LINE, "--multi-label", "--threshold", "0.5", "--thresholds", "t.json")
    assert "--threshold " in both
    assert "--thresholds" in both
    assert "1.5" in refused(*LINE, "--multi-label", "--threshold", "1.5")
    assert "none.json" in refused(*LINE, "--multi-label", "--thresholds", "none.json")
    assert "--multi-label" in refused(*LINE)
    Path("model.onnx").write_bytes(classifier(last="Softmax").SerializeToString())
    assert "leave out --multi-label" in refused(*LINE, "--multi-label")
    for option in (("--threshold", "0.5"), ("--thresholds", "t.json")):
        assert f"{option[0]} " in refused(*LINE, *option)


def test_a_hugging_face_model_of_the_multi_label_problem_type_is_multi_label() -> None:
    saved("many", ["a", "b", "c"], CROPPED, problem_type="multi_label_classification")
    imported("hf:many", "-o", "x.safetensors")
    assert checkpoint.describe("x.safetensors").calibration.thresholds == (0.5, 0.5, 0.5)
    saved("one", ["a", "b", "c"], CROPPED)
    imported("hf:one", "-o", "y.safetensors")
    assert checkpoint.describe("y.safetensors").calibration.thresholds is None


def test_a_torchvision_network_runs_in_both_runtimes_with_the_same_thresholds() -> None:
    torch.save(get_model(NETWORK, num_classes=3).state_dict(), "w.pth")
    Path("names.txt").write_text("a\nb\nc\n")
    imported("w.pth", "-o", "x.safetensors", "--classes", "names.txt", "--multi-label")
    about = checkpoint.describe("x.safetensors")
    assert (about.runtimes, about.calibration.thresholds) == (("onnxruntime", "torch"), (0.5, 0.5, 0.5))


def test_a_graph_that_changes_a_probability_is_not_saved(
    monkeypatch: pytest.MonkeyPatch, multi_label: tuple[checkpoint.Checkpoint, Network]
) -> None:
    about, network = multi_label
    assert checkpoint.save("whole.safetensors", network, about).runtimes == ("onnxruntime", "torch")
    logits = OnnxRuntime.logits

    def shifted(self: OnnxRuntime, pixels: np.ndarray) -> np.ndarray:
        found = logits(self, pixels)
        rows = np.arange(len(found))
        found[rows, found.argmin(axis=1)] += 0.05  # the least probable class, whose change a softmax would hide
        return found

    monkeypatch.setattr(OnnxRuntime, "logits", shifted)
    saved = checkpoint.save("torch.safetensors", network, about)
    assert saved.runtimes == ("torch",)
    assert "differ by" in saved.trained["onnx"]


@pytest.fixture
def multi_label() -> tuple[checkpoint.Checkpoint, Network]:
    """Return a multi-label network with random weights, and its record."""
    from pigeonhole.imaging.preprocessing import Preprocessing
    from pigeonhole.models.networks import registry

    torch.manual_seed(1)
    preprocessing = Preprocessing("stretch", 32, 32, 3)
    arguments = registry.complete("residual-small", {}, preprocessing)
    network = registry.build("residual-small", arguments, 3).eval()
    about = checkpoint.Checkpoint(
        "many", "residual-small", arguments, ("a", "b", "c"), preprocessing, Calibration(thresholds=(0.5, 0.5, 0.5))
    )
    return about, network
