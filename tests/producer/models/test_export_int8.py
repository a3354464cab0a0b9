"""`export --int8`: a quantised copy of a model, with its own file and its own name."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from safetensors.numpy import load_file

from pigeonhole.errors import ExitCode
from pigeonhole.imaging.preprocess import prepare
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models import checkpoint
from pigeonhole.models.classifier import Classifier
from pigeonhole.models.conversion import trial
from pigeonhole.models.conversion.convert import convert
from pigeonhole.models.conversion.foreign import parse
from pigeonhole.models.conversion.wrap import Normalisation
from pigeonhole.models.record import GRAPH_ONLY, Calibration
from pigeonhole.models.runtimes.onnx_runtime import OnnxRuntime
from pigeonhole.settings import Settings
from producer.models.quantising import spread
from tests.conftest import ROOT
from tests.models.conversion.small import SIDE, classifier
from tests.training.test_cli import run

SAMPLES = ROOT / "samples"
LINE = ("export", "digits", "--int8", "--images", SAMPLES, "-o")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def samples() -> np.ndarray:
    """Return the pixels of all samples that are images: uint8 [N, 28, 28, 1]."""
    preprocessing = checkpoint.describe(checkpoint.find("digits")).preprocessing
    paths = [path for path in sorted(SAMPLES.glob("*.png")) if path.stem not in ("empty", "text")]
    return np.stack(
        [prepare(path.read_bytes(), preprocessing, 10**6) for path in paths if "truncated" not in path.stem]
    )


def check_refusal(parts: tuple[str, ...], *arguments: object) -> None:
    """Check that an export is a usage error of one line with these parts."""
    result = run("export", *arguments)
    assert result.exit_code == ExitCode.USAGE, result.output
    assert len(result.stderr.splitlines()) == 1
    for part in parts:
        assert part in result.stderr


def test_a_quantised_model_is_smaller_and_gives_the_labels_of_the_original() -> None:
    result = run(*LINE, "x.safetensors")
    assert result.exit_code == 0, result.output
    assert re.search(r"\b200 images of 203\b.*\b3\b.* not be read", result.stderr)
    content, original = checkpoint.read("x.safetensors"), checkpoint.read(checkpoint.find("digits"))
    about, was = content.checkpoint, original.checkpoint
    for part in ("x.safetensors", f"digits-int8 {about.digest[:12]}", "10 classes"):
        assert part in result.stdout
    assert (about.network, about.precision, about.runtimes) == (GRAPH_ONLY, "int8", ("onnxruntime",))
    assert (about.classes, about.preprocessing, about.calibration) == (was.classes, was.preprocessing, was.calibration)
    assert about.trained["quantised"]["from"] == was.identity()
    assert about.trained["quantised"]["images"] == 200
    assert "200 of 200 images" in result.stderr
    assert not about.measured, "the measurements of the original do not apply to the copy"
    assert Path("x.safetensors").stat().st_size < checkpoint.find("digits").stat().st_size / 2
    pixels = samples()
    quantised, unquantised = (OnnxRuntime(each).logits(pixels) for each in (content, original))
    assert np.array_equal(quantised.argmax(axis=1), unquantised.argmax(axis=1))
    assert 0 < np.abs(quantised - unquantised).max() < 2


def test_a_quantised_file_does_not_depend_on_the_folder_of_its_images(here: Path) -> None:
    shutil.copytree(SAMPLES, here / "moved")
    assert run(*LINE, "one.safetensors").exit_code == 0
    assert run("export", "digits", "--int8", "--images", here / "moved", "-o", "two.safetensors").exit_code == 0
    assert Path("one.safetensors").read_bytes() == Path("two.safetensors").read_bytes()
    assert str(here).encode() not in Path("two.safetensors").read_bytes()


def test_int8_accepts_a_name_and_writes_onnx_files() -> None:
    result = run(*LINE, "x.onnx", "--name", "small")
    assert result.exit_code == 0, result.output
    session = onnxruntime.InferenceSession("x.onnx")
    assert session.get_modelmeta().custom_metadata_map["name"] == "small"
    assert run(*LINE, "x.safetensors").exit_code == 0
    (inside,) = session.run(["logits"], {"pixels": samples()})
    assert np.array_equal(inside, OnnxRuntime(checkpoint.read("x.safetensors")).logits(samples()))
    assert run(*LINE, "x.onnx", "--name", "small").exit_code == 0, "a command replaces its own file"
    check_refusal(("'x.onnx'", "--overwrite"), *LINE[1:], "x.onnx")
    assert run(*LINE, "x.safetensors").exit_code == 0, "a command replaces its own file"
    check_refusal(("'x.safetensors'", "--overwrite"), *LINE[1:], "x.safetensors", "--name", "other")


def test_a_failed_quantisation_prints_one_line_with_the_value_and_the_remedy(here: Path) -> None:
    assert run(*LINE, "x.safetensors").exit_code == 0
    again = ("x.safetensors", "--int8", "--images", SAMPLES, "-o", "y.safetensors")
    check_refusal(("x.safetensors", "precision int8", "f32"), *again)
    (here / "empty").mkdir()
    line = ("digits", "--int8", "-o", "y.safetensors", "--images")
    check_refusal(("empty", "no image"), *line, "empty")
    (here / "empty" / "a.png").write_bytes(b"text")
    check_refusal(("none of 1 image", "empty/a.png"), *line, "empty")
    check_refusal(("'none'",), *line, "none")
    check_refusal(("--images", "'-'"), *line, "-")
    check_refusal(("--int8", "--images SOURCE"), "digits", "--int8", "-o", "y.safetensors")
    check_refusal(("--images", "--int8"), "digits", "-o", "y.onnx", "--images", SAMPLES)
    check_refusal(("--name", "--int8"), "digits", "-o", "y.onnx", "--name", "y")
    check_refusal(("'No Name'",), *line, SAMPLES, "--name", "No Name")
    assert not Path("y.safetensors").exists()


def test_a_model_without_a_graph_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    about, network = checkpoint.load(checkpoint.find("digits"))
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "onnx", None)
        checkpoint.save("torch.safetensors", network, about)
    line = ("torch.safetensors", "--int8", "--images", SAMPLES, "-o", "y.safetensors")
    check_refusal(("torch.safetensors", "no ONNX graph", "onnx is not installed"), *line)


@pytest.mark.parametrize("package", ["onnx", "torch"])
def test_quantising_needs_onnx_and_no_torch(package: str, here: Path) -> None:
    code = f"import sys; sys.modules[{package!r}] = sys.modules['sympy'] = None; from producer.cli import app; app()"
    command = [sys.executable, "-c", code, *map(str, LINE), "x.safetensors"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if package == "torch":
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == ExitCode.USAGE
        assert "onnx is not installed" in done.stderr
        assert "pip install" in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("opset", [9, 11, 17])
def test_imported_multi_label_graphs_of_any_opset_are_quantised(opset: int) -> None:
    found = convert(parse(classifier(opset=opset).SerializeToString()), Normalisation())
    calibration = Calibration(thresholds=(0.5,) * 5)
    about = checkpoint.describe(checkpoint.find("digits"))
    preprocessing = Preprocessing("stretch", SIDE, SIDE, 3)
    record = replace(
        about,
        name="small",
        network=GRAPH_ONLY,
        arguments={"precision": "f32"},
        classes=tuple("abcde"),
        preprocessing=preprocessing,
        calibration=calibration,
        trained={},
    )
    checkpoint.save_graph("small.safetensors", found.graph, record)
    result = run("export", "small.safetensors", "--int8", "--images", ROOT / "docs", "-o", "x.safetensors")
    assert result.exit_code == 0, result.output
    pixels = trial.images(preprocessing.shape, 16)
    quantised, unquantised = (
        Classifier.load(Path(f"{name}.safetensors"), Settings()).runtime.logits(pixels) for name in ("x", "small")
    )
    assert np.abs(quantised - unquantised).max() < 0.1 * np.abs(unquantised).max()
    assert checkpoint.describe("x.safetensors").calibration == calibration


def test_the_shipped_model_in_int8_agrees_with_the_shipped_model_on_the_samples() -> None:
    models = {name: Classifier.load(checkpoint.find(name), Settings()) for name in ("digits", "digits-int8")}
    was, about = models["digits"].checkpoint, models["digits-int8"].checkpoint
    assert about.trained["quantised"]["from"] == was.identity(), "run `make quantise-shipped`"
    assert models["digits-int8"].identity == f"digits-int8@{about.digest[:12]}+int8"
    found = {name: model.predict(samples()) for name, model in models.items()}
    assert np.array_equal(found["digits"].best[:, 0], found["digits-int8"].best[:, 0])
    assert np.abs(found["digits"].ppm[:, 0] - found["digits-int8"].ppm[:, 0]).mean() < 5_000
    assert set(load_file(checkpoint.find("digits-int8"))) == {"onnx"}


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 1999, 2000, 2001, 60_000, 12_345])
def test_images_are_spread_evenly_over_a_source(count: int) -> None:
    chosen, found = spread(range(count), 1000)
    assert found == count
    assert len(chosen) == min(count, 1000)
    gaps = np.diff([*chosen, count])
    assert count <= 1000 or gaps.max() <= 2 * count / 1000 + 1
