"""`export`: a model as an ONNX file that plain ONNX Runtime runs, as the guide shows."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from pigeonhole.errors import ExitCode
from pigeonhole.models import checkpoint
from pigeonhole.models.runtimes.onnx_runtime import OnnxRuntime
from tests.conftest import ROOT
from tests.models.conversion.small import classifier
from tests.training.test_cli import run


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_exported_model_returns_the_same_logits_and_describes_itself() -> None:
    result = run("export", "digits", "-o", "model.onnx")
    assert result.exit_code == 0, result.output
    content = checkpoint.read(checkpoint.find("digits"))
    about = content.checkpoint
    for part in ("model.onnx", f"digits {about.digest[:12]}", "10 classes"):
        assert part in result.stdout
    session = onnxruntime.InferenceSession("model.onnx")
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == list(about.classes)
    assert json.loads(metadata["preprocessing"]) == about.preprocessing.to_json()
    assert json.loads(metadata["calibration"]) == about.calibration.to_json()
    assert (metadata["name"], metadata["digest"]) == (about.name, about.digest)
    pixels = np.random.default_rng(1).integers(0, 256, (5, *about.preprocessing.shape), np.uint8)
    assert np.array_equal(session.run(["logits"], {"pixels": pixels})[0], OnnxRuntime(content).logits(pixels))
    onnx.checker.check_model("model.onnx", full_check=True)


def test_the_example_in_the_guide_runs_unchanged(here: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "guide" / "models.md").read_text(), re.DOTALL)
    assert len(example.strip().splitlines()) <= 14
    assert run("export", "digits", "-o", "model.onnx").exit_code == 0
    labels = dict(line.split(",") for line in (ROOT / "samples-labels.csv").read_text().splitlines()[1:])
    for path in ("samples/003b50.png", "samples/007313.png", "samples/00c5e3.png"):
        shutil.copy(ROOT / path, here / "image.png")
        done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, check=True, timeout=60)
        label, confidence = done.stdout.split()
        assert label == labels[path]
        assert 0.5 < float(confidence) <= 1


def test_an_imported_model_can_be_exported_and_imported_again(here: Path) -> None:
    (here / "names.txt").write_text("a\nb\nc\nd\ne\n")
    (here / "small.onnx").write_bytes(classifier().SerializeToString())
    line = ("--classes", "names.txt", "-o")
    assert run("import", "small.onnx", *line, "one.safetensors").exit_code == 0
    assert run("export", "one.safetensors", "-o", "one.onnx").exit_code == 0
    assert run("import", "one.onnx", *line, "two.safetensors").exit_code == 0
    pixels = np.random.default_rng(1).integers(0, 256, (3, 12, 12, 3), np.uint8)
    first, second = (
        OnnxRuntime(checkpoint.read(name)).logits(pixels) for name in ("one.safetensors", "two.safetensors")
    )
    assert second == pytest.approx(first, abs=1e-5)


def test_an_export_replaces_an_earlier_export_and_no_other_file(here: Path) -> None:
    line = ("export", "digits", "-o", "model.onnx")
    assert [run(*line).exit_code for _ in range(2)] == [0, 0]
    for content in (b"my thesis", classifier().SerializeToString()):
        (here / "model.onnx").write_bytes(content)
        result = run(*line)
        assert result.exit_code == ExitCode.USAGE
        assert "'model.onnx'" in result.stderr
        assert "--overwrite" in result.stderr
        assert (here / "model.onnx").read_bytes() == content
    assert run(*line, "--overwrite").exit_code == 0


def test_a_failed_export_prints_one_line_with_the_value_and_the_remedy(here: Path) -> None:
    (here / "x.safetensors").write_bytes(b"text")
    for arguments, parts in (
        (("none", "-o", "x.onnx"), ("none", ".safetensors")),
        (("x.safetensors", "-o", "x.onnx"), ("x.safetensors",)),
        (("digits", "-o", "none/x.onnx"), ("none/x.onnx", "No such file or directory", "-o")),
    ):
        result = run("export", *arguments)
        assert (result.exit_code, len(result.stderr.splitlines())) == (ExitCode.USAGE, 1)
        for part in parts:
            assert part in result.stderr
