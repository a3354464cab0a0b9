"""`import` of ONNX files and of torchvision's networks, from local files alone, and its errors for all kinds."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import get_model

from pigeonhole.errors import CheckpointError, ExitCode, UsageError
from pigeonhole.models import checkpoint
from pigeonhole.models.classifier import Classifier
from pigeonhole.settings import Settings
from pigeonhole.version import install_hint
from producer.models.importing import class_names, fingerprints, recipe, registry
from producer.models.importing.kind import ImportOptions
from tests.conftest import ROOT
from tests.models.conversion.small import CLASSES, SIDE, classifier, expected
from tests.training.test_cli import run

NAMES = ("ant", "bee", "cat", "dog", "elk")
NETWORK = "shufflenet_v2_x0_5"  # 1.4 million parameters, the fewest of torchvision's


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "names.txt").write_text("\n".join(NAMES[:CLASSES]) + "\n")
    (tmp_path / "model.onnx").write_bytes(classifier(last="Softmax").SerializeToString())
    noise = np.random.default_rng(5).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.png")
    return tmp_path


def imported(*arguments: object) -> tuple[str, str]:
    """Check that an import succeeds, and return its standard output and standard error."""
    result = run("import", *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def refused(*arguments: object) -> str:
    """Check that an import is a usage error of one line that leaves no file, and return the line."""
    result = run("import", *arguments)
    assert result.exit_code == ExitCode.USAGE, result.output
    assert result.stderr.startswith("pigeonhole: ")
    assert len(result.stderr.splitlines()) == 1
    assert not Path("x.safetensors").exists()
    return result.stderr


def test_an_onnx_file_becomes_a_model_that_classifies() -> None:
    stdout, stderr = imported("model.onnx", "-o", "x.safetensors", "--classes", "names.txt", "--sample", "photo.png")
    about = checkpoint.describe("x.safetensors")
    for part in ("x.safetensors", f"x {about.digest[:12]}", "5 classes"):
        assert part in stdout
    lines = stderr.splitlines()
    for part in ("NCHW", "12 x 12 pixels", "RGB", "any number of images", "5 probabilities"):
        assert part in lines[0]
    for part in ("assumed", "stretched", "0 to 1"):
        assert part in lines[1]
    pixels = np.asarray(Image.open("photo.png"))[None]
    wanted = NAMES[int(expected(pixels)[0].argmax())]
    assert lines[2].startswith(f"photo.png: {wanted} ")
    assert lines[2].count("%") == 5
    assert (about.classes, about.network, about.runtimes) == (NAMES, "onnx", ("onnxruntime",))
    assert about.trained["producer"] == "small"
    assert about.cost.parameters > 100
    found = Classifier.load(Path("x.safetensors"), Settings()).predict(pixels)
    assert about.classes[found.best[0, 0]] == wanted


def test_an_import_of_onnx_needs_no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "torchvision"):
        monkeypatch.setitem(sys.modules, name, None)
    imported("model.onnx", "-o", "x.safetensors", "--classes", "names.txt")


def test_a_preprocessing_from_a_file_is_recorded_and_its_normalisation_is_in_the_graph() -> None:
    values = {"kind": "center-crop", "resize": 16, "interpolation": "bicubic", "mean": [0.1, 0.2, 0.3], "std": 0.5}
    Path("preprocess.json").write_text(json.dumps({**values, "std": [0.5, 0.5, 0.5]}))
    imported("model.onnx", "-o", "x.safetensors", "--classes", "names.txt", "--preprocess", "preprocess.json")
    found = checkpoint.describe("x.safetensors").preprocessing
    assert (found.kind, found.shape, found.resize, found.interpolation) == ("center-crop", (12, 12, 3), 16, "bicubic")
    pixels = np.asarray(Image.open("photo.png"))[None]
    scores = Classifier.load(Path("x.safetensors"), Settings()).predict(pixels)
    wanted = expected(pixels, np.array([0.1, 0.2, 0.3]), 0.5)  # type: ignore[arg-type]
    assert int(scores.best[0, 0]) == int(wanted[0].argmax())


def test_a_failed_import_prints_one_line_with_the_value_and_the_remedy() -> None:
    Path("few.txt").write_text("a\nb\n")
    Path("twice.txt").write_text("a\nb\na\nc\nd\n")
    Path("preprocess.json").write_text('{"kind": "centre"}')
    Path("text.onnx").write_text("no model")
    Path("net.tflite").write_text("x")
    Path("folder").mkdir()
    out = ("-o", "x.safetensors")
    named = ("model.onnx", "--classes", "names.txt")
    for arguments, parts in (
        (("model.onnx",), ("model.onnx", "5 classes", "--classes FILE")),
        (("model.onnx", "--classes", "few.txt"), ("few.txt", "2 classes", "has 5")),
        (("model.onnx", "--classes", "twice.txt"), ("'a'", "lines 1, 3")),
        (("model.onnx", "--classes", "none.txt"), ("none.txt", "No such file or directory")),
        (("model.onnx", "--classes", "imagenet"), ("imagenet", "1,000 classes", "has 5")),
        ((*named, "--preprocess", "preprocess.json"), ("preprocess.json", "'centre'", "center-crop")),
        ((*named, "--mean", "0.5"), ("--mean", "ONNX")),
        ((*named, "--name", "My Model"), ("'My Model'",)),
        (("text.onnx", "--classes", "names.txt"), ("text.onnx", "ONNX file")),
        (("net.tflite",), (".tflite", "tf2onnx")),
        (("folder",), ("hf:folder",)),
        (("keras:x",), ("'keras'", "'keras:x'", "hf, timm, torchvision")),
        (("timm:",), ("'timm:'",)),
        (("none.onnx",), ("none.onnx", "hf:NAME")),
    ):
        message = refused(*arguments, *out)
        for part in parts:
            assert part in message, arguments


def test_an_import_replaces_only_an_import_of_the_same_model() -> None:
    line = ("model.onnx", "-o", "x.safetensors", "--classes", "names.txt")
    imported(*line)
    imported(*line)
    Path("x.safetensors").write_bytes(b"my thesis")
    result = run("import", *line)
    assert (result.exit_code, Path("x.safetensors").read_bytes()) == (ExitCode.USAGE, b"my thesis")
    imported(*line, "--overwrite")


def test_imagenet_has_a_thousand_different_class_names_and_a_licence() -> None:
    names = class_names.imagenet()
    assert (len(names), len(set(names)), names[0], names[999]) == (1000, 1000, "tench", "toilet tissue")
    assert "BSD 3-Clause License" in (ROOT / "producer/models/assets/imagenet.LICENSE.txt").read_text()
    assert class_names.named("imagenet", 1001)[:2] == ("background", "tench")
    with pytest.raises(UsageError, match="--classes imagenet"):
        class_names.named(None, 1000)


def test_class_names_are_lines_or_json(here: Path) -> None:
    for name, text in (
        ("a.txt", "\ufeffx\r\n y \n\n"),
        ("b.json", '["x", "y"]'),
        ("c.json", '{"1": "y", "0": "x"}'),
    ):
        (here / name).write_text(text, encoding="utf-8", newline="")
        assert class_names.read(here / name) == ("x", "y")
    for name, text in (("d.json", '{"0": "x", "2": "y"}'), ("e.json", "[1, 2]"), ("f.txt", "x\n\ny")):
        (here / name).write_text(text)
        with pytest.raises(CheckpointError, match=name):
            class_names.read(here / name)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_of_a_torchvision_network_are_recognised(prefix: str) -> None:
    torch.manual_seed(3)
    original = get_model(NETWORK, weights=None, num_classes=5).eval()
    torch.save({"state_dict": {f"{prefix}{key}": value for key, value in original.state_dict().items()}}, "w.pth")
    _stdout, stderr = imported("w.pth", "-o", "x.safetensors", "--classes", "names.txt")
    assert stderr.splitlines()[0].endswith(f" {NETWORK}")
    about, network = checkpoint.load("x.safetensors")
    assert (about.network, about.classes, set(about.runtimes)) == (NETWORK, NAMES, {"torch", "onnxruntime"})
    assert (about.preprocessing.kind, about.preprocessing.shape) == ("center-crop", (224, 224, 3))
    pixels = torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8)
    mean, std = (torch.tensor(each).reshape(3, 1, 1) for each in (recipe.IMAGENET_MEAN, recipe.IMAGENET_STD))
    with torch.inference_mode():
        wanted = original((pixels.permute(0, 3, 1, 2) / 255 - mean) / std)
        assert torch.allclose(network(pixels), wanted, atol=1e-4)


def test_unknown_weights_are_refused_with_their_shapes() -> None:
    weights = dict(get_model(NETWORK, weights=None).state_dict())
    torch.save({**weights, "more.weight": torch.zeros(3)}, "more.pth")
    message = refused("more.pth", "-o", "x.safetensors", "--classes", "imagenet")
    assert "conv1.0.weight [24, 3, 3, 3]" in message
    assert "ONNX" in message
    assert len(message) < 500
    torch.save({**weights, "conv1.0.weight": torch.zeros(32, 3, 3, 3)}, "wide.pth")
    message = refused("wide.pth", "-o", "x.safetensors", "--classes", "imagenet")
    assert "shufflenet_v2_x0_5, shufflenet_v2_x1_0" in message
    message = refused("wide.pth", "-o", "x.safetensors", "--classes", "imagenet", "--network", NETWORK)
    for part in (NETWORK, "'conv1.0.weight'", "[32, 3, 3, 3]"):
        assert part in message
    assert "'resnet'" in refused("wide.pth", "-o", "x.safetensors", "--network", "resnet")


@pytest.mark.parametrize("name", ["alexnet", "resnet18", "googlenet", "efficientnet_b0", "vit_b_32", "wide_resnet50_2"])
def test_fingerprints_match_the_installed_torchvision(name: str) -> None:
    options: dict[str, Any] = {"init_weights": False} if name == "googlenet" else {}
    with torch.device("meta"):
        network = get_model(name, weights=None, num_classes=3, **options)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert fingerprints.recognise(shapes)[0] == name
    assert len(set(fingerprints.known().values())) == len(fingerprints.known()) == 80


def test_a_named_network_takes_weights_from_a_file_or_reports_its_cache(
    monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    from urllib.error import URLError

    def refuse(*_args: object, **_options: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "_hub_dir", str(here / "hub"))
    monkeypatch.setattr("torch.hub.urlopen", refuse)
    message = refused(f"torchvision:{NETWORK}", "-o", "x.safetensors")
    assert str(here / "hub" / "checkpoints") in message
    assert "--weights FILE" in message
    assert "'resnet'" in refused("torchvision:resnet", "-o", "x.safetensors")
    torch.save(get_model(NETWORK, weights=None).state_dict(), "w.pth")
    line = (f"torchvision:{NETWORK}", "-o", "x.safetensors", "--weights", "w.pth", "--classes", "imagenet")
    _stdout, stderr = imported(*line)
    assert "sample (a cup of espresso): " in stderr


def test_a_missing_library_is_reported_with_its_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for scheme, module in (("timm", "timm"), ("hf", "transformers")):
        monkeypatch.setitem(sys.modules, module, None)
        message = refused(f"{scheme}:some/model", "-o", "x.safetensors")
        assert module in message
        assert install_hint(scheme) in message


def test_each_import_kind_has_a_title_and_lists_its_options() -> None:
    names = set(vars(ImportOptions()))
    for kinds in (registry.SCHEMES, registry.FILES):
        for name in kinds:
            kind = kinds.load(name)
            assert kind.options < names
            assert kind.title
