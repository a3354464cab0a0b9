"""A multi-label model with only an ONNX graph: its description, and the commands that refuse it."""

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from PIL import Image
from typer.testing import CliRunner

from pigeonhole.errors import ExitCode
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models import checkpoint
from pigeonhole.models.checkpoint import Calibration, Checkpoint
from pigeonhole.models.classifier import Classifier
from pigeonhole.models.record import GRAPH_ONLY
from pigeonhole.settings import Settings
from producer.cli import app

CLASSES = ("sky", "sea", "sand", "sun")
#: A white pixel has the probability 0.98, a grey one a half, and a black one 0.02.
BRIGHT, GREY, DARK = 255, 128, 0


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Write a model whose four classes each depend on one pixel, and return its path."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["floats"], ["flat"]),
        helper.make_node("Sub", ["flat", "grey"], ["centred"]),
        helper.make_node("Div", ["centred", "scale"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "pixels",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", 2, 2, 1])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor(name, TensorProto.FLOAT, [1], [value]) for name, value in (("grey", 128), ("scale", 32))],
    )
    onnx = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    calibration = Calibration(review_below=0.05, thresholds=(0.5, 0.5, 0.7, 0.7))
    record = Checkpoint(
        *("beach", GRAPH_ONLY, {"precision": "f32"}, CLASSES, Preprocessing("stretch", 2, 2, 1), calibration),
        trained={"imported": "beach.onnx"},
    )
    path = tmp_path / "beach.safetensors"
    checkpoint.save_graph(path, onnx, record)
    return path


def write_image(path: Path, *pixels: int) -> Path:
    Image.fromarray(np.array(pixels, np.uint8).reshape(2, 2)).save(path)
    return path


def run(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exit_code, done.stdout, done.stderr


def test_onnx_runtime_gives_each_image_its_labels(model: Path) -> None:
    pixels = np.array([[BRIGHT, DARK, BRIGHT, DARK], [DARK] * 4, [DARK, GREY, DARK, GREY]], np.uint8)
    found = Classifier.load(model, Settings()).predict(pixels.reshape(3, 2, 2, 1), 1)
    assert found.labels is not None
    assert (found.labels.counts.tolist(), found.labels.best.tolist()) == ([2, 0, 1], [0, 2, 1])
    assert found.review.tolist() == [False, False, True], "a probability of the last image equals its threshold"


@pytest.mark.parametrize(
    ("pixels", "label", "review", "line"),
    [
        ((BRIGHT, DARK, BRIGHT, DARK), "sky|sand", False, "sky|sand, confidence 98.15%, not marked for review"),
        ((DARK, DARK, DARK, DARK), "", False, "no label, confidence 1.80%, not marked for review"),
        ((DARK, GREY, DARK, DARK), "sea", True, "sea, confidence 50.00%, marked for review: review score 0.00%"),
    ],
)
def test_inspect_prints_all_labels_of_an_image(
    model: Path, tmp_path: Path, pixels: tuple[int, ...], label: str, review: bool, line: str
) -> None:
    image = write_image(tmp_path / "image.png", *pixels)
    code, text, errors = run("inspect", model, "--image", image, "-o", tmp_path / "seen.png")
    assert (code, errors) == (0, "")
    assert line in text
    _, text, _ = run("inspect", model, "--image", image, "-o", tmp_path / "seen.png", "--json")
    assert (json.loads(text)["label"], json.loads(text)["review"]) == (label, review)


def test_inspect_describes_the_thresholds_of_a_multi_label_model(model: Path) -> None:
    _, text, _ = run("inspect", model)
    lines = dict(line.split(maxsplit=1) for line in text.splitlines())
    assert "from 0.5 to 0.7" in lines["labels"]
    assert "within 0.0500" in lines["review"]
    _, text, _ = run("inspect", model, "--json")
    assert json.loads(text)["calibration"]["thresholds"] == [0.5, 0.5, 0.7, 0.7]


def test_a_multi_label_model_is_not_evaluated(model: Path, tmp_path: Path) -> None:
    for name in CLASSES[:2]:
        (tmp_path / "data" / name).mkdir(parents=True)
        write_image(tmp_path / "data" / name / "a.png", BRIGHT, DARK, DARK, DARK)
    for options in (["--data", tmp_path / "data"], ["--dataset", f"outliers:{tmp_path / 'data'}"]):
        code, _, errors = run("evaluate", model, *options)
        assert code == ExitCode.USAGE
        assert "beach" in errors
        assert "multi-label" in errors
