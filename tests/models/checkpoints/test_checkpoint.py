"""Saving, describing, finding and loading checkpoints."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pigeonhole.errors import CheckpointError, SettingsError, TrainingError
from pigeonhole.imaging.preprocessing import Preprocessing
from pigeonhole.models import checkpoint
from pigeonhole.models.checkpoint import Calibration, describe, find, load
from pigeonhole.models.classifier import Classifier
from pigeonhole.models.networks import registry as networks
from pigeonhole.settings import Settings
from tests.messages import check_message
from tests.models.checkpoints.files import Fresh, digest_of, metadata, refused, rewrite
from tests.training.conftest import TOP, save_fresh


def test_a_saved_checkpoint_is_described_and_loaded_unchanged(fresh: Fresh) -> None:
    path, saved, network = fresh
    described = describe(path)
    loaded, again = load(path)
    assert saved == described == loaded
    assert described.name == "fresh"
    assert described.classes == tuple("0123456789")
    assert described.preprocessing == Preprocessing("digit", 28, 28, 1)
    assert described.calibration == Calibration(1.25, 0.5)
    assert described.cost.multiply_adds > 0
    assert not again.training
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, 28, 28, 1), np.uint8))
    assert torch.equal(again(pixels), network(pixels))


def test_a_file_of_version_0_2_is_read_and_runs_only_with_torch(fresh: Fresh) -> None:
    path, saved, _network = fresh
    weights = {key: value for key, value in load_file(path).items() if key != "onnx"}
    text = json.dumps(metadata(rewrite(path, version=1, runtimes=...)) | {"digest": digest_of(saved, weights)})
    save_file(weights, path, metadata={"pigeonhole": text})
    described, loaded = load(path)
    assert described.runtimes == ("torch",)
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in weights.items())
    with pytest.raises(SettingsError, match=r"torch, not by onnxruntime: .*PIGEONHOLE_RUNTIME=torch"):
        Classifier.load(path, Settings(runtime="onnxruntime"))


def test_the_same_content_makes_the_same_file_byte_for_byte(fresh: Fresh, tmp_path: Path) -> None:
    path, _saved, network = fresh
    for number in range(3):
        other = tmp_path / f"{number}.safetensors"
        save_fresh(other, network)
        assert other.read_bytes() == path.read_bytes()


def test_the_digest_covers_only_what_affects_results(fresh: Fresh, tmp_path: Path) -> None:
    path, saved, network = fresh
    other = tmp_path / "other.safetensors"
    same = save_fresh(other, network, name="renamed", trained={"seconds": 12}, measured={"test": 1})
    assert same.digest == saved.digest
    assert other.read_bytes() != path.read_bytes()
    different = [
        save_fresh(other, network, calibration=Calibration(1.26, 0.5)),
        save_fresh(other, network, calibration=Calibration(1.25, 0.6)),
        save_fresh(other, network, classes=tuple("9876543210")),
        save_fresh(other, network, preprocessing=Preprocessing("stretch", 28, 28, 1)),
    ]
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] += 1e-6
    different.append(save_fresh(other, network))
    digests = {made.digest for made in different}
    assert len(digests) == len(different)
    assert saved.digest not in digests


def test_a_checkpoint_can_have_a_logit_for_unknown(tmp_path: Path) -> None:
    network = networks.build("digits", networks.complete("digits", {}), 11).fold()
    path = tmp_path / "with-unknown.safetensors"
    calibration = Calibration(1.25, 0.5, outlier=True, outlier_in_confidence=0.01, outlier_in_review=100.0)
    saved = save_fresh(path, network, calibration=calibration)
    described, loaded = load(path)
    assert described == saved
    assert described.calibration == calibration
    assert (len(described.classes), described.logits) == (10, 11)
    pixels = torch.zeros(3, 28, 28, 1, dtype=torch.uint8)
    assert torch.equal(loaded(pixels), network(pixels))
    assert loaded(pixels).shape == (3, 11)
    with pytest.raises(CheckpointError, match=r"'head.weight' is torch.float32 \[11, 384\], not .* \[10, 384\]"):
        save_fresh(path, network, calibration=Calibration(1.25, 0.5))


def test_a_checkpoint_without_a_logit_for_unknown_keeps_its_digest(fresh: Fresh) -> None:
    path, saved, _network = fresh
    assert metadata(path)["calibration"] == {"temperature": 1.25, "review_below": 0.5}
    assert not describe(path).calibration.outlier
    assert load(path)[0].digest == saved.digest
    # Digests of the shipped models. They must not change.
    load(find("digits"))


def test_saving_replaces_a_file_atomically(fresh: Fresh) -> None:
    path, _saved, network = fresh
    before = path.stat().st_ino
    save_fresh(path, network, name="second")
    assert describe(path).name == "second"
    assert path.stat().st_ino != before
    assert os.listdir(path.parent) == [path.name]


def test_saving_into_a_missing_folder_raises_an_error(fresh: Fresh, tmp_path: Path) -> None:
    _path, _saved, network = fresh
    with pytest.raises(TrainingError, match=r"x\.safetensors: .*No such file or directory.* choose"):
        save_fresh(tmp_path / "no" / "x.safetensors", network)


def test_a_device_that_torch_does_not_have_is_refused(fresh: Fresh) -> None:
    message = refused(fresh[0], lambda path: load(path, "cuda:63"))
    check_message(message, "'cuda:63'", "this machine has: cpu")


def test_a_checkpoint_is_found_by_its_path_or_by_a_shipped_name(fresh: Fresh, tmp_path: Path) -> None:
    assert find("digits") == TOP / "pigeonhole" / "models" / "shipped" / "digits.safetensors"
    assert find(fresh[0]) == fresh[0]
    check_message(refused(Path("nine"), find), "'nine'", ".safetensors", "digits, digits-int8")
    assert "is a folder" in refused(tmp_path, find)


def test_a_file_without_a_suffix_is_found_by_its_path(
    fresh: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(fresh[0], "digits")
    assert find("digits").parent.name == "shipped"
    assert describe(find("./digits")).name == "fresh"


def test_the_shipped_checkpoint_loads_is_small_and_has_its_measurements() -> None:
    path = find("digits")
    described, network = load(path)
    assert described.name == described.network == "digits"
    assert path.stat().st_size < 1_000_000
    assert described.cost == checkpoint.Cost(*network.cost(described.preprocessing))
    assert described.cost.multiply_adds <= 1_100_000
    assert described.measured["test"]["accuracy"] >= 0.995
    assert described.trained["dataset"] == "mnist"


def test_describing_needs_no_torch() -> None:
    code = (
        "import sys; from pigeonhole.models import checkpoint; checkpoint.describe(checkpoint.find('digits'));"
        "print([name for name in ('torch', 'torchvision', 'safetensors') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=TOP)
    assert run.stdout == "[]\n"


def test_the_digest_follows_its_definition(fresh: Fresh) -> None:
    path, saved, _network = fresh
    assert saved.digest == digest_of(saved, load_file(path))
    assert replace(saved, name="other").digest == saved.digest
